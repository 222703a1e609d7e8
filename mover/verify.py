"""Whether every copy equals its source: both sides are read again and compared field by field.

Runs before the commit point. Reads lists only; a move of ten thousand objects is verified in some dozens of calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType
from mover.allocations import compare_allocations
from mover.choices import RestoreStatus
from mover.concurrency import all_of
from mover.diff import differences, names_of, normalised
from mover.errors import Difference, NotFoundError
from mover.kube import Cluster
from mover.plan import Plan


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
    images = {obj.uid: plan.image(obj) for obj in plan.selection.selected}
    copies = await read_objects(target, tuple(images.values()))
    by_key = {obj.key: obj for obj in copies}
    graph = plan.selection.graph
    outside = {uid: owner.key for uid, owner in graph.virtual.items()}
    source_names = {**names_of((*graph.objects.values(), *images.values())), **outside}
    owners = {new: source_names[old] for old, new in made.new_uids.items() if old in source_names}
    target_names = {**owners, **names_of(copies)}
    found: dict[str, list[Difference]] = {}
    for obj in sorted((images[uid] for uid in made.created), key=lambda obj: obj.key):
        copy = by_key.get(obj.key)
        if copy is None:
            found[obj.uid] = [Difference(str(obj.key), "", "there", "")]
            continue
        want, have = normalised(obj, source_names), normalised(copy, target_names)
        _leave_status_out(obj, want, have, restore_status)
        if obj.uid in made.adopted:
            owners = want["metadata"]["owners"]
            have["metadata"]["owners"] = [owner for owner in have["metadata"]["owners"] if owner in owners]
        if not want["metadata"]["managers"]:
            # Somebody has cleared the original's managers; a server does not let a copy be without.
            have["metadata"]["managers"] = {}
        if different := differences(obj.key, want, have):
            found[obj.uid] = different
    for uid, difference in compare_allocations((images[uid] for uid in made.created), copies).items():
        found.setdefault(uid, []).append(difference)
    return found


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
    spaces = sorted({(obj.type, obj.key.namespace) for obj in like})
    lists = await all_of(_read(cluster, *space, metadata_only=metadata_only) for space in spaces)
    return _sorted(obj for found in lists for obj in found)


async def _read(cluster: Cluster, resource: ResourceType, namespace: str, *, metadata_only: bool) -> tuple[Object, ...]:
    read = cluster.list_metadata if metadata_only else cluster.list
    try:
        return (await read(resource, namespace)).objects
    except NotFoundError:
        return ()


def _sorted(objects: Iterable[Object]) -> tuple[Object, ...]:
    return tuple(sorted(objects, key=lambda obj: obj.key))
