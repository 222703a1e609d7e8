"""How long `capi-mover --help` takes: what every call of the program costs before it does anything."""

from __future__ import annotations

import os
import statistics
from collections.abc import AsyncIterator

from benchmarks import bed, meter
from benchmarks.bed import Scope
from benchmarks.results import Help

TRIES = 10


async def measure(scope: Scope) -> AsyncIterator[Help]:
    """Yields the one result."""
    times_s = [(await meter.run((bed.mover_program(), "--help"), os.environ)).wall_s for _ in range(TRIES)]
    yield Help(scope.run, TRIES, round(statistics.median(times_s), 3))
