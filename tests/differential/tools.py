"""Runs the two tools: the real clusterctl as a process, capi-mover as a library or as a process."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import yaml

from mover.api import ClusterRef, move_async
from mover.errors import MoverError, RefusedError
from mover.models import MoveOptions
from tests.testbed import gobuild
from tests.testbed.gobuild import Tool
from tests.testbed.pki import write_private
from tests.testbed.versions import Versions

TIMEOUT_S = 240.0
_REFUSED = 3
_KEPT_VARIABLES = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE")
_PROGRAM = (sys.executable, "-c", "from mover.cli import main; main()")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a tool ended.

    Attributes:
        succeeded: Whether it said that it did what it was asked for.
        refused: Whether it refused beforehand (capi-mover only).
        checks: The checks of capi-mover's preflight that refused.
        output: What it said.
        seconds: How long it took.
    """

    succeeded: bool
    refused: bool = False
    checks: frozenset[str] = frozenset()
    output: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of a tool.

    Attributes:
        source: The source's kubeconfig.
        target: The target's kubeconfig.
        flags: The flags of the command line that both tools have, without the kubeconfigs.
    """

    source: Path
    target: Path
    flags: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Returns the arguments of the command line, the same for both tools."""
        kubeconfigs = ("--kubeconfig", str(self.source), "--to-kubeconfig", str(self.target))
        return ("move", *kubeconfigs, *self.flags)


async def run_clusterctl(job: Job, home: Path) -> Outcome:
    """Returns how `clusterctl move` ended; it reads no configuration and looks for no newer version.

    Args:
        job: What to move.
        home: A folder that stands for the user's home.
    """
    program = gobuild.binary(Tool.CLUSTERCTL, Versions.from_environment())
    return await _run((str(program), *job.arguments, "-v", "2"), home)


async def run_mover_program(job: Job, home: Path) -> Outcome:
    """Returns how the command line `capi-mover move` ended, as it is told to programs."""
    ended = await _run((*_PROGRAM, *job.arguments, "-o", "json"), home)
    if not ended.refused:
        return ended
    problems = orjson.loads(ended.output.rstrip().rpartition("\n")[2])["problems"]
    return replace(ended, checks=frozenset(problem["check"] for problem in problems))


async def run_mover(job: Job, options: MoveOptions) -> Outcome:
    """Returns how the library's move ended."""
    started = time.monotonic()
    try:
        report = await asyncio.wait_for(
            move_async(ClusterRef(job.source), ClusterRef(job.target), options), timeout=TIMEOUT_S
        )
    except RefusedError as error:
        checks = frozenset(problem.check for problem in error.problems)
        return Outcome(False, True, checks, str(error), time.monotonic() - started)
    except MoverError as error:
        return Outcome(False, output=f"{type(error).__name__}: {error}", seconds=time.monotonic() - started)
    return Outcome(True, output=str(report), seconds=time.monotonic() - started)


async def _run(command: Sequence[str], home: Path) -> Outcome:
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        env=_environment(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        raw, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    code, seconds = process.returncode, time.monotonic() - started
    return Outcome(code == 0, code == _REFUSED, output=raw.decode(errors="replace"), seconds=seconds)


def _environment(home: Path) -> Mapping[str, str]:
    folders = {name: str(home / name.lower()) for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**kept, **folders, "HOME": str(home), "CLUSTERCTL_DISABLE_VERSIONCHECK": "true"}


def with_namespace(kubeconfig: Path, namespace: str, folder: Path) -> Path:
    """Returns a copy of a kubeconfig whose current context names a namespace."""
    config = yaml.safe_load(kubeconfig.read_text())
    for entry in config["contexts"]:
        entry["context"]["namespace"] = namespace
    copy = folder / f"{namespace}-{uuid.uuid4().hex[:8]}.kubeconfig"
    write_private(copy, yaml.safe_dump(config).encode())
    return copy
