"""Running several coroutines at once and leaving none behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar, cast

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


async def all_of(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs the coroutines at once and returns their results in order.

    The first failure cancels the others, waits until they have ended, and is raised. `asyncio.gather` would leave
    them running behind the caller's back.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def both(one: Coroutine[Any, Any, A], other: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Runs two coroutines at once and returns both results; see `all_of`."""
    pair: list[Any] = await all_of((one, other))
    return cast("tuple[A, B]", tuple(pair))


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancels the tasks and returns when they have ended, whatever with; nothing of them goes on behind the caller.

    A cancellation of the caller meanwhile is raised then, not before.
    """
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # what it failed with is the caller's to tell: it has the task
    if cancelled is not None:
        raise cancelled
