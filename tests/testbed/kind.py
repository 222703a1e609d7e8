"""The control planes of the test bed, by the way the environment asks for.

`TESTBED=kind` runs the same tests on kind clusters, where a Docker engine runs; without it the control
planes are processes on this machine (`controlplane`).
"""

import base64
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import yaml

from tests.testbed.controlplane import ControlPlane, ControlPlaneOptions, start_pair
from tests.testbed.pki import Authority, KeyPair, kubeconfig_text, write_private
from tests.testbed.processes import Probe
from tests.testbed.versions import Versions

_CREATE_WAIT = "180s"
_COMMAND_TIMEOUT_S = 600
_READY_TIMEOUT_S = 120.0
_POLL_S = 0.5
_MANIFESTS = "/etc/kubernetes/manifests"
_PARKED = "/etc/kubernetes"
_PKI = "/etc/kubernetes/pki"


class ManagementCluster(Protocol):
    """What tests use of a control plane, wherever it runs; see `ControlPlane` for what each does."""

    name: str
    directory: Path
    server: str
    kubeconfig: Path
    ca_pem: bytes
    admin_cert: Path
    admin_key: Path

    def stop(self) -> None:
        """Ends it."""

    def stop_apiserver(self) -> None:
        """Ends the API server."""

    def start_apiserver(self) -> None:
        """Starts the API server again, and waits until it is ready."""

    def restart_apiserver(self) -> None:
        """Ends the API server and starts it again."""

    def restart_etcd(self) -> None:
        """Ends etcd and starts it again with its data."""

    def restart_controller_manager(self) -> None:
        """Ends the controller manager and starts it again."""

    def kubeconfig_for(self, user: str, groups: Sequence[str] = (), url: str = "") -> Path:
        """Returns a kubeconfig for another user."""

    def kubeconfig_via(self, url: str) -> Path:
        """Returns the administrator's kubeconfig for the same server by another way."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class KindError(RuntimeError):
    """kind or docker is missing, or one of their commands failed."""


def wants_kind(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether TESTBED asks for kind clusters.

    Raises:
        ValueError: It asks for something that there is not.
    """
    wanted = environment.get("TESTBED") or "processes"
    if wanted not in ("processes", "kind"):
        raise ValueError(f"TESTBED={wanted}: it is `processes` (the default) or `kind`")
    return wanted == "kind"


def start(
    name: str,
    directory: Path,
    versions: Versions | None = None,
    options: ControlPlaneOptions | None = None,
) -> ManagementCluster:
    """Returns a ready control plane: processes, or with TESTBED=kind a kind cluster.

    Args:
        name: Its name.
        directory: An empty folder for its files.
        versions: Which Kubernetes; from the environment when None.
        options: What it consists of.
    """
    if wants_kind():
        return KindControlPlane.start(name, directory, versions, options)
    return ControlPlane.start(name, directory, versions, options)


def start_two(
    names: tuple[str, str],
    directory: Path,
    versions: Versions | None = None,
    options: ControlPlaneOptions | None = None,
) -> tuple[ManagementCluster, ManagementCluster]:
    """Returns two ready control planes, each with a folder of its own name in `directory`."""
    if not wants_kind():
        return start_pair(names, directory, versions, options)
    first = KindControlPlane.start(names[0], directory / names[0], versions, options)
    try:
        return first, KindControlPlane.start(names[1], directory / names[1], versions, options)
    except BaseException:
        first.stop()
        raise


class KindControlPlane:
    """A kind cluster of one node, with the surface of `ControlPlane`.

    Attributes:
        name: Its name, and that of the context in its kubeconfigs.
        directory: The folder with its kubeconfigs.
        server: The URL of the API server.
        kubeconfig: The administrator's kubeconfig, with everything embedded; mode 0600.
        ca_pem: The certificate that the server's certificate is verified with.
        admin_cert: The file with the administrator's certificate.
        admin_key: The file with the key of it.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.cluster = cluster_name(name)
        self.node = f"{self.cluster}-control-plane"
        raw = directory / "kind.kubeconfig"
        self.server, self.ca_pem, self._admin = read_kubeconfig(raw.read_text())
        self.admin_cert, self.admin_key = self._admin.write(directory, "admin")
        self.kubeconfig = self._write_kubeconfig("admin", self.server, self._admin)
        self._probe = Probe(self.server, self.ca_pem, (self.admin_cert, self.admin_key))

    @classmethod
    def start(
        cls,
        name: str,
        directory: Path,
        versions: Versions | None = None,
        options: ControlPlaneOptions | None = None,
    ) -> Self:
        """Creates a kind cluster and returns it when it is ready.

        Raises:
            KindError: Docker does not run, kind is missing, or it failed.
            ValueError: The options ask for API server flags, which kind clusters do not have here.
        """
        options = options or ControlPlaneOptions()
        if options.extra_apiserver_args:
            raise ValueError("a kind cluster takes no extra_apiserver_args: run this without TESTBED=kind")
        check_docker()
        directory.mkdir(parents=True, exist_ok=True)
        image = node_image(versions or Versions.from_environment(), os.environ)
        try:
            _run(create_command(name, directory / "kind.kubeconfig", image))
            cluster = cls(name, directory)
            if not options.controller_manager:
                cluster._park("kube-controller-manager")
        except BaseException:
            _run(delete_command(name, directory / "kind.kubeconfig"))
            raise
        return cluster

    def stop(self) -> None:
        """Deletes the cluster. Safe to call again."""
        _run(delete_command(self.name, self.directory / "kind.kubeconfig"))

    def stop_apiserver(self) -> None:
        """Takes the API server's manifest away and waits until the server is gone."""
        self._park("kube-apiserver")
        self._wait_for_server(ready=False)

    def start_apiserver(self) -> None:
        """Puts the API server's manifest back and waits until the server is ready."""
        self._unpark("kube-apiserver")
        self._wait_for_server(ready=True)

    def restart_apiserver(self) -> None:
        """Ends the API server and starts it again; clients lose their connections and watches."""
        self.stop_apiserver()
        self.start_apiserver()

    def restart_etcd(self) -> None:
        """Ends etcd and starts it again with its data."""
        self._park("etcd")
        self._wait_for_server(ready=False)  # the API server is not ready without it
        self._unpark("etcd")
        self._wait_for_server(ready=True)

    def restart_controller_manager(self) -> None:
        """Ends the controller manager; the kubelet starts it again."""
        self._exec("pkill", "-x", "kube-controller")  # the kernel keeps 15 characters of a name

    def kubeconfig_for(self, user: str, groups: Sequence[str] = (), url: str = "") -> Path:
        """Returns a kubeconfig for another user, who has the rights that RBAC gives and no others."""
        authority = Authority.load(self.ca_pem, self._exec("cat", f"{_PKI}/ca.key").encode())
        name = f"user-{user}-via-{url}" if url else f"user-{user}"
        return self._write_kubeconfig(name, url or self.server, authority.issue_client(user, groups))

    def kubeconfig_via(self, url: str) -> Path:
        """Returns the administrator's kubeconfig for the same server by another way (a URL on 127.0.0.1)."""
        return self._write_kubeconfig(f"via-{url}", url, self._admin)

    def _write_kubeconfig(self, name: str, server: str, pair: KeyPair) -> Path:
        path = self.directory / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}.kubeconfig"
        write_private(path, kubeconfig_text(self.name, server, self.ca_pem, pair).encode())
        return path

    def _park(self, part: str) -> None:
        """Moves the manifest of a static pod away: the kubelet then ends the pod."""
        self._exec("mv", f"{_MANIFESTS}/{part}.yaml", f"{_PARKED}/{part}.yaml")

    def _unpark(self, part: str) -> None:
        self._exec("mv", f"{_PARKED}/{part}.yaml", f"{_MANIFESTS}/{part}.yaml")

    def _exec(self, *command: str) -> str:
        return _run(["docker", "exec", self.node, *command])

    def _wait_for_server(self, *, ready: bool) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while self._probe.ready() != ready:
            if time.monotonic() > deadline:
                state = "ready" if ready else "gone"
                raise KindError(f"the API server of {self.cluster} was not {state} within {_READY_TIMEOUT_S:g} s")
            time.sleep(_POLL_S)  # a server in a container: there is no process of ours to wait on

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def check_docker() -> None:
    """Returns when docker and kind are there and a Docker engine answers.

    Raises:
        KindError: One of them is not; says which, and what to do.
    """
    for program in ("docker", "kind"):
        if shutil.which(program) is None:
            raise KindError(f"TESTBED=kind needs `{program}` on the PATH; without TESTBED it is not needed")
    try:
        _run(["docker", "info"])
    except KindError as error:
        raise KindError(
            f"TESTBED=kind needs a running Docker engine; start it, or run without TESTBED. {error}"
        ) from error


def cluster_name(name: str) -> str:
    """Returns the kind cluster's name, unlike that of any other run on this machine."""
    return f"capi-mover-{os.getpid()}-{name}"


def node_image(versions: Versions, environment: Mapping[str, str]) -> str | None:
    """Returns the image for the node, or None for the default of the installed kind.

    Each kind has images for a few patch versions only: the version counts where it was asked for by
    KUBERNETES. KIND_NODE_IMAGE goes first.
    """
    image = environment.get("KIND_NODE_IMAGE")
    if image:
        return image
    return f"kindest/node:{versions.kubernetes}" if environment.get("KUBERNETES") else None


def create_command(name: str, kubeconfig: Path, image: str | None) -> list[str]:
    """Returns the command line that creates the cluster."""
    command = ["kind", "create", "cluster", "--name", cluster_name(name), "--kubeconfig", str(kubeconfig)]
    return [*command, "--wait", _CREATE_WAIT, *(["--image", image] if image else [])]


def delete_command(name: str, kubeconfig: Path) -> list[str]:
    """Returns the command line that deletes the cluster; it succeeds where there is none."""
    return ["kind", "delete", "cluster", "--name", cluster_name(name), "--kubeconfig", str(kubeconfig)]


def read_kubeconfig(text: str) -> tuple[str, bytes, KeyPair]:
    """Returns the server's URL, its authority's certificate and the user's key pair."""
    config: dict[str, Any] = yaml.safe_load(text)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pair = KeyPair(base64.b64decode(user["client-certificate-data"]), base64.b64decode(user["client-key-data"]))
    return cluster["server"], base64.b64decode(cluster["certificate-authority-data"]), pair


def _run(command: list[str]) -> str:
    try:
        result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        raise KindError(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise KindError(f"`{' '.join(command)}` did not end within {_COMMAND_TIMEOUT_S} s") from error
    return result.stdout
