"""What the options of a move change, between two real API servers."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.resource import ObjectKey
from mover.api import diff_async, move_async
from mover.choices import ExistingPolicy, PausedPolicy
from mover.errors import RefusedError
from mover.models import MoveOptions
from mover.pause import is_paused
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair
from tests.testbed.providers import ensure_namespace

SMALL: dict[str, Any] = {"workers": 0, "control_planes": 1, "spare_hosts": 1, "paused_conditions": False}
LABELLED = {rules.MOVE_LABEL: ""}


async def _fleet(pair: Pair, namespace: str, **options: Any) -> Fleet:
    names: dict[str, Any] = {"cluster_name": f"{namespace}-c", "host_name": f"{namespace}-h"}
    return await build(pair.on_source, FleetSpec(namespace=namespace, **names, **{**SMALL, **options}))


async def _config_map(pair: Pair, side: str, namespace: str, name: str, **parts: Any) -> dict[str, Any]:
    client = pair.on_source if side == "source" else pair.on_target
    await ensure_namespace(client, namespace)
    metadata = {"name": name, "labels": LABELLED, **parts.get("metadata", {})}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": parts.get("data", {"a": "1"})}
    made: dict[str, Any] = await client.create(f"/api/v1/namespaces/{namespace}/configmaps", body)
    return made


def _key(namespace: str, name: str) -> ObjectKey:
    return ObjectKey("", "ConfigMap", namespace, name)


async def test_a_fleet_moves_into_another_namespace_with_every_reference(pair: Pair, namespace: str) -> None:
    other = f"{namespace}-new"
    fleet = await _fleet(pair, namespace)
    options = MoveOptions(namespace=namespace, to_namespace=other, keep_provider_ids=True)
    await move_async(pair.source_ref, pair.target_ref, options)
    arrived = await pair.target_objects(other)
    assert {(key.kind, key.name) for key in fleet.movable} <= {(key.kind, key.name) for key in arrived}
    machines = [obj for obj in arrived.values() if obj.type.group_kind == rules.METAL3_MACHINE]
    assert all(obj.annotations["metal3.io/BareMetalHost"].startswith(f"{other}/") for obj in machines)
    assert not await pair.target_objects(namespace)


async def test_provider_ids_that_would_stay_are_refused_by_name(pair: Pair, namespace: str) -> None:
    await _fleet(pair, namespace)
    with pytest.raises(RefusedError, match=r"spec\.providerID is metal3://"):
        await move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace=namespace, to_namespace="elsewhere"))


async def test_a_cluster_that_the_user_paused_moves_and_stays_paused_on_request(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(pair, namespace)
    cluster = next(key for key in fleet.movable if key.kind == "Cluster")
    path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/clusters/{cluster.name}"
    await pair.on_source.patch_merge(path, {"spec": {"paused": True}})
    await move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace=namespace, paused=PausedPolicy.KEEP))
    arrived = await pair.target_objects(namespace)
    assert is_paused(arrived[cluster])
    hosts = [obj for obj in arrived.values() if obj.type.group_kind == rules.BARE_METAL_HOST]
    assert not any(map(is_paused, hosts))


async def test_an_equal_object_on_the_target_is_adopted_and_another_one_refused(pair: Pair, namespace: str) -> None:
    await _config_map(pair, "source", namespace, "equal")
    await _config_map(pair, "source", namespace, "other")
    await _config_map(pair, "target", namespace, "equal")
    await _config_map(pair, "target", namespace, "other", data={"a": "2"})
    options = MoveOptions(namespace=namespace, existing=ExistingPolicy.ADOPT)
    with pytest.raises(RefusedError) as caught:
        await move_async(pair.source_ref, pair.target_ref, options)
    assert [problem.subject for problem in caught.value.problems] == [f"ConfigMap {namespace}/other"]
    await pair.on_target.patch_merge(f"/api/v1/namespaces/{namespace}/configmaps/other", {"data": {"a": "1"}})
    await move_async(pair.source_ref, pair.target_ref, options)
    assert {_key(namespace, "equal"), _key(namespace, "other")} <= set(await pair.target_objects(namespace))
    assert not set(await pair.source_objects(namespace)) & {_key(namespace, "equal"), _key(namespace, "other")}


async def test_an_object_on_the_target_is_overwritten_on_request(pair: Pair, namespace: str) -> None:
    await _config_map(pair, "source", namespace, "mine", data={"a": "new"})
    await _config_map(pair, "target", namespace, "mine", data={"a": "old", "b": "old"})
    options = MoveOptions(namespace=namespace, existing=ExistingPolicy.OVERWRITE)
    await move_async(pair.source_ref, pair.target_ref, options)
    arrived = await pair.target_objects(namespace)
    assert arrived[_key(namespace, "mine")].body()["data"] == {"a": "new"}


async def test_an_object_whose_owner_stays_is_refused_or_left_behind_with_all_below_it(
    pair: Pair, namespace: str
) -> None:
    owner = await _config_map(pair, "source", namespace, "owner", metadata={"labels": {}})
    owned = {"ownerReferences": [_reference(owner)], "labels": LABELLED}
    middle = await _config_map(pair, "source", namespace, "middle", metadata=owned)
    await _config_map(pair, "source", namespace, "below", metadata={"ownerReferences": [_reference(middle)]})
    with pytest.raises(RefusedError, match="its owner ConfigMap owner does not move"):
        await move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace=namespace))
    await _config_map(pair, "source", namespace, "free")
    await move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace=namespace, leave_behind=True))
    left = await pair.source_objects(namespace)
    assert {_key(namespace, name) for name in ("owner", "middle", "below")} <= set(left)
    assert _key(namespace, "free") in await pair.target_objects(namespace)


def _reference(body: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": body["metadata"]["name"], "uid": body["metadata"]["uid"]}


async def test_an_owner_that_the_target_has_under_its_name_owns_the_copy(pair: Pair, namespace: str) -> None:
    owner = await _config_map(pair, "source", namespace, "owner", metadata={"labels": {}})
    there = await _config_map(pair, "target", namespace, "owner", metadata={"labels": {}})
    await _config_map(
        pair, "source", namespace, "owned", metadata={"ownerReferences": [_reference(owner)], "labels": LABELLED}
    )
    await move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace=namespace))
    arrived = await pair.target_objects(namespace)
    assert [reference.uid for reference in arrived[_key(namespace, "owned")].owners] == [there["metadata"]["uid"]]


async def test_two_clusters_are_compared_by_content(pair: Pair, namespace: str) -> None:
    for side, data in (("source", {"a": "1"}), ("target", {"a": "2"})):
        await _config_map(pair, side, namespace, "differs", data=data)
        await _config_map(pair, side, namespace, "equal")
    found = await diff_async(pair.source_ref, pair.target_ref, namespace)
    assert [(difference.subject, difference.path) for difference in found] == [
        (f"ConfigMap {namespace}/differs", "data.a")
    ]
