"""The command line in processes of their own, which can be stopped at a line of their output and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

_TIMEOUT_S = 240.0
_MAIN = """
import sys
from pathlib import Path
from mover.kube import kubeconfig
kubeconfig._SERVICE_ACCOUNT = Path(sys.argv.pop(1))
from mover.cli import main
main()
"""


class Mover:
    """A running `capi-mover`.

    Attributes:
        process: Its process.
        output: What it has printed so far.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.output = ""

    async def until(self, text: str) -> None:
        """Returns when it has printed a line with `text`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_TIMEOUT_S):
            while text not in self.output:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"it ended without {text!r}:\n{self.output}"
                self.output += line

    async def ended(self) -> int:
        """Returns its exit code, negative for a signal, once it has ended."""
        async with asyncio.timeout(_TIMEOUT_S):
            rest, _ = await self.process.communicate()
        self.output += rest.decode()
        assert self.process.returncode is not None
        return self.process.returncode

    async def killed(self) -> None:
        """Kills it as the kernel would, and waits until it has gone."""
        self.process.send_signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL


@asynccontextmanager
async def mover(
    *arguments: str | Path, account: Path = Path("/nonexistent"), env: Mapping[str, str] | None = None
) -> AsyncIterator[Mover]:
    """Gives a program that runs; it is killed if it still does at the end.

    Args:
        arguments: Of the command line.
        account: The folder of the pod's service account.
        env: More of its environment.
    """
    command = [sys.executable, "-c", _MAIN, str(account), *map(str, arguments)]
    known = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    environment = {**known, "PYTHONUNBUFFERED": "1", "HOME": "/nonexistent", **(env or {})}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    try:
        yield Mover(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
