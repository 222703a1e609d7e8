"""Tests of flow control: how many requests are let through, and what the answers teach it."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from mover.kube.flow import Flow, FlowLimits
from tests.unit.scripted_server import until


class Crowd:
    """Tasks that each hold a slot until they are let go."""

    def __init__(self, flow: Flow, size: int) -> None:
        self.inside: list[int] = []
        self.leave = asyncio.Event()
        self.tasks = [asyncio.create_task(self._one(flow, number)) for number in range(size)]

    async def _one(self, flow: Flow, number: int) -> None:
        async with flow.slot():
            self.inside.append(number)
            await self.leave.wait()

    async def settle(self) -> list[int]:
        """Lets every task run as far as it can and returns who is inside."""
        for _ in range(20):
            await asyncio.sleep(0)
        return self.inside

    async def end(self) -> None:
        """Lets everybody go and waits until they are."""
        self.leave.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*self.tasks, return_exceptions=True)


def flow(start: int, floor: int = 1, ceiling: int = 48, slow_floor: int = 1) -> Flow:
    return Flow(FlowLimits(start, floor, ceiling, slow_floor))


async def test_no_more_than_the_limit_are_inside_at_once_and_the_others_follow_in_their_order() -> None:
    crowd = Crowd(flow(2), 5)
    assert await crowd.settle() == [0, 1]
    await crowd.end()
    assert crowd.inside == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("most", "start"), [(1, 1), (8, 8), (100, 16)])
async def test_a_ceiling_that_is_asked_for_is_never_passed(most: int, start: int) -> None:
    gate = Flow(FlowLimits.up_to(most))
    assert gate.limit == start
    for _ in range(10_000):
        gate.answered(0.01)
    assert gate.limit == most


async def test_a_request_that_fails_gives_its_place_back() -> None:
    gate = flow(1)
    with pytest.raises(ValueError, match="broken"):
        async with gate.slot():
            raise ValueError("broken")
    crowd = Crowd(gate, 1)
    assert await crowd.settle() == [0]
    await crowd.end()


async def test_one_that_gives_up_while_it_queues_does_not_take_a_place_with_it() -> None:
    crowd = Crowd(flow(1), 3)
    await crowd.settle()
    crowd.tasks[1].cancel()
    await crowd.settle()
    await crowd.end()
    assert crowd.inside == [0, 2]


async def test_one_that_gives_up_just_as_it_was_let_in_passes_its_place_on() -> None:
    crowd = Crowd(flow(1), 3)
    await crowd.settle()
    crowd.leave.set()
    await until(crowd.tasks[0].done)
    crowd.tasks[1].cancel()
    await crowd.end()
    assert 2 in crowd.inside


async def test_quick_answers_let_the_limit_grow_by_one_per_round_up_to_the_ceiling() -> None:
    gate = flow(4, ceiling=6)
    for _ in range(5):
        gate.answered(0.01)
    assert gate.limit == 5
    for _ in range(50):
        gate.answered(0.01)
    assert gate.limit == 6


async def test_answers_much_slower_than_the_quickest_shrink_the_limit_down_to_the_floor() -> None:
    gate = flow(4, slow_floor=2)
    gate.answered(0.01)
    for _ in range(100):
        gate.answered(1.0)
    assert gate.limit == 2


async def test_slow_answers_do_not_keep_down_what_a_429_brought_down() -> None:
    gate = flow(8, slow_floor=4)
    gate.answered(0.01)
    for _ in range(3):
        gate.throttled(0.0)
    assert gate.limit == 1
    for _ in range(100):
        gate.answered(1.0)
    assert gate.limit == 4


async def test_jitter_among_very_quick_answers_does_not_shrink_the_limit() -> None:
    gate = flow(4)
    gate.answered(0.0001)
    for _ in range(20):
        gate.answered(0.004)
    assert gate.limit > 4


async def test_a_grown_limit_lets_waiting_requests_in_at_once() -> None:
    gate = flow(1)
    crowd = Crowd(gate, 2)
    await crowd.settle()
    gate.answered(0.01)
    assert await crowd.settle() == [0, 1]
    await crowd.end()


async def test_a_throttled_answer_halves_the_limit_but_not_below_the_floor() -> None:
    gate = flow(8, floor=3)
    gate.throttled(0.0)
    assert gate.limit == 4
    gate.throttled(0.0)
    assert gate.limit == 3


async def test_nobody_is_let_in_before_the_time_the_server_asked_for_has_passed() -> None:
    gate = flow(4)
    gate.throttled(0.05)
    gate.throttled(0.0)  # a later, shorter request does not shorten the first
    before = time.monotonic()
    async with gate.slot():
        assert time.monotonic() - before >= 0.045


async def test_one_that_gives_up_during_the_servers_pause_gives_its_place_back() -> None:
    gate = flow(2)
    gate.throttled(3600)
    crowd = Crowd(gate, 1)
    await crowd.settle()
    crowd.tasks[0].cancel()
    await crowd.settle()
    gate._paused_until = 0.0
    next_crowd = Crowd(gate, 1)
    assert await next_crowd.settle() == [0]
    await next_crowd.end()


def _answers_until(gate: Flow, limit: int) -> int:
    """Returns how many answers it takes until so many may be under way."""
    for number in range(100_000):
        if gate.limit >= limit:
            return number
        gate.answered(0.01)
    raise AssertionError(f"the limit stays at {gate.limit}")


async def test_a_server_with_one_place_is_asked_for_another_ever_more_rarely() -> None:
    gate = flow(1)
    assert _answers_until(gate, 2) == 1
    rarely = []
    for _ in range(8):
        gate.throttled(0)
        rarely.append(_answers_until(gate, 2))
    growth = [later / earlier for earlier, later in pairwise(rarely)]
    assert growth == pytest.approx([2, 2, 2, 2, 2, 1, 1], rel=0.05)
    assert rarely[-1] > 256


async def test_a_burst_of_refusals_with_answers_among_them_counts_once() -> None:
    gate = flow(1)
    for _ in range(10):
        gate.throttled(60)
        gate.answered(0.01)
    assert _answers_until(gate, 2) < 16


async def test_a_server_that_takes_twice_as_many_as_it_did_is_trusted_again() -> None:
    gate = flow(8)
    gate.throttled(0)
    _answers_until(gate, 9)
    assert _answers_until(gate, 10) <= 10
