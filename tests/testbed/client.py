"""A small asynchronous admin client for test code: what the tests do to a cluster behind the mover's back.

It shares nothing with `mover.kube`, so that a fault there cannot hide itself in the tests.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import yaml

JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Body = Mapping[str, Any]


class AdminError(Exception):
    """An answer of the API server that is not a success.

    Attributes:
        status: The HTTP status.
        reason: The reason of the Status object, e.g. "AlreadyExists"; "" if the answer was no Status.
        message: The server's message.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class AdminClient:
    """An API server seen with the credentials of a kubeconfig's current context.

    Use it as an asynchronous context manager. `manager` in its methods is the field manager's name.

    Example:
        >>> async with AdminClient(kubeconfig) as client:
        ...     await client.get("/api/v1/namespaces/default")
    """

    def __init__(self, kubeconfig: Path, *, connections: int = 64) -> None:
        cluster, user = _current_context(yaml.safe_load(kubeconfig.read_text()))
        self.server: str = cluster["server"].rstrip("/")
        self._ssl = _ssl_context(cluster, user)
        # On loopback compressing answers costs more than sending them.
        self._headers = {"Accept-Encoding": "identity"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._ssl)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.close()
        self._session = None

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("AdminClient is used outside of its context")
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """Returns the parsed answer of one request, or None for an empty one.

        Raises:
            AdminError: The server answered 400 or more.
        """
        data = None if body is None else orjson.dumps(body)
        headers = {"Accept": accept} if data is None else {"Accept": accept, "Content-Type": content_type}
        async with self._open.request(
            method, self.server + path, data=data, params=params, headers=headers
        ) as response:
            raw = await response.read()
            if response.status >= 400:
                raise _error(response.status, raw)
        return orjson.loads(raw) if raw.startswith((b"{", b"[")) else (raw.decode() or None)

    async def get(self, path: str) -> Any:
        """Returns the object at `path`."""
        return await self.request("GET", path)

    async def list(self, path: str, **params: str) -> Any:
        """Returns one list answer, metadata and all; `params` are e.g. `labelSelector`."""
        return await self.request("GET", path, params=params)

    async def list_metadata(self, path: str) -> Any:
        """Returns all items at `path` without anything but their metadata."""
        answer = await self.request("GET", path, accept=METADATA_LIST)
        return answer["items"] or ()  # of no objects of a built-in type: null

    async def list_all(self, path: str, *, page: int = 500) -> tuple[Any, ...]:
        """Returns all items at `path`, read in pages of `page`."""
        items: list[Any] = []
        params = {"limit": str(page)}
        while True:
            answer = await self.list(path, **params)
            items += answer["items"]
            token = answer["metadata"].get("continue")
            if not token:
                return tuple(items)
            params["continue"] = token

    async def create(self, path: str, body: Body, *, manager: str = "", strict: bool = False) -> Any:
        """Returns the object that was made; `strict` refuses fields that its schema does not know."""
        return await self.request("POST", path, body, params=_write_params(manager, strict=strict))

    async def patch_merge(
        self, path: str, patch: Body, *, manager: str = "", subresource: str = "", strict: bool = False
    ) -> Any:
        """Returns the object after a merge patch of it or of its subresource."""
        target = f"{path}/{subresource}" if subresource else path
        params = _write_params(manager, strict=strict)
        return await self.request("PATCH", target, patch, params=params, content_type=MERGE_PATCH)

    async def patch_json(self, path: str, operations: Any, *, manager: str = "") -> Any:
        """Returns the object after a list of JSON patch operations."""
        params = _write_params(manager)
        return await self.request("PATCH", path, operations, params=params, content_type=JSON_PATCH)

    async def apply(self, path: str, body: Body, *, manager: str, force: bool = True, strict: bool = False) -> Any:
        """Returns the object after a server-side apply of `body`."""
        params = {**_write_params(manager, strict=strict), "force": str(force).lower()}
        return await self.request("PATCH", path, body, params=params, content_type=APPLY_PATCH)

    async def patch_status(self, path: str, status: Body, *, manager: str = "", strict: bool = False) -> Any:
        """Returns the object after a merge patch of its status subresource."""
        patch = {"status": status}
        return await self.patch_merge(path, patch, manager=manager, subresource="status", strict=strict)

    async def delete(self, path: str, options: Body | None = None) -> Any:
        """Returns the answer to a DELETE with these DeleteOptions."""
        return await self.request("DELETE", path, options)

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[Any]:
        """Yields watch events (`{"type": ..., "object": ...}`) until the server ends the watch."""
        params = {"watch": "true", "resourceVersion": resource_version, "allowWatchBookmarks": "true"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self._open.get(self.server + path, params=params, timeout=timeout) as response:
            if response.status >= 400:
                raise _error(response.status, await response.read())
            pending = b""
            async for chunk in response.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    yield orjson.loads(line)


def _write_params(manager: str, *, strict: bool = False) -> dict[str, str]:
    params = {"fieldManager": manager} if manager else {}
    return {**params, "fieldValidation": "Strict"} if strict else params


def _error(status: int, raw: bytes) -> AdminError:
    text = raw.decode(errors="replace")
    if not text.startswith("{"):
        return AdminError(status, "", text.strip())
    answer = orjson.loads(raw)
    return AdminError(status, answer.get("reason", ""), answer.get("message", text))


def _current_context(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    return cluster, _named(config["users"], context["user"])["user"]


def _named(entries: Any, name: str) -> Any:
    return next(entry for entry in entries if entry["name"] == name)


def _ssl_context(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    if "client-certificate-data" in user:
        _load_client_certificate(context, user)
    return context


def _load_client_certificate(context: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    """Loads the embedded pair into `context`; `ssl` reads such pairs from files only."""
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder) / "client.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(
            base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
        )
        context.load_cert_chain(pair)
