"""What would go wrong: all read-only checks of a move, all problems at once.

Each check answers one question and returns the problems it finds; nothing is written to any cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import semver

from graph import rules
from graph.resource import Object, ObjectKey, OwnerRef, ResourceType
from graph.selection import Fate, Rule
from mover.concurrency import all_of, both
from mover.discovery import NAMESPACES, Provider, list_providers, resolve_type
from mover.errors import NotFoundError, Problem, UsageError
from mover.kube import Cluster
from mover.pause import is_paused
from mover.plan import Plan


@dataclass(frozen=True, slots=True)
class Findings:
    """What the preflight found.

    Attributes:
        problems: What stands against the move, in the order of the checks.
        existing: UID on the source -> UID on the target of what is on the target already and will be used:
            cluster-scoped objects and what they own, and owners outside of the move.
    """

    problems: tuple[Problem, ...]
    existing: Mapping[str, str]


async def check_move(source: Cluster, target: Cluster, plan: Plan) -> Findings:
    """Returns all that stands against moving what `plan` selects from `source` to `target`."""
    identity, providers = await both(_check_identity(source, target), _check_providers(target, plan))
    on_target, owners = await both(_read_target(target, plan), _find_outside_owners(target, plan))
    problems = [
        *identity,
        *providers,
        *check_provisioned(plan),
        *check_not_paused(plan),
        *check_not_deleting(plan),
        *check_left_dependents(plan),
        *_check_served(plan, on_target),
        *_check_collisions(plan, on_target),
        *_check_outside_owners(plan, owners),
    ]
    return Findings(tuple(problems), {**_existing(plan, on_target), **owners})


async def _check_identity(source: Cluster, target: Cluster) -> list[Problem]:
    one, other = await all_of(cluster.get(NAMESPACES, "", "kube-system") for cluster in (source, target))
    if one.uid != other.uid:
        return []
    what = f"source and target are the same cluster ({source.server}, {target.server})"
    return [Problem("identity", "target", "cluster", what, "Choose another target with --to-kubeconfig")]


async def _check_providers(target: Cluster, plan: Plan) -> list[Problem]:
    """Every provider of the source is on the target at the same or a newer version (checkTargetProviders)."""
    there = await list_providers(target)
    return [problem for provider in plan.inventory.providers if (problem := _provider_problem(provider, there))]


def _provider_problem(provider: Provider, there: Iterable[Provider]) -> Problem | None:
    same = [other for other in there if (other.type, other.name) == (provider.type, provider.name)]
    subject = f"{provider.type} {provider.name}"
    remedy = "Install it on the target with: clusterctl init, or: clusterctl upgrade apply"
    if not same:
        return Problem("providers", "target", subject, "the provider is not installed", remedy)
    try:
        newest = max(_version(other.version) for other in same)
        if newest >= _version(provider.version):
            return None
    except ValueError as error:
        return Problem("providers", "target", subject, f"its version cannot be compared: {error}", remedy)
    what = f"the provider is older (v{newest}) than on the source ({provider.version})"
    return Problem("providers", "target", subject, what, remedy)


def _version(text: str) -> semver.Version:
    return semver.Version.parse(text.removeprefix("v"))


def check_provisioned(plan: Plan) -> list[Problem]:
    """Clusters have their infrastructure and control plane, Machines their node (checkProvisioningCompleted)."""
    problems = []
    for obj in plan.selection.selected:
        why = None
        if obj.type.group_kind == rules.CLUSTER:
            why = _cluster_unprovisioned(obj.body())
        elif obj.type.group_kind == rules.MACHINE and not _has_node(obj.body()):
            why = "its node is still being provisioned (status.nodeRef is empty)"
        if why:
            remedy = "Wait until it is provisioned: clusterctl describe cluster, then move again"
            problems.append(Problem("provisioned", "source", str(obj.key), why, remedy))
    return problems


def _cluster_unprovisioned(cluster: Mapping[str, Any]) -> str | None:
    spec, status = cluster.get("spec") or {}, cluster.get("status") or {}
    initialization = status.get("initialization") or {}
    if not (initialization.get("infrastructureProvisioned") or status.get("infrastructureReady")):
        return "its infrastructure is still being provisioned"
    conditions = {found.get("type"): found.get("status") for found in status.get("conditions") or ()}
    if conditions.get("ControlPlaneInitialized") != "True":
        return "its control plane is not initialized yet (condition ControlPlaneInitialized)"
    ready = initialization.get("controlPlaneInitialized") or status.get("controlPlaneReady")
    if spec.get("controlPlaneRef") and not ready:
        return "its control plane is not initialized yet (status.initialization.controlPlaneInitialized)"
    return None


def _has_node(machine: Mapping[str, Any]) -> bool:
    return bool(((machine.get("status") or {}).get("nodeRef") or {}).get("name"))


def check_not_paused(plan: Plan) -> list[Problem]:
    """No Cluster and no ClusterClass is paused (checkClustersNotPaused, checkClusterClassesNotPaused)."""
    kinds = (rules.CLUSTER, rules.CLUSTER_CLASS)
    paused = [obj for obj in plan.selection.selected if obj.type.group_kind in kinds and is_paused(obj)]
    what = "it is paused: somebody works on it, or an earlier move was broken off"
    remedy = "Find out who paused it, resume it (spec.paused, annotation cluster.x-k8s.io/paused), then move again"
    return [Problem("paused", "source", str(obj.key), what, remedy) for obj in paused]


def check_not_deleting(plan: Plan) -> list[Problem]:
    """Nothing that moves is being deleted: its copy would live on."""
    what, remedy = "it is being deleted", "Wait until it is gone, then move again"
    dying = [obj for obj in plan.selection.moved if obj.deleting]
    return [Problem("deleting", "source", str(obj.key), what, remedy) for obj in dying]


def check_left_dependents(plan: Plan) -> list[Problem]:
    """Nothing stays behind that the garbage collector would delete once all its owners have moved away."""
    selection = plan.selection
    problems = []
    for obj in selection.left:
        fates = [selection.decisions[owner.uid].fate for owner in obj.owners if owner.uid in selection.decisions]
        if fates and len(fates) == len(obj.owners) and all(fate is Fate.MOVE for fate in fates):
            what = (
                f"it stays, but the garbage collector deletes it once {obj.owners[0].kind} {obj.owners[0].name} moved"
            )
            remedy = f"Label it {rules.MOVE_LABEL} to take it along, or take its owner references off"
            problems.append(Problem("left-dependents", "source", str(obj.key), what, remedy))
    return problems


@dataclass(frozen=True, slots=True)
class _OnTarget:
    """What is on the target of the types that move."""

    objects: Mapping[ObjectKey, Object]
    unserved: tuple[ResourceType, ...]


async def _read_target(target: Cluster, plan: Plan) -> _OnTarget:
    spaces = sorted({(obj.type, obj.key.namespace) for obj in plan.selection.selected})
    lists = await all_of(_list_or_none(target, *space) for space in spaces)
    unserved = {space[0] for space, found in zip(spaces, lists, strict=True) if found is None}
    return _OnTarget({obj.key: obj for found in lists for obj in found or ()}, tuple(sorted(unserved)))


async def _list_or_none(cluster: Cluster, resource: ResourceType, namespace: str) -> tuple[Object, ...] | None:
    try:
        return (await cluster.list_metadata(resource, namespace)).objects
    except NotFoundError:
        return None


def _check_served(plan: Plan, on_target: _OnTarget) -> list[Problem]:
    counts = dict.fromkeys(on_target.unserved, 0)
    for obj in plan.selection.selected:
        if obj.type in counts:
            counts[obj.type] += 1
    remedy = "Install the provider's CRDs there with: clusterctl init, or: clusterctl upgrade apply"
    return [
        Problem(
            "served", "target", str(resource), f"{resource.api_version} is not served ({count} objects need it)", remedy
        )
        for resource, count in counts.items()
    ]


def _is_shared(obj: Object, plan: Plan) -> bool:
    """Returns whether an object that exists on the target is used as it is (global, or below a global one)."""
    return plan.selection.decisions[obj.uid].rule in (Rule.CLUSTER_SCOPED, Rule.BELOW_CLUSTER_SCOPED)


def _check_collisions(plan: Plan, on_target: _OnTarget) -> list[Problem]:
    there = [obj for obj in plan.selection.selected if obj.key in on_target.objects and not _is_shared(obj, plan)]
    what = "an object of that kind and name is there already; it is not overwritten"
    remedy = "Compare the two, then delete the one on the target, or choose another target"
    return [Problem("collisions", "target", str(obj.key), what, remedy) for obj in there]


def _existing(plan: Plan, on_target: _OnTarget) -> dict[str, str]:
    shared = [obj for obj in plan.selection.selected if obj.key in on_target.objects and _is_shared(obj, plan)]
    return {obj.uid: on_target.objects[obj.key].uid for obj in shared}


async def _find_outside_owners(target: Cluster, plan: Plan) -> dict[str, str]:
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


def _check_outside_owners(plan: Plan, found: Mapping[str, str]) -> list[Problem]:
    remedy = "Create the owner on the target first, or take the owner reference off"
    return [
        Problem(
            "outside-owners",
            "target",
            str(obj.key),
            f"its owner {owner.kind} {owner.name} does not move and is not on the target; "
            "the garbage collector would delete the copy",
            remedy,
        )
        for obj, owner in plan.selection.outside_owners
        if owner.uid not in found
    ]
