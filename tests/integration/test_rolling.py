"""Rolling moves between two real API servers: Cluster after Cluster, each paused only while it moves itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey
from mover.api import move_async, roll_async
from mover.choices import ExistingPolicy
from mover.differences import content
from mover.events import Event, Listener, UnitStarted, ignore
from mover.models import MoveOptions, RollingOptions, RollingReport, UnitFate
from mover.pause import is_paused
from tests.integration.shared_fleet import BMC, build_shared
from tests.testbed.client import AdminClient
from tests.testbed.collector import wait_for_collector
from tests.testbed.fleet import Fleet
from tests.testbed.pair import Pair
from tests.testbed.witness import Expectations, Witness

Objects = Mapping[ObjectKey, Object]


def _names(namespace: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{namespace}-c-{number}" for number in numbers)


def _of_cluster(namespace: str, number: int, objects: Objects) -> set[ObjectKey]:
    """Returns what is named after a cluster of the fleet or after one of its two hosts; told by names alone."""
    first = 2 * number - 1
    names = [f"{namespace}-c-{number}", *(f"{namespace}-h-{host:04d}" for host in (first, first + 1))]
    return {key for key in objects if any(key.name == name or key.name.startswith(f"{name}-") for name in names)}


def _movable(fleet: Fleet, namespace: str) -> set[ObjectKey]:
    return {*fleet.movable, ObjectKey(*rules.SECRET, namespace, BMC)}


def _shared(namespace: str, before: Objects, fleet: Fleet) -> set[ObjectKey]:
    """Returns what belongs to no single cluster and to no spare host."""
    clusters = fleet.spec.clusters
    own = {key for number in range(1, clusters + 1) for key in _of_cluster(namespace, number, before)}
    spare = [f"{namespace}-h-{2 * clusters + number:04d}" for number in (1, 2)]
    return {key for key in _movable(fleet, namespace) - own if not any(key.name.startswith(name) for name in spare)}


def _without_namespace(objects: Objects) -> set[ObjectKey]:
    return {key for key in objects if key.name != "kube-root-ca.crt"}


@asynccontextmanager
async def _witnessed(pair: Pair, namespace: str, expectations: Expectations) -> AsyncIterator[None]:
    async with (
        AdminClient(pair.source.kubeconfig, connections=128) as one,
        AdminClient(pair.target.kubeconfig, connections=128) as other,
        Witness(one, other, expectations, namespaces={namespace}) as witness,
    ):
        yield
    witness.check()
    await asyncio.gather(wait_for_collector(pair.on_source), wait_for_collector(pair.on_target))


async def _roll(
    pair: Pair, namespace: str, listener: Listener = ignore, *, parallel: int = 2, **options: Any
) -> RollingReport:
    asked = MoveOptions(**{"namespace": namespace, "quiet_s": 0.1, **options})
    return await roll_async(pair.source_ref, pair.target_ref, asked, RollingOptions(parallel=parallel), listener)


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


def _fates(report: RollingReport) -> list[tuple[tuple[str, ...], UnitFate]]:
    return sorted((unit.clusters, unit.fate) for unit in report.units)


class _Pauses:
    """Notes, whenever a Cluster of the source changes, which Clusters are paused there and which have left."""

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self._client = client
        self._path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/clusters"
        self._paused: dict[str, bool] = {}
        self.moments: list[tuple[frozenset[str], frozenset[str]]] = []
        """Those that are paused, and those that are there and at work."""

    async def follow(self) -> None:
        """Watches until every Cluster has gone."""
        found = await self._client.get(self._path)
        self._paused = {item["metadata"]["name"]: _is_paused(item) for item in found["items"]}
        async for event in self._client.watch(self._path, found["metadata"]["resourceVersion"]):
            if event["type"] == "BOOKMARK":
                continue
            name = event["object"]["metadata"]["name"]
            if event["type"] == "DELETED":
                self._paused.pop(name)
            else:
                self._paused[name] = _is_paused(event["object"])
            paused = frozenset(name for name, is_one in self._paused.items() if is_one)
            self.moments.append((paused, frozenset(self._paused) - paused))
            if not self._paused:
                return


def _is_paused(cluster: Mapping[str, Any]) -> bool:
    return bool(cluster["spec"].get("paused"))


async def test_a_namespace_rolls_two_clusters_at_a_time_and_then_the_rest(pair: Pair, namespace: str) -> None:
    fleet = await build_shared(pair, namespace, clusters=4)
    before = await pair.source_objects(namespace)
    shared = _shared(namespace, before, fleet)
    assert {key.kind for key in shared} >= {"ClusterClass", "Secret", "KubeadmConfigTemplate"}
    pauses = _Pauses(pair.on_source, namespace)
    following = asyncio.ensure_future(pauses.follow())
    async with _witnessed(pair, namespace, Expectations(ignored=shared)):
        report = await _roll(pair, namespace)
    await following

    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert _without_namespace(target) == _movable(fleet, namespace)
    assert _without_namespace(source) == set(fleet.unrelated)
    _assert_whole(target, before, _movable(fleet, namespace))
    units = [((name,), UnitFate.MOVED) for name in _names(namespace, 1, 2, 3, 4)]
    assert _fates(report) == [((), UnitFate.MOVED), *units]

    assert max(len(paused) for paused, _ in pauses.moments) <= 2
    while_first = [at_work for paused, at_work in pauses.moments if f"{namespace}-c-1" in paused]
    # Nothing of what they share is on the target yet: the first one is alone with that.
    assert while_first
    assert all(at_work == set(_names(namespace, 2, 3, 4)) for at_work in while_first)


async def test_chosen_clusters_roll_and_the_others_are_not_touched(pair: Pair, namespace: str) -> None:
    fleet = await build_shared(pair, namespace, clusters=4)
    before = await pair.source_objects(namespace)
    shared = _shared(namespace, before, fleet)
    one, two, three, four = (_of_cluster(namespace, number, before) for number in (1, 2, 3, 4))
    async with _witnessed(pair, namespace, Expectations(kept=shared)):
        report = await _roll(pair, namespace, clusters=_names(namespace, 1, 3))
    assert _fates(report) == [((name,), UnitFate.MOVED) for name in _names(namespace, 1, 3)]
    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert _without_namespace(target) == one | three | shared
    assert _without_namespace(source) == _without_namespace(before) - one - three
    _assert_whole(target, before, one | three | shared)
    untouched = _without_namespace(before) - one - three - shared
    assert untouched >= two | four
    assert {key: source[key].resource_version for key in untouched} == {
        key: before[key].resource_version for key in untouched
    }
    for key in shared:
        assert content(source[key]) == content(before[key]), str(key)
        assert not is_paused(source[key]), str(key)

    # The others find what they share on the target.
    report = await _roll(pair, namespace)
    assert _fates(report) == [((), UnitFate.MOVED), *(((name,), UnitFate.MOVED) for name in _names(namespace, 2, 4))]
    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert _without_namespace(source) == set(fleet.unrelated)
    _assert_whole(target, before, _movable(fleet, namespace))


async def test_what_one_move_has_brought_does_not_stop_a_rolling_one(pair: Pair, namespace: str) -> None:
    fleet = await build_shared(pair, namespace, clusters=2)
    before = await pair.source_objects(namespace)
    chosen = MoveOptions(namespace=namespace, clusters=_names(namespace, 2), existing=ExistingPolicy.REFUSE)
    await move_async(pair.source_ref, pair.target_ref, chosen)
    await _roll(pair, namespace)
    assert _without_namespace(await pair.source_objects(namespace)) == set(fleet.unrelated)
    _assert_whole(await pair.target_objects(namespace), before, _movable(fleet, namespace))


async def test_units_begin_in_the_order_that_is_asked_for(pair: Pair, namespace: str) -> None:
    await build_shared(pair, namespace, clusters=2)
    begun: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, UnitStarted):
            begun.append(event.unit)

    await _roll(pair, namespace, listen, parallel=1)
    assert begun == [*(f"{namespace}/{name}" for name in _names(namespace, 1, 2)), namespace]


async def test_clusters_of_all_namespaces_roll(empty_pair: Pair, namespace: str) -> None:
    pair = empty_pair
    spaces = (f"{namespace}-one", f"{namespace}-two")
    fleets = [await build_shared(pair, space, clusters=2) for space in spaces]
    before = {space: await pair.source_objects(space) for space in spaces}
    report = await _roll(pair, "")
    units = {(unit.namespace, unit.clusters) for unit in report.units if unit.fate is UnitFate.MOVED}
    assert {(space, (name,)) for space in spaces for name in _names(space, 1, 2)} <= units
    assert not report.failed
    for fleet, space in zip(fleets, spaces, strict=True):
        assert _without_namespace(await pair.source_objects(space)) == set(fleet.unrelated)
        target = await pair.target_objects(space)
        assert _without_namespace(target) == _movable(fleet, space)
        _assert_whole(target, before[space], _movable(fleet, space))
