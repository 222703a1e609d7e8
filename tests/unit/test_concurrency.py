"""Tests of running coroutines at once: results in order, and nothing left running after a failure."""

from __future__ import annotations

import asyncio

import pytest

from mover.concurrency import all_of, both


async def test_results_come_in_the_order_of_the_coroutines_whoever_is_first() -> None:
    second = asyncio.Event()

    async def waits() -> str:
        await second.wait()
        return "first"

    async def goes() -> str:
        second.set()
        return "second"

    assert await all_of([waits(), goes()]) == ["first", "second"]
    assert await both(goes(), waits()) == ("second", "first")
    assert await all_of([]) == []


async def test_a_failure_cancels_the_others_and_waits_until_they_have_ended() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("long")

    async def fail() -> None:
        await begun.wait()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await all_of([long(), fail()])
    assert ended == ["long"]


async def test_a_failure_that_is_no_exception_is_raised_as_it_is() -> None:
    class StopAllError(BaseException):
        pass

    async def fail() -> None:
        raise StopAllError

    with pytest.raises(StopAllError):
        await all_of([fail(), asyncio.sleep(0)])


async def test_a_cancelled_caller_leaves_nothing_running() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.create_task(all_of([long()]))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()
