"""Tests of which unit of a rolling move may begin, and of what stays on the source for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection

from graph import rules
from graph.resource import ObjectKey
from graph.unit import Unit
from mover.rolling.queue import UnitQueue

K, L = (ObjectKey(*rules.CLUSTER_CLASS, "ns", name) for name in "kl")


def unit(name: str, *shared: ObjectKey, lasting: Collection[ObjectKey] = ()) -> Unit:
    return Unit(
        frozenset({ObjectKey(*rules.CLUSTER, "ns", name)}),
        frozenset(),
        frozenset({f"uid-{name}"}),
        frozenset(shared),
        frozenset(lasting),
    )


async def ended(worker: Awaitable[Unit | None]) -> Unit | None:
    """Returns what a worker got that has not to wait any more."""
    return await asyncio.wait_for(worker, 5)


async def take(queue: UnitQueue) -> Unit | None:
    """Returns what a worker gets that has not to wait."""
    return await ended(queue.take())


async def waits(queue: UnitQueue) -> asyncio.Task[Unit | None]:
    """Returns a worker that was begun and has to wait."""
    task = asyncio.ensure_future(queue.take())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_units_that_share_nothing_begin_at_once_in_their_order() -> None:
    a, b = unit("a"), unit("b")
    queue = UnitQueue([b, a], ())
    assert queue.waiting == (b, a)
    assert [await take(queue), await take(queue), await take(queue)] == [b, a, None]
    assert not queue.waiting


async def test_what_the_target_has_not_yet_is_brought_by_one_unit_alone() -> None:
    a, b, c = (unit(name, K) for name in "abc")
    queue = UnitQueue([a, b, c], ())
    assert await take(queue) == a
    second = await waits(queue)
    queue.done(a, moved=True)
    assert await ended(second) == b


async def test_a_unit_that_has_nothing_to_do_with_it_goes_before_one_that_has_to_wait() -> None:
    a, b, c = unit("a", K), unit("b", K), unit("c", L)
    queue = UnitQueue([a, b, c], ())
    assert [await take(queue), await take(queue)] == [a, c]
    assert queue.waiting == (b,)


async def test_what_is_there_is_used_by_all_at_once() -> None:
    units = [unit(name, K) for name in "abcd"]
    queue = UnitQueue(units, {K})
    assert [await take(queue) for _ in range(3)] == units[:3]


async def test_what_one_has_brought_is_used_by_all_others_at_once() -> None:
    units = [unit(name, K) for name in "abcd"]
    queue = UnitQueue(units, ())
    first = await take(queue)
    assert first is not None
    queue.done(first, moved=True)
    assert [await take(queue), await take(queue)] == units[1:3]


async def test_one_thing_that_is_there_is_not_enough_for_who_shares_two() -> None:
    a, b, c = unit("a", K, L), unit("b", K, L), unit("c", K)
    queue = UnitQueue([a, b, c, unit("d", K)], {K})
    assert [await take(queue), await take(queue)] == [a, c]


async def test_who_fails_to_bring_it_hands_over_to_the_next_one_alone() -> None:
    a, b, c = (unit(name, K) for name in "abc")
    queue = UnitQueue([a, b, c], ())
    assert await take(queue) == a
    queue.done(a, moved=False)
    assert await take(queue) == b
    await waits(queue)


async def test_the_last_two_that_use_something_do_not_leave_at_once() -> None:
    a, b = unit("a", K), unit("b", K)
    queue = UnitQueue([a, b], {K})
    assert await take(queue) == a
    assert queue.needed_by_others(a) == {K}
    last = await waits(queue)
    queue.done(a, moved=True)
    assert await ended(last) == b
    assert queue.needed_by_others(b) == frozenset()


async def test_the_last_two_leave_at_once_what_stays_anyway() -> None:
    a, b = (unit(name, K, lasting=[K]) for name in "ab")
    queue = UnitQueue([a, b], {K})
    assert [await take(queue), await take(queue)] == [a, b]
    queue.done(a, moved=True)
    assert queue.needed_by_others(b) == {K}


async def test_the_last_two_leave_at_once_what_a_failed_one_still_uses() -> None:
    a, b, c = (unit(name, K) for name in "abc")
    queue = UnitQueue([a, b, c], {K})
    assert await take(queue) == a
    queue.done(a, moved=False)
    assert [await take(queue), await take(queue)] == [b, c]
    assert queue.needed_by_others(b) == queue.needed_by_others(c) == {K}
    queue.done(b, moved=True)
    assert queue.needed_by_others(c) == {K}


async def test_what_others_need_is_what_those_use_that_wait_work_or_have_failed() -> None:
    a, b, c, d = unit("a", K, L), unit("b", K), unit("c", L), unit("d")
    queue = UnitQueue([a, b, c, d], {K, L})
    assert await take(queue) == a
    assert queue.needed_by_others(a) == {K, L}
    queue.stop()
    assert queue.needed_by_others(a) == {K, L}
    assert queue.needed_by_others(d) == frozenset()


async def test_what_nobody_uses_any_more_is_not_needed() -> None:
    a, b, c = unit("a", K, L), unit("b", K), unit("c", L)
    queue = UnitQueue([b, c, a], {K, L})
    for one in (b, c):
        assert await take(queue) == one
        queue.done(one, moved=True)
    assert await take(queue) == a
    assert queue.needed_by_others(a) == frozenset()


async def test_a_stopped_queue_lets_nobody_begin_and_nobody_wait() -> None:
    a, b = unit("a", K), unit("b", K)
    queue = UnitQueue([a, b], ())
    assert await take(queue) == a
    second = await waits(queue)
    queue.stop()
    assert await ended(second) is None
    assert await take(queue) is None
    assert queue.waiting == (b,)
