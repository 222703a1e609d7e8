"""The crash tests' own parts: a driver that counts its writes and kills itself at one, and the choice of points."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mover import errors
from mover.kube import transport
from mover.kube.transport import Request, Session, Transport
from tests.crash.driver import Command, KillPoint, When, WriteCounter, described
from tests.crash.drivers import Run
from tests.crash.points import Batch, batches, one_of_each_kind, points, wants_all

ALL = {"CRASH_POINTS": "all"}
NO_SESSION = Session("", None, None, {})  # type: ignore[arg-type]
READ, WRITE = Request("GET", "/api/v1/pods"), Request("POST", "/api/v1/pods", body=b"{}")


class Killed(BaseException):
    """Stands for the end of the process."""


class Server:
    """Takes the place of `Transport._send_once`: notes what was sent, and refuses it if told to."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.sent: list[Request] = []
        self._refuses = refuses

    async def send_once(self, link: Transport, session: Session, request: Request) -> bytes:
        """Answers one request."""
        del link, session
        self.sent.append(request)
        if self._refuses:
            raise errors.ConflictError(errors.Call("target", request.method, request.path), 409, "", "")
        return b"{}"


def link() -> Transport:
    async def never() -> Session:
        raise AssertionError("no request is sent")

    return Transport("target", never)


def killing(point: KillPoint | None) -> WriteCounter:
    def kill() -> None:
        raise Killed

    return WriteCounter(point, kill)


async def test_writes_are_counted_and_reads_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    counter, server = killing(None), Server()
    send = counter.wrap(server.send_once)
    for request in (READ, WRITE, READ, WRITE):
        await send(link(), NO_SESSION, request)
    assert counter.total == 2
    assert server.sent == [READ, WRITE, READ, WRITE]
    assert capsys.readouterr().out == "1 POST target /api/v1/pods\n2 POST target /api/v1/pods\n"


@pytest.mark.parametrize(("when", "sent"), [(When.BEFORE, 1), (When.AFTER, 2)])
async def test_a_process_dies_before_it_sends_the_write_or_after_its_answer(when: When, sent: int) -> None:
    server = Server()
    send = killing(KillPoint(2, when)).wrap(server.send_once)
    await send(link(), NO_SESSION, WRITE)
    with pytest.raises(Killed):
        await send(link(), NO_SESSION, WRITE)
    assert len(server.sent) == sent


async def test_a_refusal_is_an_answer_to_die_after() -> None:
    send = killing(KillPoint(1, When.AFTER)).wrap(Server(refuses=True).send_once)
    with pytest.raises(Killed):
        await send(link(), NO_SESSION, WRITE)


def test_a_move_record_is_described_with_its_phase() -> None:
    record = Request(
        "PATCH", "/api/v1/namespaces/default/configmaps/capi-mover.x", body=b'{"data":{"phase":"creating"}}'
    )
    assert described(link(), record).endswith("configmaps/capi-mover.x creating")
    status = Request("PATCH", "/p/status", body=b'[{"op":"add"}]', content_type=transport.JSON_PATCH)
    assert described(link(), status) == "PATCH target /p/status"


def test_the_log_of_a_run_says_at_which_write_it_ended() -> None:
    run = Run(-9, "a warning\n1 POST source /a\n2 POST target /a\n")
    assert run.writes == ("1 POST source /a", "2 POST target /a")
    assert run.last_write == "2 POST target /a"
    assert Run(1, "Traceback").last_write == "no write"


def test_a_server_forks_a_process_per_line_and_tells_how_it_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    clusters = ("--source", "/no/source", "--target", "/no/target", "-n", "ns")
    lines = [shlex.join([str(log), *clusters, "--command", command.value]) for command in Command]
    served = subprocess.run(
        [sys.executable, "-m", "tests.crash.driver", "--serve"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert served.stdout == "1\n1\n1\n"
    assert "/no/source" in log.read_text()


def test_the_process_really_dies_by_sigkill() -> None:
    code = "from tests.crash.driver import die; die(); print('alive')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not ended.stdout


_RECORD = "/api/v1/namespaces/default/configmaps"
_WRITES = (
    "1 POST source /apis/coordination.k8s.io/v1/namespaces/default/leases",
    f"2 POST source {_RECORD} claimed",
    f"3 PATCH source {_RECORD}/capi-mover.n pausing",
    "4 PATCH source /apis/metal3.io/v1alpha1/namespaces/n/baremetalhosts/h1",
    "5 PATCH source /apis/metal3.io/v1alpha1/namespaces/n/baremetalhosts/h2",
    f"6 PATCH source {_RECORD}/capi-mover.n creating",
    "7 POST target /api/v1/namespaces",
    "8 POST target /apis/ipam.metal3.io/v1alpha1/namespaces/n/ippools",
    "9 PATCH target /apis/ipam.metal3.io/v1alpha1/namespaces/n/ippools/p/status",
    "10 POST target /apis/cluster.x-k8s.io/v1beta2/namespaces/n/machines",
    "11 POST target /api/v1/namespaces/n/configmaps",
    "12 POST target /apis/cluster.x-k8s.io/v1beta2/namespaces/n/clusters",
)


def test_one_write_of_each_kind_is_tried_by_default_alternately_before_and_after() -> None:
    assert one_of_each_kind(_WRITES) == (1, 2, 3, 5, 6, 7, 9, 10, 12)
    resumed, undone = (points(then, _WRITES, 6, {}) for then in (Command.RESUME, Command.ROLLBACK))
    assert [point.number for point in resumed] == [1, 3, 6, 7, 9, 10, 12]
    assert [point.number for point in undone] == [2, 5]
    assert [point.when for point in resumed[:3]] == [When.BEFORE, When.AFTER, When.BEFORE]


def test_the_same_write_in_another_phase_is_another_kind() -> None:
    again = (
        *_WRITES,
        f"13 PATCH source {_RECORD}/capi-mover.n deleting",
        "14 PATCH source /api/v1/namespaces/n/secrets/s",
    )
    later = (
        *again,
        f"15 PATCH source {_RECORD}/capi-mover.n resuming",
        "16 PATCH source /api/v1/namespaces/n/secrets/s",
    )
    assert one_of_each_kind(later)[-4:] == (13, 14, 15, 16)


def test_all_points_are_before_and_after_each_write() -> None:
    assert wants_all(ALL)
    assert not wants_all({})
    every = tuple(KillPoint(n, when) for n in (1, 2) for when in When)
    assert points(Command.RESUME, _WRITES[:2], 1, ALL) == every
    assert points(Command.ROLLBACK, _WRITES[:2], 1, ALL) == every[:2]


@pytest.mark.parametrize("environment", [{}, ALL])
def test_the_batches_share_out_each_point_once(environment: dict[str, str]) -> None:
    for then in (Command.RESUME, Command.ROLLBACK):
        chosen = points(then, _WRITES, 7, environment)
        shares = [batch.share(chosen) for batch in batches(environment) if batch.then is then]
        assert sorted(point for share in shares for point in share) == sorted(chosen)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_is_named_for_a_reader() -> None:
    assert str(Batch(Command.ROLLBACK, 0, 2)) == "rollback-1-of-2"
