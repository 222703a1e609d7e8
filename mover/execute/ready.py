"""The one concurrent loop: work on objects as soon as what they wait for is done, with no barrier between levels."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


WORKERS = 64
"""How many objects are worked on at once; the cluster's flow control limits the requests below that."""


async def run_each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Runs `work` on every item, in no particular order; a failure is raised once what was begun has ended."""
    await run_ready(tuple(items), {}, work)


async def run_ready(
    sequence: Sequence[T],
    waits_for: Mapping[T, Sequence[T]],
    work: Callable[[T], Awaitable[None]],
    *,
    workers: int = WORKERS,
) -> None:
    """Runs `work` on every item of `sequence`, each after all it waits for; earlier items first among ready ones.

    The first failure stops the loop: nothing new is started, what is under way is finished (a request that was
    sent is better waited for than left in the dark), then the failure is raised.

    Args:
        sequence: The items, in an order that respects `waits_for`.
        waits_for: Item -> items of the sequence that must be done before.
        work: What to do with an item.
        workers: How many items at once; the cluster's flow control limits the requests below that.
    """
    if not sequence:
        return
    queue = _ReadyQueue(sequence, waits_for)

    async def worker() -> None:
        while (item := await queue.take()) is not None:
            try:
                await work(item)
            except BaseException:
                queue.stop()
                raise
            queue.done(item)

    tasks = [asyncio.create_task(worker()) for _ in range(min(workers, len(sequence)))]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        queue.stop()
        # What fails now fails because of the end; nobody is to be told twice.
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    failures = [failure for task in tasks if (failure := task.exception()) is not None]
    if failures:
        raise failures[0]


class _ReadyQueue(Generic[T]):
    """The items that may be worked on now, smallest position first."""

    def __init__(self, sequence: Sequence[T], waits_for: Mapping[T, Sequence[T]]) -> None:
        self._position = {item: index for index, item in enumerate(sequence)}
        self._sequence = sequence
        self._open = {item: len(waits_for.get(item, ())) for item in sequence}
        self._dependents: dict[T, list[T]] = defaultdict(list)
        for item in sequence:
            for other in waits_for.get(item, ()):
                self._dependents[other].append(item)
        self._ready = [index for index, item in enumerate(sequence) if not self._open[item]]
        self._left = len(sequence)
        self._stopped = False
        self._wakers: set[asyncio.Future[None]] = set()

    async def take(self) -> T | None:
        """Returns the next ready item, None when there is nothing left to do."""
        while not self._ready and self._left and not self._stopped:
            waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakers.add(waker)
            try:
                await waker
            finally:
                self._wakers.discard(waker)
        if self._stopped or not self._ready:
            return None
        return self._sequence[heapq.heappop(self._ready)]

    def done(self, item: T) -> None:
        """Marks an item as done; what waited only for it becomes ready."""
        self._left -= 1
        for dependent in self._dependents[item]:
            self._open[dependent] -= 1
            if not self._open[dependent]:
                heapq.heappush(self._ready, self._position[dependent])
        # Whoever is done takes the next item itself: as many others are woken as there is work for.
        self._wake(len(self._ready) - 1 if self._left else len(self._wakers))

    def stop(self) -> None:
        """Lets no worker take another item."""
        self._stopped = True
        self._wake(len(self._wakers))

    def _wake(self, count: int) -> None:
        for waker in list(self._wakers)[: max(0, count)]:
            self._wakers.discard(waker)
            if not waker.done():
                waker.set_result(None)
