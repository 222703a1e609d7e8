"""Single Clusters leave a namespace one after the other, between two real API servers; the others are not touched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey
from mover.api import move_async
from mover.choices import ExistingPolicy
from mover.differences import content
from mover.models import MoveOptions
from mover.pause import is_paused
from tests.integration.shared_fleet import BMC, build_shared
from tests.testbed.client import AdminClient
from tests.testbed.collector import wait_for_collector
from tests.testbed.pair import Pair
from tests.testbed.witness import Expectations, Witness

Objects = Mapping[ObjectKey, Object]
CLUSTERS = 3
SHARED_KINDS = {"ClusterClass", "FirmwareSchema"}


def _of_cluster(namespace: str, number: int, objects: Objects) -> set[ObjectKey]:
    """Returns what is named after a cluster of the fleet or after one of its two hosts; told by names alone."""
    first = 2 * number - 1
    names = [f"{namespace}-c-{number}", *(f"{namespace}-h-{host:04d}" for host in (first, first + 1))]
    return {key for key in objects if any(key.name == name or key.name.startswith(f"{name}-") for name in names)}


def _shared(objects: Objects) -> set[ObjectKey]:
    """Returns the class with its templates, the schema and the BMC's Secret."""
    classes = {key for key, obj in objects.items() if [owner.kind for owner in obj.owners] == ["ClusterClass"]}
    return classes | {key for key in objects if key.kind in SHARED_KINDS or key.name == BMC}


def _without_namespace(objects: Objects) -> set[ObjectKey]:
    return {key for key in objects if key.name != "kube-root-ca.crt"}


async def _witnessed_move(pair: Pair, options: MoveOptions, expectations: Expectations) -> None:
    async with (
        AdminClient(pair.source.kubeconfig, connections=128) as one,
        AdminClient(pair.target.kubeconfig, connections=128) as other,
        Witness(one, other, expectations, namespaces={options.namespace or ""}) as witness,
    ):
        await move_async(pair.source_ref, pair.target_ref, options)
    witness.check()
    await asyncio.gather(wait_for_collector(pair.on_source), wait_for_collector(pair.on_target))


def _versions(objects: Objects, keys: set[ObjectKey]) -> dict[ObjectKey, str]:
    return {key: objects[key].resource_version for key in keys}


def _content(obj: Object) -> Any:
    found = content(obj)
    found["metadata"]["annotations"].pop(rules.HOST_STATUS_ANNOTATION, None)
    return found


def _assert_whole(target: Objects, before: Objects, keys: set[ObjectKey]) -> None:
    """Every one of the keys is there as it was, unpaused, and with owners that are there, too."""
    uids = {obj.uid for obj in target.values()}
    for key in keys:
        assert _content(target[key]) == _content(before[key]), str(key)
        assert not is_paused(target[key]), str(key)
        assert all(owner.uid in uids for owner in target[key].owners), str(key)


async def test_clusters_of_a_namespace_move_one_by_one_and_then_the_rest(pair: Pair, namespace: str) -> None:
    fleet = await build_shared(pair, namespace, clusters=CLUSTERS)
    before = await pair.source_objects(namespace)
    one, two, three = (_of_cluster(namespace, number, before) for number in (1, 2, 3))
    shared = _shared(before)
    spare = {key for key in fleet.movable if "-h-0007" in key.name or "-h-0008" in key.name}
    assert one | two | three | shared | spare == {*fleet.movable, ObjectKey(*rules.SECRET, namespace, BMC)}

    await _witnessed_move(
        pair, MoveOptions(namespace=namespace, clusters=(f"{namespace}-c-1",)), Expectations(kept=shared)
    )
    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert _without_namespace(target) == one | shared
    assert _without_namespace(source) == _without_namespace(before) - one
    _assert_whole(target, before, one | shared)
    untouched = (
        two | three | spare | {key for key in shared if key.kind == "ClusterClass" or key.kind.endswith("Template")}
    )
    assert _versions(source, untouched) == _versions(before, untouched)
    for key in shared:
        assert content(source[key]) == content(before[key]), str(key)

    options = MoveOptions(
        namespace=namespace, clusters=(f"{namespace}-c-2",), all_hosts=True, existing=ExistingPolicy.ADOPT
    )
    # The third Cluster does not use the Secret: it goes now, and has been on both sides until then.
    bmc = ObjectKey(*rules.SECRET, namespace, BMC)
    await _witnessed_move(pair, options, Expectations(kept=shared - {bmc}, ignored={bmc}))
    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert _without_namespace(target) == one | two | shared | spare
    _assert_whole(target, before, one | two | shared | spare)
    assert _versions(source, three) == _versions(before, three)
    assert bmc not in source
    assert len(target[bmc].owners) == 2

    await _witnessed_move(
        pair, MoveOptions(namespace=namespace, existing=ExistingPolicy.ADOPT), Expectations(ignored=shared)
    )
    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert set(source) & set(target) <= {ObjectKey(*rules.CONFIG_MAP, namespace, "kube-root-ca.crt")}
    assert _without_namespace(source) == set(fleet.unrelated)
    _assert_whole(target, before, one | two | three | shared | spare)
