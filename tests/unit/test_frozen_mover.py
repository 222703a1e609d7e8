"""A mover is frozen before each of its writes; a second one takes over and ends, or dies; then the first one thaws.

Its leases have run out meanwhile: by its clock, which jumps when it thaws, or on a machine whose clock stands still
with it, so that only what it finds on the servers can tell it. By default at a spread of the writes; all of them with
FROZEN_POINTS=all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from mover.choices import OnFailure
from mover.errors import SupersededError
from mover.execute import lease_object, run
from mover.execute.holders import this_holder
from mover.execute.run import Clusters, InterruptedMoveError, RolledBackError
from mover.kube import Cluster
from mover.kube.transport import Request
from mover.models import Phase
from tests.tallies import TALLIES
from tests.unit import clock as clocks
from tests.unit.clock import Clock
from tests.unit.fake_apiserver import DirectLink, FakeApiServer, Fuse, Killed
from tests.unit.mover_builders import CLUSTER, SMALL, Stage, refuse
from tests.unit.scripted_server import Reply

TALLY = TALLIES["frozen movers"]
OWN_WRITES = 50
"""How many writes the small move makes, those to its leases left out: they are conditional themselves."""
_LAST = 4
"""So many of them follow the last write of the record: two resumes, and the removal of both records."""
UNDOING_WRITES = 18
"""The same of the rollback of one that has failed while it created copies."""


class Freezer:
    """Stands before one of the writes of a mover, counted from 0 over both clusters, until it is let go on."""

    def __init__(self, number: int = -1) -> None:
        self.writes = 0
        self.frozen = asyncio.Event()
        self.thawed = asyncio.Event()
        self.sent_after: list[str] = []
        self._number = number

    async def pass_by(self) -> None:
        """Counts a write, and holds it up if it is the one."""
        number, self.writes = self.writes, self.writes + 1
        if number == self._number:
            self.frozen.set()
        if self.frozen.is_set():
            # Whatever else is under way stands still with it.
            await self.thawed.wait()


class FreezingLink(DirectLink):
    """A connection of a mover that may be frozen."""

    def __init__(self, server: FakeApiServer, freezer: Freezer) -> None:
        super().__init__(server, Fuse())
        self._freezer = freezer

    async def send(self, request: Request) -> bytes:
        """Freezes before the mover asks whether it may send the write: that is the last that it does before it."""
        if not request.is_write or request.is_of_lease:
            return await super().send(request)
        await self._freezer.pass_by()
        await self.allowed_s(request)
        if self._freezer.thawed.is_set():
            self._freezer.sent_after.append(f"{request.method} {request.path}")
        return await super().send(request)


class Scene:
    """A stage with a first mover that freezes and a second one that takes over."""

    def __init__(self, clock: Clock, patcher: pytest.MonkeyPatch, **options: Any) -> None:
        self.stage = Stage(**options)
        self.before = self.stage.everything()
        self.clock = clock
        self._patcher = patcher
        self._first: asyncio.Task[object] | None = None

    async def freeze(self, number: int, *, undoing: bool = False) -> Freezer:
        """Lets the first mover run until it freezes; whoever comes later takes it for dead."""
        freezer = Freezer(number)
        clusters = self.clusters(freezer)
        # Known to be gone, so that nobody waits a second for its leases: `test_lease` has the waiting.
        gone = f"{this_holder().partition('/')[0]}/1/0"
        work: Coroutine[Any, Any, object]
        if undoing:
            record = await self.stage.record()
            assert record is not None
            work = run.undo(clusters, record, (), self.stage.events.append)
        else:
            work = self.stage.move(clusters=clusters, findings=await self.stage.findings())
        with self._patcher.context() as patch:
            for module in (lease_object, run):
                patch.setattr(module, "this_holder", lambda: gone)
            self._first = asyncio.ensure_future(work)
            frozen = asyncio.ensure_future(freezer.frozen.wait())
            await asyncio.wait((self._first, frozen), return_when=asyncio.FIRST_COMPLETED)
        assert freezer.frozen.is_set(), self._first
        return freezer

    def clusters(self, freezer: Freezer) -> Clusters:
        """Returns both clusters as the first mover reaches them."""
        source, target = (
            Cluster(server.name, f"{server.name}-ctx", "", FreezingLink(server, freezer), server.lease_s)
            for server in (self.stage.source, self.stage.target)
        )
        return Clusters(source, target)

    async def thaw(self, freezer: Freezer, *, slept_s: float) -> BaseException:
        """Lets the first mover go on, and returns what it ended with."""
        assert self._first is not None
        self.clock.sleep(slept_s)
        freezer.thawed.set()
        (end,) = await asyncio.wait_for(asyncio.gather(self._first, return_exceptions=True), 30)
        TALLY["thawed"] += 1
        TALLY["superseded"] += isinstance(end, SupersededError)
        return end if isinstance(end, BaseException) else AssertionError("it came to its end")

    def require_safe(self) -> None:
        """Nothing is lost, and nothing is unpaused on both clusters."""
        source, target = self.stage.source, self.stage.target
        lost = [obj.key for obj in SMALL if not (source.has(obj) or target.has(obj))]
        TALLY["lost"] += len(lost)
        assert not lost
        if source.has(CLUSTER) and target.has(CLUSTER):
            states = [server.now(CLUSTER).body()["spec"].get("paused") for server in (source, target)]
            assert any(states), "at work on both clusters"

    def everything(self) -> dict[str, dict[str, Any]]:
        """Returns all objects of both clusters but the leases."""
        return {path: body for path, body in self.stage.everything().items() if "/leases/" not in path}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return clocks.install(monkeypatch)


@pytest.fixture
def scene(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(clock, monkeypatch)


def spread(total: int, step: int) -> Sequence[int]:
    return range(total) if os.environ.get("FROZEN_POINTS") == "all" else range(0, total, step)


at_writes = pytest.mark.parametrize("number", spread(OWN_WRITES, 3))
slept = pytest.mark.parametrize("slept_s", [100.0, 0.0], ids=["its clock jumped", "its clock stood still"])


PHASES = (Phase.PAUSING, Phase.CREATING, Phase.VERIFYING, Phase.DELETING, Phase.RESUMING)


def dies_in(phase: Phase, stage: Stage) -> None:
    """Lets whoever comes to a phase, as the source's record says, die at its next write."""
    reached: list[str] = []

    def before(request: web.Request) -> Reply | None:
        if request.method == "GET":
            return None
        if reached:
            raise Killed
        path = "/api/v1/namespaces/capi-mover/configmaps/capi-mover.ns"
        record = stage.source.bodies.get(path) or {}
        if (record.get("data") or {}).get("phase") == phase.value and request.path != path:
            reached.append(request.path)
            raise Killed
        return None

    stage.source.before = stage.target.before = before


async def second_goes_on(scene: Scene) -> None:
    """The second mover finishes the move, or begins it where nothing was recorded."""
    if await scene.stage.record() is None:
        if scene.stage.source.has(CLUSTER):
            await scene.stage.move()
        return
    await scene.stage.go_on()


async def test_the_first_mover_is_frozen_before_all_its_writes(scene: Scene) -> None:
    freezer = Freezer()
    await scene.stage.move(clusters=scene.clusters(freezer), findings=await scene.stage.findings())
    assert freezer.writes == OWN_WRITES


async def test_the_first_mover_is_frozen_before_all_writes_of_its_rollback(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, freezer = await kept(clock, monkeypatch), Freezer()
    record = await scene.stage.record()
    assert record is not None
    await run.undo(scene.clusters(freezer), record, (), scene.stage.events.append)
    assert freezer.writes == UNDOING_WRITES


def require_told(end: BaseException, number: int) -> None:
    """The first mover, which believes in its leases, has learnt from the records that the move is not its own.

    One that had done all but its last writes may just end.
    """
    if number < OWN_WRITES - _LAST:
        assert isinstance(end, SupersededError)


@at_writes
@slept
async def test_a_mover_that_thaws_after_another_one_has_finished_does_no_harm(
    scene: Scene, number: int, slept_s: float
) -> None:
    freezer = await scene.freeze(number)
    await second_goes_on(scene)
    after = scene.everything()
    end = await scene.thaw(freezer, slept_s=slept_s)
    scene.require_safe()
    assert all(scene.stage.target.has(obj) for obj in SMALL)
    assert not scene.stage.source.has(CLUSTER)
    if slept_s:
        assert isinstance(end, SupersededError)
        assert end.paragraph().endswith("See what has become of it: capi-mover status")
        assert freezer.sent_after == []
        assert scene.everything() == after
    else:
        require_told(end, number)


@at_writes
@slept
async def test_a_mover_that_thaws_after_another_one_has_undone_the_move_does_no_harm(
    scene: Scene, number: int, slept_s: float
) -> None:
    freezer = await scene.freeze(number)
    record = await scene.stage.record()
    if record is None or record.is_committed:
        await second_goes_on(scene)
    else:
        await scene.stage.undo()
        assert scene.everything() == scene.before
    after = scene.everything()
    end = await scene.thaw(freezer, slept_s=slept_s)
    scene.require_safe()
    if slept_s:
        assert isinstance(end, SupersededError)
        assert freezer.sent_after == []
        assert scene.everything() == after
    else:
        require_told(end, number)


@pytest.mark.parametrize("number", spread(OWN_WRITES, 7))
@pytest.mark.parametrize("phase", PHASES, ids=str)
@slept
async def test_a_mover_that_thaws_after_another_one_has_died_does_no_harm_and_a_third_one_finishes(
    scene: Scene, number: int, phase: Phase, slept_s: float
) -> None:
    freezer = await scene.freeze(number)
    dies_in(phase, scene.stage)
    try:
        await second_goes_on(scene)
    except Killed:
        TALLY["second died"] += 1
    scene.stage.source.before = scene.stage.target.before = lambda _: None
    scene.stage.drop_leases()
    after = scene.everything()
    end = await scene.thaw(freezer, slept_s=slept_s)
    scene.require_safe()
    if slept_s:
        assert isinstance(end, SupersededError), end
        assert freezer.sent_after == []
        assert scene.everything() == after
    scene.stage.drop_leases()
    if number or slept_s:
        await second_goes_on(scene)
    else:
        # It has recorded a move of what is there no more: that comes to nothing, and the record is gone.
        with suppress(RolledBackError):
            await second_goes_on(scene)
        await second_goes_on(scene)
    scene.require_safe()
    assert all(scene.stage.target.has(obj) for obj in SMALL)


async def kept(clock: Clock, patcher: pytest.MonkeyPatch) -> Scene:
    """Returns a scene with a move that has failed while it created copies, and is kept."""
    scene = Scene(clock, patcher, on_failure=OnFailure.KEEP)
    refuse(scene.stage.target, "POST", "/machines")
    with pytest.raises(InterruptedMoveError):
        await scene.stage.move()
    scene.stage.target.before = lambda _: None
    return scene


@pytest.mark.parametrize("number", spread(UNDOING_WRITES, 3))
@slept
async def test_a_rollback_that_thaws_after_another_one_has_ended_it_does_no_harm(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, number: int, slept_s: float
) -> None:
    """And the same objects are being moved again by then."""
    scene = await kept(clock, monkeypatch)
    freezer = await scene.freeze(number, undoing=True)
    if await scene.stage.record() is not None:
        await scene.stage.undo()
    assert scene.everything() == scene.before
    if slept_s:
        await scene.stage.move()
    after = scene.everything()
    end = await scene.thaw(freezer, slept_s=slept_s)
    scene.require_safe()
    if slept_s:
        assert isinstance(end, SupersededError)
        assert freezer.sent_after == []
    assert scene.everything() == after


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.VERIFYING], ids=str)
async def test_a_move_that_was_to_be_kept_is_not_undone_after_somebody_else_has_finished_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    """The first mover sleeps, fails when it wakes up, and leaves nothing that could be undone."""
    scene = Scene(clock, monkeypatch, on_failure=OnFailure.KEEP)
    found, number = None, -1
    while found is None or found.phase is not phase:
        number += 1
        scene = Scene(clock, monkeypatch, on_failure=OnFailure.KEEP)
        freezer = await scene.freeze(number)
        found = await scene.stage.record()
        if found is None or found.phase is not phase:
            await scene.thaw(freezer, slept_s=0)
    await scene.stage.go_on()
    after = scene.everything()
    assert isinstance(await scene.thaw(freezer, slept_s=100), SupersededError)
    assert await scene.stage.record() is None
    with pytest.raises(SupersededError, match="was ended by somebody else"):
        await run.undo(scene.stage.clusters(), found, (), scene.stage.events.append)
    assert scene.everything() == after
