"""Checks of what the target has and serves of that which moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph.resource import Object, ObjectKey, OwnerRef, ResourceType
from graph.selection import Fate, Rule
from mover.choices import ExistingPolicy
from mover.concurrency import all_of
from mover.differences import content
from mover.discovery import resolve_type
from mover.errors import NotFoundError, Problem, UsageError
from mover.kube import Cluster
from mover.planning import Plan
from mover.verify import read_objects


@dataclass(frozen=True, slots=True)
class OnTarget:
    """What is on the target of the types that move.

    Attributes:
        objects: The objects in the namespaces that move, without spec and status.
        colliding: Those of them with the key of an object that moves, whole.
        unserved: Types that the target does not serve in the version they would be sent in.
    """

    objects: Mapping[ObjectKey, Object]
    colliding: Mapping[ObjectKey, Object]
    unserved: tuple[ResourceType, ...]


async def read_target(target: Cluster, plan: Plan) -> OnTarget:
    """Returns what the target has already."""
    selected = plan.images()
    spaces = sorted({(obj.type, obj.key.namespace) for obj in selected})
    lists = await all_of(_list_or_none(target, *space) for space in spaces)
    unserved = {space[0] for space, found in zip(spaces, lists, strict=True) if found is None}
    there = {obj.key: obj for found in lists for obj in found or ()}
    common = [obj for obj in selected if obj.key in there]
    whole = {obj.key: obj for obj in await read_objects(target, common)}
    colliding = {obj.key: whole[obj.key] for obj in common if obj.key in whole}
    return OnTarget(there, colliding, tuple(sorted(unserved)))


async def _list_or_none(cluster: Cluster, resource: ResourceType, namespace: str) -> tuple[Object, ...] | None:
    try:
        return (await cluster.list_metadata(resource, namespace)).objects
    except NotFoundError:
        return None


def check_served(plan: Plan, on_target: OnTarget) -> list[Problem]:
    """Every type is served by the target in the version that is sent."""
    counts = dict.fromkeys(on_target.unserved, 0)
    for obj in plan.selection.selected:
        if obj.type in counts:
            counts[obj.type] += 1
    remedy = "Install the provider's CRDs there with: clusterctl init, or: clusterctl upgrade apply"
    what = "{} is not served ({} objects need it)"
    return [
        Problem("served", "target", str(resource), what.format(resource.api_version, count), remedy)
        for resource, count in counts.items()
    ]


@dataclass(frozen=True, slots=True)
class Collisions:
    """What becomes of objects that the target has already.

    Attributes:
        used: UID on the source -> UID on the target of objects that are used as they are.
        overwritten: The same of objects that are overwritten with the source's.
        refused: Objects that stand against the move.
    """

    used: Mapping[str, str]
    overwritten: Mapping[str, str]
    refused: tuple[Object, ...]


def judge_collisions(plan: Plan, on_target: OnTarget, policy: ExistingPolicy) -> Collisions:
    """Returns what becomes of each object that the target has already.

    Cluster-scoped objects and what is below them are used as they are (clusterctl mover.go, createTargetObject).
    So are other copied and kept objects that are equal: an earlier move of another namespace has brought them.
    All others are refused, where clusterctl overwrites them (docs/decisions/0009), unless `policy` says otherwise.
    """
    used: dict[str, str] = {}
    overwritten: dict[str, str] = {}
    refused: list[Object] = []
    for obj in plan.selection.selected:
        image = plan.mutated(obj)
        there = on_target.colliding.get(image.key)
        if there is None:
            continue
        if _is_used(image, there, plan):
            used[obj.uid] = there.uid
        elif policy is ExistingPolicy.OVERWRITE or (_is_adopted(obj, plan, policy) and _is_equal(image, there)):
            overwritten[obj.uid] = there.uid
        else:
            refused.append(obj)
    return Collisions(used, overwritten, tuple(refused))


def _is_used(obj: Object, there: Object, plan: Plan) -> bool:
    decision = plan.selection.decisions[obj.uid]
    if decision.rule in (Rule.CLUSTER_SCOPED, Rule.BELOW_CLUSTER_SCOPED):
        return True
    return decision.fate is Fate.KEEP and _is_equal(obj, there)


def _is_adopted(obj: Object, plan: Plan, policy: ExistingPolicy) -> bool:
    """Returns whether an object that is equal is taken over: on request, or as an earlier unit has brought it."""
    return policy is ExistingPolicy.ADOPT or obj.key in plan.rules.brought


def _is_equal(obj: Object, there: Object) -> bool:
    return content(obj) == content(there)


def check_collisions(collisions: Collisions, policy: ExistingPolicy) -> list[Problem]:
    """Nothing that the target has already would be overwritten."""
    if policy is ExistingPolicy.ADOPT:
        what = "an object of that kind and name is there already, and it is not equal"
        remedy = "See what differs with: capi-mover diff, then delete the wrong one"
    else:
        what = "an object of that kind and name is there already"
        remedy = "Delete it there, or take it over with --adopt if it is equal, or with --overwrite"
    return [Problem("collisions", "target", str(obj.key), what, remedy) for obj in collisions.refused]


async def find_outside_owners(target: Cluster, plan: Plan) -> dict[str, str]:
    """Returns UID on the source -> UID on the target of owners that do not move but are there under their name."""
    outside = {owner.uid: (obj, owner) for obj, owner in plan.selection.outside_owners}
    found = await all_of(_find_owner(target, plan, obj, owner) for obj, owner in outside.values())
    return {uid: there for uid, there in zip(outside, found, strict=True) if there}


async def _find_owner(target: Cluster, plan: Plan, dependent: Object, owner: OwnerRef) -> str | None:
    try:
        resource = await resolve_type(target, plan.inventory.types, owner.api_version, owner.kind)
        namespace = dependent.key.namespace if resource.namespaced else ""
        return (await target.get(resource, namespace, owner.name)).uid
    except (NotFoundError, UsageError):
        return None


def without_owner(plan: Plan, found: Mapping[str, str]) -> tuple[tuple[Object, OwnerRef], ...]:
    """Returns the objects one of whose owners neither moves nor is on the target."""
    return tuple((obj, owner) for obj, owner in plan.selection.outside_owners if owner.uid not in found)


def check_outside_owners(plan: Plan, found: Mapping[str, str]) -> list[Problem]:
    """Every owner of an object that moves will be on the target."""
    what = "its owner {} {} does not move and is not on the target; the garbage collector would delete the copy"
    remedy = "Create the owner on the target first, or leave the object on the source with --leave-behind"
    return [
        Problem("outside-owners", "target", str(obj.key), what.format(owner.kind, owner.name), remedy)
        for obj, owner in without_owner(plan, found)
    ]
