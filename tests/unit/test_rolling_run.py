"""Tests of moving units beside each other: what becomes of the others when one fails, or when all are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from graph import rules
from graph.selection import Fate
from graph.unit import Unit, units
from mover.checks import Findings
from mover.errors import Call, ConnectionFailedError, MoverError, Problem, RefusedError, StoppedError, SupersededError
from mover.events import (
    Event,
    InUnit,
    Listener,
    Noted,
    ObjectDone,
    PhaseStarted,
    RollingStarted,
    UnitEnded,
    UnitStarted,
    ignore,
)
from mover.execute.forward import Outcome
from mover.execute.lease import Claim, Lease, LeaseLostError
from mover.execute.run import Claims, Clusters, InterruptedMoveError, RolledBackError
from mover.kube import Cluster, Live
from mover.models import MoveOptions, Phase, RollingOptions, UnitFate, UnitReport
from mover.planning import Plan
from mover.rolling import run as module
from mover.rolling.queue import UnitQueue
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, plan_of
from tests.unit.scripted_server import until

PLAN = plan_of(*(make(rules.CLUSTER, name) for name in "abcd"))
LOST = LeaseLostError("target", ConnectionFailedError(Call("target", "PUT", "/leases"), "no answer"))
Doing = Callable[[str], Awaitable[None]]


def claim() -> Claim:
    return Claim(Lease(FakeApiServer().direct(), "ns", ignore))


class Stage:
    """A rolling move of the Clusters a, b, c and d, whose units do what the test says.

    Attributes:
        begun: The names of the Clusters whose units were begun, "" for the rest.
        events: What the listener was told.
        claims: The leases.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: Plan = PLAN) -> None:
        self.begun: list[str] = []
        self.events: list[Event] = []
        self.claims = Claims(claim(), claim())
        self.doing: Doing = self.nothing
        self._plan = plan
        monkeypatch.setattr(module._Roll, "_mover", self._mover)
        monkeypatch.setattr(module._Roll, "_move_rest", self._move_rest)

    async def nothing(self, name: str) -> None:
        """Moves at once."""

    async def run(self, **rolling: Any) -> list[UnitReport]:
        """Moves all units."""
        nowhere = cast("Any", None)
        roll = module._Roll(nowhere, nowhere, self.claims, self._plan, MoveOptions(), self.events.append)
        return list(await roll.run(RollingOptions(**rolling)))

    async def fates(self, **rolling: Any) -> list[str]:
        """Returns what became of each Cluster, by name."""
        return sorted(f"{''.join(report.clusters)}: {report.fate}" for report in await self.run(**rolling))

    def _mover(self, unit: Unit, _: UnitQueue) -> Callable[[Listener], Awaitable[Outcome]]:
        async def move(listener: Listener) -> Outcome:
            (name,) = unit.names
            self.begun.append(name)
            listener(PhaseStarted(Phase.PAUSING, 1))
            listener(ObjectDone(Phase.PAUSING, name, "paused"))
            listener(Noted("note"))
            await self.doing(name)
            return Outcome(self._plan, 7, {}, 1.5)

        return move

    async def _move_rest(self) -> None:
        self.begun.append("")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_every_unit_is_moved_in_its_order_and_then_the_rest(stage: Stage) -> None:
    reports = await stage.run(parallel=1)
    assert stage.begun == ["a", "b", "c", "d", ""]
    assert {(report.fate, report.objects, report.paused_s) for report in reports} == {(UnitFate.MOVED, 7, 1.5)}


async def test_no_more_units_are_at_work_at_once_than_asked_for(stage: Stage) -> None:
    at_work: set[str] = set()
    most: list[int] = []

    async def doing(name: str) -> None:
        at_work.add(name)
        most.append(len(at_work))
        for _ in range(5):
            await asyncio.sleep(0)
        at_work.discard(name)

    stage.doing = doing
    await stage.run(parallel=3)
    assert max(most) == 3


async def test_chosen_clusters_have_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = replace(PLAN, rules=replace(PLAN.rules, clusters=frozenset()))
    stage = Stage(monkeypatch, chosen)
    await stage.run()
    assert stage.begun == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (RolledBackError(StoppedError("it broke", "mend it")), UnitFate.ROLLED_BACK),
        (InterruptedMoveError("it broke", "go on"), UnitFate.STOPPED),
        (RefusedError([]), UnitFate.REFUSED),
        (ConnectionFailedError(Call("source", "GET", "/"), "reset"), UnitFate.REFUSED),
    ],
)
async def test_a_unit_that_fails_does_so_alone_and_the_rest_stays(
    stage: Stage, error: MoverError, fate: UnitFate
) -> None:
    stage.doing = _failing("b", error)
    reports = await stage.run()
    assert {"".join(report.clusters): report.fate for report in reports} == {
        **dict.fromkeys("acd", UnitFate.MOVED),
        "b": fate,
    }
    assert [report.error for report in reports if report.error] == [str(error)]
    assert "" not in stage.begun


def _failing(failing: str, error: Exception) -> Doing:
    async def doing(name: str) -> None:
        if name == failing:
            raise error

    return doing


async def test_after_a_failure_no_unit_is_begun_if_that_is_asked_for(stage: Stage) -> None:
    stage.doing = _failing("b", RefusedError([]))
    assert await stage.fates(parallel=1, fail_fast=True) == ["a: moved", "b: refused", "c: not-begun", "d: not-begun"]
    assert stage.begun == ["a", "b"]


async def test_a_fault_of_our_own_in_one_unit_is_raised_when_the_others_have_ended(stage: Stage) -> None:
    """They do not wait for a unit that will never be done."""
    shared = make(rules.CLUSTER_CLASS, "k")
    used = {"topology": {"classRef": {"name": "k"}}}
    stage._plan = plan_of(shared, *(make(rules.CLUSTER, name, spec=used) for name in "ab"))
    stage.doing = _failing("a", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(5):
            await stage.run(parallel=2)
    assert stage.begun == ["a"]


async def _until_undone(_: str) -> None:
    """Works until it is cancelled, and undoes then what it did, as a move does."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        raise RolledBackError(error) from error


async def test_a_stop_undoes_the_units_at_work_and_begins_no_other(stage: Stage) -> None:
    stage.doing = _until_undone
    rolling = asyncio.ensure_future(stage.run(parallel=2))
    await until(lambda: len(stage.begun) == 2)
    rolling.cancel()
    with pytest.raises(StoppedError) as caught:
        await rolling
    assert str(caught.value).startswith(
        "Stopped by a signal. Units: 0 moved, 2 rolled-back, 0 stopped, 2 not begun. Give the same command again"
    )
    assert stage.begun == ["a", "b"]


async def test_whoever_has_lost_the_source_to_somebody_else_says_nothing_of_units(stage: Stage) -> None:
    async def doing(_: str) -> None:
        await asyncio.Event().wait()

    stage.doing = doing
    rolling = asyncio.ensure_future(stage.run())
    await until(lambda: bool(stage.begun))
    stage.claims.source.lost = LOST
    rolling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rolling


async def test_a_unit_that_finds_the_move_taken_over_stops_all_of_them(stage: Stage) -> None:
    async def doing(name: str) -> None:
        if name == "b":
            raise SupersededError("Another capi-mover has taken over")

    stage.doing = doing
    with pytest.raises(SupersededError):
        await stage.run(parallel=1)
    assert stage.begun == ["a", "b"]
    ended = [event.unit for event in stage.events if isinstance(event, UnitEnded)]
    assert ended == ["ns/a"], "what became of the other one is not for this program to say"


async def test_no_unit_is_begun_without_the_lease_of_the_target(stage: Stage) -> None:
    """It may lapse while a unit is undone, so nobody is cancelled for it."""

    async def doing(name: str) -> None:
        if name == "b":
            stage.claims.target.lost = LOST
            raise RolledBackError(StoppedError("it broke", "mend it"))

    stage.doing = doing
    with pytest.raises(StoppedError, match=r"The lease on the target cluster was lost .* 2 not begun") as caught:
        await stage.run(parallel=1)
    assert "signal" not in str(caught.value)
    assert stage.begun == ["a", "b"]


async def test_units_are_told_of_and_of_all_their_steps(stage: Stage) -> None:
    await stage.run(parallel=1)
    started, *events = stage.events
    assert started == RollingStarted(4)
    assert events[:4] == [
        UnitStarted("ns/a", 1),
        InUnit("ns/a", PhaseStarted(Phase.PAUSING, 1)),
        InUnit("ns/a", ObjectDone(Phase.PAUSING, "a", "paused")),
        Noted("Cluster a of namespace ns: note"),
    ]
    assert isinstance(events[4], UnitEnded)


@pytest.mark.parametrize("come", [False, True])
async def test_what_units_share_stays_for_clusters_that_have_come_meanwhile(
    monkeypatch: pytest.MonkeyPatch, *, come: bool
) -> None:
    """The last unit would take the class along; somebody has made another Cluster that may use it."""
    used = {"topology": {"classRef": {"name": "k"}}}
    klass, one, other = make(rules.CLUSTER_CLASS, "k"), *(make(rules.CLUSTER, name, spec=used) for name in "ab")
    plan = plan_of(klass, one, other)
    server = FakeApiServer()
    server.put(klass, other, *([make(rules.CLUSTER, "new", spec=used)] if come else []))
    judged: list[Plan] = []

    async def check_unit(_: Cluster, plan: Plan, __: MoveOptions) -> Findings:
        judged.append(plan)
        return Findings(plan, (Problem("check", "target", "it", "is judged", "nothing"),), (), {}, {})

    monkeypatch.setattr(module, "check_unit", check_unit)
    _, last = units(plan.selection)
    clusters = Clusters(server.direct(), server.direct())
    async with Live(clusters.source, "ns", plan.inventory.types) as live:
        roll = module._Roll(clusters, (live, live), Claims(claim(), claim()), plan, MoveOptions(), ignore)
        with pytest.raises(RefusedError):
            await roll._mover(last, UnitQueue([], {klass.key}))(ignore)
    (found,) = judged
    assert found.selection.decisions[klass.uid].fate is (Fate.KEEP if come else Fate.MOVE)
    assert [obj.key for obj in found.selection.moved if obj.type == other.type] == [other.key]
