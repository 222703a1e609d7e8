"""A mover is killed at a write; another one resumes the move or takes it back, while the witness watches."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

import mover
from mover.api import move_async, resume_async, rollback_async
from mover.errors import StoppedError, UsageError
from tests.crash import points, world
from tests.crash.conftest import TALLY, Undisturbed, next_namespace, require_moved
from tests.crash.driver import Command, KillPoint, When, options
from tests.crash.drivers import SLOTS, Drivers
from tests.crash.points import Batch
from tests.crash.world import World
from tests.testbed.client import AdminClient
from tests.testbed.collector import wait_for_collector
from tests.testbed.pair import Pair
from tests.testbed.witness import Expectations, Witness

Work = Callable[[World, KillPoint], Awaitable[None]]

COMMITTED = {"deleting", "resuming", "done"}


class Crash:
    """What is done at each point: a fleet, a killed mover, and another one that tidies up."""

    def __init__(self, pair: Pair, drivers: Drivers, undisturbed: Undisturbed) -> None:
        self.pair = pair
        self.drivers = drivers
        self.undisturbed = undisturbed

    def share(self, batch: Batch) -> tuple[KillPoint, ...]:
        """Returns the points that a batch tries."""
        known = self.undisturbed
        return batch.share(points.points(batch.then, known.writes, known.before_commit, os.environ))

    async def seed(self) -> World:
        """Returns a fleet in a namespace of its own."""
        return await world.seed(self.pair, next_namespace())

    @asynccontextmanager
    async def watched(self, worlds: Collection[World], *, rollback: bool = False) -> AsyncIterator[None]:
        """Has the witness watch the namespaces of some worlds; of many, they are discarded afterwards."""
        namespaces = {seeded.namespace for seeded in worlds}
        async with (
            AdminClient(self.pair.source.kubeconfig, connections=128) as one,
            AdminClient(self.pair.target.kubeconfig, connections=128) as other,
            Witness(one, other, Expectations(rollback=rollback), namespaces=namespaces) as witness,
        ):
            yield
        witness.check()
        for namespace in namespaces if points.wants_all(os.environ) else ():
            await world.discard(self.pair, namespace)

    async def kill(self, command: Command, seeded: World, point: KillPoint) -> str:
        """Runs a mover that is killed at `point`; returns the write it was killed at."""
        run = await self.drivers.run(command, seeded.namespace, point)
        assert run.status == -signal.SIGKILL, run.log
        assert len(run.writes) == point.number
        TALLY["tried"] += 1
        return run.last_write

    async def resume(self, seeded: World, *, by_move: bool = False) -> None:
        """Resumes a killed move in this process, by `resume` or by `move` again.

        A record on one side alone is left to `resume`: a plain move says so, and stops.
        """
        clusters = self.pair.source_ref, self.pair.target_ref
        phases = await world.phases(self.pair, seeded.namespace)
        if by_move and any(phases) and not all(phases):
            with pytest.raises(mover.OtherMoveError):
                await move_async(*clusters, options(seeded.namespace))
            by_move = False
        if by_move or not any(phases):
            await move_async(*clusters, options(seeded.namespace))
        else:
            await resume_async(*clusters, seeded.namespace)

    async def roll_back(self, seeded: World) -> None:
        """Takes a killed move back in this process; one that has recorded nothing yet needs no rollback."""
        clusters = self.pair.source_ref, self.pair.target_ref
        if any(await world.phases(self.pair, seeded.namespace)):
            await rollback_async(*clusters, seeded.namespace)
        else:
            with pytest.raises(UsageError, match="under way"):
                await rollback_async(*clusters, seeded.namespace)

    async def require_as_undisturbed(self, seeded: World) -> None:
        """Asserts that all is where an undisturbed move has it, with the same content, and no record is left."""
        end = await world.end_state(self.pair, seeded.namespace)
        there = {name.partition(" ")[2] for name in end}
        TALLY["lost"] += len({name.partition(" ")[2] for name in self.undisturbed.end} - there)
        require_moved(seeded, end)
        differences = world.first_differences(end, self.undisturbed.end)
        assert not differences, "\n".join(differences)
        assert await world.phases(self.pair, seeded.namespace) == ("", "")
        TALLY["resumed"] += 1

    async def require_as_before(self, seeded: World) -> None:
        """Asserts that the source is exactly as it was and nothing of the move is on the target."""
        state = world.exact(await world.objects(self.pair.on_source, seeded.namespace))
        TALLY["lost"] += len(set(seeded.before) - set(state))
        differences = world.first_differences(state, seeded.before)
        assert not differences, "\n".join(differences)
        await world.wait_until_gone(self.pair.on_target, seeded.namespace)
        assert await world.phases(self.pair, seeded.namespace) == ("", "")
        TALLY["rolled back"] += 1

    async def require_rollback_is_refused(self, seeded: World) -> None:
        """Asserts that a committed move cannot be rolled back, and that trying it changes nothing."""
        before = await world.versions(self.pair, seeded.namespace)
        with pytest.raises(StoppedError, match="only be completed"):
            await rollback_async(self.pair.source_ref, self.pair.target_ref, seeded.namespace)
        assert await world.versions(self.pair, seeded.namespace) == before

    async def is_committed(self, seeded: World) -> bool:
        """Returns whether a record says that originals may be gone."""
        return bool(COMMITTED & set(await world.phases(self.pair, seeded.namespace)))


@pytest.fixture
def crash(pair: Pair, drivers: Drivers, undisturbed: Undisturbed) -> Crash:
    return Crash(pair, drivers, undisturbed)


def _of(then: Command) -> list[Batch]:
    return [batch for batch in points.batches(os.environ) if batch.then is then]


@pytest.mark.parametrize("batch", _of(Command.RESUME), ids=str)
async def test_a_killed_move_is_resumed_and_ends_as_an_undisturbed_one(crash: Crash, batch: Batch) -> None:
    chosen = crash.share(batch)
    worlds = await asyncio.gather(*(crash.seed() for _ in chosen))

    async def one(seeded: World, point: KillPoint) -> None:
        await crash.kill(Command.MOVE, seeded, point)
        if await crash.is_committed(seeded):
            await crash.require_rollback_is_refused(seeded)
        await crash.resume(seeded, by_move=point.number % 2 == 0)

    async with crash.watched(worlds):
        await _each(chosen, worlds, one)
        await _collected(crash)
        await _each(chosen, worlds, lambda seeded, _: crash.require_as_undisturbed(seeded))


@pytest.mark.parametrize("batch", _of(Command.ROLLBACK), ids=str)
async def test_a_move_killed_before_its_commit_is_rolled_back_and_leaves_no_trace(crash: Crash, batch: Batch) -> None:
    chosen = crash.share(batch)
    worlds = await asyncio.gather(*(crash.seed() for _ in chosen))

    async def one(seeded: World, point: KillPoint) -> None:
        await crash.kill(Command.MOVE, seeded, point)
        await crash.roll_back(seeded)

    async with crash.watched(worlds, rollback=True):
        await _each(chosen, worlds, one)
        await _collected(crash)
        await _each(chosen, worlds, lambda seeded, _: crash.require_as_before(seeded))


async def test_a_resume_is_killed_and_resumed_again(crash: Crash) -> None:
    # While the copies are made, while originals are deleted, while the target is resumed.
    starts = _points(len(crash.undisturbed.writes), 0.4, 0.7, 0.95)
    worlds = await asyncio.gather(*(crash.seed() for _ in starts))

    async def one(seeded: World, start: KillPoint) -> None:
        await crash.kill(Command.MOVE, seeded, start)
        await crash.kill(Command.RESUME, seeded, KillPoint(8, When.BEFORE))
        await crash.kill(Command.RESUME, seeded, KillPoint(11, When.AFTER))
        await crash.resume(seeded)

    async with crash.watched(worlds):
        await _each(starts, worlds, one)
        await _collected(crash)
        await _each(starts, worlds, lambda seeded, _: crash.require_as_undisturbed(seeded))


async def test_a_rollback_is_killed_and_taken_up_again(crash: Crash) -> None:
    start = KillPoint(round(crash.undisturbed.before_commit * 0.7), When.BEFORE)
    seconds = [KillPoint(number, When.AFTER) for number in (5, 9, 30)]
    worlds = await asyncio.gather(*(crash.seed() for _ in seconds))

    async def one(seeded: World, second: KillPoint) -> None:
        await crash.kill(Command.MOVE, seeded, start)
        await crash.kill(Command.ROLLBACK, seeded, second)
        # A later rollback has less left to do: this one dies at its first removal.
        await crash.kill(Command.ROLLBACK, seeded, KillPoint(9, When.BEFORE))
        await crash.roll_back(seeded)

    async with crash.watched(worlds, rollback=True):
        await _each(seconds, worlds, one)
        await _collected(crash)
        await _each(seconds, worlds, lambda seeded, _: crash.require_as_before(seeded))


async def test_a_move_again_finishes_an_interrupted_rollback_and_moves(crash: Crash) -> None:
    start = KillPoint(round(crash.undisturbed.before_commit * 0.7), When.BEFORE)
    seconds = [KillPoint(number, When.BEFORE) for number in (10, 30)]
    worlds = await asyncio.gather(*(crash.seed() for _ in seconds))

    async def one(seeded: World, second: KillPoint) -> None:
        await crash.kill(Command.MOVE, seeded, start)
        await crash.kill(Command.ROLLBACK, seeded, second)
        with pytest.raises(StoppedError, match="rollback"):
            await crash.resume(seeded)
        await crash.resume(seeded, by_move=True)

    async with crash.watched(worlds, rollback=True):
        await _each(seconds, worlds, one)
        await _collected(crash)
        await _each(seconds, worlds, lambda seeded, _: crash.require_as_undisturbed(seeded))


def _points(writes: int, *shares: float) -> list[KillPoint]:
    return [KillPoint(round(writes * share), When.AFTER) for share in shares]


async def _collected(crash: Crash) -> None:
    await asyncio.gather(wait_for_collector(crash.pair.on_source), wait_for_collector(crash.pair.on_target))


async def _each(chosen: Sequence[KillPoint], worlds: Sequence[World], work: Work) -> None:
    """Does the work at all points, a few at once, and raises all failures together, each with its point."""
    places = asyncio.Semaphore(SLOTS)

    async def one(seeded: World, point: KillPoint) -> None:
        async with places:
            try:
                await work(seeded, point)
            except BaseException as error:
                error.add_note(f"Killed {point} ({seeded.namespace})")
                raise

    ends = await asyncio.gather(*map(one, worlds, chosen), return_exceptions=True)
    failures = [end for end in ends if isinstance(end, BaseException)]
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(chosen)} points", failures)
