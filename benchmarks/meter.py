"""What a program costs: time from its start to its end, processor time and memory."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks import launcher
from tests.testbed.client import AdminClient
from tests.testbed.processes import Child

LONGEST_RUN_S = 4 * 3600.0
_CPU = re.compile(r"^process_cpu_seconds_total (?P<seconds>[0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a program took.

    Attributes:
        wall_s: From its start to its end, in seconds.
        cpu_s: Its own processor time, in seconds.
        peak_mib: Its largest memory, in MiB.
        output: What it printed.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str = field(repr=False)


async def run(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Runs a program to its end and returns what it cost.

    Raises:
        RuntimeError: It failed; the message has the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="capi-mover-bench-") as folder:
        report, log = Path(folder) / "report", Path(folder) / "output"
        launch = (sys.executable, "-I", "-S", launcher.__file__, str(report), *command)
        with Child(launch, log, environment) as child:
            await asyncio.to_thread(child.wait, LONGEST_RUN_S)
        output = log.read_text(errors="replace")
        used: dict[str, Any] = orjson.loads(report.read_bytes()) if report.exists() else {"status": "no report"}
    if used["status"] != 0:
        raise RuntimeError(f"{Path(command[0]).name} ended with {used['status']}:\n{output[-4000:]}")
    return Cost(used["wall_s"], used["cpu_s"], used["peak_mib"], output)


async def servers_cpu_s(clients: Sequence[AdminClient]) -> float:
    """Returns the processor time of some API servers since they were started, added up, in seconds."""
    return sum(map(cpu_s, await asyncio.gather(*(client.get("/metrics") for client in clients))))


def cpu_s(metrics: str) -> float:
    """Returns the processor time that a server's metrics tell, in seconds.

    Raises:
        ValueError: They do not tell it.
    """
    found = _CPU.search(metrics)
    if found is None:
        raise ValueError("the metrics have no process_cpu_seconds_total")
    return float(found["seconds"])
