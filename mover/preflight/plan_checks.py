"""Checks that need only the plan: what the source's objects themselves say. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph import rules
from graph.resource import Object
from graph.selection import Rule
from mover import metal3
from mover.choices import PausedPolicy, RestoreStatus
from mover.errors import Problem
from mover.models import MoveOptions
from mover.namespace import kept_provider_ids, unknown_references
from mover.pause import is_paused
from mover.plan import Plan


def check_plan(plan: Plan, options: MoveOptions) -> list[Problem]:
    """Returns all that the objects themselves say against the move."""
    paused = check_not_paused(plan) if options.paused is PausedPolicy.REFUSE else []
    stale = [] if options.ignore_stale_block_move else check_stale_blocks(plan)
    return [
        *check_provisioned(plan),
        *paused,
        *check_not_deleting(plan),
        *check_split(plan),
        *check_left_dependents(plan),
        *check_one_owner(plan),
        *check_hosts_steady(plan),
        *stale,
        *check_namespace(plan, options),
    ]


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


def check_split(plan: Plan) -> list[Problem]:
    """Nothing belongs to Clusters on both sides that cannot be in two places (docs/decisions/0021)."""
    decisions = plan.selection.decisions
    return [
        Problem("split", "source", str(obj.key), f"it cannot be split. {decisions[obj.uid].reason}", _split_remedy(obj))
        for obj in plan.selection.left
        if decisions[obj.uid].rule is Rule.CANNOT_BE_SPLIT
    ]


def _split_remedy(obj: Object) -> str:
    together = "Move these Clusters together (--cluster for each)"
    if obj.type.group_kind in rules.ALLOCATOR_KINDS:
        return f"{together}, or give each a {obj.key.kind} of its own: two copies would hand out the same numbers twice"
    return f"{together}, or end what ties it to one of them (owner, label or reference)"


def check_left_dependents(plan: Plan) -> list[Problem]:
    """Nothing stays on the source that the garbage collector would delete once all its owners have moved away.

    Cluster-scoped objects are not looked at: the collector does not follow them to owners in a namespace.
    """
    staying = [*plan.selection.left, *(obj for obj in plan.selection.kept if obj.type.namespaced)]
    return [
        _collected(obj, plan) for obj in staying if obj.owners and all(plan.moves(owner.uid) for owner in obj.owners)
    ]


def _collected(obj: Object, plan: Plan) -> Problem:
    owner = f"{obj.owners[0].kind} {obj.owners[0].name}"
    if plan.is_kept(obj):
        what = f"the garbage collector deletes it once {owner} moved. {plan.selection.decisions[obj.uid].reason}"
        remedy = "Give it an owner that stays, too, or take its owner references off"
    else:
        what = f"it stays, but the garbage collector deletes it once {owner} moved"
        remedy = f"Label it {rules.MOVE_LABEL} to take it along, or take its owner references off"
    return Problem("left-dependents", "source", str(obj.key), what, remedy)


def check_one_owner(plan: Plan) -> list[Problem]:
    """No Cluster and no host is copied and kept: controllers on both sides would act on the same machines."""
    kinds = (rules.CLUSTER, rules.BARE_METAL_HOST)
    remedy = "Take its owner reference to the cluster-scoped object off, then move again"
    kept = [obj for obj in plan.selection.kept if obj.type.group_kind in kinds]
    return [
        Problem("one-owner", "source", str(obj.key), plan.selection.decisions[obj.uid].reason, remedy) for obj in kept
    ]


def check_hosts_steady(plan: Plan) -> list[Problem]:
    """No host is about to change: the source would go on with it, and the target begin anew."""
    remedy = "Wait until it is steady, or let the move wait with --wait-hosts SECONDS"
    return [
        Problem("hosts", "source", str(host.key), why, remedy)
        for host in plan.selection.moved
        if metal3.is_host(host) and (why := metal3.transition(host))
    ]


def check_stale_blocks(plan: Plan) -> list[Problem]:
    """No host asks to wait without anybody who would take the request back."""
    what = f"it blocks the move (annotation {rules.BLOCK_MOVE_ANNOTATION}), and has no consumer that would unblock it"
    remedy = "Take the annotation off, or go on with --ignore-stale-block-move"
    stale = [host for host in plan.selection.moved if metal3.has_stale_block(host)]
    return [Problem("block-move", "source", str(host.key), what, remedy) for host in stale]


def check_namespace(plan: Plan, options: MoveOptions) -> list[Problem]:
    """Every reference to the namespace that is left is rewritten by a known rule (docs/decisions/0016)."""
    if options.to_namespace is None:
        return []
    old = plan.inventory.namespace
    bodies = [plan.mutated(obj) for obj in plan.selection.selected]
    accepted = options.keep_provider_ids and options.restore_status is RestoreStatus.ALL
    return [*unknown_references(bodies, old), *([] if accepted else kept_provider_ids(bodies, old))]
