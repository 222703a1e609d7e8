"""A double of the controllers' answer to a pause: the condition Paused, and nothing else.

The rule is CAPI's (util/paused/paused.go, EnsurePausedCondition): an object is paused if its Cluster's
`spec.paused` is true or if it has the annotation `cluster.x-k8s.io/paused` itself. ClusterClasses and
ClusterResourceSets know the annotation only. Metal3Machines report it without observedGeneration;
Metal3Clusters are left alone, as they are not reconciled on a pause.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from graph.resource import ResourceType
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.crds import CRDS_PATH
from tests.testbed.witness import (
    CLUSTER,
    CLUSTER_CLASS,
    CLUSTER_PAUSE,
    RELISTED,
    Body,
    Stream,
    collection_path,
    read,
    type_of,
)

CLUSTER_NAME_LABEL = "cluster.x-k8s.io/cluster-name"
FIELD_MANAGER = "manager"
METAL3_MACHINE = ("infrastructure.cluster.x-k8s.io", "Metal3Machine")
WATCHED = frozenset({CLUSTER, CLUSTER_CLASS, ("addons.cluster.x-k8s.io", "ClusterResourceSet")})
DEPENDENTS = frozenset(
    {
        *(("cluster.x-k8s.io", kind) for kind in ("Machine", "MachineSet", "MachineDeployment")),
        *(("cluster.x-k8s.io", kind) for kind in ("MachinePool", "MachineHealthCheck")),
        ("controlplane.cluster.x-k8s.io", "KubeadmControlPlane"),
        ("bootstrap.cluster.x-k8s.io", "KubeadmConfig"),
        METAL3_MACHINE,
    }
)


class PauseReporter:
    """Reports pauses in one cluster from `async with` to its end; what went wrong is raised at the end.

    It acts when a Cluster, ClusterClass or ClusterResourceSet appears, changes its pause or its generation;
    it writes only conditions that differ. It knows the types that are installed when it starts.

    Args:
        client: A client of the cluster.
        latency_s: How long it waits before it reacts, in seconds.
        kinds: What it reports for; the rest has controllers of its own.

    Example:
        >>> async with PauseReporter(client, latency_s=0.2):
        ...     await move()
    """

    def __init__(
        self,
        client: AdminClient,
        *,
        latency_s: float = 0.0,
        kinds: Collection[tuple[str, str]] = WATCHED | DEPENDENTS,
    ) -> None:
        self._client = client
        self._kinds = kinds
        self._latency_s = latency_s
        self._dependents: tuple[ResourceType, ...] = ()
        self._noticed: dict[str, tuple[object, ...]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        crds = (await self._client.list(CRDS_PATH))["items"]
        types = sorted(type_of(crd) for crd in crds)
        self._dependents = tuple(t for t in types if t.group_kind in DEPENDENTS and t.group_kind in self._kinds)
        self._task = asyncio.create_task(self._run([t for t in types if t.group_kind in WATCHED]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _run(self, types: Iterable[ResourceType]) -> None:
        async with self._group:
            for resource_type in types:
                self._group.create_task(_list_and_watch(Stream(self._client, resource_type, self._notice)))

    def _notice(self, stream: Stream, event_type: str, body: Body) -> None:
        if event_type == RELISTED:
            for item in body["items"]:
                self._notice(stream, "MODIFIED", item)
            return
        uid = body["metadata"]["uid"]
        now = (_spec_paused(body), _has_pause(body), body["metadata"].get("generation"))
        if event_type != "DELETED" and self._noticed.get(uid) != now:
            self._noticed[uid] = now
            self._group.create_task(self._react(stream.type, uid, object_path(stream.type, body)))

    async def _react(self, resource_type: ResourceType, uid: str, path: str) -> None:
        """Reports the state of now, which may be a later one than that which was noticed."""
        await asyncio.sleep(self._latency_s)
        async with self._locks[uid]:
            body = await read(self._client, path)
            if body is None:
                return
            by_cluster = _spec_paused(body)
            if resource_type.group_kind in self._kinds:
                await self._report(resource_type, body, by_cluster=by_cluster)
            if resource_type.group_kind == CLUSTER:
                reports = (self._report_dependents(t, body, by_cluster=by_cluster) for t in self._dependents)
                await asyncio.gather(*reports)

    async def _report_dependents(self, resource_type: ResourceType, cluster: Body, *, by_cluster: bool) -> None:
        metadata = cluster["metadata"]
        path = collection_path(resource_type, metadata["namespace"])
        answer = await self._client.list(path, labelSelector=f"{CLUSTER_NAME_LABEL}={metadata['name']}")
        for body in answer["items"]:
            await self._report(resource_type, body, by_cluster=by_cluster)

    async def _report(self, resource_type: ResourceType, body: Body, *, by_cluster: bool) -> None:
        """Writes the condition if it differs; an object that is gone has moved away."""
        path = object_path(resource_type, body)
        current: Body | None = body
        while current is not None:
            conditions = with_paused(current, by_cluster=by_cluster)
            if conditions is None or await self._write(path, current, conditions):
                return
            current = await read(self._client, path)

    async def _write(self, path: str, body: Body, conditions: list[Any]) -> bool:
        """Returns False if the object is no longer the one that was read."""
        version = {"resourceVersion": body["metadata"]["resourceVersion"]}
        patch = {"metadata": version, "status": {"conditions": conditions}}
        try:
            await self._client.patch_merge(path, patch, manager=FIELD_MANAGER, subresource="status")
        except AdminError as error:
            if error.status not in {404, 409}:
                raise
            return False
        return True


def object_path(resource_type: ResourceType, body: Body) -> str:
    """Returns the path of an object of the type."""
    metadata = body["metadata"]
    return f"{collection_path(resource_type, metadata.get('namespace') or '')}/{metadata['name']}"


def with_paused(body: Body, *, by_cluster: bool) -> list[Any] | None:
    """Returns the object's conditions with Paused as it must be, or None if it is so already.

    Args:
        body: The whole object.
        by_cluster: Whether `spec.paused` of its Cluster, or its own if it is a Cluster, is true.
    """
    old = (body.get("status") or {}).get("conditions") or []
    before = next((condition for condition in old if condition["type"] == "Paused"), None)
    wanted = _condition(body, by_cluster=by_cluster)
    if before is not None and before["status"] == wanted["status"]:
        wanted["lastTransitionTime"] = before["lastTransitionTime"]
    if before == wanted:
        return None
    return [wanted if condition is before else condition for condition in old] + [wanted] * (before is None)


def _condition(body: Body, *, by_cluster: bool) -> dict[str, Any]:
    reasons = ["Cluster spec.paused is set to true"] if by_cluster else []
    if _has_pause(body):
        reasons.append(f"{body['kind']} has the {CLUSTER_PAUSE} annotation")
    condition = {
        "type": "Paused",
        "status": "True" if reasons else "False",
        "reason": "Paused" if reasons else "NotPaused",
        "message": ", ".join(reasons),
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return condition if _is_metal3_machine(body) else {**condition, **_observed(body)}


def _observed(body: Body) -> Mapping[str, int]:
    return {"observedGeneration": body["metadata"]["generation"]}


def _is_metal3_machine(body: Body) -> bool:
    return (body["apiVersion"].rpartition("/")[0], body["kind"]) == METAL3_MACHINE


def _spec_paused(body: Body) -> bool:
    return body["kind"] == "Cluster" and bool((body.get("spec") or {}).get("paused"))


def _has_pause(body: Body) -> bool:
    return CLUSTER_PAUSE in (body["metadata"].get("annotations") or {})


async def _list_and_watch(stream: Stream) -> None:
    await stream.start()
    await stream.follow()
