"""How many requests may be under way at once, learnt from how the server answers.

Additive increase, multiplicative decrease: the limit grows by one per round of requests while answers stay quick,
shrinks a little when they take much longer than the quickest ones, halves on a 429 and then waits as long as the
server says (Retry-After). What was refused is tried again, but later each time: a server that has one place for us
would otherwise refuse every third request, at a second each (docs/decisions/0028). Slow answers alone leave a few at
once: they may be slow for another reason, and one after the other would not be answered any sooner. The API server's
priority and fairness stays in charge: this only avoids running into it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

_SMOOTHING = 0.1
_SLOW = 6.0
_QUICK_FLOOR_S = 0.005
_PATIENCE = 8
_LONGEST_PATIENCE = 256


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Bounds of the number of requests under way at once.

    Attributes:
        start: The number to begin with.
        floor: What a server that answers 429 can bring it down to.
        slow_floor: What slow answers can bring it down to.
        ceiling: The largest number.
    """

    start: int = 16
    floor: int = 1
    ceiling: int = 48
    slow_floor: int = 8

    @classmethod
    def up_to(cls, requests: int) -> Self:
        """Returns bounds with that ceiling, 1 at least."""
        default = cls()
        return cls(start=min(default.start, requests), ceiling=requests, slow_floor=min(default.slow_floor, requests))


class Flow:
    """A gate that lets `limit` requests through at once, in the order they came."""

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self._limit = float(limits.start)
        self._under_way = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._quickest_s = float("inf")
        self._average_s = 0.0
        self._paused_until = 0.0
        self._refused_above = float("inf")
        self._patience = _PATIENCE

    @property
    def limit(self) -> int:
        """Returns how many requests may be under way now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one of the places while the body runs."""
        await self._enter()
        try:
            yield
        finally:
            self._under_way -= 1
            self._admit()

    def answered(self, latency_s: float) -> None:
        """Takes note of an answer that came after `latency_s` seconds."""
        self._quickest_s = min(self._quickest_s, max(latency_s, _QUICK_FLOOR_S))
        self._average_s += _SMOOTHING * (latency_s - self._average_s)
        if self._average_s > _SLOW * self._quickest_s and self._limit > self._limits.slow_floor:
            self._limit = max(float(self._limits.slow_floor), self._limit - 1 / self._limit)
        else:
            self._grow()
        self._admit()

    def throttled(self, retry_after_s: float) -> None:
        """Takes note of a 429: half as many at once, and none for `retry_after_s` seconds."""
        now = time.monotonic()
        if self._limit > self._refused_above and now >= self._paused_until:  # not one more of the same burst
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
        self._limit = max(float(self._limits.floor), self._limit / 2)
        self._refused_above = self._limit
        self._paused_until = max(self._paused_until, now + retry_after_s)

    def _grow(self) -> None:
        """Lets one more in per round, or per some rounds where the server has refused before."""
        if self._limit > 2 * self._refused_above:
            self._refused_above, self._patience = float("inf"), _PATIENCE
        rounds = 1 if self._limit < self._refused_above else self._patience
        self._limit = min(float(self._limits.ceiling), self._limit + 1 / (rounds * self._limit))

    async def _enter(self) -> None:
        if self._under_way >= self.limit or self._queue:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(place)
            try:
                await place
            except asyncio.CancelledError:
                self._give_back(place)
                raise
        else:
            self._under_way += 1
        pause_s = self._paused_until - time.monotonic()
        if pause_s > 0:
            await self._hold(pause_s)

    async def _hold(self, pause_s: float) -> None:
        try:
            await asyncio.sleep(pause_s)
        except asyncio.CancelledError:
            self._under_way -= 1
            self._admit()
            raise

    def _give_back(self, place: asyncio.Future[None]) -> None:
        if place.done() and not place.cancelled():
            self._under_way -= 1
            self._admit()

    def _admit(self) -> None:
        while self._queue and self._under_way < self.limit:
            place = self._queue.popleft()
            if not place.done():
                self._under_way += 1
                place.set_result(None)
