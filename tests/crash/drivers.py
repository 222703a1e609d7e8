"""Running the driver of `tests.crash.driver`, several at once."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.crash.driver import Command, KillPoint

SLOTS = 2
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """A driver that has ended.

    Attributes:
        status: Its exit status, negative if a signal ended it.
        log: What it printed.
    """

    status: int
    log: str

    @property
    def writes(self) -> tuple[str, ...]:
        """Returns a line for each write, as in `17 PATCH target /api/v1/...`."""
        return tuple(line for line in self.log.splitlines() if line.partition(" ")[0].isdigit())

    @property
    def last_write(self) -> str:
        """Returns the write that the process was killed at."""
        return self.writes[-1] if self.writes else "no write"


class Drivers:
    """Some servers of the driver, each running one driver at a time."""

    def __init__(self, source: Path, target: Path, logs: Path) -> None:
        self._clusters = ("--source", str(source), "--target", str(target))
        self._logs = logs
        self._numbers = count(1)
        self._idle: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()

    @asynccontextmanager
    async def serving(self, slots: int = SLOTS) -> AsyncIterator[Drivers]:
        """Starts the servers, and ends them after the body."""
        servers = [await _start_server() for _ in range(slots)]
        for server in servers:
            self._idle.put_nowait(server)
        try:
            yield self
        finally:
            for server in servers:
                await server.communicate(b"")  # the end of its input ends it

    async def run(self, command: Command, namespace: str, point: KillPoint | None = None) -> Run:
        """Runs one driver to its end and returns how it ended.

        Raises:
            TimeoutError: It has not ended within two minutes.
        """
        log = self._logs / f"driver-{next(self._numbers)}.log"
        kill = ("--kill-at", str(point.number), "--when", point.when.value) if point else ()
        arguments = (str(log), *self._clusters, "-n", namespace, "--command", command.value, *kill)
        server = await self._idle.get()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                status = await _ask(server, shlex.join(arguments))
        finally:
            self._idle.put_nowait(server)
        return Run(status, log.read_text())


async def _start_server() -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.crash.driver", "--serve")
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)


async def _ask(server: asyncio.subprocess.Process, line: str) -> int:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{line}\n".encode())
    return int(await server.stdout.readline())
