"""What the users of the kubeconfigs may do: exactly what the move will ask for, and no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graph.resource import ResourceType
from mover.concurrency import all_of, both
from mover.discovery import NAMESPACES, credential_namespaces
from mover.errors import NotFoundError, Problem
from mover.kube import Cluster
from mover.models import MoveOptions
from mover.permissions import Permission, Side, followed, needed, providing
from mover.planning import Plan

_ACCESS = "SelfSubjectAccessReview"
_RULES = "SelfSubjectRulesReview"


async def check_access(
    source: Cluster,
    target: Cluster,
    plan: Plan,
    options: MoveOptions,
    *,
    creates_namespace: bool,
) -> list[Problem]:
    """The users may do all that the move will ask of both clusters, a rollback included."""
    inventory = plan.inventory
    to_namespace = options.to_namespace
    goal = inventory.namespace if to_namespace is None else to_namespace
    types = _types_by_namespace(plan)
    asked = needed(
        inventory.types,
        inventory.namespace,
        moving=types.get(goal, ()) if goal else sorted({obj.type for obj in plan.selection.selected}),
        to_namespace=to_namespace,
        credential_namespaces=credential_namespaces(inventory.providers) if inventory.namespace else (),
        creates_namespace=creates_namespace,
        records=source.records_namespace,
    )
    if options.rolling:
        asked = (*asked, *followed(types.get(goal, ()), goal))
    # ClusterClasses of other namespaces are copied there.
    others = {space: found for space, found in types.items() if goal and space != goal}
    ours = [permission for permission in asked if permission.side == "source"]
    theirs = [permission for permission in asked if permission.side == "target"]
    missing = await both(_providing(source, "source"), _providing(target, "target"))
    theirs += _elsewhere(others)
    refused = await both(denied(source, [*ours, *missing[0]]), denied(target, [*theirs, *missing[1]]))
    return [problem for found in refused for problem in _problems(found, inventory.namespace)]


async def _providing(cluster: Cluster, side: Side) -> tuple[Permission, ...]:
    """Returns what is asked of a cluster that has no namespace for records yet."""
    try:
        await cluster.get(NAMESPACES, "", cluster.records_namespace)
    except NotFoundError:
        return providing(side)
    return ()


def _types_by_namespace(plan: Plan) -> dict[str, list[ResourceType]]:
    """Returns the types of the copies by the namespace that they go to; cluster-scoped ones are among those of each."""
    types: defaultdict[str, set[ResourceType]] = defaultdict(set)
    for image in plan.images():
        types[image.key.namespace].add(image.type)
    scoped = types.pop("", set())
    return {space: sorted(found | scoped) for space, found in sorted(types.items())}


def _elsewhere(types: Mapping[str, Sequence[ResourceType]]) -> list[Permission]:
    """Returns what is asked of the target in other namespaces than the one that is moved."""
    asked = (
        permission
        for space, moving in types.items()
        for permission in needed((), space, moving=moving, creates_namespace=False)
    )
    return [permission for permission in asked if permission.side == "target" and permission.namespace in types]


async def denied(cluster: Cluster, asked: Sequence[Permission]) -> list[Permission]:
    """Returns what of `asked` the user of a cluster may not do, in the same order.

    An administrator is told by one request. The rules of a namespace answer for most of the rest; what they do not
    say, and what is asked for outside of namespaces, is asked one by one.
    """
    everything = {"verb": "*", "group": "*", "resource": "*"}
    if (await cluster.review(_ACCESS, {"resourceAttributes": everything})).get("allowed"):
        return []
    spaces = sorted({permission.namespace for permission in asked} - {""})
    reviews = await all_of(cluster.review(_RULES, {"namespace": space}) for space in spaces)
    rules = {space: review.get("resourceRules") or () for space, review in zip(spaces, reviews, strict=True)}
    open_ones = [one for one in asked if not _is_granted(one, rules.get(one.namespace, ()))]
    allowed = await all_of(_is_allowed(cluster, one) for one in open_ones)
    return [one for one, is_allowed in zip(open_ones, allowed, strict=True) if not is_allowed]


def _is_granted(asked: Permission, rules: Iterable[Mapping[str, Any]]) -> bool:
    """Returns whether the rules of its namespace grant a permission; one by name grants only that object."""
    return any(
        not rule.get("resourceNames")
        and {"*", asked.verb} & set(rule.get("verbs") or ())
        and {"*", asked.group} & set(rule.get("apiGroups") or ())
        and {"*", asked.resource, f"*/{asked.resource.partition('/')[2] or '-'}"} & set(rule.get("resources") or ())
        for rule in rules
    )


async def _is_allowed(cluster: Cluster, asked: Permission) -> bool:
    resource, _, subresource = asked.resource.partition("/")
    attributes = {"verb": asked.verb, "group": asked.group, "resource": resource, "namespace": asked.namespace}
    if subresource:
        attributes["subresource"] = subresource
    return bool((await cluster.review(_ACCESS, {"resourceAttributes": attributes})).get("allowed"))


def _problems(refused: Iterable[Permission], namespace: str) -> list[Problem]:
    """Returns one problem for each resource, with all verbs that are missing."""
    verbs: defaultdict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for one in refused:
        name = f"{one.resource}.{one.group}" if one.group else one.resource
        verbs[one.side, one.namespace, name, ""].append(one.verb)
    flag = f" -n {namespace}" if namespace else ""
    return [
        Problem(
            "permissions",
            side,
            f"{name} in {f'the namespace {space}' if space else 'the whole cluster'}",
            f"the user of the {side} may not {', '.join(missing)} these",
            f"Grant it: capi-mover rbac --side {side}{flag} --user NAME | kubectl apply -f -",
        )
        for (side, space, name, _), missing in sorted(verbs.items())
    ]
