"""The targets, and what the results say of each: whether it was reached, and by how much it was missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.bed import DISTANT_MS, LOOPBACK_MS
from benchmarks.results import CLUSTERCTL, MOVER, MOVER_NO_STATUS, Move, Result, Results

COMPARED, LARGEST = 800, 10_900
"""Below the first, what any move costs whatever it moves (some 400 calls, two seconds) outweighs its objects."""
GRAPH_OBJECTS = 100_000
_Found = TypeVar("_Found", bound=Result)


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    Attributes:
        what: What is measured.
        limit: The number to reach.
        unit: Its unit, to be written after the number.
        is_least: Whether the limit is the least that will do; it is the most otherwise.
        digits: How many digits after the point are shown.
    """

    what: str
    limit: float
    unit: str = ""
    is_least: bool = False
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one measurement says of a target.

    Attributes:
        target: The target.
        where: Under which conditions it was measured, "" if there is only one.
        measured: The number; None if it was not measured, or not in one run with what it is compared to.
    """

    target: Target
    where: str
    measured: float | None

    @property
    def reached(self) -> bool:
        """Returns whether the target was measured and reached."""
        if self.measured is None:
            return False
        least = self.target.is_least
        return self.measured >= self.target.limit if least else self.measured <= self.target.limit

    @property
    def missed_by(self) -> float:
        """Returns by what share of the limit it was missed, 0 if it was not."""
        if self.measured is None or self.reached:
            return 0.0
        return abs(self.measured - self.target.limit) / self.target.limit


FASTER = Target("Times as fast as clusterctl", 6, is_least=True)
FASTER_DISTANT = Target("Times as fast as clusterctl", 30, is_least=True)
SCALING = Target("Time per object, against that at 800", 1.2, digits=2)
RATE = Target("Rate of writes, against the floor's", 85, " %", is_least=True, digits=0)
CALLS_NO_STATUS = Target("Calls per object, --restore-status=none", 4.0, digits=2)
CALLS = Target("Calls per object, --restore-status=all", 4.6, digits=2)
MEMORY = Target("Peak memory", 250, " MB", digits=0)
HELP = Target("`capi-mover --help`", 0.4, " s", digits=2)
GRAPH = Target("The graph alone", 10, " s")
ROLLING = Target("Pause of a Cluster, 95th percentile, rolling", 4, " s")


def verdicts(results: Results) -> tuple[Verdict, ...]:
    """Returns what the results say of every target."""
    return (
        _faster(results, FASTER, LOOPBACK_MS),
        _faster(results, FASTER_DISTANT, DISTANT_MS),
        _scaling(results),
        *_or_unmeasured(RATE, _rates(results)),
        *_or_unmeasured(CALLS_NO_STATUS, _calls(results, CALLS_NO_STATUS, MOVER_NO_STATUS)),
        *_or_unmeasured(CALLS, _calls(results, CALLS, MOVER)),
        _of_one(MEMORY, f"{LARGEST:,} objects", _move(results, MOVER, LARGEST, LOOPBACK_MS), _megabytes),
        _of_one(HELP, "", next(iter(results.help), None), lambda found: found.median_s),
        _of_one(
            GRAPH,
            f"{GRAPH_OBJECTS:,} objects",
            next((found for found in results.graph if found.objects >= GRAPH_OBJECTS), None),
            lambda found: found.total_s,
        ),
        *_or_unmeasured(ROLLING, _rolling(results)),
    )


def _megabytes(move: Move) -> float:
    return move.peak_mib * 2**20 / 1e6


def _of_one(target: Target, where: str, found: _Found | None, measured: Callable[[_Found], float]) -> Verdict:
    return Verdict(target, where, None if found is None else measured(found))


def _or_unmeasured(target: Target, found: Iterator[Verdict]) -> Sequence[Verdict]:
    return tuple(found) or (Verdict(target, "", None),)


def _move(results: Results, tool: str, size: int, round_trip_ms: int) -> Move | None:
    wanted = (tool, size, round_trip_ms)
    return next((move for move in results.moves if move.key == wanted), None)


def _faster(results: Results, target: Target, round_trip_ms: int) -> Verdict:
    ours, theirs = (_move(results, tool, COMPARED, round_trip_ms) for tool in (MOVER, CLUSTERCTL))
    return Verdict(target, f"{COMPARED} objects, {_way(round_trip_ms)}", speedup(ours, theirs))


def speedup(ours: Move | None, theirs: Move | None) -> float | None:
    """Returns how many times as fast the first of two moves was, None if they are not of one run."""
    if ours is None or theirs is None or ours.run != theirs.run:
        return None
    return theirs.wall_s / ours.wall_s


def _scaling(results: Results) -> Verdict:
    small, large = (_move(results, MOVER, size, LOOPBACK_MS) for size in (COMPARED, LARGEST))
    measured = None
    if small is not None and large is not None and small.run == large.run:
        measured = (large.wall_s / large.objects) / (small.wall_s / small.objects)
    return Verdict(SCALING, f"{LARGEST:,} objects", measured)


def _rates(results: Results) -> Iterator[Verdict]:
    for found in sorted(results.floor, key=lambda found: (found.round_trip_ms, found.size)):
        if found.size >= COMPARED:
            yield Verdict(RATE, f"{found.size:,} objects, {_way(found.round_trip_ms)}", 100 * found.share)


def _calls(results: Results, target: Target, tool: str) -> Iterator[Verdict]:
    """Yields the calls at each size; a slow way makes no other calls."""
    for move in sorted(results.moves, key=lambda move: move.size):
        if move.tool == tool and move.round_trip_ms == LOOPBACK_MS and move.size >= COMPARED:
            yield Verdict(target, f"{move.size:,} objects", move.calls_per_object)


def _rolling(results: Results) -> Iterator[Verdict]:
    for move in results.rolling:
        if move.size == LARGEST:
            units = move.tool.removeprefix(f"{MOVER} --rolling ")
            yield Verdict(ROLLING, f"{move.pauses.clusters} Clusters, {units}", move.pauses.p95_s)


def _way(round_trip_ms: int) -> str:
    return f"{round_trip_ms} ms" if round_trip_ms else "loopback"
