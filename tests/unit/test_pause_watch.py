"""Tests of pauses that are taken off: before the commit the move is undone, after it they are set again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from graph.rules import GroupKind
from mover.choices import OnFailure, PausedPolicy
from mover.errors import ForbiddenError
from mover.events import Noted, PhaseStarted
from mover.execute.pause_watch import TIMES, PauseTakenOffError, PauseWatch
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.kube.cluster import Written, object_path
from mover.models import MANAGER, MoveOptions, Phase, RollingOptions, UnitFate
from mover.pause import is_paused
from mover.rolling.run import roll
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import (
    BMC,
    CA,
    CLUSTER,
    ENTRIES,
    HARDWARE,
    HOST,
    Stage,
    crd,
    make,
    meanwhile,
    plan_of,
    refuse,
)
from tests.unit.scripted_server import Reply, failure, until

OWN_KINDS = sorted({rules.CLUSTER_CLASS, *rules.OWN_PAUSE_KINDS})
TAKEN = {
    "manager": "kustomize-controller",
    "operation": "Apply",
    "time": "2026-11-30T10:00:00Z",
    "subresource": "",
    "fieldsV1": {"f:spec": {"f:paused": {}}},
}


def take_off(server: FakeApiServer, obj: Object) -> None:
    """Takes the pause of an object off, a Cluster's as a GitOps controller does."""
    if obj.type.group_kind == rules.CLUSTER:
        entries = [*server.now(obj).body()["metadata"].get("managedFields", ()), TAKEN]
        server.change(obj, spec={"paused": False}, metadata={"managedFields": entries})
    else:
        name = rules.HOST_PAUSED_ANNOTATION if obj == HOST else rules.PAUSED_ANNOTATION
        server.change(obj, metadata={"annotations": {name: None}})


def put_on(server: FakeApiServer, obj: Object) -> None:
    """Sets the pause of an object, as its owner would."""
    if obj.type.group_kind == rules.CLUSTER:
        server.change(obj, spec={"paused": True})
    else:
        server.change(obj, metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: "me"}})


def with_kind(kind: GroupKind, **options: Any) -> tuple[Stage, Object]:
    """Returns the small move with one more object, of a kind that has a pause of its own, below its Cluster."""
    obj = make(kind, "own", owners=[CLUSTER], metadata={"managedFields": ENTRIES})
    stage = Stage(obj, **options)
    for server in (stage.source, stage.target):
        server.put(crd(kind))
    return stage, obj


def staged(kind: GroupKind) -> tuple[Stage, Object]:
    if kind == rules.CLUSTER:
        return Stage(), CLUSTER
    if kind == rules.BARE_METAL_HOST:
        return Stage(), HOST
    return with_kind(kind)


KINDS = [rules.CLUSTER, rules.BARE_METAL_HOST, *OWN_KINDS]
MOMENTS = [("POST", "/clusters"), ("POST", "/secrets"), ("GET", "/hardwaredatas")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[1])
@pytest.mark.parametrize("moment", MOMENTS, ids=["creating", "creating more", "verifying"])
async def test_a_pause_that_is_taken_off_before_the_commit_undoes_the_move(
    kind: GroupKind, moment: tuple[str, str]
) -> None:
    stage, obj = staged(kind)
    findings = await stage.findings()
    before = stage.everything()
    meanwhile(stage.target, *moment, lambda: take_off(stage.source, obj))
    with pytest.raises(RolledBackError, match=f"The pause of {obj.key} on the source cluster was taken off") as caught:
        await stage.move(findings=findings)
    assert isinstance(caught.value.cause, PauseTakenOffError)
    assert stage.everything() == before


async def test_who_has_taken_the_pause_off_is_named_with_what_to_do() -> None:
    stage = Stage()
    meanwhile(stage.target, "POST", "/machines", lambda: take_off(stage.source, CLUSTER))
    with pytest.raises(RolledBackError) as caught:
        await stage.move()
    said = str(caught.value)
    assert (
        "Cluster ns/c on the source cluster was taken off by kustomize-controller (Apply, 2026-11-30T10:00:00Z)" in said
    )
    assert "flux suspend kustomization" in said


async def test_the_work_is_ended_at_once_and_not_at_the_commit() -> None:
    stage = Stage()
    meanwhile(stage.target, "POST", "/clusters", lambda: take_off(stage.source, CLUSTER))
    with pytest.raises(RolledBackError):
        await stage.move()
    begun = [event.phase for event in stage.events if isinstance(event, PhaseStarted)]
    assert Phase.CREATING in begun
    assert Phase.VERIFYING not in begun


@pytest.mark.parametrize("obj", [CLUSTER, HOST], ids=["a Cluster", "a host"])
async def test_a_pause_that_is_off_and_on_again_between_two_looks_was_off(obj: Object) -> None:
    stage = Stage()

    def flicker() -> None:
        take_off(stage.source, obj)
        put_on(stage.source, obj)

    meanwhile(stage.target, "POST", "/machines", flicker)
    with pytest.raises(RolledBackError, match="was taken off"):
        await stage.move()


@pytest.mark.parametrize("obj", [CLUSTER, HOST], ids=["a Cluster", "a host"])
async def test_the_server_is_asked_once_more_right_before_the_commit(obj: Object) -> None:
    """The watches have not told of it: nothing is in the history."""
    stage, asked = Stage(), list[str]()

    def look(request: web.Request) -> Reply | None:
        if request.method == "GET" and request.path == object_path(obj.type, obj.key) and not asked:
            asked.append(request.path)
            take_off(stage.source, obj)
            stage.source.history.pop()
        return None

    stage.source.before = look
    with pytest.raises(RolledBackError, match=f"The pause of {obj.key} on the source cluster was taken off"):
        await stage.move()
    assert asked


async def test_a_pause_that_never_was_relied_on_may_be_taken_off() -> None:
    other = make(rules.CLUSTER, "c", namespace="elsewhere", spec={"paused": True}, metadata={"uid": "other"})
    stage = Stage()
    stage.source.put(other)
    meanwhile(stage.target, "POST", "/machines", lambda: take_off(stage.source, other))
    await stage.move()
    assert stage.target.has(CLUSTER)


@pytest.mark.parametrize("obj", [CLUSTER, HOST], ids=["a Cluster", "a host"])
async def test_a_pause_of_the_user_is_relied_on_too(obj: Object) -> None:
    paused = {"spec": {"paused": True}} if obj is CLUSTER else {}
    stage = Stage(paused=PausedPolicy.KEEP)
    stage.source.change(obj, metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: "me"}}, **paused)
    meanwhile(stage.target, "POST", "/machines", lambda: take_off(stage.source, obj))
    with pytest.raises(RolledBackError, match=f"The pause of {obj.key} on the source cluster was taken off"):
        await stage.move()


def pauses_when_deleted(stage: Stage, obj: Object) -> list[bool]:
    """Returns a list that says at the end whether the object was paused at each try to delete it."""
    seen: list[bool] = []
    earlier = stage.source.before

    def look(request: web.Request) -> Reply | None:
        if request.path == object_path(obj.type, obj.key) and request.method == "DELETE":
            seen.append(is_paused(stage.source.now(obj)))
        return earlier(request)

    stage.source.before = look
    return seen


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[1])
async def test_a_pause_that_is_taken_off_after_the_commit_is_set_again_and_the_move_ends(kind: GroupKind) -> None:
    stage, obj = staged(kind)
    undisturbed, _ = staged(kind)
    await undisturbed.move()
    meanwhile(stage.source, "POST", "/events", lambda: take_off(stage.source, obj))
    seen = pauses_when_deleted(stage, obj)
    await stage.move()
    assert seen
    assert all(seen)
    assert any(isinstance(event, Noted) and "it is on again" in event.text for event in stage.events)
    assert stage.everything() == undisturbed.everything()


async def test_what_changed_while_a_pause_was_off_is_on_the_target() -> None:
    stage = Stage()

    def change() -> None:
        take_off(stage.source, CLUSTER)
        stage.source.change(CLUSTER, spec={"n": 2})

    meanwhile(stage.source, "DELETE", "/secrets/c-ca", change)
    await stage.move()
    assert stage.target.now(CLUSTER).body()["spec"] == {"n": 2}


async def test_a_pause_of_the_user_is_set_again_with_its_value_and_is_kept_on_the_target() -> None:
    stage = Stage()
    stage.source.change(HOST, metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: "me"}})
    meanwhile(stage.source, "DELETE", "/secrets/h-bmc", lambda: take_off(stage.source, HOST))
    values: list[str | None] = []

    def look(request: web.Request) -> Reply | None:
        if request.method == "DELETE" and request.path.endswith("/baremetalhosts/h"):
            values.append(stage.source.now(HOST).annotations.get(rules.HOST_PAUSED_ANNOTATION))
        return earlier(request)

    earlier, stage.source.before = stage.source.before, look
    await stage.move()
    assert values == ["me"]
    assert stage.target.now(HOST).annotations[rules.HOST_PAUSED_ANNOTATION] == "me"


def taken_off_each_time(stage: Stage) -> list[str]:
    """Lets the deletion of a Secret not come to its end before its Cluster's pause was taken off often enough."""
    taken: list[str] = []

    async def contend(request: web.Request) -> web.StreamResponse:
        while len(taken) <= TIMES:
            await until(lambda: is_paused(stage.source.now(CLUSTER)))
            take_off(stage.source, CLUSTER)
            taken.append("off")
        return await failure(409, "Conflict")(request)

    def before(request: web.Request) -> Reply | None:
        return contend if request.method == "DELETE" and request.path.endswith("/secrets/c-ca") else None

    stage.source.before = before
    return taken


async def test_a_pause_that_is_taken_off_again_and_again_after_the_commit_stops_the_move_which_can_be_resumed() -> None:
    stage = Stage()
    undisturbed = Stage()
    await undisturbed.move()
    taken = taken_off_each_time(stage)
    with pytest.raises(InterruptedMoveError, match=r"set again 5 times.*kustomize-controller") as caught:
        await stage.move()
    assert len(taken) == TIMES + 1
    assert stage.source.has(CA)
    assert "flux suspend" in str(caught.value)
    assert "capi-mover resume" in str(caught.value)
    stage.source.before = lambda _: None
    await stage.go_on()
    assert stage.everything() == undisturbed.everything()


async def test_a_resume_sets_pauses_again_before_it_deletes_anything() -> None:
    stage = Stage()
    refuse(stage.source, "DELETE", "/secrets/c-ca")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    take_off(stage.source, CLUSTER)
    take_off(stage.source, HOST)
    stage.source.before = lambda _: None
    wrong: list[str] = []

    def look(request: web.Request) -> Reply | None:
        held = [obj for obj in (CLUSTER, HOST) if stage.source.has(obj)]
        if request.method == "DELETE" and "/namespaces/ns/" in request.path:
            wrong.extend(str(obj.key) for obj in held if not is_paused(stage.source.now(obj)))
        return None

    stage.source.before = look
    await stage.go_on()
    assert wrong == []
    assert not stage.target.now(CLUSTER).body()["spec"].get("paused")


async def test_a_resume_before_the_commit_pauses_again_before_it_copies() -> None:
    stage, undisturbed = Stage(on_failure=OnFailure.KEEP), Stage()
    await undisturbed.move()
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    take_off(stage.source, CLUSTER)
    take_off(stage.source, HOST)
    wrong: list[str] = []

    def look(request: web.Request) -> Reply | None:
        if request.method == "POST" and "/namespaces/ns/" in request.path:
            wrong.extend(str(obj.key) for obj in (CLUSTER, HOST) if not is_paused(stage.source.now(obj)))
        return None

    stage.target.before = look
    await stage.go_on()
    assert wrong == []
    assert stage.everything() == undisturbed.everything()


async def test_what_is_gone_is_not_paused_again_by_a_resume() -> None:
    stage = Stage(on_failure=OnFailure.KEEP)
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.target.before = lambda _: None
    for obj in (HOST, HARDWARE, BMC):
        del stage.source.bodies[object_path(obj.type, obj.key)]
    await stage.go_on()
    assert stage.target.has(CLUSTER)
    assert not stage.target.has(HOST)


async def test_a_unit_of_a_rolling_move_whose_pause_is_taken_off_is_undone_alone() -> None:
    stage = Stage(rolling=True)
    plan = (await stage.findings()).plan
    meanwhile(stage.target, "POST", "/machines", lambda: take_off(stage.source, CLUSTER))
    (unit,) = await roll(stage.clusters(), plan, stage.options, RollingOptions(), stage.events.append)
    assert unit.fate is UnitFate.ROLLED_BACK
    assert "The pause of Cluster ns/c on the source cluster was taken off by kustomize-controller" in unit.error
    assert not stage.target.has(CLUSTER)


async def test_a_unit_of_a_rolling_move_has_its_pause_set_again_after_the_commit() -> None:
    stage = Stage(rolling=True)
    plan = (await stage.findings()).plan
    meanwhile(stage.source, "POST", "/events", lambda: take_off(stage.source, CLUSTER))
    reports = await roll(stage.clusters(), plan, stage.options, RollingOptions(), stage.events.append)
    assert {report.fate for report in reports} == {UnitFate.MOVED}
    assert any(isinstance(event, Noted) and "it is on again" in event.text for event in stage.events)


class Watched:
    """A Cluster that is paused and relied on, and the watch of it."""

    def __init__(self, **options: Any) -> None:
        self.server = FakeApiServer("source")
        self.obj = make(rules.CLUSTER, "c", metadata={"resourceVersion": "90"}, spec={"paused": True})
        self.server.put(self.obj)
        self.options = MoveOptions(**{"pause_timeout_s": 5.0, **options})
        self.events: list[Any] = []

    @asynccontextmanager
    async def watch(self, entries: tuple[dict[str, Any], ...] = ()) -> AsyncIterator[PauseWatch]:
        """Watches the Cluster; `entries` are its field managers when it was paused."""
        async with PauseWatch(self.server.direct(), plan_of(self.obj), self.options, self.events.append) as watch:
            watch.rely_on(self.obj, Written(self.obj.uid, "90", 1, entries))
            yield watch


def forever() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def waiting(future: asyncio.Future[None]) -> None:
    await future


@pytest.mark.parametrize("off", [True, False], ids=["still off", "on again, by somebody else"])
async def test_a_watch_that_has_expired_does_not_miss_what_happened_meanwhile(off: bool) -> None:
    stage = Watched()
    ours = {"manager": MANAGER, "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    async with stage.watch((ours,)) as watch:
        work = asyncio.create_task(watch.unless_taken_off(waiting(forever())))
        await asyncio.sleep(0)
        take_off(stage.server, stage.obj)
        if not off:
            put_on(stage.server, stage.obj)
        stage.server.history.clear()
        stage.server.forget()
        with pytest.raises(PauseTakenOffError, match="kustomize-controller"):
            await work


async def test_nothing_is_deleted_while_a_pause_is_off_and_cannot_be_set_again_yet() -> None:
    stage = Watched()
    stage.server.before = lambda request: failure(409, "Conflict") if request.method == "PATCH" else None
    async with stage.watch() as watch:
        watch.set_again_from_now_on()
        await watch.all_on()
        take_off(stage.server, stage.obj)
        await until(lambda: any(entry.startswith("PATCH") for entry in stage.server.log))
        gate = asyncio.create_task(watch.all_on())
        await asyncio.sleep(0.05)
        assert not gate.done()
        stage.server.before = lambda _: None
        stage.server.change(stage.obj, spec={"n": 1})
        await gate
    assert is_paused(stage.server.now(stage.obj))


async def test_a_pause_that_cannot_be_set_again_in_time_is_an_error() -> None:
    stage = Watched(pause_timeout_s=0.05)
    stage.server.before = lambda request: failure(409, "Conflict") if request.method == "PATCH" else None
    async with stage.watch() as watch:
        watch.set_again_from_now_on()
        take_off(stage.server, stage.obj)
        await until(lambda: any(entry.startswith("PATCH") for entry in stage.server.log))
        with pytest.raises(PauseTakenOffError, match=r"Cluster ns/c .* could not be set again within 0\.05 s"):
            await watch.all_on()


async def test_a_pause_that_may_not_be_set_again_ends_the_work() -> None:
    stage = Watched()
    stage.server.before = lambda request: failure(403, "Forbidden") if request.method == "PATCH" else None
    async with stage.watch() as watch:
        watch.set_again_from_now_on()
        work = asyncio.create_task(watch.unless_taken_off(waiting(forever())))
        await asyncio.sleep(0)
        take_off(stage.server, stage.obj)
        with pytest.raises(ForbiddenError):
            await work
        with pytest.raises(ForbiddenError):
            await watch.all_on()


async def test_a_signal_ends_what_waits_for_a_pause() -> None:
    stage = Watched()
    stage.server.before = lambda request: failure(409, "Conflict") if request.method == "PATCH" else None
    async with stage.watch() as watch:
        watch.set_again_from_now_on()
        take_off(stage.server, stage.obj)
        await until(lambda: any(entry.startswith("PATCH") for entry in stage.server.log))

        async def patient() -> None:
            """Waits for what is under way before it ends, as the loop over objects does."""
            gate = asyncio.create_task(watch.all_on())
            await asyncio.wait((gate,))

        work = asyncio.create_task(watch.unless_taken_off(patient()))
        await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_work_that_was_ended_has_ended_when_its_caller_hears_of_it() -> None:
    stage, ends = Watched(), list[str]()

    async def slow() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)
            ends.append("ended")
            raise

    async with stage.watch() as watch:
        work = asyncio.create_task(watch.unless_taken_off(slow()))
        await asyncio.sleep(0)
        take_off(stage.server, stage.obj)
        with pytest.raises(PauseTakenOffError):
            await work
    assert ends == ["ended"]


async def test_capm3s_own_pause_is_set_again_as_one_that_capm3_leaves_alone() -> None:
    host = make(
        rules.BARE_METAL_HOST,
        "h",
        metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: rules.CAPM3_HOST_PAUSED_VALUE}},
    )
    stage = Watched()
    stage.server.put(host)
    async with PauseWatch(stage.server.direct(), plan_of(host), stage.options, stage.events.append) as watch:
        watch.rely_on(host)
        watch.set_again_from_now_on()
        stage.server.change(host, metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: None}})
        await until(lambda: rules.HOST_PAUSED_ANNOTATION in stage.server.now(host).annotations)
    assert stage.server.now(host).annotations[rules.HOST_PAUSED_ANNOTATION] == MANAGER
