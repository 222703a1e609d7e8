"""Tests of the loop that works on objects as soon as what they wait for is done."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Mapping, Sequence

import pytest

from mover.execute.ready import run_each, run_ready
from tests.unit.scripted_server import until


class Bench:
    """Work that starts at once and ends when it is told to."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.done: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.broken: dict[str, Exception] = {}

    async def work(self, item: str) -> None:
        """Works on an item until its gate is open."""
        self.started.append(item)
        await self.gates.setdefault(item, asyncio.Event()).wait()
        if item in self.broken:
            raise self.broken[item]
        self.done.append(item)

    def open(self, *items: str) -> None:
        """Lets the work on these items end."""
        for item in items:
            self.gates.setdefault(item, asyncio.Event()).set()

    def run(
        self, sequence: Sequence[str], waits_for: Mapping[str, Sequence[str]] | None = None, workers: int = 8
    ) -> asyncio.Task[None]:
        """Returns the loop as a task."""
        return asyncio.create_task(run_ready(sequence, waits_for or {}, self.work, workers=workers))


async def finish(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(5):
        await task


async def test_nothing_to_do_is_done_at_once() -> None:
    await finish(Bench().run([]))


async def test_every_item_is_worked_on_once_in_the_order_of_the_sequence() -> None:
    bench = Bench()
    bench.open(*"cab")
    await finish(bench.run("cab", workers=1))
    assert bench.started == bench.done == ["c", "a", "b"]


async def test_an_item_starts_when_all_it_waits_for_is_done_and_not_before() -> None:
    bench = Bench()
    task = bench.run("abc", {"c": ("a", "b")})
    await until(lambda: bench.started == ["a", "b"])
    bench.open("a")
    await until(lambda: bench.done == ["a"])
    await asyncio.sleep(0)
    assert bench.started == ["a", "b"]
    bench.open("b", "c")
    await finish(task)
    assert bench.done == ["a", "b", "c"]


async def test_a_slow_item_holds_up_only_what_waits_for_it() -> None:
    bench = Bench()
    task = bench.run(["slow", "quick", "after-quick", "after-slow"], {"after-quick": ["quick"], "after-slow": ["slow"]})
    bench.open("quick", "after-quick", "after-slow")
    await until(lambda: bench.done == ["quick", "after-quick"])
    bench.open("slow")
    await finish(task)
    assert bench.done[-1] == "after-slow"


async def test_of_several_ready_items_the_first_of_the_sequence_comes_first() -> None:
    bench = Bench()
    bench.open("root", "late", "early")
    await finish(bench.run(["root", "early", "late"], {"early": ["root"]}, workers=1))
    assert bench.done == ["root", "early", "late"]


async def test_no_more_items_than_workers_are_under_way() -> None:
    bench = Bench()
    task = bench.run("abcd", workers=2)
    await until(lambda: bench.started == ["a", "b"])
    for _ in range(10):
        await asyncio.sleep(0)
    assert bench.started == ["a", "b"]
    bench.open(*"abcd")
    await finish(task)


async def test_a_failure_starts_nothing_new_lets_the_rest_finish_and_is_raised() -> None:
    bench = Bench()
    bench.broken["a"] = RuntimeError("a broke")
    task = bench.run("abcd", {"c": ["a"]}, workers=2)
    await until(lambda: bench.started == ["a", "b"])
    bench.open("a")
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    bench.open("b")
    with pytest.raises(RuntimeError, match="a broke"):
        await finish(task)
    assert (bench.started, bench.done) == (["a", "b"], ["b"])


async def test_a_failure_wakes_workers_that_wait_for_it() -> None:
    bench = Bench()
    bench.broken["a"] = RuntimeError("a broke")
    bench.open("a")
    with pytest.raises(RuntimeError, match="a broke"):
        await finish(bench.run("ab", {"b": ["a"]}))
    assert bench.started == ["a"]


async def test_cancelling_starts_nothing_new_and_waits_for_what_is_under_way() -> None:
    bench = Bench()
    task = bench.run("ab", workers=1)
    await until(lambda: bench.started == ["a"])
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    bench.open("a")
    with pytest.raises(asyncio.CancelledError):
        await finish(task)
    assert (bench.started, bench.done) == (["a"], ["a"])


async def test_items_without_an_order_are_all_under_way_at_once() -> None:
    bench = Bench()
    task = asyncio.create_task(run_each(iter("abc"), bench.work))
    await until(lambda: bench.started == ["a", "b", "c"])
    bench.open(*"abc")
    await finish(task)


async def test_items_without_an_order_are_finished_before_a_failure_is_raised() -> None:
    bench = Bench()
    bench.broken["b"] = RuntimeError("b broke")
    task = asyncio.create_task(run_each("ab", bench.work))
    await until(lambda: bench.started == ["a", "b"])
    bench.open("b")
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    bench.open("a")
    with pytest.raises(RuntimeError, match="b broke"):
        await finish(task)
    assert bench.done == ["a"]


def test_a_failure_of_what_was_under_way_when_it_was_cancelled_is_not_shouted_at_the_user(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Asyncio logs every exception that nobody has asked a task for."""

    async def cancel_it() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def work(item: str) -> None:
            begun.set()
            await cancelled.wait()
            raise ValueError(item)

        running = asyncio.create_task(run_ready(["a"], {}, work))
        await begun.wait()
        running.cancel()
        cancelled.set()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(cancel_it())
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
