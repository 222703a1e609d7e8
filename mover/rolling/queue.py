"""Which unit of a rolling move may begin now: two at once must not count on the same copy of what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

from graph.resource import ObjectKey
from graph.unit import Unit


class UnitQueue:
    """The units that are still to move, and those at work."""

    def __init__(self, units: Sequence[Unit], there: Collection[ObjectKey]) -> None:
        """`units` in the order they are wanted in; `there` is what they share and the target has already."""
        self._waiting = list(units)
        self._at_work: list[Unit] = []
        self._failed: list[Unit] = []
        self._there = set(there)
        self._changed = asyncio.Event()
        self._stopped = False

    @property
    def waiting(self) -> tuple[Unit, ...]:
        """Returns the units that were not begun."""
        return tuple(self._waiting)

    async def take(self) -> Unit | None:
        """Returns the next unit that may begin, None if there is none left or the queue was stopped."""
        while self._waiting and not self._stopped:
            for unit in self._waiting:
                if self._may_begin(unit):
                    self._waiting.remove(unit)
                    self._at_work.append(unit)
                    return unit
            self._changed.clear()
            await self._changed.wait()
        return None

    def done(self, unit: Unit, *, moved: bool) -> None:
        """Takes note that a unit has ended."""
        self._at_work.remove(unit)
        if moved:
            self._there |= unit.shared
        else:
            self._failed.append(unit)
        self._changed.set()

    def stop(self) -> None:
        """Lets no other unit begin."""
        self._stopped = True
        self._changed.set()

    def needed_by_others(self, unit: Unit) -> frozenset[ObjectKey]:
        """Returns what others on the source use of that which a unit shares: it stays there."""
        others = [*self._waiting, *(other for other in self._at_work if other is not unit), *self._failed]
        return unit.lasting | unit.shared & _shared(others)

    def _may_begin(self, unit: Unit) -> bool:
        """Returns whether nobody at work is in the way.

        What the target has not yet is brought by one unit alone: if that one is undone its copies go. And the last two
        that use something do not leave at once: each would take it to be needed by the other, and stay behind it
        would, or be collected with the last of its owners.
        """
        in_use = unit.shared & _shared(self._at_work)
        if not in_use <= self._there:
            return False
        others = [other for other in self._waiting if other is not unit]
        return in_use <= unit.lasting | _shared([*others, *self._failed])


def _shared(units: Iterable[Unit]) -> frozenset[ObjectKey]:
    return frozenset[ObjectKey]().union(*(unit.shared for unit in units))
