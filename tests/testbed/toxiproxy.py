"""Fault injection between a client and an API server: latency, resets, timeouts, bandwidth."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.testbed import gobuild
from tests.testbed.processes import Child, ProcessError, free_port
from tests.testbed.versions import Versions

_START_ATTEMPTS = 3
_START_TIMEOUT_S = 10
_REQUEST_TIMEOUT_S = 10


class Toxiproxy:
    """A toxiproxy server on a loopback port, with any number of proxies.

    Args:
        directory: The folder for its log.
        versions: Which toxiproxy; from the environment when None.

    Example:
        >>> with Toxiproxy(directory) as faults:
        ...     address = faults.add("target", plane.server)
        ...     kubeconfig = plane.kubeconfig_via(f"https://{address}")
        ...     faults.toxic("target", "latency", attributes={"latency": 100})
    """

    def __init__(self, directory: Path, versions: Versions | None = None) -> None:
        program = gobuild.binary(gobuild.Tool.TOXIPROXY, versions or Versions.from_environment())
        # Not the proxies of the environment (http_proxy): this server is on loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._url = ""
        self.process = self._start(program, directory / "toxiproxy.log")

    def _start(self, program: Path, log: Path) -> Child:
        for attempt in range(1, _START_ATTEMPTS + 1):
            port = free_port()
            self._url = f"http://127.0.0.1:{port}"
            process = Child([program, "-host", "127.0.0.1", "-port", str(port)], log)
            try:
                process.wait_until(self._answers, _START_TIMEOUT_S)
            except ProcessError:  # somebody else may have taken the port in the meantime
                process.stop()
                if attempt == _START_ATTEMPTS:
                    raise
            else:
                return process
        raise AssertionError("unreachable")

    def add(self, name: str, upstream: str) -> str:
        """Starts a proxy and returns the address (`127.0.0.1:port`) that it listens on.

        Args:
            name: The name of the proxy.
            upstream: The server behind it, as `host:port` or as a URL.
        """
        upstream = upstream.removeprefix("https://").removeprefix("http://").rstrip("/")
        proxy = {"name": name, "listen": f"127.0.0.1:{free_port()}", "upstream": upstream, "enabled": True}
        return str(self._call("POST", "/proxies", proxy)["listen"])

    def toxic(
        self,
        name: str,
        kind: str,
        stream: Literal["upstream", "downstream"] = "downstream",
        attributes: Mapping[str, int] | None = None,
        toxicity: float = 1.0,
    ) -> str:
        """Adds a fault to a proxy and returns the fault's name, for `remove_toxic`.

        Args:
            name: The name of the proxy.
            kind: `latency`, `bandwidth`, `slow_close`, `timeout`, `reset_peer`, `slicer`, `limit_data`.
            stream: Towards the server (upstream) or back from it (downstream).
            attributes: What the kind needs, times in ms: `{"latency": 100, "jitter": 10}`.
            toxicity: The share of connections that have the fault, from 0 to 1.
        """
        body = {"type": kind, "stream": stream, "toxicity": toxicity, "attributes": dict(attributes or {})}
        return str(self._call("POST", f"/proxies/{name}/toxics", body)["name"])

    def remove_toxic(self, name: str, toxic: str) -> None:
        """Takes a fault away from a proxy."""
        self._call("DELETE", f"/proxies/{name}/toxics/{toxic}")

    def remove(self, name: str) -> None:
        """Ends a proxy and its connections."""
        self._call("DELETE", f"/proxies/{name}")

    def disable(self, name: str) -> None:
        """Closes a proxy's connections and refuses new ones, as if the server were down."""
        self._call("POST", f"/proxies/{name}", {"enabled": False})

    def enable(self, name: str) -> None:
        """Lets a disabled proxy listen again, on the same address."""
        self._call("POST", f"/proxies/{name}", {"enabled": True})

    def reset(self) -> None:
        """Takes all faults away and enables all proxies."""
        self._call("POST", "/reset")

    def stop(self) -> None:
        """Ends the server and all proxies."""
        self.process.stop()

    def _answers(self) -> bool:
        try:
            self._call("GET", "/proxies")
        except OSError:
            return False
        return True

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        try:
            with self._opener.open(request, timeout=_REQUEST_TIMEOUT_S) as response:
                answer: dict[str, Any] = json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise ValueError(f"toxiproxy refused {method} {path}: {error.code} {text}") from error
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
