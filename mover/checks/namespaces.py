"""The namespaces on the target: whether copies can be made in them, and how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from graph.resource import Object, ObjectKey, ResourceType
from mover.concurrency import all_of
from mover.discovery import NAMESPACES
from mover.errors import NotFoundError, Problem
from mover.kube import Cluster
from mover.planning import Plan


async def read_namespaces(target: Cluster, plan: Plan) -> dict[str, Object | None]:
    """Returns the namespaces on the target that copies go to, by name; None for one that is not there."""
    names = sorted({image.key.namespace for image in plan.images()} - {""})
    found = await all_of(_namespace(target, name) for name in names)
    return dict(zip(names, found, strict=True))


async def _namespace(target: Cluster, name: str) -> Object | None:
    try:
        return await target.get(NAMESPACES, "", name)
    except NotFoundError:
        return None


def check_namespaces(namespaces: Mapping[str, Object | None]) -> list[Problem]:
    """No namespace that copies go to is being deleted."""
    what, remedy = "it is being deleted: nothing can be created in it", "Wait until it is gone, then move again"
    dying = [namespace for namespace in namespaces.values() if namespace is not None and namespace.deleting]
    return [Problem("namespace", "target", str(namespace.key), what, remedy) for namespace in dying]


async def check_quota(
    target: Cluster, plan: Plan, namespaces: Mapping[str, Object | None], there: Iterable[ObjectKey]
) -> list[Problem]:
    """No ResourceQuota of the target is too small for the copies.

    Args:
        target: The target.
        plan: What moves.
        namespaces: The namespaces on the target that copies go to.
        there: Keys of the objects that the target has already.
    """
    known = set(there)
    new = Counter((obj.key.namespace, obj.type) for obj in plan.images() if obj.key not in known)
    spaces = [name for name, namespace in namespaces.items() if namespace is not None]
    lists = await all_of(target.list_names(f"/api/v1/namespaces/{space}/resourcequotas") for space in spaces)
    return [
        problem
        for space, quotas in zip(spaces, lists, strict=True)
        for quota in quotas
        for problem in _exceeded(space, quota, {kind: count for (name, kind), count in new.items() if name == space})
    ]


def _exceeded(space: str, quota: Mapping[str, Any], new: Mapping[ResourceType, int]) -> Iterable[Problem]:
    status = quota.get("status") or {}
    used, hard = status.get("used") or {}, status.get("hard") or {}
    for resource, count in sorted(new.items()):
        for name in _quota_names(resource):
            if name not in hard:
                continue
            room = _number(hard[name]) - _number(used.get(name, "0"))
            if count > room:
                what = f"{count} {resource.plural} are to be created, and it leaves room for {max(0, room)} ({name})"
                subject = f"ResourceQuota {space}/{quota['metadata']['name']}"
                yield Problem("quota", "target", subject, what, "Raise the quota for as long as the move lasts")


def _quota_names(resource: ResourceType) -> tuple[str, ...]:
    """Returns under which names a quota limits how many objects of a type there may be."""
    if not resource.group:
        return (resource.plural, f"count/{resource.plural}")
    return (f"count/{resource.plural}.{resource.group}",)


_SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def _number(quantity: str) -> int:
    """Returns a count that is written as a quantity of Kubernetes, such as "500" or "2k"."""
    for suffix, factor in sorted(_SUFFIXES.items(), reverse=True):
        if quantity.endswith(suffix):
            return int(float(quantity.removesuffix(suffix)) * factor)
    return int(float(quantity))
