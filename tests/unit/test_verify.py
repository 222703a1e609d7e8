"""Tests of comparing copies with their sources, and of noticing what changed on the source."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.resource import Object
from mover.checks import check_move
from mover.choices import RestoreStatus
from mover.discovery import CRDS
from mover.errors import Difference
from mover.execute.copying import Copier
from mover.models import MoveOptions
from mover.planning import Plan
from mover.verify import Drift, Made, compare_copies, read_objects, source_drift, status_is_restored
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, plan_of, typed

ENTRIES = [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {}}}]
CLUSTER = make(rules.CLUSTER, "c", metadata={"managedFields": ENTRIES}, spec={"paused": True, "a": 1})
MACHINE = make(rules.MACHINE, "m", owners=[CLUSTER], metadata={"managedFields": ENTRIES}, spec={"b": 1})


async def found(
    plan: Plan, change: dict[str, Any] | None = None, *, gone: bool = False, status: RestoreStatus = RestoreStatus.ALL
) -> list[Difference]:
    """Copies what the plan selects, changes the machine's copy, and compares."""
    server = FakeApiServer("target")
    async with server.cluster() as target:
        copier = Copier(target, plan, MoveOptions(restore_status=status), {})
        await copier.copy_all(lambda _: None)
        if change:
            server.change(MACHINE, **change)
        if gone:
            server.bodies = {path: body for path, body in server.bodies.items() if "machines" not in path}
        groups = await compare_copies(target, plan, copier.made(), status)
    for uid, differences in groups.items():
        assert {one.subject for one in differences} == {str(plan.object(uid).key)}
    return [one for differences in groups.values() for one in differences]


async def test_copies_equal_their_sources() -> None:
    assert await found(plan_of(CLUSTER, MACHINE)) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"spec": {"b": 2}}, "spec.b"),
        ({"metadata": {"labels": {"a": "b"}}}, "metadata.labels"),
        ({"status": {"a": 1}}, "status"),
        ({"metadata": {"ownerReferences": []}}, "metadata.owners"),
        ({"metadata": {"managedFields": [{"manager": "other"}]}}, "metadata.managers.m Update"),
    ],
)
async def test_a_copy_that_differs_is_found(change: dict[str, Any], path: str) -> None:
    differences = await found(plan_of(CLUSTER, MACHINE), change)
    assert path in [one.path for one in differences]
    assert {one.subject for one in differences} == {"Machine ns/m"}


async def test_what_this_program_owns_is_no_difference() -> None:
    ours = {"manager": "capi-mover", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    assert await found(plan_of(CLUSTER, MACHINE), {"metadata": {"managedFields": [*ENTRIES, ours]}}) == []
    theirs = {**ours, "manager": "capi-mover-of-theirs"}
    differences = await found(plan_of(CLUSTER, MACHINE), {"metadata": {"managedFields": [*ENTRIES, theirs]}})
    assert [one.path for one in differences] == ["metadata.managers.capi-mover-of-theirs Update"]


async def test_an_owner_that_leads_to_the_sources_object_is_a_difference() -> None:
    stale = [reference | {"uid": CLUSTER.uid} for reference in MACHINE.body()["metadata"]["ownerReferences"]]
    differences = await found(plan_of(CLUSTER, MACHINE), {"metadata": {"ownerReferences": stale}})
    assert [one.path for one in differences] == ["metadata.owners[0].uid"]


async def test_an_owner_that_others_have_made_anew_is_known_whenever_it_is_read() -> None:
    """Lists are compared as they come; that of the owner comes last here."""
    kind = typed(("a.example.org", "Thing"), move=True)
    thing = make(kind, "t", owners=[MACHINE], metadata={"managedFields": ENTRIES})
    plan, server = plan_of(CLUSTER, MACHINE, thing), FakeApiServer("target")
    copier = Copier(server.direct(), plan, MoveOptions(), {})
    await copier.copy_all(lambda _: None)
    server.change(MACHINE, metadata={"uid": "anew"})
    anew = [reference | {"uid": "anew"} for reference in thing.body()["metadata"]["ownerReferences"]]
    server.change(thing, metadata={"ownerReferences": anew})
    assert await compare_copies(server.direct(), plan, copier.made(), RestoreStatus.ALL) == {}
    none = [reference | {"uid": "none"} for reference in anew]
    server.change(thing, metadata={"ownerReferences": none})
    (differences,) = (await compare_copies(server.direct(), plan, copier.made(), RestoreStatus.ALL)).values()
    assert [one.path for one in differences] == ["metadata.owners[0].uid"]


async def test_a_copy_that_is_not_there_is_a_difference() -> None:
    assert await found(plan_of(CLUSTER, MACHINE), gone=True) == [Difference("Machine ns/m", "", "there", "")]


def topology(reason: str, message: str = "") -> dict[str, Any]:
    """Returns the status of a Cluster with what the topology controller says, in both versions of the contract."""
    said = {"type": "TopologyReconciled", "reason": reason, "message": message}
    other = {"type": "Available", "status": "True"}
    return {"conditions": [other, said], "deprecated": {"v1beta1": {"conditions": [said, other]}}, "phase": "x"}


@pytest.mark.parametrize(
    ("status", "paths"),
    [
        (topology("Paused", "Cluster spec.paused is set to true"), []),
        ({**topology("Paused"), "phase": "y"}, ["status.phase"]),
        (
            topology("ReconcileFailed"),
            ["status.conditions[1].reason", "status.deprecated.v1beta1.conditions[0].reason"],
        ),
    ],
    ids=["paused", "paused, and more", "failed"],
)
async def test_that_the_topology_controller_of_the_target_sees_the_pause_is_no_difference(
    status: dict[str, Any], paths: list[str]
) -> None:
    cluster = make(rules.CLUSTER, "c", metadata={"managedFields": ENTRIES}, status=topology("ReconcileSucceeded"))
    plan, server = plan_of(cluster), FakeApiServer("target")
    copier = Copier(server.direct(), plan, MoveOptions(), {})
    await copier.copy_all(lambda _: None)
    server.change(cluster, status=status)
    groups = await compare_copies(server.direct(), plan, copier.made(), RestoreStatus.ALL)
    assert [one.path for differences in groups.values() for one in differences] == paths


async def test_what_was_on_the_target_before_the_move_is_not_compared() -> None:
    async with FakeApiServer("target").cluster() as target:
        made = Made(frozenset(), {CLUSTER.uid: "there"})
        assert await compare_copies(target, plan_of(CLUSTER), made, RestoreStatus.ALL) == {}


@pytest.mark.parametrize("has_status", [True, False])
@pytest.mark.parametrize("status", list(RestoreStatus))
async def test_a_status_counts_if_it_was_to_be_restored_or_travels_in_the_body(
    status: RestoreStatus, has_status: bool
) -> None:
    kind = typed(rules.CLUSTER, has_status=has_status)
    obj = make(kind, "c", metadata={"managedFields": ENTRIES}, spec={"paused": True}, status={"a": 1})
    assert await found(plan_of(obj), status=status) == []
    assert status_is_restored(obj, status) is (not has_status or status is RestoreStatus.ALL)
    pool = make(rules.IP_POOL, "p")
    assert status_is_restored(pool, status) is (status is not RestoreStatus.NONE)


async def test_a_copy_that_was_born_with_a_pause_of_its_own_equals_its_source() -> None:
    """A kept ClusterClass is not paused on the source, where other Clusters use it; its copy is."""
    kept = make(rules.CLUSTER_CLASS, "class", namespace="elsewhere", metadata={"managedFields": ENTRIES})
    assert await found(plan_of(CLUSTER, kept)) == []


@pytest.mark.parametrize("api_group", ["", "example.org"])
async def test_an_owner_outside_of_the_move_that_is_on_the_target_is_no_difference(api_group: str) -> None:
    """The preflight accepts such an owner; its type need not be among those that move."""
    server, source = FakeApiServer("target"), FakeApiServer("source")
    kind = typed((api_group, "ConfigMap"))
    here = make(kind, "outside")
    there = make(kind, "outside", metadata={"uid": "there"})
    obj = make(rules.CLUSTER, "c", owners=[here], metadata={"managedFields": ENTRIES}, spec={"paused": True})
    system = [make(typed(("", "Namespace"), namespaced=False), "kube-system", metadata={"uid": uid}) for uid in "st"]
    contract = make(
        CRDS, rules.CLUSTERS_CRD, metadata={"labels": {rules.CONTRACT_LABEL: "v1beta2"}}, spec={"versions": []}
    )
    provisioned = {"infrastructureReady": True, "conditions": [{"type": "ControlPlaneInitialized", "status": "True"}]}
    unpaused = make(rules.CLUSTER, "c", owners=[here], status=provisioned)
    server.put(there, system[0], contract)
    source.put(system[1], contract)
    async with server.cluster() as target, source.cluster() as origin:
        findings = await check_move(origin, target, plan_of(unpaused, here), MoveOptions())
        assert findings.problems == ()
        plan = plan_of(obj, here)
        copier = Copier(target, plan, MoveOptions(), findings.used)
        await copier.copy_all(lambda _: None)
        assert server.now(obj).owners[0].uid == "there"
        assert await compare_copies(target, plan, copier.made(), RestoreStatus.ALL) == {}


async def drift(plan: Plan, *now: Object) -> Drift:
    server = FakeApiServer("source")
    server.put(*now)
    async with server.cluster() as source:
        result = await source_drift(source, plan)
    assert not server.writes()
    return result


async def test_a_source_that_stands_still_does_not_drift() -> None:
    assert await drift(plan_of(CLUSTER, MACHINE), CLUSTER, MACHINE) == Drift()


async def test_objects_at_another_version_have_changed_and_missing_ones_have_vanished() -> None:
    changed = make(rules.CLUSTER, "c", metadata={"resourceVersion": "2"})
    seen = await drift(plan_of(CLUSTER, MACHINE), changed)
    assert [(obj.key, obj.resource_version) for obj in seen.changed] == [(CLUSTER.key, "2")]
    assert seen.vanished == (MACHINE,)
    assert seen.appeared == ()


async def test_an_object_that_was_replaced_has_vanished_and_appeared() -> None:
    other = make(rules.MACHINE, "m", owners=[CLUSTER], metadata={"uid": "other"})
    seen = await drift(plan_of(CLUSTER, MACHINE), CLUSTER, other)
    assert [obj.uid for obj in seen.vanished] == [MACHINE.uid]
    assert [obj.uid for obj in seen.appeared] == ["other"]


@pytest.mark.parametrize(
    ("new", "belongs"),
    [
        (make(rules.MACHINE, "n", owners=[CLUSTER]), True),
        (make(rules.MACHINE, "n", metadata={"labels": {rules.MOVE_LABEL: ""}}), True),
        (make(rules.MACHINE, "n", metadata={"labels": {rules.MOVE_HIERARCHY_LABEL: ""}}), True),
        (make(rules.MACHINE, "n"), False),
        (make(rules.MACHINE, "n", owners=[make(rules.CLUSTER, "stranger")]), False),
    ],
)
async def test_what_is_new_counts_only_if_it_would_move(new: Object, belongs: bool) -> None:
    seen = await drift(plan_of(CLUSTER, MACHINE), CLUSTER, MACHINE, new)
    assert [obj.key.name for obj in seen.appeared] == (["n"] if belongs else [])


async def test_what_is_new_of_a_type_that_moves_counts_without_an_owner() -> None:
    host, new = make(rules.BARE_METAL_HOST, "h"), make(rules.BARE_METAL_HOST, "n")
    seen = await drift(plan_of(host), host, new)
    assert [obj.key.name for obj in seen.appeared] == ["n"]


async def test_what_was_left_is_not_new() -> None:
    loose = make(rules.MACHINE, "loose")
    assert await drift(plan_of(CLUSTER, MACHINE, loose), CLUSTER, MACHINE, loose) == Drift()


async def test_objects_are_read_type_by_type_once_per_namespace() -> None:
    server, other = FakeApiServer(), make(rules.CLUSTER, "c", namespace="other")
    server.put(MACHINE, other, CLUSTER)
    async with server.cluster() as cluster:
        read = await read_objects(cluster, [CLUSTER, MACHINE, make(rules.MACHINE, "more")])
    assert [obj.key for obj in read] == [CLUSTER.key, MACHINE.key]
    assert len(server.log) == 2
