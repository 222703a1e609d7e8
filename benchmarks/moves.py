"""capi-mover against the real clusterctl: the same fleets on the same clusters, in turn.

A fleet is moved there by capi-mover and back by clusterctl, which does not mind what capi-mover leaves; capi-mover
refuses what clusterctl leaves, Clusters without status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchmarks import bed
from benchmarks.bed import CLUSTERS, DISTANT_MS, Scope
from benchmarks.results import COPY_AHEAD, Move

LARGEST_DISTANT = 3_100
LARGEST_DISTANT_FOR_CLUSTERCTL = 800
"""clusterctl makes its calls, 13 for each object, one after the other: with 10 ms for each, 3,100 objects take seven
minutes and 10,900 nearly half an hour, and say no more than what 100 and 800 say."""


async def measure(scope: Scope) -> AsyncIterator[Move]:
    """Yields each move."""
    for size in scope.chosen(tuple(CLUSTERS)):
        for round_trip_ms in scope.round_trips_ms:
            if round_trip_ms < DISTANT_MS or size <= LARGEST_DISTANT:
                async for move in _measure(scope, size, round_trip_ms):
                    yield move


def with_clusterctl(size: int, round_trip_ms: int) -> bool:
    """Returns whether clusterctl is measured, too."""
    return round_trip_ms < DISTANT_MS or size <= LARGEST_DISTANT_FOR_CLUSTERCTL


async def _measure(scope: Scope, size: int, round_trip_ms: int) -> AsyncIterator[Move]:
    async with bed.open_bed(round_trip_ms) as pair:
        fleet = await bed.seed(pair, size)
        yield await bed.mover(scope, pair, fleet, size)
        if with_clusterctl(size, round_trip_ms):
            yield await bed.clusterctl(scope, pair.turned(), fleet, size)
    for flag in ("--restore-status=none", COPY_AHEAD):
        async with bed.open_bed(round_trip_ms) as pair:
            fleet = await bed.seed(pair, size)
            yield await bed.mover(scope, pair, fleet, size, flag)
