"""Moves between two real API servers, with the garbage collector running and the witness watching."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from graph import rules
from graph.resource import Object, ObjectKey, parse_object
from mover.api import move_async, plan_async
from mover.choices import RestoreStatus
from mover.differences import differences, names_of, normalised
from mover.errors import PauseTimeoutError, RefusedError, UsageError
from mover.execute.run import RolledBackError
from mover.models import MANAGER, MoveOptions, Phase
from tests.testbed.client import AdminClient
from tests.testbed.collector import wait_for_collector
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair
from tests.testbed.pause_reporter import PauseReporter
from tests.testbed.witness import Witness

Objects = Mapping[ObjectKey, Object]
TOPOLOGY = {"topology": True, "clusters": 2, "workers": 1, "control_planes": 1, "paused_conditions": False}


async def _fleet(pair: Pair, namespace: str, **options: Any) -> Fleet:
    # Host and cluster names are unique per test, so that tests can share the clusters.
    return await build(
        pair.on_source,
        FleetSpec(namespace=namespace, cluster_name=f"{namespace}-c", host_name=f"{namespace}-h", **options),
    )


async def _witnessed_move(pair: Pair, namespace: str, options: MoveOptions | None = None) -> None:
    """Moves a namespace while the witness watches."""
    async with (
        AdminClient(pair.source.kubeconfig, connections=128) as one,
        AdminClient(pair.target.kubeconfig, connections=128) as other,
        Witness(one, other, namespaces={namespace}) as witness,
    ):
        await move_async(pair.source_ref, pair.target_ref, options or MoveOptions(namespace=namespace))
    witness.check()


def _comparable(obj: Object, objects: Objects) -> dict[str, Any]:
    """Returns an object without what a move changes on purpose.

    A host keeps its saved status as an annotation, as Metal3's contract for a pivot has it. The pause and its end
    are new generations of a Cluster, which no controller has seen.
    """
    body = obj.body()
    metadata = body["metadata"]
    if obj.type.group_kind == rules.BARE_METAL_HOST:
        (metadata.get("annotations") or {}).pop(rules.HOST_STATUS_ANNOTATION, None)
        metadata["managedFields"] = [entry for entry in metadata["managedFields"] if entry["manager"] != MANAGER]
    if obj.type.group_kind == rules.CLUSTER:
        metadata["generation"] = sys.maxsize
    return normalised(parse_object(obj.type, body), names_of(tuple(objects.values())))


@pytest.fixture
async def moved(pair: Pair, namespace: str) -> tuple[Fleet, Objects, Objects, Objects]:
    """Returns a fleet that was moved: source before, source after, target after."""
    fleet = await _fleet(pair, namespace, paused_conditions=False)
    before = await pair.source_objects(namespace)
    await _witnessed_move(pair, namespace)
    await asyncio.gather(wait_for_collector(pair.on_source), wait_for_collector(pair.on_target))
    return fleet, before, await pair.source_objects(namespace), await pair.target_objects(namespace)


async def test_a_moved_fleet_is_the_same_on_the_target_and_gone_from_the_source(
    moved: tuple[Fleet, Objects, Objects, Objects],
) -> None:
    fleet, before, source, target = moved
    assert set(fleet.movable) <= set(target)
    assert set(fleet.unrelated) <= set(source)
    assert not set(fleet.movable) & set(source)
    assert not set(fleet.unrelated) & set(target)
    found = [
        difference
        for key in fleet.movable
        for difference in differences(key, _comparable(before[key], before), _comparable(target[key], target))
    ]
    assert not found, "\n".join(map(str, found))
    assert not [obj.key for obj in target.values() if "capi-mover" in obj.raw.decode() and not _is_host(obj)]
    assert all(rules.HOST_PAUSED_ANNOTATION not in obj.annotations for obj in target.values())
    uids = names_of(tuple(target.values()))
    assert all(owner.uid in uids for obj in target.values() for owner in obj.owners)


def _is_host(obj: Object) -> bool:
    return obj.type.group_kind == rules.BARE_METAL_HOST


async def test_the_move_waits_until_the_controllers_have_confirmed_the_pause(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(pair, namespace)
    async with PauseReporter(pair.on_source, latency_s=0.3):
        await _witnessed_move(pair, namespace)
    target = await pair.target_objects(namespace)
    assert set(fleet.movable) <= set(target)
    # The copies were made from objects whose controllers had said that they are paused.
    reported = [_paused_condition(target[key]) for key in fleet.movable if key.kind in ("Cluster", "Machine")]
    assert set(reported) == {"True"}


def _paused_condition(obj: Object) -> str:
    conditions = obj.body()["status"]["conditions"]
    return str(next(found["status"] for found in conditions if found["type"] == "Paused"))


async def test_a_pause_that_no_controller_confirms_stops_the_move_and_says_who_is_waited_for(
    pair: Pair, namespace: str
) -> None:
    await _fleet(pair, namespace, workers=0, control_planes=1, spare_hosts=1)
    before = await pair.source_objects(namespace)
    options = MoveOptions(namespace=namespace, pause_timeout_s=1)
    with pytest.raises(RolledBackError, match="the source is as it was") as caught:
        await move_async(pair.source_ref, pair.target_ref, options)
    assert isinstance(caught.value.cause, PauseTimeoutError)
    assert any(line.startswith(f"Cluster {namespace}/{namespace}-c-1") for line in caught.value.cause.waiting)
    assert not await pair.target_objects(namespace)
    assert _unversioned(await pair.source_objects(namespace)) == _unversioned(before)


async def test_the_classes_templates_and_clusters_of_a_topology_move_together(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(
        pair, namespace, topology=True, clusters=2, workers=1, control_planes=1, paused_conditions=False
    )
    await _witnessed_move(pair, namespace)
    target = await pair.target_objects(namespace)
    assert set(fleet.movable) <= set(target)
    classes = [obj for obj in target.values() if obj.type.group_kind == rules.CLUSTER_CLASS]
    assert classes
    assert all(rules.PAUSED_ANNOTATION not in obj.annotations for obj in classes)


async def test_without_restored_status_the_status_of_copies_is_empty(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(pair, namespace, workers=0, control_planes=1, spare_hosts=1, paused_conditions=False)
    await _witnessed_move(pair, namespace, MoveOptions(namespace=namespace, restore_status=RestoreStatus.METAL3))
    target = await pair.target_objects(namespace)
    with_status = {key.kind for key in fleet.movable if target[key].body().get("status")}
    assert "BareMetalHost" in with_status
    assert "Cluster" not in with_status


async def test_a_namespace_is_created_with_the_labels_of_the_source(pair: Pair, namespace: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    await pair.on_source.create("/api/v1/namespaces", body)
    await _fleet(pair, namespace, workers=0, control_planes=1, spare_hosts=0, paused_conditions=False)
    await _witnessed_move(pair, namespace)
    made = await pair.on_target.get(f"/api/v1/namespaces/{namespace}")
    assert made["metadata"]["labels"] | labels == made["metadata"]["labels"]


async def test_a_plan_changes_nothing(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(pair, namespace)
    before = await pair.source_objects(namespace)
    plan = await plan_async(pair.source_ref, MoveOptions(namespace=namespace))
    assert {obj.key for obj in plan.selection.moved} == set(fleet.movable)
    assert _versions(await pair.source_objects(namespace)) == _versions(before)


def _unversioned(objects: Objects) -> dict[ObjectKey, Any]:
    """Returns the bodies without what every write changes."""
    bodies = {key: obj.body() for key, obj in objects.items()}
    for body in bodies.values():
        for name in ("resourceVersion", "generation", "managedFields"):
            body["metadata"].pop(name, None)
    return bodies


def _versions(objects: Objects) -> dict[ObjectKey, str]:
    return {key: obj.resource_version for key, obj in objects.items()}


async def test_all_problems_are_listed_at_once_and_nothing_is_changed(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(pair, namespace, workers=1, control_planes=1, spare_hosts=0)
    cluster = next(key for key in fleet.movable if key.kind == "Cluster")
    path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/clusters/{cluster.name}"
    await pair.on_source.patch_merge(path, {"spec": {"paused": True}})
    machine = next(key for key in fleet.movable if key.kind == "Machine")
    machine_path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/machines/{machine.name}"
    await pair.on_source.patch_status(machine_path, {"nodeRef": None})
    secret = next(key for key in fleet.movable if key.kind == "Secret")
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await pair.on_target.create("/api/v1/namespaces", space)
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret.name}}
    await pair.on_target.create(f"/api/v1/namespaces/{namespace}/secrets", body)
    before, target_before = await asyncio.gather(pair.source_objects(namespace), pair.target_objects(namespace))
    with pytest.raises(RefusedError) as caught:
        await move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace=namespace))
    found = {(problem.check, problem.subject) for problem in caught.value.problems}
    assert found == {("paused", str(cluster)), ("provisioned", str(machine)), ("collisions", str(secret))}
    assert _versions(await pair.source_objects(namespace)) == _versions(before)
    assert _versions(await pair.target_objects(namespace)) == _versions(target_before)


async def test_a_move_onto_itself_is_refused(pair: Pair, namespace: str) -> None:
    await _fleet(pair, namespace, workers=0, control_planes=1, spare_hosts=0)
    with pytest.raises(RefusedError) as caught:
        await move_async(pair.source_ref, pair.source_ref, MoveOptions(namespace=namespace))
    assert "identity" in {problem.check for problem in caught.value.problems}


async def test_a_namespace_that_is_not_there_is_a_usage_error(pair: Pair) -> None:
    with pytest.raises(UsageError, match="no-such-namespace"):
        await move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace="no-such-namespace"))


@pytest.mark.parametrize("copy_ahead", [False, True], ids=["plain", "copied-ahead"])
async def test_every_phase_is_told_to_the_listener_in_order(pair: Pair, namespace: str, copy_ahead: bool) -> None:
    await _fleet(pair, namespace, workers=0, control_planes=1, spare_hosts=0, paused_conditions=False)
    told: list[Any] = []
    options = MoveOptions(namespace=namespace, copy_ahead=copy_ahead)
    report = await move_async(pair.source_ref, pair.target_ref, options, told.append)
    phases = [event.phase for event in told if type(event).__name__ == "PhaseStarted"]
    silent = {Phase.CLAIMED, Phase.ROLLING_BACK, Phase.DONE, Phase.SAVING, Phase.RELEASING, Phase.LOADING}
    if not copy_ahead:
        silent.add(Phase.COPYING_AHEAD)
    assert phases == [phase for phase in Phase if phase not in silent]
    assert set(report.seconds) == set(phases)
    assert sum(entry.count for entry in report.moved) == report.verified
