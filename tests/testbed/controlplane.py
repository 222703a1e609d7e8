"""A real Kubernetes control plane on loopback: etcd, API server and controller manager.

No kubelet and no scheduler: nothing runs in it, but objects, watches, finalizers, owner references,
admission and RBAC behave as they do anywhere.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.durations import counted
from tests.testbed import gobuild
from tests.testbed.gobuild import Tool
from tests.testbed.pki import Authority, KeyPair, kubeconfig_text, signing_key_pair, write_private
from tests.testbed.processes import Child, Probe, ProcessError, free_port, stop_all
from tests.testbed.versions import Versions

_START_ATTEMPTS = 3
_READY_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 2.0  # an API server waits a minute for its watches to end
_PORT_TAKEN = "address already in use"
_SERVICE_ADDRESSES = "10.0.0.0/24"
_HOSTS = (
    "127.0.0.1",
    "localhost",
    "10.0.0.1",  # the first of the service addresses: the service `kubernetes`
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_TOOLS = (Tool.ETCD, Tool.KUBE_APISERVER, Tool.KUBE_CONTROLLER_MANAGER)


@dataclass(frozen=True)
class ControlPlaneOptions:
    """What a control plane consists of.

    Attributes:
        controller_manager: Whether the garbage collector and the namespace controller run.
        extra_apiserver_args: More flags for the API server; they override earlier ones.
    """

    controller_manager: bool = True
    extra_apiserver_args: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Ports:
    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int

    @classmethod
    def choose(cls) -> Self:
        return cls(free_port(), free_port(), free_port(), free_port())


@dataclass(frozen=True)
class _Programs:
    etcd: Path
    apiserver: Path
    controller_manager: Path | None


class ControlPlane:
    """A control plane whose parts can be stopped and started again, with the same ports and data.

    Made by `start` or `start_pair`, not by its constructor.

    Attributes:
        name: Its name, and that of the context in its kubeconfigs.
        directory: The folder with its data, certificates, kubeconfigs and logs.
        server: The URL of the API server.
        kubeconfig: The administrator's kubeconfig, with everything embedded; mode 0600.
        ca_pem: The certificate that the server's certificate is verified with.
        admin_cert: The file with the administrator's certificate.
        admin_key: The file with the key of it.
        etcd: The process of etcd, for fault tests.
        apiserver: The process of the API server.
        controller_manager: The process of the controller manager, or None.

    Example:
        >>> with ControlPlane.start("source", directory) as plane:
        ...     plane.server
        'https://127.0.0.1:20123'
    """

    def __init__(self, name: str, directory: Path, programs: _Programs, options: ControlPlaneOptions) -> None:
        self.name = name
        self.directory = directory
        self._programs = programs
        self._options = options
        self._authority = Authority.create(f"{name}-ca")
        self._use_ports(_Ports.choose())
        self._write_certificates()
        self.etcd: Child | None = None
        self.apiserver: Child | None = None
        self.controller_manager: Child | None = None

    @classmethod
    def start(
        cls,
        name: str,
        directory: Path,
        versions: Versions | None = None,
        options: ControlPlaneOptions | None = None,
    ) -> Self:
        """Returns a control plane that is ready for requests.

        Args:
            name: Its name.
            directory: An empty folder for it; made when it is missing.
            versions: Which Kubernetes and etcd; from the environment when None.
            options: What it consists of.

        Raises:
            ProcessError: A part ended or did not become ready.
        """
        return cls._start_all((name,), directory, versions, options)[0]

    @classmethod
    def _start_all(
        cls,
        names: Sequence[str],
        directory: Path,
        versions: Versions | None,
        options: ControlPlaneOptions | None,
    ) -> list[Self]:
        """Returns ready control planes, one in the folder itself or each in a folder of its own name."""
        options = options or ControlPlaneOptions()
        programs = _programs(versions or Versions.from_environment(), options)
        planes: list[Self] = []
        with contextlib.ExitStack() as undo, counted("control planes", len(names)):
            for name in names:
                folder = directory if len(names) == 1 else directory / name
                folder.mkdir(parents=True, exist_ok=True)
                planes.append(cls(name, folder, programs, options))
                undo.enter_context(planes[-1])
            for plane in planes:
                plane._launch()  # all at once: they start while others are waited for
            for plane in planes:
                plane._complete()
            for plane in planes:
                plane._wait_controller_manager()
            undo.pop_all()
        return planes

    # --- parts --------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends all parts; the folder stays. Safe to call again."""
        parts = (self.controller_manager, self.apiserver, self.etcd)
        # The API server's own wait for open watches is not worth having here: nobody reads its data again.
        if self.apiserver is not None:
            self.apiserver.kill()
        stop_all([part for part in parts if part is not None], _STOP_TIMEOUT_S)

    def stop_apiserver(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Ends the API server: in order, or, after `timeout_s` seconds, by SIGKILL."""
        if self.apiserver is not None:
            self.apiserver.stop(timeout_s)

    def start_apiserver(self) -> None:
        """Starts the API server where it was, and waits until it is ready."""
        if self.apiserver is None or not self.apiserver.running:
            self.apiserver = self._spawn(self._apiserver_command())
        self._wait_ready()

    def restart_apiserver(self) -> None:
        """Ends the API server and starts it again; clients lose their connections and watches."""
        self.stop_apiserver()
        self.start_apiserver()

    def restart_etcd(self) -> None:
        """Ends etcd as a crash would and starts it again, under an API server that goes on running.

        Whatever it had confirmed is still there: without fsync, data is lost only with the machine.
        """
        if self.etcd is not None:
            self.etcd.kill()  # in order, it would wait 5 seconds for the API server to close its connections
        self.etcd = self._spawn(self._etcd_command())
        certificate = (self._file("etcd.crt"), self._file("etcd.key"))
        etcd = Probe(f"https://127.0.0.1:{self._ports.etcd}", self._file("etcd-ca.crt").read_bytes(), certificate)
        self.etcd.wait_until(lambda: etcd.answers("/health"), _READY_TIMEOUT_S)
        self._wait_ready()

    def restart_controller_manager(self) -> None:
        """Ends the controller manager and starts it again, and waits until it is healthy.

        The garbage collector looks for new resource types every 30 seconds only. After this it knows
        those of CRDs that were installed before.
        """
        if self.controller_manager is not None:
            self.controller_manager.stop(_STOP_TIMEOUT_S)
        self._launch_controller_manager()
        self._wait_controller_manager()

    def _launch_controller_manager(self) -> None:
        self.controller_manager = self._spawn(self._controller_manager_command())

    def _wait_controller_manager(self) -> None:
        if self.controller_manager is not None:
            manager = Probe(f"https://127.0.0.1:{self._ports.controller_manager}", self.ca_pem, self._admin_files)
            self.controller_manager.wait_until(lambda: manager.answers("/healthz"), _READY_TIMEOUT_S)

    def _launch(self) -> None:
        self.etcd = self._spawn(self._etcd_command())
        self.apiserver = self._spawn(self._apiserver_command())  # it waits for etcd by itself

    def _complete(self) -> None:
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                self._wait_ready()
                break
            except ProcessError as error:
                if attempt == _START_ATTEMPTS or not self._lost_port(error):
                    raise
                self._relaunch()
        if self._options.controller_manager:
            self._launch_controller_manager()

    def _lost_port(self, error: ProcessError) -> bool:
        """Whether another program took one of the ports between their choice and their use."""
        etcd_log = self.etcd.log_tail() if self.etcd is not None else ""
        return _PORT_TAKEN in error.log_tail or _PORT_TAKEN in etcd_log

    def _relaunch(self) -> None:
        self.stop()
        self._use_ports(_Ports.choose())
        for log in self.directory.glob("*.log"):
            log.unlink()
        self._launch()

    def _use_ports(self, ports: _Ports) -> None:
        self._ports = ports
        self.server = f"https://127.0.0.1:{ports.apiserver}"
        self.ca_pem = self._authority.pem
        self._admin = self._authority.issue_client(f"{self.name}-admin", ["system:masters"])
        self.kubeconfig = self._write_kubeconfig("admin", self.server, self._admin)
        # The garbage collector deletes whatever there is, so it needs all rights; elsewhere it has a
        # service account for that.
        manager = self._authority.issue_client("system:kube-controller-manager", ["system:masters"])
        self._write_kubeconfig("controller-manager", self.server, manager)

    def _spawn(self, command: list[str]) -> Child:
        return Child(command, self.directory / f"{Path(command[0]).name}.log")

    def _wait_ready(self) -> None:
        if self.apiserver is None or self.etcd is None:
            raise ValueError(f"the control plane {self.name} was not started")
        probe = Probe(self.server, self.ca_pem, self._admin_files)
        try:
            self.apiserver.wait_until(lambda: not self._etcd_running() or probe.ready(), _READY_TIMEOUT_S)
        except ProcessError:
            self._check_etcd()  # without etcd, the API server's end is only a consequence
            raise
        self._check_etcd()

    @property
    def _admin_files(self) -> tuple[Path, Path]:
        return self.admin_cert, self.admin_key

    def _etcd_running(self) -> bool:
        return self.etcd is not None and self.etcd.running

    def _check_etcd(self) -> None:
        if self.etcd is not None and not self.etcd.running:
            raise ProcessError(self.etcd.name, "ended", self.etcd.log_tail())

    # --- command lines ------------------------------------------------------------------------------

    def _etcd_command(self) -> list[str]:
        client, peer = (f"https://127.0.0.1:{port}" for port in (self._ports.etcd, self._ports.etcd_peer))
        # With client certificates, peers included: other users of the machine have no way to the data.
        files = {"cert-file": "etcd.crt", "key-file": "etcd.key", "trusted-ca-file": "etcd-ca.crt"}
        secured = [f"--{prefix}{flag}={self._file(file)}" for prefix in ("", "peer-") for flag, file in files.items()]
        return [
            str(self._programs.etcd),
            f"--name={self.name}",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={self.name}={peer}",
            *secured,
            "--client-cert-auth",
            "--peer-client-cert-auth",
            "--unsafe-no-fsync",  # its data need not survive the machine, only the process
            "--quota-backend-bytes=2147483648",
            "--snapshot-count=10000",
            "--log-level=warn",
        ]

    def _apiserver_command(self) -> list[str]:
        return [
            str(self._programs.apiserver),
            f"--etcd-servers=https://127.0.0.1:{self._ports.etcd}",
            f"--etcd-cafile={self._file('etcd-ca.crt')}",
            f"--etcd-certfile={self._file('etcd.crt')}",
            f"--etcd-keyfile={self._file('etcd.key')}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",  # a loopback address is not allowed in Endpoints
            f"--secure-port={self._ports.apiserver}",
            f"--cert-dir={self.directory}",
            f"--tls-cert-file={self._file('apiserver.crt')}",
            f"--tls-private-key-file={self._file('apiserver.key')}",
            f"--client-ca-file={self._file('ca.crt')}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={self._file('service-account.pub')}",
            f"--service-account-signing-key-file={self._file('service-account.key')}",
            f"--service-cluster-ip-range={_SERVICE_ADDRESSES}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",  # nobody makes the default accounts here
            *self._options.extra_apiserver_args,
        ]

    def _controller_manager_command(self) -> list[str]:
        if self._programs.controller_manager is None:
            raise ValueError(f"the control plane {self.name} was started without a controller manager")
        return [
            str(self._programs.controller_manager),
            f"--kubeconfig={self.directory / 'controller-manager.kubeconfig'}",
            "--controllers=garbage-collector-controller,namespace-controller",
            "--leader-elect=false",
            "--use-service-account-credentials=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._ports.controller_manager}",
            f"--tls-cert-file={self._file('apiserver.crt')}",
            f"--tls-private-key-file={self._file('apiserver.key')}",
        ]

    def _file(self, name: str) -> Path:
        return self.directory / name

    # --- credentials --------------------------------------------------------------------------------

    def kubeconfig_for(self, user: str, groups: Sequence[str] = (), url: str = "") -> Path:
        """Returns a kubeconfig for another user, who has the rights that RBAC gives and no others.

        Args:
            user: Its name.
            groups: The groups that it is in.
            url: Another way to the same server; see `kubeconfig_via`.
        """
        pair = self._authority.issue_client(user, groups)
        name = f"user-{user}-via-{url}" if url else f"user-{user}"
        return self._write_kubeconfig(name, url or self.server, pair)

    def kubeconfig_via(self, url: str) -> Path:
        """Returns the administrator's kubeconfig for the same server by another way.

        Args:
            url: A URL on 127.0.0.1, such as that of a proxy that passes TLS on; the server's
                certificate is valid for it.
        """
        return self._write_kubeconfig(f"via-{url}", url, self._admin)

    def _write_kubeconfig(self, name: str, server: str, pair: KeyPair) -> Path:
        path = self.directory / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}.kubeconfig"
        write_private(path, kubeconfig_text(self.name, server, self.ca_pem, pair).encode())
        return path

    def _write_certificates(self) -> None:
        # etcd has an authority of its own: a certificate of a Kubernetes user does not open it.
        etcd_authority = Authority.create(f"{self.name}-etcd-ca")
        self._file("ca.crt").write_bytes(self.ca_pem)
        self._file("etcd-ca.crt").write_bytes(etcd_authority.pem)
        etcd_authority.issue_server("etcd", ["127.0.0.1", "localhost"]).write(self.directory, "etcd")
        self._authority.issue_server("kube-apiserver", _HOSTS).write(self.directory, "apiserver")
        self.admin_cert, self.admin_key = self._admin.write(self.directory, "admin")
        public, private = signing_key_pair()
        self._file("service-account.pub").write_bytes(public)
        write_private(self._file("service-account.key"), private)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_pair(
    names: tuple[str, str],
    directory: Path,
    versions: Versions | None = None,
    options: ControlPlaneOptions | None = None,
) -> tuple[ControlPlane, ControlPlane]:
    """Returns two control planes that started at the same time, each in a folder with its name.

    Raises:
        ProcessError: A part of one ended or did not become ready; nothing is left running then.
    """
    first, second = ControlPlane._start_all(names, directory, versions, options)
    return first, second


def _programs(versions: Versions, options: ControlPlaneOptions) -> _Programs:
    tools = [tool for tool in _TOOLS if options.controller_manager or tool is not Tool.KUBE_CONTROLLER_MANAGER]
    gobuild.ensure(tools, versions)
    paths = {tool: gobuild.binary(tool, versions) for tool in tools}
    return _Programs(
        etcd=paths[Tool.ETCD],
        apiserver=paths[Tool.KUBE_APISERVER],
        controller_manager=paths.get(Tool.KUBE_CONTROLLER_MANAGER),
    )
