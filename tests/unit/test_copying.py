"""Tests of creating copies on a small API server: object, status, field managers, namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.choices import RestoreStatus
from mover.discovery import NAMESPACES
from mover.execute.copying import Copier, ForeignObjectError, copies_made, create_namespaces, missing_namespaces
from mover.models import MANAGER, MoveOptions
from mover.pause import Pause
from mover.planning import Plan
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, plan_of, typed
from tests.unit.scripted_server import Reply, reset

PAUSED: dict[str, Any] = {"spec": {"paused": True}}
CLUSTER = make(rules.CLUSTER, "c", **PAUSED)


async def copy(
    server: FakeApiServer,
    plan: Plan,
    *,
    existing: Mapping[str, str] | None = None,
    status: RestoreStatus = RestoreStatus.ALL,
) -> tuple[Copier, list[str]]:
    """Copies what the plan selects to the server; returns the copier and the names of what was reported done."""
    done: list[str] = []
    async with server.cluster() as target:
        copier = Copier(target, plan, MoveOptions(restore_status=status), existing or {})
        await copier.copy_all(lambda obj: done.append(obj.key.name))
    return copier, done


def target() -> FakeApiServer:
    return FakeApiServer("target")


def metadata(server: FakeApiServer, obj: Object) -> dict[str, Any]:
    found: dict[str, Any] = server.now(obj).body()["metadata"]
    return found


def test_the_helper_makes_a_paused_cluster() -> None:
    assert CLUSTER.body()["spec"] == {"paused": True}


async def test_a_copy_is_owned_by_the_copies_of_its_owners() -> None:
    server, machine = target(), make(rules.MACHINE, "m", owners=[CLUSTER], spec={"a": 1})
    copier, done = await copy(server, plan_of(machine, CLUSTER))
    assert done == ["c", "m"]
    assert server.now(machine).owners[0].uid == server.now(CLUSTER).uid == copier.new_uids[CLUSTER.uid]
    assert server.now(machine).body()["spec"] == {"a": 1}
    assert copier.created == {CLUSTER.uid, machine.uid}


async def test_an_object_without_managers_and_status_of_its_own_costs_one_call() -> None:
    entries = [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}}]
    server, obj = target(), make(rules.CLUSTER, "c", metadata={"managedFields": entries}, **PAUSED)
    await copy(server, plan_of(obj))
    assert server.writes() == ["POST /apis/cluster.x-k8s.io/v1/namespaces/ns/clusters"]
    assert metadata(server, obj)["managedFields"][0]["manager"] == "kubectl"


async def test_status_is_written_before_the_field_managers() -> None:
    """The other way round the status write changes the managers again."""
    entries = [
        {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:a": {}}}},
        {"manager": "capi", "operation": "Update", "fieldsV1": {"f:spec": {"f:b": {}}}},
        {"manager": "capi", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
    ]
    obj = make(
        rules.CLUSTER,
        "c",
        metadata={"managedFields": entries, "generation": 4},
        status={"phase": "x", "observedGeneration": 4},
        **PAUSED,
    )
    server = target()
    await copy(server, plan_of(obj))
    path = "/apis/cluster.x-k8s.io/v1/namespaces/ns/clusters/c"
    assert server.writes()[1:] == [f"PATCH {path}/status", f"PATCH {path}"]
    assert metadata(server, obj)["managedFields"] == entries
    assert server.now(obj).body()["status"] == {"phase": "x", "observedGeneration": 1}


@pytest.mark.parametrize(
    ("restore", "restored"),
    [(RestoreStatus.ALL, ["c", "p"]), (RestoreStatus.METAL3, ["p"]), (RestoreStatus.NONE, [])],
)
async def test_status_is_restored_of_the_kinds_that_were_asked_for(restore: RestoreStatus, restored: list[str]) -> None:
    cluster = make(rules.CLUSTER, "c", status={"a": 1}, **PAUSED)
    pool = make(rules.IP_POOL, "p", owners=[cluster], status={"a": 1})
    server = target()
    await copy(server, plan_of(cluster, pool), status=restore)
    assert [obj.key.name for obj in (cluster, pool) if server.now(obj).body().get("status")] == restored


async def test_what_is_on_the_target_already_is_used_and_not_written() -> None:
    identity = make(typed(("example.org", "Identity"), namespaced=False, move=True), "i")
    machine = make(rules.MACHINE, "m", owners=[CLUSTER, identity])
    server = target()
    copier, done = await copy(server, plan_of(CLUSTER, identity, machine), existing={identity.uid: "there"})
    assert not server.has(identity)
    assert "i" in done
    assert identity.uid not in copier.created
    assert [owner.uid for owner in server.now(machine).owners] == [server.now(CLUSTER).uid, "there"]


async def test_owners_in_a_cycle_are_added_once_both_copies_are_there() -> None:
    kind = typed(("example.org", "Ring"), move_hierarchy=True)
    bare = {name: make(kind, name) for name in "ab"}
    one, other = make(kind, "a", owners=[bare["b"]]), make(kind, "b", owners=[bare["a"]])
    server = target()
    await copy(server, plan_of(one, other))
    assert server.now(one).owners[0].uid == server.now(other).uid
    assert server.now(other).owners[0].uid == server.now(one).uid


async def test_a_copy_of_a_host_that_lost_its_pause_is_born_paused() -> None:
    """It is acted on by its operator on the source already; there must not be a second one."""
    server, host = target(), make(rules.BARE_METAL_HOST, "h")
    await copy(server, plan_of(host))
    assert server.now(host).annotations == {rules.HOST_PAUSED_ANNOTATION: MANAGER}


async def test_a_copy_of_what_is_kept_and_not_paused_is_born_paused_and_that_is_known_for_resuming() -> None:
    server, kept = target(), make(rules.CLUSTER_CLASS, "class", namespace="elsewhere")
    plan = plan_of(CLUSTER, kept)
    await copy(server, plan)
    assert plan.copy_pauses() == (Pause(kept.type, kept.key, rules.PAUSED_ANNOTATION),)
    assert server.now(kept).annotations == {rules.PAUSED_ANNOTATION: MANAGER}


async def test_a_copy_of_what_somebody_has_paused_is_left_as_it_was() -> None:
    host = make(rules.BARE_METAL_HOST, "h", metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: "me"}})
    server = target()
    plan = plan_of(host)
    await copy(server, plan)
    assert plan.copy_pauses() == ()
    assert server.now(host).annotations == {rules.HOST_PAUSED_ANNOTATION: "me"}


async def test_a_creation_whose_answer_was_lost_is_recognised_as_ours() -> None:
    """The object is there, the answer is not; the second try meets our own copy."""
    server = target()
    obj = make(rules.CLUSTER, "c", metadata={"labels": {"a": "b"}, "finalizers": ["f"]}, status={"a": 1}, **PAUSED)
    lost: list[Reply] = [reset]

    def lose_first(request: web.Request) -> Reply | None:
        if request.method == "POST" and lost:
            reply = lost.pop()

            async def carried_out(sent: web.Request) -> web.StreamResponse:
                body = await sent.json()
                server._post(sent, body)
                return await reply(sent)

            return carried_out
        return None

    server.before = lose_first
    copier, _ = await copy(server, plan_of(obj))
    assert copier.new_uids[obj.uid] == server.now(obj).uid
    assert copier.created == {obj.uid}
    assert server.now(obj).body()["status"] == {"a": 1}


@pytest.mark.parametrize(
    "other",
    [
        {"spec": {"paused": True, "more": 1}},
        {**PAUSED, "metadata": {"labels": {"a": "b"}}},
        {**PAUSED, "metadata": {"annotations": {"a": "b"}}},
        {**PAUSED, "metadata": {"finalizers": ["f"]}},
    ],
)
async def test_something_else_of_that_name_stops_the_move_and_stays_as_it_is(other: dict[str, Any]) -> None:
    server, found = target(), make(rules.CLUSTER, "c", **other)
    server.put(found)
    what = "Cluster ns/c appeared on the target cluster with other content"
    with pytest.raises(ForeignObjectError, match=what) as caught:
        await copy(server, plan_of(CLUSTER))
    assert tuple(caught.value.keys) == (CLUSTER.key,)
    assert server.now(found) == found


async def renewed(server: FakeApiServer, copied: Object, now: Object) -> None:
    async with server.cluster() as cluster:
        copier = Copier(cluster, plan_of(copied), MoveOptions(), {})
        await copier.copy_all(lambda _: None)
        await copier.renew(now)


async def test_renewing_makes_the_copy_equal_to_what_the_object_is_now() -> None:
    entries = [{"manager": "capi", "operation": "Update", "fieldsV1": {"f:spec": {}}}]
    changed = make(
        rules.CLUSTER,
        "c",
        metadata={"resourceVersion": "9", "labels": {"new": ""}, "managedFields": entries},
        spec={"paused": True, "n": 2},
        status={"phase": "late"},
    )
    server = target()
    await renewed(server, make(rules.CLUSTER, "c", spec={"paused": True, "old": 1}), changed)
    body = server.now(changed).body()
    assert body["spec"] == {"paused": True, "n": 2}
    assert body["metadata"]["labels"] == {"new": ""}
    assert body["metadata"]["managedFields"] == entries
    assert body["status"] == {"phase": "late"}


@pytest.mark.parametrize("kind", [rules.BARE_METAL_HOST, rules.CLUSTER_CLASS, rules.IP_POOL])
async def test_renewing_never_unpauses_a_copy(kind: rules.GroupKind) -> None:
    """If somebody takes the pause off a source object, its copy would be acted on from both clusters."""
    annotation = rules.HOST_PAUSED_ANNOTATION if kind == rules.BARE_METAL_HOST else rules.PAUSED_ANNOTATION
    parent = make(typed(("example.org", "Root"), move_hierarchy=True), "root")
    copied = make(kind, "x", owners=[parent], metadata={"annotations": {annotation: MANAGER}})
    unpaused = make(kind, "x", owners=[parent], spec={"n": 2})
    server = target()
    async with server.cluster() as cluster:
        copier = Copier(cluster, plan_of(parent, copied), MoveOptions(), {})
        await copier.copy_all(lambda _: None)
        await copier.renew(unpaused)
    assert annotation in server.now(copied).annotations


async def test_renewing_never_unpauses_the_copy_of_a_cluster() -> None:
    server = target()
    await renewed(server, CLUSTER, make(rules.CLUSTER, "c", spec={"paused": False, "n": 2}))
    assert server.now(CLUSTER).body()["spec"] == {"paused": True, "n": 2}


def namespace(name: str, **metadata: Any) -> Object:
    return make(NAMESPACES, name, metadata=metadata)


async def test_missing_namespaces_are_created_with_the_labels_and_annotations_of_the_source() -> None:
    source, goal = FakeApiServer("source"), target()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    source.put(namespace("ns", labels=labels, annotations={"a": "b"}, finalizers=["kubernetes"]), namespace("other"))
    goal.put(namespace("other", labels={"own": ""}))
    plan = plan_of(CLUSTER, make(rules.CLUSTER, "d", namespace="other"), namespace="")
    async with source.cluster() as origin, goal.cluster() as cluster:
        missing = await missing_namespaces(cluster, plan)
        assert missing == ("ns",)
        await create_namespaces(origin, cluster, plan, missing)
    made = goal.now(namespace("ns"))
    assert (made.labels, made.annotations, made.finalizers) == (labels, {"a": "b"}, ())
    assert goal.now(namespace("other")).labels == {"own": ""}
    assert goal.writes() == ["POST /api/v1/namespaces"]


async def test_a_namespace_that_appears_meanwhile_is_fine() -> None:
    source, goal = FakeApiServer("source"), target()
    source.put(namespace("ns"))

    def appear(request: web.Request) -> Reply | None:
        if request.method == "POST":
            goal.put(namespace("ns"))
        return None

    goal.before = appear
    async with source.cluster() as origin, goal.cluster() as cluster:
        await create_namespaces(origin, cluster, plan_of(CLUSTER), ["ns"])
    assert goal.now(namespace("ns")) == namespace("ns")


async def test_cluster_scoped_objects_need_no_namespace() -> None:
    identity = make(typed(("example.org", "Identity"), namespaced=False, move=True), "i")
    goal = target()
    async with goal.cluster() as cluster:
        assert await missing_namespaces(cluster, plan_of(identity)) == ()
    assert goal.log == []


async def test_what_an_earlier_run_has_copied_is_found_again_without_what_is_used_as_it_is() -> None:
    machine, secret = make(rules.MACHINE, "m", owners=[CLUSTER]), make(rules.SECRET, "s", owners=[CLUSTER])
    server, plan = target(), plan_of(CLUSTER, machine, secret)
    server.put(*(make(obj.type, obj.key.name, metadata={"uid": f"new-{obj.key.name}"}) for obj in (CLUSTER, secret)))
    async with server.cluster() as cluster:
        assert await copies_made(cluster, plan, {secret.uid: "new-s"}) == {CLUSTER.uid: "new-c"}


async def test_what_an_earlier_run_has_copied_is_not_copied_again() -> None:
    machine = make(rules.MACHINE, "m", owners=[CLUSTER])
    server, plan = target(), plan_of(CLUSTER, machine)
    server.put(make(rules.CLUSTER, "c", metadata={"uid": "earlier"}, **PAUSED))
    async with server.cluster() as cluster:
        copier = Copier(cluster, plan, MoveOptions(), {})
        copier.take_over({CLUSTER.uid: "earlier"})
        await copier.copy_all(lambda _: None)
    assert [entry for entry in server.writes() if entry.startswith("POST")] == [
        "POST /apis/cluster.x-k8s.io/v1/namespaces/ns/machines"
    ]
    assert server.now(machine).owners[0].uid == "earlier"
    assert copier.made().created == {CLUSTER.uid, machine.uid}


async def test_what_is_to_be_overwritten_gets_the_content_of_its_original_and_keeps_its_uid() -> None:
    server = target()
    server.put(make(rules.CLUSTER, "c", metadata={"uid": "there", "resourceVersion": "7"}, spec={"old": 1}))
    async with server.cluster() as cluster:
        copier = Copier(cluster, plan_of(CLUSTER), MoveOptions(), {}, {CLUSTER.uid: "there"})
        await copier.copy_all(lambda _: None)
    assert server.now(CLUSTER).body()["spec"] == {"paused": True}
    assert server.now(CLUSTER).uid == "there"
    assert copier.created == {CLUSTER.uid}
