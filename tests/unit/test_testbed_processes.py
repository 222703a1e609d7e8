"""Child processes end when they should: by stop, with their context, and with their parent."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.testbed import processes
from tests.testbed.processes import Child, ProcessError, free_port, stop_all

_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)


def _sleeper(tmp_path: Path) -> Child:
    return Child(["sleep", "60"], tmp_path / "sleep.log")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed grandchild can be a zombie for as long as its new parent has not asked for it.
    return " Z " not in Path(f"/proc/{pid}/stat").read_text() if sys.platform == "linux" else True


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while _exists(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def test_stop_ends_a_process(tmp_path: Path) -> None:
    child = _sleeper(tmp_path)
    assert child.running

    child.stop()

    assert not child.running
    child.stop()  # again, without harm


def test_stop_kills_a_process_that_ignores_the_request(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", _STUBBORN], tmp_path / "stubborn.log")
    child.wait_until(lambda: "up" in child.log_tail(), timeout_s=10)

    child.stop(timeout_s=0.1)

    assert child.wait(timeout_s=0) == -signal.SIGKILL


def test_a_context_ends_its_process(tmp_path: Path) -> None:
    with _sleeper(tmp_path) as child:
        assert child.running

    assert not child.running


def test_stop_all_ends_several_processes(tmp_path: Path) -> None:
    children = [_sleeper(tmp_path) for _ in range(3)]

    stop_all(children)

    assert not any(child.running for child in children)


def test_a_process_is_in_its_own_session(tmp_path: Path) -> None:
    with _sleeper(tmp_path) as child:
        assert os.getsid(child.pid) == child.pid


def test_the_log_has_what_the_process_wrote(tmp_path: Path) -> None:
    log = tmp_path / "shell.log"
    child = Child(["sh", "-c", "echo out; echo err >&2; exit 3"], log)

    assert child.wait(timeout_s=10) == 3
    assert log.read_text() == "out\nerr\n"


def test_a_process_gets_the_environment_that_it_was_given(tmp_path: Path) -> None:
    child = Child(["/bin/sh", "-c", "echo $GREETING"], tmp_path / "log", environment={"GREETING": "hello"})

    child.wait(timeout_s=10)

    assert child.log_tail() == "hello"


def test_a_process_that_ends_early_is_an_error_with_its_log(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "echo no such flag; exit 2"], tmp_path / "shell.log")

    with pytest.raises(ProcessError, match=r"sh ended with status 2.*\nno such flag"):
        child.wait_until(lambda: False, timeout_s=10)


def test_a_process_that_is_not_ready_in_time_is_an_error(tmp_path: Path) -> None:
    with _sleeper(tmp_path) as child, pytest.raises(ProcessError, match=r"was not ready within 0\.1 s"):
        child.wait_until(lambda: False, timeout_s=0.1)


def test_a_program_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        Child(["no-such-program"], tmp_path / "log")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_children_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.testbed.processes import Child\n"
        f"children = [Child(['sleep', '60'], Path({str(tmp_path / 'log')!r})) for _ in range(2)]\n"
        "print(*(child.pid for child in children), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(_exists(pid) for pid in pids)

        parent.kill()

    for pid in pids:
        _wait_until_gone(pid)


def test_children_are_stopped_when_the_program_is_interrupted(tmp_path: Path) -> None:
    # A program that a shell has put into the background is born deaf to Ctrl-C.
    program = (
        "import signal, time; from pathlib import Path; from tests.testbed.processes import Child\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"child = Child(['sleep', '60'], Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())

        parent.send_signal(signal.SIGINT)
        parent.communicate(timeout=20)

    _wait_until_gone(pid)


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(_sleeper(tmp_path)))
    thread.start()
    thread.join()

    with children[0] as child, pytest.raises(TimeoutError):
        child.wait(timeout_s=0.3)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


@pytest.fixture
def own_reservations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps reservations apart from those of everybody else: another run of this test may be at the same ports."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(processes, "_reservations", processes._Reservations())


@pytest.mark.usefixtures("own_reservations")
def test_no_port_is_given_twice_though_nobody_listens_on_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PORTS", range(19_000, 19_004))

    given: list[int] = []
    with pytest.raises(OSError, match="no free port"):
        given.extend(iter(free_port, None))

    assert given
    assert len(given) == len(set(given)) <= 4


@pytest.mark.usefixtures("own_reservations")
def test_a_port_that_another_program_has_chosen_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PORTS", range(19_010, 19_011))
    program = """
import sys
from tests.testbed import processes
processes._PORTS = range(19_010, 19_011)
print(processes.free_port(), flush=True)
sys.stdin.read()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "19010\n"
        with pytest.raises(OSError, match="no free port"):
            free_port()
        other.communicate(timeout=20)

    assert free_port() == 19_010
