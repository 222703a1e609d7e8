"""Whether every copy equals its source: both sides are read again and compared field by field.

Runs before the commit point. Reads lists only; a move of ten thousand objects is verified in some dozens of calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType
from mover.allocations import compare_allocations, is_allocation
from mover.choices import RestoreStatus
from mover.concurrency import all_of
from mover.differences import differences, names_of, normalised, uids_in
from mover.errors import Difference, NotFoundError
from mover.kube import Cluster
from mover.models import MANAGER
from mover.planning import Plan

_LISTS_AT_ONCE = 4
"""How many lists of copies are held at once: of a large fleet all of them would be a third of the memory."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What changed on the source since the snapshot.

    Attributes:
        changed: Selected objects that are at another resourceVersion now, as they are now.
        appeared: Selected types' objects that were not there.
        vanished: Selected objects that are gone.
    """

    changed: tuple[Object, ...] = ()
    appeared: tuple[Object, ...] = ()
    vanished: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """Which copies a move has made.

    Attributes:
        created: UIDs on the source of the objects whose copies the move made; what was there before is not in it.
        new_uids: UID on the source -> UID on the target, of copies and of owners found there.
        adopted: UIDs on the source of objects that the target had: others there may own them, too.
    """

    created: frozenset[str]
    new_uids: Mapping[str, str]
    adopted: frozenset[str] = frozenset()


async def compare_copies(
    target: Cluster, plan: Plan, made: Made, restore_status: RestoreStatus
) -> dict[str, list[Difference]]:
    """Returns the differences between the snapshot and the copies on the target, by UID on the source.

    Args:
        target: The target cluster.
        plan: The plan with the snapshot that was copied.
        made: The copies; only those that the move created are compared.
        restore_status: Whose status must be equal, too.
    """
    comparison = _Comparison(plan, made, restore_status)

    few = asyncio.Semaphore(_LISTS_AT_ONCE)

    async def compare_space(resource: ResourceType, namespace: str) -> None:
        async with few:
            for copy in await _read(target, resource, namespace, metadata_only=False):
                comparison.take(copy)

    await all_of(compare_space(*space) for space in _spaces(comparison.images))
    return comparison.result()


class _Comparison:
    """Compares copies as they are read, so that no more of them are held than have to be."""

    def __init__(self, plan: Plan, made: Made, restore_status: RestoreStatus) -> None:
        self.images = tuple(plan.image(obj) for obj in plan.selection.selected)
        self._wanted = {image.key: image for image in self.images if image.uid in made.created}
        self._made = made
        self._restore_status = restore_status
        graph = plan.selection.graph
        outside = {uid: owner.key for uid, owner in graph.virtual.items()}
        self._source_names = {**names_of((*graph.objects.values(), *self.images)), **outside}
        self._owners = {new: self._source_names[old] for old, new in made.new_uids.items() if old in self._source_names}
        self._target_names = dict(self._owners)
        self._there: set[ObjectKey] = set()
        self._allocations: list[Object] = []
        self._unsure: list[Object] = []
        self._found: dict[str, list[Difference]] = {}

    def take(self, copy: Object) -> None:
        """Compares a copy; later, if it names objects of the target that others have made and that are not yet read."""
        self._target_names[copy.uid] = copy.key
        if is_allocation(copy):
            self._allocations.append(copy)
        if copy.key not in self._wanted:
            return
        self._there.add(copy.key)
        if uids_in(copy) <= self._owners.keys():
            self._compare(copy)
        else:
            self._unsure.append(copy)

    def result(self) -> dict[str, list[Difference]]:
        """Returns what was found when all copies were taken, in the order of the keys."""
        for copy in self._unsure:
            self._compare(copy)
        for key in self._wanted.keys() - self._there:
            self._found[self._wanted[key].uid] = [Difference(str(key), "", "there", "")]
        for uid, difference in compare_allocations(self._wanted.values(), self._allocations).items():
            self._found.setdefault(uid, []).append(difference)
        in_order = (self._wanted[key].uid for key in sorted(self._wanted))
        return {uid: self._found[uid] for uid in in_order if uid in self._found}

    def _compare(self, copy: Object) -> None:
        obj = self._wanted[copy.key]
        want, have = normalised(obj, self._source_names), normalised(copy, self._target_names)
        _leave_status_out(obj, want, have, self._restore_status)
        if obj.uid in self._made.adopted:
            owners = want["metadata"]["owners"]
            have["metadata"]["owners"] = [owner for owner in have["metadata"]["owners"] if owner in owners]
        for side in (want, have):
            side["metadata"]["managers"] = _without_ours(side["metadata"]["managers"])
        if not want["metadata"]["managers"]:
            # Somebody has cleared the original's managers; a server does not let a copy be without.
            have["metadata"]["managers"] = {}
        if different := differences(obj.key, want, have):
            self._found[obj.uid] = different


def _without_ours(managers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the field managers without this program: what it owns are the pauses, which end with the move."""
    return {name: fields for name, fields in managers.items() if not name.startswith(f"{MANAGER} ")}


def _without_status(managers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the field managers without those of the status: a live controller writes the status it finds missing."""
    return {name: fields for name, fields in managers.items() if not name.endswith(" status")}


def _leave_status_out(obj: Object, want: dict[str, Any], have: dict[str, Any], restore_status: RestoreStatus) -> None:
    """Takes out of both sides what is not to be compared of their status: what was not restored, or is news."""
    if not status_is_restored(obj, restore_status):
        for side in (want, have):
            side.pop("status", None)
            side["metadata"]["managers"] = _without_status(side["metadata"]["managers"])
    elif obj.type.group_kind == rules.CLUSTER and _tells_of_pause(have.get("status") or {}):
        for side in (want, have):
            side["status"] = _without_topology(side.get("status") or {})
            side["metadata"]["managers"] = _without_status(side["metadata"]["managers"])


_TOPOLOGY = "TopologyReconciled"


def _tells_of_pause(status: Mapping[str, Any]) -> bool:
    """Returns whether the target's topology controller has noted on a copy that it is paused.

    It does so as soon as it sees a paused Cluster with a topology (cluster-api topology/cluster, conditions.go), and
    takes it back once the Cluster is resumed.
    """
    found = (entry for entries in _conditions(status) for entry in entries)
    return any((entry.get("type"), entry.get("reason")) == (_TOPOLOGY, "Paused") for entry in found)


def _conditions(status: Mapping[str, Any]) -> list[Sequence[Mapping[str, Any]]]:
    """Returns the conditions of a status, in each version of the contract that it has them in."""
    older = (status.get("deprecated") or {}).get("v1beta1") or {}
    return [holder.get("conditions") or () for holder in (status, status.get("v1beta2") or {}, older)]


def _without_topology(status: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the status without what the topology controller says, wherever it says it."""
    return {
        name: [_without_topology(entry) for entry in value if entry.get("type") != _TOPOLOGY]
        if name == "conditions"
        else _without_topology(value)
        if isinstance(value, Mapping)
        else value
        for name, value in status.items()
    }


def status_is_restored(obj: Object, restore_status: RestoreStatus) -> bool:
    """Returns whether the object's status is written to its copy.

    A type without the status subresource takes its status along in the body.
    """
    if not obj.type.has_status or restore_status is RestoreStatus.ALL:
        return True
    return restore_status is RestoreStatus.METAL3 and obj.type.group_kind in rules.METAL3_KINDS


async def source_drift(source: Cluster, plan: Plan) -> Drift:
    """Returns what changed on the source since the plan's snapshot; reads metadata only."""
    selected = {obj.uid: obj for obj in plan.selection.selected}
    belongs = _belongs_to_whole if plan.rules.clusters is None else _belongs_to_clusters
    known = plan.selection.graph.objects
    now = {obj.uid: obj for obj in await read_objects(source, plan.selection.selected, metadata_only=True)}
    changed = [
        now[uid] for uid, obj in selected.items() if uid in now and now[uid].resource_version != obj.resource_version
    ]
    appeared = [obj for uid, obj in now.items() if uid not in known and belongs(obj, plan)]
    vanished = [obj for uid, obj in selected.items() if uid not in now]
    return Drift(_sorted(changed), _sorted(appeared), _sorted(vanished))


def _belongs_to_whole(obj: Object, plan: Plan) -> bool:
    """Returns whether an object that is new since the snapshot would be part of the move of its namespace.

    It is if its type or its own labels say so, or if one of its owners moves; a Secret of somebody else is not.
    """
    if obj.type.move or rules.MOVE_LABEL in obj.labels or rules.MOVE_HIERARCHY_LABEL in obj.labels:
        return True
    return any(plan.selection.is_selected(owner.uid) for owner in obj.owners)


def _belongs_to_clusters(obj: Object, plan: Plan) -> bool:
    """Returns the same for a move of single Clusters: those that stay are at work, and make objects all the time."""
    name = obj.labels.get(rules.CLUSTER_NAME_LABEL, "")
    if ObjectKey(*rules.CLUSTER, obj.key.namespace, name) in (plan.rules.clusters or ()):
        return True
    return any(plan.moves(owner.uid) for owner in obj.owners)


async def read_objects(cluster: Cluster, like: Sequence[Object], *, metadata_only: bool = False) -> tuple[Object, ...]:
    """Returns all objects of the types and namespaces of `like`, as they are on `cluster` now, sorted by key."""
    lists = await all_of(_read(cluster, *space, metadata_only=metadata_only) for space in _spaces(like))
    return _sorted(obj for found in lists for obj in found)


def _spaces(like: Sequence[Object]) -> list[tuple[ResourceType, str]]:
    return sorted({(obj.type, obj.key.namespace) for obj in like})


async def _read(cluster: Cluster, resource: ResourceType, namespace: str, *, metadata_only: bool) -> tuple[Object, ...]:
    read = cluster.list_metadata if metadata_only else cluster.list
    try:
        return (await read(resource, namespace)).objects
    except NotFoundError:
        return ()


def _sorted(objects: Iterable[Object]) -> tuple[Object, ...]:
    return tuple(sorted(objects, key=lambda obj: obj.key))
