"""Which kill points are tried: pure, and the same on every run.

`CRASH_POINTS=all` tries every write, killed before it and after it; otherwise a spread of 40.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product

from tests.crash.driver import Command, KillPoint, When

VARIABLE = "CRASH_POINTS"
BATCH = 8
_SPREAD = {Command.RESUME: 24, Command.ROLLBACK: 16}


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
    counts = {then: count // BATCH for then, count in _SPREAD.items()}
    if wants_all(environment):
        counts = dict.fromkeys(counts, 48)
    return tuple(Batch(then, number, count) for then, count in counts.items() for number in range(count))


def points(then: Command, writes: int, environment: Mapping[str, str]) -> tuple[KillPoint, ...]:
    """Returns the points that are tried among the writes 1 to `writes`.

    Args:
        then: What follows the kill.
        writes: How many writes there are to choose from.
        environment: The environment of the process.
    """
    if wants_all(environment):
        return tuple(KillPoint(number, when) for number, when in product(range(1, writes + 1), When))
    chosen = spread(_SPREAD[then], writes)
    return tuple(KillPoint(number, when) for number, when in zip(chosen, cycle(When), strict=False))


def spread(count: int, last: int) -> tuple[int, ...]:
    """Returns `count` numbers from 1 to `last`, both included, evenly spread, each once."""
    if count >= last:
        return tuple(range(1, last + 1))
    return tuple(1 + round(step * (last - 1) / (count - 1)) for step in range(count))
