"""Tests of the way back: the source is as it was, the target has nothing of the move, nothing else is touched."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.choices import ExistingPolicy, OnFailure, PausedPolicy
from mover.discovery import NAMESPACES
from mover.errors import MoverError, StoppedError, VerificationError
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import Phase
from tests.unit.fake_apiserver import Fuse, Killed
from tests.unit.mover_builders import (
    CA,
    CLUSTER,
    ENTRIES,
    HOST,
    MACHINE,
    PROVISIONED,
    SMALL,
    Stage,
    make,
    meanwhile,
    refuse,
    typed,
)
from tests.unit.scripted_server import Reply, failure, reset


@pytest.mark.parametrize(
    ("server", "method", "ending"),
    [
        ("source", "PATCH", "/clusters/c"),
        ("source", "PATCH", "/baremetalhosts/h"),
        ("target", "POST", "/namespaces"),
        ("target", "POST", "/clusters"),
        ("target", "POST", "/secrets"),
        ("target", "POST", "/machines"),
        ("target", "PATCH", "/machines/m/status"),
        ("target", "PATCH", "/machines/m"),
        ("target", "GET", "/machines"),
    ],
)
async def test_a_move_that_a_cluster_refuses_is_as_if_it_had_never_been(server: str, method: str, ending: str) -> None:
    stage = Stage()
    findings, before = await stage.findings(), stage.everything()
    served = stage.source if server == "source" else stage.target
    refused: list[str] = []

    def once(request: web.Request) -> Reply | None:
        if refused or request.method != method or not request.path.endswith(ending):
            return None
        refused.append(request.path)
        return failure(403, "Forbidden")

    served.before = once
    with pytest.raises(RolledBackError, match="403 Forbidden") as caught:
        await stage.move(findings=findings)
    assert "The move was rolled back: the source is as it was, the copies are gone" in str(caught.value)
    assert stage.everything() == before


async def test_a_pause_that_is_not_confirmed_in_time_is_taken_back() -> None:
    blocked = make(
        rules.MACHINE, "b", owners=[CLUSTER], status=MACHINE.body()["status"], metadata={"managedFields": ENTRIES}
    )
    stage = Stage(blocked, pause_timeout_s=0.0)
    stage.source.change(blocked, metadata={"annotations": {rules.BLOCK_MOVE_ANNOTATION: ""}})
    before = stage.everything()
    with pytest.raises(RolledBackError, match="still not ready to be moved"):
        await stage.move()
    assert stage.everything() == before


async def test_a_kept_move_can_be_undone() -> None:
    stage = Stage(on_failure=OnFailure.KEEP)
    before = stage.everything()
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError, match="undo it with: capi-mover rollback"):
        await stage.move()
    stage.target.before = lambda _: None
    await stage.undo()
    assert stage.everything() == before


async def test_the_copies_are_gone_before_the_source_is_resumed() -> None:
    stage, order = Stage(), list[bool]()

    def look(request: web.Request) -> Reply | None:
        if request.method == "PATCH" and request.path.endswith(("/clusters/c", "/baremetalhosts/h")):
            order.append(stage.target.has(CLUSTER) or stage.target.has(HOST))
        return None

    stage.source.before = look
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(RolledBackError):
        await stage.move()
    assert order
    assert not any(order)


async def test_a_pause_of_the_user_is_as_it_was() -> None:
    paused = make(
        rules.CLUSTER,
        "mine",
        spec={"paused": True},
        status=PROVISIONED,
        metadata={"annotations": {rules.PAUSED_ANNOTATION: "me"}, "managedFields": ENTRIES},
    )
    stage = Stage(paused, paused=PausedPolicy.KEEP)
    before = stage.everything()
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(RolledBackError):
        await stage.move()
    assert stage.everything() == before


def foreign(like: Object, **more: object) -> Object:
    """Returns what somebody else has made on the target under the name of an object that moves."""
    return make(like.type, like.key.name, metadata={"uid": "foreign", **more}, spec={"foreign": True})


@pytest.mark.parametrize("obj", [CLUSTER, MACHINE, CA, HOST], ids=lambda obj: obj.key.kind)
@pytest.mark.parametrize("moment", ["while pausing", "while creating"])
async def test_an_object_of_somebody_else_stops_the_move_and_stays(obj: Object, moment: str) -> None:
    stage, theirs = Stage(), foreign(obj)
    if moment == "while pausing":
        meanwhile(stage.source, "PATCH", "/clusters/c", lambda: stage.target.put(theirs))
    else:
        meanwhile(stage.target, "POST", f"/{obj.type.plural}", lambda: stage.target.put(theirs))
    with pytest.raises(RolledBackError, match=f"{obj.key} appeared on the target cluster"):
        await stage.move()
    assert stage.target.now(obj) == theirs
    assert [one for one in SMALL if one is not obj and stage.target.has(one)] == []


async def test_every_object_of_somebody_else_stays_not_only_the_one_that_was_met_first() -> None:
    stage, theirs = Stage(), [foreign(CLUSTER), foreign(HOST), foreign(CA)]
    meanwhile(stage.source, "PATCH", "/clusters/c", lambda: stage.target.put(*theirs))
    with pytest.raises(RolledBackError, match="appeared on the target cluster"):
        await stage.move()
    assert [stage.target.has(one) for one in theirs] == [True] * 3


async def test_an_object_of_somebody_else_stays_when_the_move_fails_for_another_reason_before_it_was_met() -> None:
    stage, theirs = Stage(), foreign(MACHINE)

    def appear(request: web.Request) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/clusters"):
            stage.target.put(theirs)
            return failure(403, "Forbidden")
        return None

    stage.target.before = appear
    with pytest.raises(RolledBackError, match="403"):
        await stage.move()
    assert stage.target.has(theirs)


async def test_an_object_of_somebody_else_is_not_overwritten_when_a_kept_move_goes_on() -> None:
    stage, theirs = Stage(on_failure=OnFailure.KEEP), foreign(MACHINE)
    meanwhile(stage.target, "POST", "/machines", lambda: stage.target.put(theirs))
    with pytest.raises(InterruptedMoveError, match="appeared on the target cluster"):
        await stage.move()
    with contextlib.suppress(InterruptedMoveError):
        await stage.go_on()
    assert stage.target.now(MACHINE).body()["spec"] == {"foreign": True}
    assert stage.source.has(MACHINE)


async def test_a_namespace_that_was_there_before_stays() -> None:
    stage = Stage()
    stage.target.put(make(NAMESPACES, "ns", metadata={"uid": "theirs"}))
    before = stage.everything()
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(RolledBackError):
        await stage.move()
    assert stage.everything() == before


async def test_a_namespace_of_the_move_that_others_use_meanwhile_stays() -> None:
    stage = Stage()
    theirs = make(("", "Secret"), "theirs")
    meanwhile(stage.target, "POST", "/machines", lambda: stage.target.put(theirs))
    rest = stage.target.before

    def before(request: web.Request) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/hardwaredatas"):
            return failure(403, "Forbidden")
        return rest(request)

    stage.target.before = before
    with pytest.raises(RolledBackError):
        await stage.move()
    assert stage.target.has(theirs)


async def test_a_namespace_with_a_workload_of_somebody_else_stays() -> None:
    """It is of no kind that moves, so no list of those shows it."""
    stage, theirs = Stage(), make(typed(("apps", "Deployment")), "theirs")

    def before(request: web.Request) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/machines"):
            stage.target.put(theirs)
            return failure(403, "Forbidden")
        return None

    stage.target.before = before
    with pytest.raises(RolledBackError):
        await stage.move()
    assert stage.target.has(theirs)


async def test_a_namespace_that_somebody_else_created_meanwhile_is_not_taken_for_the_moves_own() -> None:
    stage, theirs = Stage(), make(NAMESPACES, "ns", metadata={"uid": "theirs"})

    def before(request: web.Request) -> Reply | None:
        if request.method == "POST" and request.path == "/api/v1/namespaces":
            stage.target.put(theirs)
        return failure(403, "Forbidden") if request.method == "POST" and request.path.endswith("/machines") else None

    stage.target.before = before
    with pytest.raises(RolledBackError):
        await stage.move()
    assert stage.target.has(theirs)


async def test_what_appeared_on_the_source_after_the_preflight_leaves_the_target_too() -> None:
    stage = Stage()
    new = make(CA.type, "late", owners=[CLUSTER], metadata={"managedFields": ENTRIES, "uid": "late"})
    meanwhile(stage.source, "PATCH", "/clusters/c", lambda: stage.source.put(new))
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(RolledBackError):
        await stage.move()
    assert [path for path in stage.target.bodies if "/namespaces/ns" in path] == []
    assert stage.source.has(new)


async def test_a_copy_whose_original_vanished_since_leaves_the_target_too_when_the_move_is_undone() -> None:
    stage = Stage(on_failure=OnFailure.KEEP)
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.target.before = lambda _: None
    del stage.source.bodies["/api/v1/namespaces/ns/secrets/c-ca"]
    await stage.undo()
    assert [path for path in stage.target.bodies if "/namespaces/ns" in path] == []


async def test_what_vanished_on_the_source_is_not_resumed_and_stops_nothing() -> None:
    stage = Stage(on_failure=OnFailure.KEEP)
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.target.before = lambda _: None
    del stage.source.bodies["/apis/metal3.io/v1/namespaces/ns/baremetalhosts/h"]
    await stage.undo()
    assert "paused" not in stage.source.now(CLUSTER).body()["spec"]
    assert await stage.record() is None


@pytest.mark.parametrize("reply", [reset, failure(503, "", "no backend")], ids=["no answer", "503 of a proxy"])
async def test_the_source_is_resumed_though_the_target_cannot_be_reached_and_the_copies_go_later(reply: Reply) -> None:
    stage, was = Stage(), Stage()
    findings = await stage.findings()

    def cut(request: web.Request) -> Reply | None:
        if stage.target.has(MACHINE):
            stage.target.before = lambda _: reply
            return reply
        return None

    stage.target.before = cut
    with pytest.raises(InterruptedMoveError, match="Try again: capi-mover rollback") as caught:
        await stage.move(findings=findings)
    assert "The source is as it was" in str(caught.value)
    for obj in SMALL:
        assert stage.source.now(obj).body().get("spec") == obj.body().get("spec")
        assert stage.source.now(obj).annotations == obj.annotations
    stage.target.before = lambda _: None
    stage.drop_leases()
    record = await stage.record()
    assert record is not None
    assert record.phase is Phase.ROLLING_BACK
    assert stage.target.now(CLUSTER).body()["spec"]["paused"] is True
    with pytest.raises(StoppedError, match="A rollback of the move"):
        await stage.go_on()
    await stage.undo()
    assert stage.everything() == was.everything()


@pytest.mark.parametrize("server", ["source", "target"])
async def test_a_source_that_was_resumed_is_never_deleted_from(server: str) -> None:
    """A record says `deleting`, but the answer is lost and the cluster cannot be reached any more.

    Either the source is resumed, and the move can only be undone; or it is paused, and the move is completed.
    """
    stage, was, undisturbed = Stage(), Stage(), Stage()
    await undisturbed.move()
    served = stage.source if server == "source" else stage.target

    def cut(request: web.Request) -> Reply | None:
        if request.method != "PATCH" or not request.path.endswith("/configmaps/capi-mover.ns"):
            return None

        async def carried_out(sent: web.Request) -> web.StreamResponse:
            body = await sent.json()
            written = served._patch(sent, body)
            if body["data"]["phase"] == "deleting":
                served.before = lambda _: reset
                return await reset(sent)
            return await written(sent)

        return carried_out

    served.before = cut
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    served.before = lambda _: None
    stage.drop_leases()
    if "paused" in stage.source.now(CLUSTER).body()["spec"]:
        await stage.go_on()
        assert stage.everything() == undisturbed.everything()
    else:
        await stage.undo()
        assert stage.everything() == was.everything()


async def test_an_overwritten_object_stays_on_the_target() -> None:
    stage = Stage(existing=ExistingPolicy.OVERWRITE)
    theirs = make(rules.MACHINE, "m", metadata={"uid": "theirs"}, spec={"old": 1})
    stage.target.put(make(NAMESPACES, "ns"), theirs)
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(RolledBackError):
        await stage.move()
    assert stage.target.now(MACHINE).uid == "theirs"
    assert not stage.target.has(CLUSTER)


ROLLBACK_WRITES = 23


async def kept() -> Stage:
    """Returns a stage with a move that has failed when nearly all copies were made."""
    stage = Stage(on_failure=OnFailure.KEEP)
    refuse(stage.target, "PATCH", "/machines/m")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.target.before = lambda _: None
    return stage


async def test_as_many_writes_of_a_rollback_are_killed_as_there_are() -> None:
    stage, fuse = await kept(), Fuse()
    await stage.undo(fuse)
    assert fuse.writes == ROLLBACK_WRITES


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(ROLLBACK_WRITES))
async def test_a_rollback_that_is_killed_at_any_write_can_be_finished(number: int, answered: bool) -> None:
    stage, was = await kept(), Stage()
    with pytest.raises(Killed):
        await stage.undo(Fuse(number, answered=answered))
    stage.drop_leases()
    if await stage.record() is not None:
        await stage.undo()
    assert stage.everything() == was.everything()


async def test_an_undo_that_a_cluster_refuses_on_its_way_says_how_to_go_on() -> None:
    """Something is changed by then: it must not look like an error that came before anything was."""
    stage = Stage(on_failure=OnFailure.KEEP)
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    refuse(stage.target, "DELETE", "/clusters/c")
    with pytest.raises(MoverError) as caught:
        await stage.undo()
    assert isinstance(caught.value, StoppedError)
    assert "capi-mover rollback" in str(caught.value)


async def test_a_cancelled_rollback_can_be_finished() -> None:
    stage, was = Stage(on_failure=OnFailure.KEEP), Stage()
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    task = asyncio.current_task()
    assert task is not None
    rolling = asyncio.create_task(stage.undo())
    meanwhile(stage.target, "DELETE", "/clusters/c", rolling.cancel)
    with pytest.raises(asyncio.CancelledError):
        await rolling
    await stage.undo()
    assert stage.everything() == was.everything()


async def test_an_undo_resumes_the_source_though_the_target_is_dead() -> None:
    """The one thing that an operator needs then: the source's machines are looked after again."""
    stage = await kept()
    stage.target.before = lambda _: reset
    with pytest.raises(StoppedError, match="The source is as it was"):
        await stage.undo_recorded_on_the_source()
    assert "paused" not in stage.source.now(CLUSTER).body()["spec"]
    assert rules.HOST_PAUSED_ANNOTATION not in stage.source.now(HOST).annotations


async def test_copies_that_the_target_changes_when_they_are_created_are_taken_off_all_the_same() -> None:
    """As an admission webhook does; nobody but the program that made them knows them for copies."""
    stage = Stage()
    before = stage.everything()

    def label(request: web.Request) -> Reply | None:
        for path, body in stage.target.bodies.items():
            if "/secrets/" in path:
                body["metadata"]["labels"] = {"added": "by the target"}
        return None

    stage.target.before = label
    with pytest.raises(RolledBackError) as caught:
        await stage.move()
    assert isinstance(caught.value.cause, VerificationError)
    assert stage.everything() == before


async def test_what_the_target_has_changed_is_known_to_a_later_rollback_too() -> None:
    stage = Stage()
    before = stage.everything()

    def meddle(request: web.Request) -> Reply | None:
        for path, body in stage.target.bodies.items():
            if "/secrets/" in path:
                body["metadata"]["labels"] = {"added": "by the target"}
        return failure(403, "Forbidden") if request.method == "DELETE" and "/secrets/" in request.path else None

    stage.target.before = meddle
    with pytest.raises(InterruptedMoveError, match="could not be rolled back either"):
        await stage.move()
    stage.target.before = lambda _: None
    await stage.undo()
    assert stage.everything() == before
