"""What a program costs: its own time and memory, and what it makes the API servers do."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from resource import struct_rusage

from tests.testbed.client import AdminClient

_REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>[0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_CPU = re.compile(r"^process_cpu_seconds_total (?P<seconds>[0-9.e+]+)$", re.MULTILINE)
# The benchmark's own watches, and what every API server does for itself.
_NOT_COUNTED_VERBS = frozenset({"WATCH", "CONNECT"})


@dataclass(frozen=True, slots=True)
class ServerUse:
    """What API servers have done so far.

    Attributes:
        calls: Requests by verb (GET, LIST, POST, PUT, PATCH, DELETE), those of the controller manager included.
        cpu_s: Processor time, in seconds.
    """

    calls: Mapping[str, int]
    cpu_s: float

    def since(self, before: ServerUse) -> ServerUse:
        """Returns what was done since `before`."""
        return ServerUse(dict(Counter(self.calls) - Counter(before.calls)), self.cpu_s - before.cpu_s)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a program took.

    Attributes:
        wall_s: From its start to its end, in seconds.
        cpu_s: Its own processor time, in seconds.
        peak_mib: Its largest memory, in MiB.
        servers: What the API servers did meanwhile.
        output: What it printed, shown if it failed.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    servers: ServerUse
    output: str = field(default="", repr=False)


async def server_use(clients: Sequence[AdminClient]) -> ServerUse:
    """Returns what some API servers have done since they were started, added up (their own metrics)."""
    calls: Counter[str] = Counter()
    cpu_s = 0.0
    for text in await asyncio.gather(*(client.get("/metrics") for client in clients)):
        for match in _REQUESTS.finditer(text):
            labels = dict(_LABEL.findall(match["labels"]))
            if labels["verb"] not in _NOT_COUNTED_VERBS and labels.get("resource"):
                calls[labels["verb"]] += round(float(match["count"]))
        found = _CPU.search(text)
        cpu_s += float(found["seconds"]) if found else 0.0
    return ServerUse(calls, cpu_s)


async def run(command: Sequence[str], clients: Sequence[AdminClient], environment: Mapping[str, str]) -> Cost:
    """Runs a program to its end and returns what it cost.

    Raises:
        RuntimeError: It failed; the message has its output.
    """
    before = await server_use(clients)
    wall_s, usage, status, output = await asyncio.to_thread(_run, command, environment)
    if status:
        raise RuntimeError(f"{Path(command[0]).name} ended with {status}:\n{output[-4000:]}")
    after = await server_use(clients)
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, after.since(before), output)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, struct_rusage, int, str]:
    reading, writing = os.pipe()
    started = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, writing, 2), (os.POSIX_SPAWN_CLOSE, reading)]
    pid = os.posix_spawn(command[0], list(command), dict(environment), file_actions=actions)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    return time.perf_counter() - started, usage, os.waitstatus_to_exitcode(status), output
