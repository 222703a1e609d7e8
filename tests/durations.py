"""Where the time of a run goes: its slowest files, and the starting of servers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests import tallies

SHOWN = 20
SERVERS = "servers"


@contextmanager
def counted(what: str, number: int = 1) -> Iterator[None]:
    """Counts what the body starts, and how long it takes, for the summary."""
    started = time.monotonic()
    try:
        yield
    finally:
        tallies.TALLIES[SERVERS][what] += number
        tallies.TALLIES[SERVERS][f"{what} ms"] += round(1000 * (time.monotonic() - started))


class Durations:
    """How long each file of a run took, in seconds: its tests with their fixtures."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, nodeid: str, seconds: float) -> None:
        """Adds a part of a test: its set-up, its call or its end."""
        self._seconds[nodeid.partition("::")[0]] += seconds

    def lines(self, most: int = SHOWN) -> list[str]:
        """Returns a line for each of the slowest files, and one for all together."""
        slowest = sorted(self._seconds.items(), key=lambda entry: -entry[1])[:most]
        every = f"{sum(self._seconds.values()):8.1f} s in {len(self._seconds)} files"
        return [*(f"{seconds:8.1f} s {file}" for file, seconds in slowest), every]


def server_lines(counts: Mapping[str, int]) -> list[str]:
    """Returns a line for each sort of thing that was started, of the counts that `counted` has made."""
    return [
        f"{counts[f'{what} ms'] / 1000:8.1f} s starting {number} {what}"
        for what, number in sorted(counts.items())
        if not what.endswith(" ms")
    ]
