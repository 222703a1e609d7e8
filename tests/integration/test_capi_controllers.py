"""Moves with CAPI's real controllers and webhooks running on both sides, and a real workload cluster behind them.

Nothing may be created, deleted or rolled out: whatever the controllers see of the move, it must look to them as if
the objects had been there all the time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio

from graph import rules
from graph.resource import Object, ObjectKey
from graph.rules import GroupKind
from mover.api import ClusterRef, move_async
from mover.events import Event, PhaseStarted
from mover.execute.run import RolledBackError
from mover.models import MoveOptions, Phase
from tests.testbed import inspect, workload
from tests.testbed.capi_managers import AdmissionCount, CapiManagers, admission_counts
from tests.testbed.client import AdminClient
from tests.testbed.controlplane import ControlPlane, ControlPlaneOptions
from tests.testbed.fleet import FleetSpec, build
from tests.testbed.fleet.plan import clusters
from tests.testbed.kind import wants_kind
from tests.testbed.management import start_management_pair
from tests.testbed.pair import Pair
from tests.testbed.pause_reporter import PauseReporter
from tests.testbed.witness import RELISTED, Body, Stream, Witness, watched_types

pytestmark = pytest.mark.skipif(
    wants_kind(), reason="a kind cluster does not reach webhooks on this machine's loopback"
)

SETTLE_TIMEOUT_S = 120.0
STEADY_S = 3.0
"""Controllers that have changed no object for so long have nothing left to do: CAPI's look once a second at most."""

QUIET_S = 0.5
"""For the kinds of Metal3, which nobody works on here. CAPI's kinds are never waited for like that."""

RECORD_KIND = "ConfigMap"
"""What a move keeps its record in, and what belongs to no fleet."""

REPORTING = rules.PAUSED_CONDITION_KINDS - {rules.METAL3_CLUSTER, rules.METAL3_MACHINE}
"""What CAPI's own controllers report a pause of."""

_UID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

Objects = Mapping[ObjectKey, Object]


@dataclass(frozen=True)
class Bed:
    """A source and a target with CAPI's managers beside them, and the API server of all workload clusters."""

    pair: Pair
    on_workload: AdminClient
    workload_kubeconfig: str
    beside_target: CapiManagers


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, ...]]:
    """Returns source, target and workload cluster, and the managers beside the first two; they are no one else's."""
    folder = tmp_path_factory.mktemp("capi")
    with ExitStack() as stack:
        pair = start_management_pair(("capi-source", "capi-target"), folder)
        for plane in pair:
            stack.enter_context(plane)
        bare = ControlPlaneOptions(controller_manager=False)
        far = stack.enter_context(ControlPlane.start("workload", folder / "workload", options=bare))
        managers = [stack.enter_context(CapiManagers(plane, folder / f"{plane.name}-managers")) for plane in pair]
        for beside in managers:
            beside.start()
        yield (*pair, far, *managers)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bed(parts: tuple[Any, ...]) -> AsyncIterator[Bed]:
    source, target, far, beside_source, beside_target = parts
    async with AsyncExitStack() as stack:
        on_source, on_target, on_workload = [
            await stack.enter_async_context(AdminClient(plane.kubeconfig, connections=128))
            for plane in (source, target, far)
        ]
        await asyncio.gather(beside_source.register(on_source), beside_target.register(on_target))
        for client in (on_source, on_target):  # CAPM3 is in no package registry; this is what it says to a pause
            await stack.enter_async_context(PauseReporter(client, kinds={rules.METAL3_MACHINE}))
        pair = Pair(source, target, on_source, on_target)
        kubeconfig = await asyncio.to_thread(far.kubeconfig.read_text)
        yield Bed(pair, on_workload, kubeconfig, beside_target)


async def _settled_fleet(bed: Bed, namespace: str, *, topology: bool = False) -> Objects:
    """Returns the objects of a fleet that the source's controllers have taken over and leave as they are now."""
    spec = FleetSpec(
        namespace=namespace,
        cluster_name=f"{namespace}-c",
        host_name=f"{namespace}-h",
        control_planes=1,
        workers=2,
        spare_hosts=1,
        unrelated_secrets=0,
        workload_kubeconfig=bed.workload_kubeconfig,
        topology=topology,
        paused=True,  # half a fleet is something that controllers would complete
    )
    await workload.create_nodes(bed.on_workload, spec)
    await build(bed.pair.on_source, spec)
    for cluster in clusters(spec):
        path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/clusters/{cluster.name}"
        await bed.pair.on_source.patch_merge(path, {"spec": {"paused": None}})
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        await workload.until_reached(bed.on_workload, namespace)
    return await _settled(bed.pair.on_source, namespace)


async def _settled(client: AdminClient, namespace: str) -> Objects:
    """Returns the objects once their controllers have seen that they are not paused, and have left them alone since.

    Raises:
        TimeoutError: Some controller is at work for ever, or not at all.
    """
    known: Mapping[ObjectKey, Any] = {}
    since = time.monotonic()
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while True:
            objects = await inspect.objects(client, namespace)
            now = {key: (obj.uid, obj.body()["metadata"].get("generation")) for key, obj in objects.items()}
            if now != known or any(map(_is_behind, objects.values())):
                known, since = now, time.monotonic()
            elif time.monotonic() - since > STEADY_S:
                return {key: obj for key, obj in objects.items() if key.kind != RECORD_KIND}
            await asyncio.sleep(0.5)  # steady is what does not change: there is no event to wait for


def _is_behind(obj: Object) -> bool:
    """Returns whether an object's controller has not yet reconciled its newest generation, unpaused."""
    if obj.type.group_kind not in REPORTING:
        return False
    body = obj.body()
    generation = body["metadata"]["generation"]
    conditions = _conditions(body)
    topology = conditions.get("TopologyReconciled")
    awaited = [(conditions.get("Paused"), "False"), *([(topology, "True")] if topology else [])]
    return any(
        found is None or (found["status"], found["observedGeneration"]) != (status, generation)
        for found, status in awaited
    )


def _conditions(body: Body) -> dict[str, Any]:
    return {found["type"]: found for found in (body.get("status") or {}).get("conditions") or ()}


class Recorder:
    """Notes what becomes of each object of a namespace on one cluster, as its watchers see it.

    Attributes:
        dying: What had a deletionTimestamp.
        pauses: The states of each reporting object's Paused condition in turn, without repetitions.
        last: The state that each object was in when it was deleted.
    """

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self.dying: set[ObjectKey] = set()
        self.seen: set[ObjectKey] = set()
        self.pauses: defaultdict[ObjectKey, list[str]] = defaultdict(list)
        self.last: dict[ObjectKey, Body] = {}
        self._client = client
        self._namespace = namespace

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Notes until the end of the `async with`."""
        streams = [Stream(self._client, resource, self._take) for resource in await watched_types(self._client)]
        await asyncio.gather(*(stream.start() for stream in streams))
        tasks = [asyncio.create_task(stream.follow()) for stream in streams]
        try:
            yield
            await asyncio.gather(*(stream.aim() for stream in streams))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(stream.drain() for stream in streams))

    def _take(self, stream: Stream, event: str, body: Body) -> None:
        if event == RELISTED:
            pytest.fail(f"events of {stream.type} were lost")
        metadata = body["metadata"]
        if metadata.get("namespace") != self._namespace or stream.type.kind == RECORD_KIND:
            return
        key = ObjectKey(stream.type.group, stream.type.kind, self._namespace, metadata["name"])
        self.seen.add(key)
        if metadata.get("deletionTimestamp") and event != "DELETED":
            self.dying.add(key)
        if event == "DELETED":
            self.last[key] = body
        paused = _conditions(body).get("Paused")
        if paused is not None and self.pauses[key][-1:] != [paused["status"]]:
            self.pauses[key].append(paused["status"])


@asynccontextmanager
async def _watched(bed: Bed, namespace: str) -> AsyncIterator[tuple[Recorder, Recorder]]:
    """Watches both clusters; on the way out, nothing that must never be seen may have been seen."""
    pair = bed.pair
    recorders = Recorder(pair.on_source, namespace), Recorder(pair.on_target, namespace)
    async with recorders[0].at_work(), recorders[1].at_work():
        yield recorders
    for recorder in recorders:
        assert not recorder.dying, "somebody deleted an object"


async def _witnessed_move(origin: Side, goal: Side, namespace: str, *, copy_ahead: bool = False) -> None:
    options = MoveOptions(namespace=namespace, quiet_s=QUIET_S, copy_ahead=copy_ahead)
    async with Witness(origin.client, goal.client, namespaces={namespace}) as witness:
        await move_async(origin.ref, goal.ref, options)
    witness.check()


@dataclass(frozen=True)
class Side:
    """One end of a move."""

    ref: ClusterRef
    client: AdminClient


def _sides(bed: Bed) -> tuple[Side, Side]:
    pair = bed.pair
    return Side(pair.source_ref, pair.on_source), Side(pair.target_ref, pair.on_target)


def _comparable(obj: Object) -> dict[str, Any]:
    """Returns all of an object that says what is wanted of it: everything but its status and its identity."""
    body = obj.body()
    metadata = body["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(rules.HOST_STATUS_ANNOTATION, None)
    owners = sorted((owner["kind"], owner["name"]) for owner in metadata.get("ownerReferences") or ())
    kept = {name: metadata.get(name) or {} for name in ("labels", "finalizers")}
    content = {name: value for name, value in body.items() if name not in ("metadata", "status")}
    return {**content, **kept, "annotations": annotations, "owners": owners}


def _assert_same(before: Objects, after: Objects) -> None:
    assert set(before) == set(after)
    for key, obj in before.items():
        assert _comparable(after[key]) == _comparable(obj), str(key)


def _applied(objects: Objects, manager: str) -> dict[ObjectKey, str]:
    """Returns what a manager owns by server-side apply, with the names of owners in place of their UIDs."""
    names = {obj.uid: f"{key.kind} {key.name}" for key, obj in objects.items()}
    return {
        key: re.sub(_UID, lambda found: names[found[0]], orjson.dumps(entry["fieldsV1"]).decode())
        for key, obj in objects.items()
        for entry in obj.body()["metadata"].get("managedFields") or ()
        if (entry["manager"], entry["operation"]) == (manager, "Apply")
    }


def _refused(counts: Iterable[AdmissionCount]) -> dict[tuple[str, str], int]:
    return {(count.webhook, count.operation): count.refused for count in counts if count.refused}


def _asked(counts: Iterable[AdmissionCount]) -> dict[tuple[str, str], int]:
    return {(count.webhook, count.operation): count.asked for count in counts}


def _reporting(keys: Collection[ObjectKey]) -> set[ObjectKey]:
    return {key for key in keys if _group_kind(key) in REPORTING}


def _group_kind(key: ObjectKey) -> GroupKind:
    return key.group, key.kind


@pytest.mark.parametrize("copy_ahead", [False, True], ids=["plain", "copied-ahead"])
async def test_nothing_is_rolled_out_created_or_deleted_by_the_real_controllers(
    bed: Bed, namespace: str, copy_ahead: bool
) -> None:
    before = await _settled_fleet(bed, namespace)
    source, target = _sides(bed)
    refused, asked = await asyncio.gather(*(_counts(side) for side in (source, target)))
    async with _watched(bed, namespace) as (on_source, on_target):
        await _witnessed_move(source, target, namespace, copy_ahead=copy_ahead)
        after = await _settled(target.client, namespace)
    _assert_same(before, after)
    assert on_target.seen == set(before)
    confirmed = {key for key in _reporting(before) if _is_confirmed(on_source.last[key])}
    assert confirmed == _reporting(before)
    refused_after, asked_after = await asyncio.gather(*(_counts(side) for side in (source, target)))
    assert (_refused(refused_after), _refused(asked_after)) == (_refused(refused), _refused(asked))
    created = {name for name, count in _asked(asked_after).items() if count > _asked(asked).get(name, 0)}
    for kind in (
        "cluster.cluster",
        "machine.cluster",
        "machineset.cluster",
        "kubeadmcontrolplane.controlplane.cluster",
    ):
        assert (f"validation.{kind}.x-k8s.io", "CREATE") in created


async def _counts(side: Side) -> tuple[AdmissionCount, ...]:
    return await admission_counts(side.client)


def _is_confirmed(body: Body) -> bool:
    paused = _conditions(body).get("Paused") or {}
    return (paused.get("status"), paused.get("observedGeneration")) == ("True", body["metadata"]["generation"])


async def test_the_topology_controller_owns_what_it_owned_and_rotates_no_template(bed: Bed, namespace: str) -> None:
    before = await _settled_fleet(bed, namespace, topology=True)
    source, target = _sides(bed)
    async with _watched(bed, namespace) as (_, on_target):
        await _witnessed_move(source, target, namespace)
        after = await _settled(target.client, namespace)
    _assert_same(before, after)
    assert on_target.seen == set(before), "a template was made anew"
    assert _applied(before, "capi-topology")
    for manager in ("capi-topology", "capi-machinedeployment", "capi-machineset", "capi-kubeadmcontrolplane"):
        assert _applied(after, manager) == _applied(before, manager)


async def test_a_move_back_at_once_waits_until_the_controllers_have_seen_the_end_of_the_first_pause(
    bed: Bed, namespace: str
) -> None:
    before = await _settled_fleet(bed, namespace)
    source, target = _sides(bed)
    async with _watched(bed, namespace) as (_, on_target):
        await _witnessed_move(source, target, namespace)
        await _witnessed_move(target, source, namespace, copy_ahead=True)
        after = await _settled(source.client, namespace)
    _assert_same(before, after)
    # The restored True was taken for no confirmation: each controller has said False in between.
    reported = {key: on_target.pauses[key][-2:] for key in _reporting(before)}
    assert set(map(tuple, reported.values())) == {("False", "True")}, reported


async def test_a_target_whose_webhooks_are_down_gets_nothing_and_says_why(bed: Bed, namespace: str) -> None:
    before = await _settled_fleet(bed, namespace)
    source, target = _sides(bed)

    def stop(event: Event) -> None:
        if event == PhaseStarted(Phase.CREATING, getattr(event, "total", 0)):
            bed.beside_target.stop()

    try:
        with pytest.raises(RolledBackError, match=r"failed calling webhook .*connection refused") as caught:
            await move_async(source.ref, target.ref, MoveOptions(namespace=namespace, quiet_s=QUIET_S), stop)
    finally:
        bed.beside_target.start()
    assert "The move was rolled back" in str(caught.value)
    assert not {key for key in await inspect.objects(target.client, namespace) if key.kind != RECORD_KIND}
    _assert_same(before, await _settled(source.client, namespace))
