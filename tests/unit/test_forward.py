"""Tests of a whole small move: what is there in the end, and what is written before what."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.choices import OnFailure
from mover.errors import StoppedError, VerificationError
from mover.events import PhaseEnded, PhaseStarted
from mover.execute.journal import find
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import MANAGER, Phase
from mover.record import Record
from tests.unit.mover_builders import (
    BMC,
    CA,
    CLUSTER,
    ENTRIES,
    HARDWARE,
    HOST,
    LOOSE,
    MACHINE,
    SMALL,
    Stage,
    make,
    managers,
    meanwhile,
    refuse,
)
from tests.unit.scripted_server import Reply


def spy(stage: Stage, server: str, method: str, ending: str, look: Callable[[], None]) -> None:
    """Looks at both clusters whenever such a request comes."""
    served = stage.source if server == "source" else stage.target

    def before(request: web.Request) -> Reply | None:
        if request.method == method and request.path.endswith(ending):
            look()
        return None

    served.before = before


class Records:
    """Keeps what both records say; read without a request."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.seen: list[tuple[str, str]] = []

    def phases(self) -> tuple[str, str]:
        """Returns the phases on source and target, "" without a record."""
        path = "/api/v1/namespaces/capi-mover/configmaps/capi-mover.ns"
        bodies = (server.bodies.get(path) for server in (self._stage.source, self._stage.target))
        one, other = (body["data"]["phase"] if body else "" for body in bodies)
        return one, other

    def note(self) -> None:
        """Notes the phases now."""
        self.seen.append(self.phases())


async def test_a_small_move_ends_with_equal_copies_and_nothing_of_its_own_left() -> None:
    stage = Stage()
    before = stage.everything()
    outcome = await stage.move()
    after = stage.everything()
    for obj in SMALL:
        copy, was = stage.target.now(obj).body(), obj.body()
        assert copy["metadata"].get("annotations", {}).keys() <= {rules.HOST_STATUS_ANNOTATION}
        for field in ("spec", "data"):
            assert copy.get(field) == was.get(field)
        for field in ("labels", "finalizers"):
            assert copy["metadata"].get(field) == was["metadata"].get(field)
        assert [owner.uid for owner in stage.target.now(obj).owners] == [
            stage.target.now(next(one for one in SMALL if one.uid == owner.uid)).uid for owner in obj.owners
        ]
    gone = {path for path in before if path.startswith("source") and path not in after}
    assert len(gone) == len(SMALL)
    assert stage.source.has(LOOSE)
    assert not [path for path in after if "leases" in path or "configmaps" in path]
    assert outcome.created == len(SMALL)


async def test_status_is_restored_and_says_the_newest_generation_was_seen() -> None:
    stage = Stage()
    await stage.move()
    status = stage.target.now(CLUSTER).body()["status"]
    assert status == {**CLUSTER.body()["status"], "observedGeneration": 1}
    assert stage.target.now(HOST).body()["status"] == HOST.body()["status"]


async def test_field_managers_of_copies_are_those_of_the_originals() -> None:
    stage = Stage()
    await stage.move()
    found = managers(stage.target)
    own = {("kubectl", "Update", "")}
    assert {frozenset(entries) for path, entries in found.items() if "secrets" in path} == {frozenset(own)}
    assert own < found["/apis/cluster.x-k8s.io/v1/namespaces/ns/clusters/c"]


async def test_phases_are_told_in_their_order_and_measured() -> None:
    stage = Stage()
    outcome = await stage.move()
    phases = [Phase.PAUSING, Phase.CREATING, Phase.VERIFYING, Phase.DELETING, Phase.RESUMING]
    assert [event.phase for event in stage.events if isinstance(event, PhaseStarted)] == phases
    assert [event.phase for event in stage.events if isinstance(event, PhaseEnded)] == phases
    assert list(outcome.seconds) == phases
    assert outcome.paused_s > 0


async def test_a_pause_is_in_both_records_before_it_is_set() -> None:
    stage, seen = Stage(), list[tuple[Record | None, Record | None]]()
    clusters = stage.clusters()
    send = clusters.source.link.send

    async def watching(request: object) -> bytes:
        method, path = request.method, request.path  # type: ignore[attr-defined]
        if method == "PATCH" and path.endswith(("/clusters/c", "/baremetalhosts/h")):
            found = await find(stage.source.direct(), stage.target.direct(), "ns")
            seen.append((found.source, found.target))
        return await send(request)  # type: ignore[arg-type]

    clusters.source.link.send = watching  # type: ignore[method-assign]
    await stage.move(clusters=clusters)
    for (one, other), fields in zip(
        seen[:2],
        [{"spec.paused"}, {"spec.paused", rules.HOST_PAUSED_ANNOTATION, rules.HOST_STATUS_ANNOTATION}],
        strict=True,
    ):
        assert one == other
        assert one is not None
        assert {entry.field for entry in one.pauses} == fields


@pytest.mark.parametrize(
    ("server", "method", "ending", "phases"),
    [
        ("source", "PATCH", "/clusters/c", ("pausing", "pausing")),
        ("target", "POST", "/namespaces", ("creating", "creating")),
        ("target", "POST", "/clusters", ("creating", "creating")),
        ("source", "DELETE", "/secrets/c-ca", ("deleting", "deleting")),
        ("target", "PATCH", "/clusters/c", ("resuming", "resuming")),
    ],
)
async def test_both_records_say_what_is_about_to_be_done(
    server: str, method: str, ending: str, phases: tuple[str, str]
) -> None:
    stage = Stage()
    records = Records(stage)
    spy(stage, server, method, ending, records.note)
    await stage.move()
    assert phases in records.seen
    if (server, method) != ("target", "PATCH"):
        assert records.seen[0] == phases


async def test_the_source_says_deleting_first_and_its_record_goes_first() -> None:
    stage = Stage()
    records = Records(stage)
    spy(stage, "target", "PATCH", "/configmaps/capi-mover.ns", records.note)
    await stage.move()
    assert ("deleting", "verifying") in records.seen
    spied = Stage()
    records = Records(spied)
    spy(spied, "target", "DELETE", "/configmaps/capi-mover.ns", records.note)
    await spied.move()
    assert records.seen == [("", "resuming")]


async def test_the_target_is_resumed_when_the_originals_are_gone_and_hosts_before_clusters() -> None:
    stage, resumed = Stage(), list[str]()

    def look(request: web.Request) -> Reply | None:
        if request.method == "PATCH" and Records(stage).phases()[1] == "resuming" and "configmaps" not in request.path:
            assert not any(stage.source.has(obj) for obj in SMALL)
            resumed.append(request.path.rpartition("/")[2])
        return None

    stage.target.before = look
    await stage.move()
    assert resumed == ["h", "c"]


async def test_at_no_moment_is_an_object_unpaused_on_both_clusters() -> None:
    stage, clashes = Stage(), list[str]()

    def unpaused(on_source: bool) -> set[str]:
        server = stage.source if on_source else stage.target
        found = set()
        if server.has(CLUSTER) and not server.now(CLUSTER).body()["spec"].get("paused"):
            found.add("c")
        if server.has(HOST) and rules.HOST_PAUSED_ANNOTATION not in server.now(HOST).annotations:
            found.add("h")
        return found

    def look(_: web.Request) -> Reply | None:
        clashes.extend(unpaused(on_source=True) & unpaused(on_source=False))
        return None

    stage.source.before = stage.target.before = look
    await stage.move()
    assert clashes == []


async def test_what_changes_on_the_source_while_it_is_copied_is_copied_again() -> None:
    stage = Stage()
    meanwhile(stage.target, "POST", "/machines", lambda: stage.source.change(CA, data={"tls.key": "bmV3"}))
    await stage.move()
    assert stage.target.now(CA).body()["data"] == {"tls.key": "bmV3"}


async def test_what_never_stops_changing_stops_the_move() -> None:
    stage = Stage()

    def change(request: web.Request) -> Reply | None:
        if request.method == "GET" and "PartialObjectMetadata" in request.headers["Accept"] and stage.target.has(CA):
            stage.source.change(CA, data={"n": str(len(stage.source.log))})
        return None

    stage.source.before = change
    with pytest.raises(RolledBackError, match="kept changing although they are paused"):
        await stage.move()
    assert not stage.target.has(CA)


async def test_a_copy_that_the_target_has_changed_is_a_difference_and_nothing_is_deleted() -> None:
    stage = Stage()

    def admit(request: web.Request) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/machines"):
            meanwhile(stage.target, "GET", "/machines", lambda: stage.target.change(MACHINE, spec={"providerID": "y"}))
        return None

    stage.target.before = admit
    with pytest.raises(RolledBackError, match=r"Machine ns/m: spec\.providerID") as caught:
        await stage.move()
    assert isinstance(caught.value.cause, VerificationError)
    assert caught.value.exit_code == 5
    assert all(stage.source.has(obj) for obj in SMALL)


def late(name: str = "late", *owners: Object) -> Object:
    """Returns a Secret that belongs to the Cluster and was not there at first."""
    return make(
        CA.type, name, owners=owners or [CLUSTER], metadata={"managedFields": ENTRIES, "uid": name}, data={"a": "eA=="}
    )


async def test_what_appears_before_the_snapshot_moves_too() -> None:
    stage, new = Stage(), late()
    meanwhile(stage.source, "PATCH", "/clusters/c", lambda: stage.source.put(new))
    await stage.move()
    assert stage.target.has(new)
    assert not stage.source.has(new)


async def test_what_appears_while_it_is_copied_stops_the_move() -> None:
    stage, new = Stage(), late()
    meanwhile(stage.target, "POST", "/machines", lambda: stage.source.put(new))
    with pytest.raises(RolledBackError, match="appeared or vanished on the source cluster"):
        await stage.move()
    assert stage.source.has(new)
    assert not stage.target.has(CLUSTER)


async def test_what_vanishes_while_it_is_copied_stops_the_move_and_leaves_no_copy() -> None:
    stage = Stage()
    path = "/api/v1/namespaces/ns/secrets/c-ca"
    meanwhile(stage.target, "POST", "/machines", lambda: stage.source.bodies.pop(path))
    with pytest.raises(RolledBackError, match="appeared or vanished on the source cluster"):
        await stage.move()
    assert not [path for path in stage.target.bodies if "/namespaces/ns" in path]


async def test_nothing_is_lost_that_appears_while_a_change_is_copied_again() -> None:
    """One object has changed, so the source is read again; another one has come just before that."""
    stage, new = Stage(), late()

    def change_and_appear(request: web.Request) -> Reply | None:
        if stage.target.has(HARDWARE) and request.path.endswith("/secrets") and request.method == "GET":
            if "PartialObjectMetadata" in request.headers["Accept"]:
                stage.source.change(BMC, data={"password": "bmV3"})
            else:
                stage.source.before = lambda _: None
                stage.source.put(new)
        return None

    stage.source.before = change_and_appear
    with contextlib.suppress(StoppedError):
        await stage.move()
    assert stage.source.has(new) or stage.target.has(new)


async def test_a_failure_after_the_commit_can_only_be_completed_and_is() -> None:
    stage = Stage()
    undisturbed = Stage()
    await undisturbed.move()
    refuse(stage.source, "DELETE", "/clusters/c")
    with pytest.raises(InterruptedMoveError, match=r"in the phase deleting.* it can only be completed"):
        await stage.move()
    with pytest.raises(StoppedError, match="it can only be completed"):
        await stage.undo()
    stage.source.before = lambda _: None
    await stage.go_on()
    assert stage.everything() == undisturbed.everything()


@pytest.mark.parametrize("obj", [CA, MACHINE, HOST], ids=["a Secret", "a Machine", "a host"])
async def test_a_copy_that_is_gone_when_deleting_goes_on_is_made_again(obj: Object) -> None:
    stage = Stage()
    refuse(stage.source, "DELETE", f"/{obj.type.plural}/{obj.key.name}")
    if obj.finalizers:
        refuse(stage.source, "PATCH", f"/{obj.type.plural}/{obj.key.name}")
        spied = stage.source.before
        stage.source.before = lambda request: spied(request) if stage.target.has(BMC) else None
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.source.before = lambda _: None
    path = next(path for path in stage.target.bodies if path.endswith(f"/{obj.type.plural}/{obj.key.name}"))
    del stage.target.bodies[path]
    await stage.go_on()
    assert stage.target.has(obj)
    assert not stage.source.has(obj)


async def test_a_copy_that_is_made_again_and_comes_out_different_stops_the_deleting() -> None:
    stage = Stage()
    refuse(stage.source, "DELETE", "/secrets/c-ca")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.source.before = lambda _: None
    path = next(path for path in stage.target.bodies if path.endswith("/secrets/c-ca"))
    del stage.target.bodies[path]

    def meddle(request: web.Request) -> Reply | None:
        if request.method == "GET" and path in stage.target.bodies:
            stage.target.bodies[path]["data"] = {"tls.key": "b3RoZXI="}
        return None

    stage.target.before = meddle
    with pytest.raises(InterruptedMoveError, match=r"after the commit differ(?s:.*)Secret ns/c-ca"):
        await stage.go_on()
    assert stage.source.has(CA)


async def test_a_stripped_original_whose_copy_is_gone_is_not_copied_from() -> None:
    stage = Stage()
    refuse(stage.source, "DELETE", "/machines/m")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.source.before = lambda _: None
    del stage.target.bodies["/apis/cluster.x-k8s.io/v1/namespaces/ns/machines/m"]
    with pytest.raises(InterruptedMoveError, match="Machine ns/m has no copy on the target cluster any more"):
        await stage.go_on()
    assert stage.source.has(MACHINE)


async def test_what_changed_before_deleting_goes_on_is_copied_again() -> None:
    stage = Stage()
    refuse(stage.source, "DELETE", "/secrets/c-ca")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.source.before = lambda _: None
    stage.source.change(CA, data={"tls.key": "bmV3"})
    await stage.go_on()
    assert stage.target.now(CA).body()["data"] == {"tls.key": "bmV3"}


async def test_a_failure_while_the_target_is_resumed_is_finished_later() -> None:
    stage, undisturbed = Stage(), Stage()
    await undisturbed.move()

    def fail(request: web.Request) -> Reply | None:
        resuming = Records(stage).phases()[1] == "resuming"
        return refusing(request) if resuming and request.method == "PATCH" else None

    refuse(stage.target, "PATCH", "/clusters/c")
    refusing = stage.target.before
    stage.target.before = fail
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    assert stage.target.now(CLUSTER).body()["spec"]["paused"] is True
    assert rules.HOST_PAUSED_ANNOTATION not in stage.target.now(HOST).annotations
    stage.target.before = lambda _: None
    await stage.go_on()
    assert stage.everything() == undisturbed.everything()


async def test_an_object_that_was_deleted_on_the_target_meanwhile_does_not_stop_the_resuming() -> None:
    """The host is resumed; its owner deletes it before the rest of the move is finished."""
    stage = Stage()
    refuse(stage.target, "DELETE", "/configmaps/capi-mover.ns")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.target.before = lambda _: None
    del stage.target.bodies["/apis/metal3.io/v1/namespaces/ns/baremetalhosts/h"]
    await stage.go_on()
    assert await stage.record() is None


async def test_what_the_user_has_paused_stays_paused() -> None:
    paused = make(
        rules.BARE_METAL_HOST,
        "mine",
        metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: "me"}, "managedFields": ENTRIES},
        status={"provisioning": {"state": "provisioned"}},
    )
    stage = Stage(paused)
    await stage.move()
    assert stage.target.now(paused).annotations[rules.HOST_PAUSED_ANNOTATION] == "me"
    assert rules.HOST_STATUS_ANNOTATION in stage.target.now(paused).annotations
    assert MANAGER not in stage.target.now(HOST).annotations.values()


async def test_a_kept_move_goes_on_from_what_it_has_made() -> None:
    stage, undisturbed = Stage(on_failure=OnFailure.KEEP), Stage()
    await undisturbed.move()
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError, match="nothing was deleted, the source is paused"):
        await stage.move()
    assert stage.source.now(CLUSTER).body()["spec"]["paused"] is True
    assert stage.target.has(CLUSTER)
    stage.target.before = lambda _: None
    await stage.go_on()
    assert stage.everything() == undisturbed.everything()


async def test_an_original_that_changed_while_a_kept_move_rested_is_copied_again() -> None:
    """Its copy is still the move's own: neither a reason to stop nor to be left on the target by a rollback."""
    stage = Stage(on_failure=OnFailure.KEEP)
    refuse(stage.target, "POST", "/hardwaredatas")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.target.before = lambda _: None
    stage.source.change(CA, data={"tls.key": "bmV3"})
    await stage.go_on()
    assert stage.target.now(CA).body()["data"] == {"tls.key": "bmV3"}
