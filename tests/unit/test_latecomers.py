"""Tests of what appears on the source after the commit, below an owner that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.errors import ForbiddenError
from mover.events import Event, Noted
from mover.execute.latecomers import Latecomers
from mover.kube import Cluster, reflector
from mover.kube.cluster import object_path
from mover.planning import Plan
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, plan_of
from tests.unit.scripted_server import QUICK, Reply, failure, lines, until

CLUSTER = make(rules.CLUSTER, "c")
MACHINE = make(rules.MACHINE, "m", owners=[CLUSTER])
STAYS = make(rules.SECRET, "stays")
LATE = make(rules.MACHINE, "late", owners=[CLUSTER])
BELOW = make(rules.MACHINE, "late-below", owners=[LATE])


class Stage:
    """A source that has what the plan moves, and more."""

    def __init__(self) -> None:
        self.server = FakeApiServer("source")
        self.server.put(CLUSTER, MACHINE, STAYS)
        self.plan: Plan = plan_of(CLUSTER, MACHINE, STAYS)
        self.events: list[Event] = []

    def latecomers(self, cluster: Cluster) -> Latecomers:
        """Returns what finds them."""
        return Latecomers(cluster, self.plan, self.events.append)

    def watches(self, *replies: Reply) -> None:
        """Lets the watches of Machines be answered so, in turn."""
        left = list(replies)

        def before(request: web.Request) -> Reply | None:
            return left.pop(0) if _is_watch(request) and left else None

        self.server.before = before


def _is_watch(request: web.Request) -> bool:
    return "watch" in request.query and request.path.endswith("/machines")


def names(found: tuple[Object, ...]) -> list[str]:
    return [obj.key.name for obj in found]


async def test_what_moves_already_is_not_late() -> None:
    stage = Stage()
    assert await stage.latecomers(stage.server.direct()).arrived() == ()


async def test_what_is_there_below_an_owner_that_leaves_is_late_and_told_once() -> None:
    stage = Stage()
    stage.server.put(LATE, BELOW)
    late = stage.latecomers(stage.server.direct())
    assert names(await late.arrived()) == ["late", "late-below"]
    assert await late.arrived() == ()


@pytest.mark.parametrize(
    "other",
    [
        make(rules.MACHINE, "loose"),
        make(rules.MACHINE, "shared", owners=[CLUSTER, STAYS]),
        make(rules.MACHINE, "dying", owners=[CLUSTER], metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ],
    ids=["no owner", "an owner that stays", "being deleted"],
)
async def test_what_the_collector_would_not_take_is_left_alone(other: Object) -> None:
    stage = Stage()
    stage.server.put(other)
    assert await stage.latecomers(stage.server.direct()).arrived() == ()


def event(kind: str, obj: Object) -> dict[str, Any]:
    return {"type": kind, "object": obj.body()}


END = {
    "type": "BOOKMARK",
    "object": {"metadata": {"resourceVersion": "100", "annotations": {"k8s.io/initial-events-end": "true"}}},
}


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
async def test_what_appears_while_originals_are_deleted_is_read_at_once(kind: str) -> None:
    """It is late even if it has been collected when somebody asks, and if it has got its owner only now."""
    stage = Stage()
    async with stage.server.cluster() as cluster:
        late = stage.latecomers(cluster)
        stage.watches(lines(event("ADDED", MACHINE), END, event("MODIFIED", MACHINE), event(kind, LATE)))
        stage.server.put(LATE)
        async with late.watched() as there:
            assert there == ()
            await until(lambda: any(entry.endswith("/machines/late") for entry in stage.server.log))
            await until(lambda: bool(late._found))
        del stage.server.bodies[object_path(LATE.type, LATE.key)]
        assert names(await late.arrived()) == ["late"]


async def test_a_watch_tells_what_is_there_at_its_beginning() -> None:
    stage, lists = Stage(), list[str]()
    stage.server.put(LATE)

    def note(request: web.Request) -> Reply | None:
        if "limit" in request.query:
            lists.append(request.path)
        return None

    stage.server.before = note
    async with stage.server.cluster() as cluster, stage.latecomers(cluster).watched() as there:
        assert names(there) == ["late"]
    assert lists == []


@pytest.mark.parametrize(
    "beginning",
    [
        failure(422, "Invalid", "sendInitialEvents is forbidden"),
        failure(500, "InternalError"),
        lines(),
        lines(event("ADDED", LATE), broken_off=True),
        lines({"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}),
    ],
    ids=["not known", "fails", "ends", "breaks off", "too old"],
)
async def test_a_watch_that_does_not_tell_what_is_there_is_helped_by_a_list(beginning: Reply) -> None:
    stage = Stage()
    stage.server.put(LATE, BELOW)
    async with stage.server.cluster() as cluster:
        stage.watches(beginning)
        async with stage.latecomers(cluster).watched() as there:
            assert names(there) == ["late", "late-below"]


async def test_a_watch_that_is_silent_at_its_beginning_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "_BEGINNING_S", 0.1)
    stage, release = Stage(), asyncio.Event()
    stage.server.put(LATE)

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await release.wait()
        return response

    async with stage.server.cluster() as cluster:
        stage.watches(silent)
        async with stage.latecomers(cluster).watched() as there:
            assert names(there) == ["late"]
        release.set()


async def test_what_could_not_be_read_at_once_is_met_again() -> None:
    stage = Stage()
    stage.server.put(LATE)
    failures = [failure(500, "InternalError")] * QUICK.attempts
    async with stage.server.cluster() as cluster:
        stage.server.before = lambda sent: failures.pop() if sent.path.endswith("/late") and failures else None
        async with stage.latecomers(cluster).watched() as there:
            assert names(there) == ["late"]
    assert failures == []


async def test_a_source_that_may_not_be_read_is_an_error_before_anything_is_deleted() -> None:
    stage = Stage()
    async with stage.server.cluster() as cluster:
        stage.server.before = lambda sent: failure(403, "Forbidden") if sent.path.endswith("/machines") else None
        with pytest.raises(ForbiddenError):
            async with stage.latecomers(cluster).watched():
                raise AssertionError


async def test_what_is_gone_before_it_could_be_read_is_noted() -> None:
    stage = Stage()
    async with stage.server.cluster() as cluster:
        late = stage.latecomers(cluster)
        stage.watches(lines(END, event("ADDED", LATE)))
        async with late.watched():
            await until(lambda: bool(stage.events))
        assert await late.arrived() == ()
    (note,) = stage.events
    assert isinstance(note, Noted)
    assert "Machine ns/late appeared on the source cluster after the commit, and was gone at once" in note.text


async def test_a_watch_that_is_too_old_looks_again() -> None:
    stage = Stage()
    gone = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    async with stage.server.cluster() as cluster:
        late = stage.latecomers(cluster)
        stage.watches(lines(END), lines(gone))
        async with late.watched():
            stage.server.put(LATE)
            await until(lambda: bool(late._found))


async def test_a_watch_that_breaks_off_goes_on_where_it_was() -> None:
    stage = Stage()
    async with stage.server.cluster() as cluster:
        late = stage.latecomers(cluster)
        stage.watches(lines(END, broken_off=True), lines(event("ADDED", LATE)))
        async with late.watched():
            stage.server.put(LATE)
            await until(lambda: bool(late._found))
        assert names(await late.arrived()) == ["late"]


async def test_a_watch_that_is_refused_is_an_error_at_the_end() -> None:
    stage = Stage()
    refuse: Callable[[web.Request], Reply | None] = lambda request: (  # noqa: E731
        failure(403, "Forbidden") if "watch" in request.query else None
    )
    async with stage.server.cluster() as cluster:
        late = stage.latecomers(cluster)
        stage.server.before = refuse
        with pytest.raises(ForbiddenError):
            await _watched_until_one_ends(late)


async def _watched_until_one_ends(late: Latecomers) -> None:
    before = asyncio.all_tasks()
    async with late.watched():
        await asyncio.wait(asyncio.all_tasks() - before, return_when=asyncio.FIRST_EXCEPTION, timeout=5)
