"""Whether anything is under way that a move would break into: provisioning, deletion, rollout, remediation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graph import rules
from mover import metal3
from mover.errors import Problem
from mover.planning import Plan


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


def check_not_deleting(plan: Plan) -> list[Problem]:
    """Nothing that moves is being deleted: its copy would live on."""
    what, remedy = "it is being deleted", "Wait until it is gone, then move again"
    dying = [obj for obj in plan.selection.moved if obj.deleting]
    return [Problem("deleting", "source", str(obj.key), what, remedy) for obj in dying]


_OWNERS_OF_MACHINES = frozenset(
    {rules.KUBEADM_CONTROL_PLANE, rules.MACHINE_DEPLOYMENT, rules.MACHINE_SET, rules.MACHINE_POOL}
)
_UNDER_WAY = {
    "RollingOut": "it is being rolled out",
    "ScalingUp": "it is being scaled up",
    "ScalingDown": "it is being scaled down",
    "Remediating": "a machine of it is being remediated",
}
"""Conditions of CAPI's kinds that are True while something is under way (api/core/v1beta2)."""


def check_rollout(plan: Plan) -> list[Problem]:
    """No machines are being rolled out, scaled or remediated: half of them would be made on either side."""
    remedy = "Wait until it is done: clusterctl describe cluster; or go on with --skip rollout"
    found = []
    for obj in plan.selection.moved:
        for why in _under_way(obj.type.group_kind, obj.body()):
            found.append(Problem("rollout", "source", str(obj.key), why, remedy))
            break
    return found


def _under_way(kind: tuple[str, str], body: Mapping[str, Any]) -> Iterator[str]:
    status = body.get("status") or {}
    if kind == rules.METAL3_REMEDIATION:
        yield "it remediates a machine"
    conditions = {found.get("type"): found.get("status") for found in _conditions(status)}
    if kind == rules.MACHINE and conditions.get("OwnerRemediated") == "False":
        yield "it is to be remediated (condition OwnerRemediated)"
    if kind in _OWNERS_OF_MACHINES:
        yield from (f"{why} (condition {name})" for name, why in _UNDER_WAY.items() if conditions.get(name) == "True")
        wanted, has = (body.get("spec") or {}).get("replicas"), status.get("replicas")
        if wanted is not None and has is not None and wanted != has:
            yield f"it is being scaled (spec.replicas {wanted}, status.replicas {has})"


def _conditions(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the conditions of both versions of the contract; the newer ones count."""
    newer = (status.get("v1beta2") or {}).get("conditions") or ()
    return [*(status.get("conditions") or ()), *newer]


def check_hosts_steady(plan: Plan) -> list[Problem]:
    """No host is about to change: the source would go on with it, and the target begin anew."""
    remedy = "Wait until it is steady, or let the move wait with --wait-hosts SECONDS"
    return [
        Problem("hosts", "source", str(host.key), why, remedy)
        for host in plan.selection.moved
        if metal3.is_host(host) and (why := metal3.transition(host))
    ]
