"""A fleet moved unit by unit: how long each Cluster is paused, while the others go on or have moved already."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

from benchmarks import bed
from benchmarks.bed import CLUSTERS, LOOPBACK_MS, Scope
from benchmarks.results import COPY_AHEAD, Move

FLAG = "--rolling"
SIZE = max(CLUSTERS)


async def measure(scope: Scope) -> AsyncIterator[Move]:
    """Yields a move of each size and number of units at once."""
    for size in scope.sizes or (SIZE,):
        for units, more in itertools.product(scope.parallel_units, ((), (COPY_AHEAD,))):
            async with bed.open_bed(LOOPBACK_MS) as pair:
                fleet = await bed.seed(pair, size)
                yield await bed.mover(scope, pair, fleet, size, FLAG, f"--parallel-units={units}", *more)
