"""Deployments and DaemonSets: what runs, how to stop it so that it can be started again, and how to start it.

What was running before is remembered on the object itself, so that it outlives this program and can be read with
kubectl. A DaemonSet cannot be scaled: a node selector that no node fulfils is added to it, and what was there stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from graph.resource import Object, ResourceType
from mover.concurrency import all_of
from mover.errors import PauseTimeoutError, StoppedError
from mover.events import Event, Listener, Noted, Waiting
from mover.kube import Cluster
from mover.models import MANAGER
from mover.waiting import Why, wait_until

DEPLOYMENTS: Final = ResourceType("apps", "v1", "Deployment", "deployments", has_status=True)
DAEMON_SETS: Final = ResourceType("apps", "v1", "DaemonSet", "daemonsets", has_status=True)
PODS: Final = ResourceType("", "v1", "Pod", "pods", has_status=True)

REPLICAS_ANNOTATION: Final = "capi-mover.io/replicas"
"""On a Deployment that is stopped: how many replicas it had."""

STOPPED_SELECTOR: Final = "capi-mover.io/stopped"
"""In the node selector of a DaemonSet that is stopped; no node has such a label."""

_COUNT = re.compile(r"[1-9][0-9]{0,2}")
"""So many replicas Ironic or an operator may have had: up to 999."""

_ENDED_PHASES = frozenset({"Succeeded", "Failed"})


class NotReadyError(StoppedError):
    """Objects did not get into the state that a step waits for."""

    def __init__(self, cluster: str, waiting: Sequence[str], timeout_s: float) -> None:
        shown = "; ".join(waiting[:5]) + (f"; and {len(waiting) - 5} more" if len(waiting) > 5 else "")
        super().__init__(
            f"After {timeout_s:g} s on the {cluster} cluster: {shown}",
            "Find out why with: kubectl describe; then run the same command again",
        )
        self.cluster = cluster
        self.waiting = tuple(waiting)
        self.timeout_s = timeout_s


# --- What a body says: pure -----------------------------------------------------------------------


def owned_by_ironic(workload: Object) -> bool:
    """Returns whether the workload belongs to an Ironic resource.

    ironic-standalone-operator sets one replica again on every reconcile (pkg/ironic/ironic.go,
    populateIronicDeployment), and its Ironic has no field to stop it: the operator has to be stopped first.
    """
    return any(owner.kind == "Ironic" and owner.group == "ironic.metal3.io" for owner in workload.owners)


def remembered(deployment: Object) -> int | None:
    """Returns how many replicas a stopped Deployment had, None if that is not known."""
    text = deployment.annotations.get(REPLICAS_ANNOTATION, "")
    return int(text) if _COUNT.fullmatch(text) else None


def stop_patch(workload: Object) -> dict[str, Any] | None:
    """Returns the merge patch that stops a workload and remembers how it ran; None if it is stopped already."""
    if workload.type == DAEMON_SETS:
        return None if STOPPED_SELECTOR in _node_selector(workload) else _selector_patch("true")
    replicas = _replicas(workload)
    if not replicas:
        return None
    return {"metadata": {"annotations": {REPLICAS_ANNOTATION: str(replicas)}}, "spec": {"replicas": 0}}


def start_patch(workload: Object) -> dict[str, Any] | None:
    """Returns the merge patch that lets a workload run as it did before a pivot stopped it; None if none has.

    One that somebody has started by hand meanwhile keeps its replicas and loses the memory.
    """
    if workload.type == DAEMON_SETS:
        return _selector_patch(None) if STOPPED_SELECTOR in _node_selector(workload) else None
    before = remembered(workload)
    if before is None:
        return None
    forget = {"metadata": {"annotations": {REPLICAS_ANNOTATION: None}}}
    return forget if _replicas(workload) else {**forget, "spec": {"replicas": before}}


def why_running(workload: Object) -> str | None:
    """Returns why a workload that was told to stop has not stopped yet, None if it has."""
    status = workload.body().get("status") or {}
    if not _is_observed(workload):
        return "its controller has not seen yet that it is to stop"
    if workload.type == DAEMON_SETS:
        counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberMisscheduled")
        left = max(int(status.get(name) or 0) for name in counts)
    else:
        left = int(status.get("replicas") or 0)
    return f"{left} of its pods are left" if left else None


def why_unavailable(workload: Object) -> str | None:
    """Returns why a workload does not do its work, None if all its replicas are available."""
    status = workload.body().get("status") or {}
    if workload.type == DAEMON_SETS:
        wanted, there = status.get("desiredNumberScheduled") or 0, status.get("numberAvailable") or 0
        updated = status.get("updatedNumberScheduled") or 0
    else:
        wanted, there = _replicas(workload), status.get("availableReplicas") or 0
        updated = status.get("updatedReplicas", there) or 0
        if not wanted:
            return "it is scaled to 0" + _unreadable(workload)
    if not _is_observed(workload):
        return "its controller has not seen its newest state yet"
    if not wanted:
        return "no node is chosen for it"
    return None if min(there, updated) >= wanted else f"{there} of {wanted} replicas are available"


def pods_of(workload: Object, pods: Iterable[Object]) -> list[Object]:
    """Returns the pods of a workload that have not ended, the terminating ones too.

    A Deployment does not count terminating pods, but Ironic still serves DHCP from one. A workload without
    `matchLabels` has no pods that could be told.
    """
    selector = (workload.body()["spec"].get("selector") or {}).get("matchLabels") or {}
    return [pod for pod in pods if selector and _has(pod, selector) and why_alive(pod)]


def why_alive(pod: Object) -> str | None:
    """Returns why a pod is waited for, None if its containers have ended."""
    phase = (pod.body().get("status") or {}).get("phase")
    if phase in _ENDED_PHASES:
        return None
    return "it is terminating" if pod.deleting else "it is running"


def shown(workload: Object) -> str:
    """Returns how a workload runs, for a line of a report."""
    if workload.type == DAEMON_SETS:
        return "a DaemonSet, by its node selector"
    return f"{_replicas(workload) or remembered(workload) or 0} replica(s)"


def _replicas(deployment: Object) -> int:
    wanted = deployment.body()["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def _unreadable(deployment: Object) -> str:
    if REPLICAS_ANNOTATION not in deployment.annotations:
        return ", and not by a pivot"
    text = deployment.annotations[REPLICAS_ANNOTATION]
    return "" if remembered(deployment) else f', and its annotation {REPLICAS_ANNOTATION} is no count: "{text}"'


def _node_selector(workload: Object) -> Mapping[str, str]:
    template = workload.body()["spec"].get("template") or {}
    return (template.get("spec") or {}).get("nodeSelector") or {}


def _selector_patch(value: str | None) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"nodeSelector": {STOPPED_SELECTOR: value}}}}}


def _is_observed(workload: Object) -> bool:
    body = workload.body()
    observed = (body.get("status") or {}).get("observedGeneration") or 0
    return int(observed) >= int(body["metadata"].get("generation") or 0)


def _has(pod: Object, labels: Mapping[str, str]) -> bool:
    return all(pod.labels.get(name) == value for name, value in labels.items())


# --- On a cluster ---------------------------------------------------------------------------------


async def workloads_in(cluster: Cluster, namespaces: Collection[str]) -> list[Object]:
    """Returns all Deployments and DaemonSets of some namespaces, sorted by key."""
    spaces = [(kind, space) for kind in (DEPLOYMENTS, DAEMON_SETS) for space in sorted(namespaces)]
    pages = await all_of(cluster.list(*space) for space in spaces)
    return sorted((obj for page in pages for obj in page.objects), key=lambda obj: obj.key)


async def pods_left(cluster: Cluster, workload: Object) -> list[Object]:
    """Returns the pods of a workload that have not ended."""
    return pods_of(workload, (await cluster.list(PODS, workload.key.namespace)).objects)


async def stop(cluster: Cluster, workload: Object, timeout_s: float, listener: Listener) -> None:
    """Stops a workload and returns when none of its pods is left.

    Raises:
        NotReadyError: Some are left when the time is over.
    """
    patch = stop_patch(workload)
    if patch is not None:
        await cluster.merge_patch(workload.type, workload.key, patch, manager=MANAGER)
    await wait_for(cluster, [workload], why_running, timeout_s, listener)
    await wait_for(cluster, await pods_left(cluster, workload), why_alive, timeout_s, listener)


async def start(cluster: Cluster, workload: Object) -> None:
    """Lets a workload run as it did before a pivot stopped it; does not wait."""
    patch = start_patch(workload)
    if patch is not None:
        await cluster.merge_patch(workload.type, workload.key, patch, manager=MANAGER)


async def wait_for(cluster: Cluster, objects: Sequence[Object], why: Why, timeout_s: float, listener: Listener) -> None:
    """Returns when `why` has no reason left for any of the objects; see `wait_until`.

    Raises:
        NotReadyError: Time is over.
    """
    try:
        await wait_until(cluster, objects, why, timeout_s, _waits_noted(listener))
    except PauseTimeoutError as error:
        raise NotReadyError(cluster.name, error.waiting, timeout_s) from error


def _waits_noted(listener: Listener) -> Listener:
    """Returns a listener that takes waits for notes: they belong to no phase of a move."""

    def listen(event: Event) -> None:
        if not isinstance(event, Waiting):
            listener(event)
        elif event.subjects:
            more = len(event.subjects) - 1
            listener(Noted(f"waiting for {event.subjects[0]}" + (f" (and {more} more)" if more else "")))

    return listen
