"""Which kill points are tried: pure, and the same on every run.

`CRASH_POINTS=all` tries every write, killed before it and after it; otherwise one write of each kind: what is written,
where, how, and in which phase. Before the commit point every other one of these is followed by a resume, the ones
between by a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product

from tests.crash.driver import Command, KillPoint, When

VARIABLE = "CRASH_POINTS"
_BATCHES = {Command.RESUME: 4, Command.ROLLBACK: 2}
_ALL_BATCHES = 48
_SPECIAL = frozenset({"baremetalhosts", "clusters", "leases", "namespaces", "events"})
"""Types that are written by code of their own; all others are written alike."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Points that are tried at the same time.

    Attributes:
        then: What follows the kill: the move is resumed, or rolled back.
        number: Of the batch, from 0.
        of: How many batches there are of that kind.
    """

    then: Command
    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.then}-{self.number + 1}-of-{self.of}"

    def share(self, points: Sequence[KillPoint]) -> tuple[KillPoint, ...]:
        """Returns the batch's points: all batches together have each point once."""
        return tuple(points[self.number :: self.of])


def wants_all(environment: Mapping[str, str]) -> bool:
    """Returns whether every point is to be tried."""
    return environment.get(VARIABLE) == "all"


def batches(environment: Mapping[str, str]) -> tuple[Batch, ...]:
    """Returns the batches; their number is known before that of the writes is."""
    counts = dict.fromkeys(_BATCHES, _ALL_BATCHES) if wants_all(environment) else _BATCHES
    return tuple(Batch(then, number, count) for then, count in counts.items() for number in range(count))


def points(then: Command, writes: Sequence[str], commit: int, environment: Mapping[str, str]) -> tuple[KillPoint, ...]:
    """Returns the points that are tried.

    Args:
        then: What follows the kill.
        writes: All of a move, as the driver prints them.
        commit: How many of them come before the commit point.
        environment: The environment of the process.
    """
    last = len(writes) if then is Command.RESUME else commit
    if wants_all(environment):
        return tuple(KillPoint(number, when) for number, when in product(range(1, last + 1), When))
    kinds = one_of_each_kind(writes)
    before = [number for number in kinds if number <= commit]
    ours = before[1::2] if then is Command.ROLLBACK else [*before[::2], *kinds[len(before) :]]
    return tuple(KillPoint(number, when) for number, when in zip(ours, cycle(When), strict=False))


def one_of_each_kind(writes: Sequence[str]) -> tuple[int, ...]:
    """Returns the number of one write of each kind, from the middle of its kind, in their order."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    phase = ""
    for number, line in enumerate(writes, start=1):
        _, method, cluster, path, *rest = line.split()
        phase = rest[0] if rest else phase
        numbers.setdefault((phase, method, cluster, *_written(path, method)), []).append(number)
    return tuple(sorted(found[len(found) // 2] for found in numbers.values()))


def _written(path: str, method: str) -> tuple[str, str]:
    """Returns what a path is of, "objects" for all that is treated alike, and the subresource."""
    parts = path.strip("/").split("/")
    core = parts[2:] if parts[0] == "api" else parts[3:]
    if core[0] == "namespaces" and len(core) > 2:
        core = core[2:]
    plural, name, subresource = (*core, "", "")[:3]
    if plural == "configmaps" and (name or method == "POST") and "/namespaces/default/" in path:
        return "record", subresource
    return plural if plural in _SPECIAL else "objects", subresource
