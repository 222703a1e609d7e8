"""A mover that kills itself at a chosen write, in a process of its own.

    python -m tests.crash.driver --source SOURCE --target TARGET -n NAMESPACE --command move --kill-at 17 --when before

A write is a POST, PUT, PATCH or DELETE to either cluster. They come one after the other and in the same order on
every run, so that a number names the same point. Each is printed before it is sent, as
`NUMBER METHOD CLUSTER PATH [PHASE]`, the phase where it is a move record's; without --kill-at the last line is
`writes: TOTAL`.

`python -m tests.crash.driver --serve` forks such a process for each line of its input (a log file and the arguments,
quoted as for a shell) and answers with its exit status, negative for a signal: what takes two seconds, importing the
libraries, is done once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import orjson

from mover.api import ClusterRef, move_async, resume_async, rollback_async
from mover.execute import ready
from mover.kube import transport
from mover.kube.flow import FlowLimits
from mover.kube.transport import Request, Session, Transport
from mover.models import MoveOptions

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
QUIET_S = 0.05
LEASE_S = 3600.0
"""No controller runs in these tests: nothing has to calm down."""

SendOnce = Callable[[Transport, Session, Request], Awaitable[bytes]]


class Command(StrEnum):
    """What the driver does until it is killed."""

    MOVE = "move"
    RESUME = "resume"
    ROLLBACK = "rollback"


class When(StrEnum):
    """On which side of the write the process dies."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, order=True)
class KillPoint:
    """The instant at which the process dies.

    Attributes:
        number: Of the write, from 1.
        when: Before the write is sent, or after its answer was read.
    """

    number: int
    when: When

    def __str__(self) -> str:
        return f"{self.when} write {self.number}"


def die() -> None:
    """Ends this process as the kernel's out-of-memory killer or a power cut would: at once."""
    os.kill(os.getpid(), signal.SIGKILL)


class WriteCounter:
    """Counts the writes of a process, and ends it at one of them.

    Attributes:
        total: How many writes were begun.
    """

    def __init__(self, point: KillPoint | None, kill: Callable[[], None] = die) -> None:
        self.total = 0
        self._point = point
        self._kill = kill

    def wrap(self, send_once: SendOnce) -> SendOnce:
        """Returns a `Transport._send_once` that counts and, at the chosen write, kills."""

        async def counted(link: Transport, session: Session, request: Request) -> bytes:
            if request.method not in WRITES or _stores_nothing(request):
                return await send_once(link, session, request)
            self.total += 1
            number = self.total
            _say(f"{number} {described(link, request)}")
            self._pass(KillPoint(number, When.BEFORE))
            try:
                return await send_once(link, session, request)
            finally:
                # An error is an answer, too.
                self._pass(KillPoint(number, When.AFTER))

        return counted

    def _pass(self, point: KillPoint) -> None:
        if point == self._point:
            self._kill()


def _stores_nothing(request: Request) -> bool:
    """Returns whether a request only asks: a rehearsal, or a review of the user's own rights."""
    return "dryRun" in request.params or request.path.startswith("/apis/authorization.k8s.io/")


def described(link: Transport, request: Request) -> str:
    """Returns method, cluster and path of a write, and the phase that a move record says."""
    body: Any = orjson.loads(request.body) if request.body else None
    data = body.get("data") if isinstance(body, dict) else None
    phase = data.get("phase") if isinstance(data, dict) else None
    return " ".join([request.method, link._cluster, request.path, *([phase] if isinstance(phase, str) else [])])


def make_reproducible() -> None:
    """Makes the order of writes the same on every run: one after the other."""
    setattr(transport, "FlowLimits", partial(FlowLimits, start=1, ceiling=1))  # noqa: B010
    assert ready.run_ready.__kwdefaults__ is not None
    ready.run_ready.__kwdefaults__["workers"] = 1


def options(namespace: str) -> MoveOptions:
    """Returns the options of every move of these tests."""
    return MoveOptions(namespace=namespace, quiet_s=QUIET_S, skip=("space",))  # it reads megabytes of metrics


async def run(command: Command, source: Path, target: Path, namespace: str) -> None:
    """Carries out a command of the library."""
    # No lease is renewed meanwhile: that would be a write at any time.
    clusters = ClusterRef(source, lease_s=LEASE_S), ClusterRef(target, lease_s=LEASE_S)
    match command:
        case Command.MOVE:
            await move_async(*clusters, options(namespace))
        case Command.RESUME:
            await resume_async(*clusters, namespace)
        case Command.ROLLBACK:
            await rollback_async(*clusters, namespace)


def serve() -> None:
    """Answers each line of the input with the exit status of the process that was forked for it."""
    for line in sys.stdin:
        log, *arguments = shlex.split(line)
        child = os.fork()
        if not child:
            _become(Path(log), arguments)
        _, status = os.waitpid(child, 0)
        _say(str(os.waitstatus_to_exitcode(status)))


def _become(log: Path, arguments: Sequence[str]) -> NoReturn:
    """Runs the program in a forked process, with its output in a file."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for standard in (sys.stdout, sys.stderr):
        os.dup2(output, standard.fileno())
    code = 1
    try:
        main(arguments)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of this process may go on in the server's loop
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(arguments: Sequence[str]) -> None:
    """Runs the program."""
    given = _parser().parse_args(arguments)
    counter = WriteCounter(KillPoint(given.kill_at, given.when) if given.kill_at else None)
    setattr(Transport, "_send_once", counter.wrap(Transport._send_once))  # noqa: B010
    make_reproducible()
    asyncio.run(run(given.command, given.source, given.target, given.namespace))
    _say(f"writes: {counter.total}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.driver")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("-n", "--namespace", required=True)
    parser.add_argument("--command", type=Command, choices=list(Command), default=Command.MOVE)
    parser.add_argument("--kill-at", type=int, default=0, metavar="N", help="the write to die at, from 1")
    parser.add_argument("--when", type=When, choices=list(When), default=When.BEFORE)
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main(sys.argv[1:])
