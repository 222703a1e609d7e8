"""Child processes that never outlive the program that started them."""

import atexit
import contextlib
import fcntl
import os
import queue
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

_LOG_TAIL_LINES = 20
_LOG_TAIL_BYTES = 16_384
_PROBE_TIMEOUT_S = 5.0

# Below the range that Linux (32768) and macOS (49152) take outgoing ports from: while a server is
# stopped by a fault test, no outgoing connection can take its port.
_PORTS = range(20_000, 30_000)
_PORT_ATTEMPTS = 100

# Runs in the child before the real program: asks the kernel for a SIGKILL when the parent dies (the
# request survives exec). A launcher and not `preexec_fn`, because Python code between fork and exec
# can deadlock in a program with threads; Python 3.12 and later warn about it. The comparison with
# getppid closes the gap in which the parent died before the request was made.
_LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class ProcessError(RuntimeError):
    """A child process ended, or did not become ready in time.

    Attributes:
        name: The name of the program.
        problem: What happened.
        log_tail: The last lines of the program's log.
    """

    def __init__(self, name: str, problem: str, log_tail: str) -> None:
        self.name = name
        self.problem = problem
        self.log_tail = log_tail
        super().__init__(f"{name} {problem}; the end of its log:\n{log_tail}")


class _Spawner:
    """Starts every child from one thread that lives as long as the program.

    The kernel sends the parent death signal when the *thread* that forked the child ends. A child
    that a pool's worker thread had started would be killed with that worker.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[
            tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]
        ] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._owner = 0

    def run(self, call: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Returns what `call` returns, run in the thread of the spawner."""
        with self._lock:
            if self._owner != os.getpid():  # a forked program has no threads of its parent
                threading.Thread(target=self._work, name="testbed-spawner", daemon=True).start()
                self._owner = os.getpid()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._calls.put((call, future))
        return future.result()

    def _work(self) -> None:
        while True:
            call, future = self._calls.get()
            try:
                future.set_result(call())
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                future.set_exception(error)


_spawner = _Spawner()
_running: dict[int, "Child"] = {}


class Child:
    """A program in its own session, with its output in a log file.

    It ends with `stop`, at the exit of this program, or (Linux) at the death of this program, however
    sudden. It is in its own session, so that a Ctrl-C at the terminal reaches only this program, which
    then stops its children in order.

    Args:
        argv: The program (a path, or a name on the PATH) and its arguments.
        log: The file that gets its stdout and stderr; appended to.
        environment: Its whole environment; that of this program when None.

    Example:
        >>> with Child(["etcd", "--version"], Path("etcd.log")) as etcd:
        ...     etcd.wait(timeout_s=5)
        0
    """

    def __init__(self, argv: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.argv = tuple(str(argument) for argument in argv)
        self.name = Path(self.argv[0]).name
        self.log = log
        self._environment = environment
        self._process = self._start()
        _running[self.pid] = self

    def _start(self) -> subprocess.Popen[bytes]:
        program = shutil.which(self.argv[0])
        if program is None:
            raise FileNotFoundError(f"no program {self.argv[0]}")
        command = [program, *self.argv[1:]]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
        with self.log.open("ab") as output:
            return _spawner.run(
                lambda: subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                )
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> int:
        """Returns the exit status once the process has ended.

        Raises:
            TimeoutError: It still runs after `timeout_s` seconds.
        """
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} (pid {self.pid}) still runs after {timeout_s:g} s") from error
        _running.pop(self.pid, None)
        return status

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, to this process only; does nothing when it has ended."""
        # Popen polls before it sends: a process id that was given to somebody else is never hit.
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends the process with SIGKILL, as a crash would, and waits until it is gone."""
        self.send(signal.SIGKILL)
        self.wait(timeout_s=30)

    def stop(self, timeout_s: float = 10) -> None:
        """Ends the process: SIGTERM, and SIGKILL after `timeout_s` seconds. Safe to call again."""
        self.send(signal.SIGTERM)
        try:
            self.wait(timeout_s)
        except TimeoutError:
            self.kill()

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        """Returns the last lines of the log."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Returns once `ready` returns True.

        Args:
            ready: Asked again and again, 20 ms apart at first, at most 200 ms apart.
            timeout_s: How long to ask, in seconds.

        Raises:
            ProcessError: The process ended, or was not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        pause_s = 0.02
        while not ready():
            if not self.running:
                raise ProcessError(self.name, f"ended with status {self._process.returncode}", self.log_tail())
            if time.monotonic() > deadline:
                raise ProcessError(self.name, f"was not ready within {timeout_s:g} s", self.log_tail())
            with contextlib.suppress(TimeoutError):
                self.wait(pause_s)  # a pause that ends at once when the process does
            pause_s = min(pause_s * 1.5, 0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stop_all(children: Sequence[Child], timeout_s: float = 10) -> None:
    """Ends several processes at once: SIGTERM to all, then SIGKILL to those that remain.

    Args:
        children: The processes; those that have ended are left alone.
        timeout_s: How long to wait for all of them together, in seconds.
    """
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.send(signal.SIGTERM)
    for child in children:
        child.stop(max(0.0, deadline - time.monotonic()))


@atexit.register
def _stop_at_exit() -> None:
    stop_all(list(_running.values()), timeout_s=5)


class _Reservations:
    """Ports that this program has chosen, and that no other test bed of the machine chooses meanwhile.

    A port is chosen long before a server listens on it, so that it is free says little. It is locked as a byte of a
    file that all test beds of a user share; the kernel gives the lock back when the program ends, however it ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._file = -1
        self._owner = 0

    def take(self, port: int) -> bool:
        """Returns whether the port is now this program's; False when it, or another program, has it already."""
        with self._lock:
            if self._owner != os.getpid():  # a forked program has none of its parent's locks
                path = Path(tempfile.gettempdir()) / f"capi-mover-ports-{os.getuid()}"
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                self._owner, self._taken = os.getpid(), set()
            if port in self._taken:
                return False
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            except (BlockingIOError, PermissionError):
                return False
            self._taken.add(port)
            return True


_reservations = _Reservations()


def free_port() -> int:
    """Returns a TCP port that nobody listens on, and that this function returns to nobody else.

    It is this program's until it ends: a server that is stopped finds its port again. A program that is no test bed
    may still take it.
    """
    chooser = random.SystemRandom()
    for _ in range(_PORT_ATTEMPTS):
        port = chooser.choice(_PORTS)
        if _listened_on(port) or not _reservations.take(port):
            continue
        return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


def _listened_on(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("", port))  # on any address: some servers of the test bed listen on all of them
        except OSError:
            return True
    return False


class Probe:
    """Asks a server of a control plane how it is.

    Args:
        server: Its URL.
        ca_pem: The certificate that the server's certificate is verified with.
        certificate: The files with the certificate and the key of an administrator.
    """

    def __init__(self, server: str, ca_pem: bytes, certificate: tuple[Path, Path]) -> None:
        context = ssl.create_default_context(cadata=ca_pem.decode())
        context.load_cert_chain(*certificate)
        self._server = server
        # Not the proxies of the environment (https_proxy): this server is on loopback.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def ready(self) -> bool:
        """Returns whether the API server is ready, its storage answers, and the first namespaces exist.

        `/readyz` alone is not enough: it reports the state of etcd from a moment ago, and it does not
        wait for the namespace `default`. A read of one object goes through to etcd.
        """
        return all(
            self.answers(path) for path in ("/readyz", "/api/v1/namespaces/kube-system", "/api/v1/namespaces/default")
        )

    def answers(self, path: str) -> bool:
        """Returns whether the server answers 200; an error is a no."""
        try:
            with self._opener.open(f"{self._server}{path}", timeout=_PROBE_TIMEOUT_S) as response:
                return bool(response.status == 200)
        except (OSError, HTTPException):
            return False
