"""What a cluster has for its workers as a whole: MachineDeployment, MachineSet, health check, their template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.testbed.fleet import model
from tests.testbed.fleet.content import KUBERNETES_VERSION, conditions
from tests.testbed.fleet.model import Draft, controlled_by
from tests.testbed.fleet.parts import (
    CLUSTER_NAME_LABEL,
    DEPLOYMENT_NAME_LABEL,
    NOT_ROLLING,
    TEMPLATE_HASH_LABEL,
    authored,
    machine_set_labels,
    reference,
    replicas,
    worker_config,
)
from tests.testbed.fleet.plan import ClusterPlan, MachinePlan


def worker_drafts(plan: ClusterPlan) -> Iterator[Draft]:
    """Yields what makes the cluster's worker machines, but not the machines."""
    yield _config_template(plan)
    yield _deployment(plan)
    yield _machine_set(plan)
    yield _health_check(plan)


def _config_template(plan: ClusterPlan) -> Draft:
    spec = {"template": {"spec": worker_config()}}
    return authored(plan, model.KUBEADM_CONFIG_TEMPLATE, f"{plan.name}-workers", spec)


def _worker_template(plan: ClusterPlan, labels: dict[str, str]) -> dict[str, Any]:
    spec = {
        "clusterName": plan.name,
        "version": KUBERNETES_VERSION,
        "bootstrap": {"configRef": reference(model.KUBEADM_CONFIG_TEMPLATE, f"{plan.name}-workers")},
        "infrastructureRef": reference(model.METAL3_MACHINE_TEMPLATE, f"{plan.name}-workers"),
    }
    return {"metadata": {"labels": labels}, "spec": spec}


def _deployment(plan: ClusterPlan) -> Draft:
    labels = {key: value for key, value in machine_set_labels(plan).items() if key != TEMPLATE_HASH_LABEL}
    topology = ("machinedeployment.topology.cluster.x-k8s.io",) if plan.spec.topology else ()
    spec = {
        "clusterName": plan.name,
        "replicas": plan.spec.workers,
        "selector": {"matchLabels": labels},
        "template": _worker_template(plan, labels),
        "rollout": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},
    }
    return authored(
        plan,
        model.MACHINE_DEPLOYMENT,
        plan.deployment,
        spec,
        metadata={"labels": labels, "annotations": {"machinedeployment.clusters.x-k8s.io/revision": "1"}},
        finalizers=("cluster.x-k8s.io/machinedeployment", *topology),
        status={"phase": "Running", **_workers_status(plan, labels)},
    )


def _machine_set(plan: ClusterPlan) -> Draft:
    labels = machine_set_labels(plan)
    topology = ("machineset.topology.cluster.x-k8s.io",) if plan.spec.topology else ()
    annotations = {
        "machinedeployment.clusters.x-k8s.io/desired-replicas": str(plan.spec.workers),
        "machinedeployment.clusters.x-k8s.io/max-replicas": str(plan.spec.workers + 1),
        "machinedeployment.clusters.x-k8s.io/revision": "1",
    }
    finalizers = ["cluster.x-k8s.io/machineset", *topology]
    spec = {
        "clusterName": plan.name,
        "replicas": plan.spec.workers,
        "selector": {"matchLabels": labels},
        "template": _worker_template(plan, labels),
    }
    metadata = {"labels": labels, "annotations": annotations, "finalizers": finalizers}
    return Draft(
        model.MACHINE_SET,
        plan.spec.namespace,
        plan.machine_set,
        {"metadata": metadata, "spec": spec},
        manager=model.MACHINE_DEPLOYMENT_APPLY,
        apply=True,
        owners=(controlled_by(model.MACHINE_DEPLOYMENT, plan.deployment),),
        status=_workers_status(plan, labels),
    )


def _workers_status(plan: ClusterPlan, labels: dict[str, str]) -> dict[str, Any]:
    reported = (("MachinesReady", "Ready"), ("MachinesUpToDate", "UpToDate"), *NOT_ROLLING[1:])
    return {
        "conditions": conditions(plan.spec, reported),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "observedGeneration": 0,
        **replicas(plan.spec.workers),
    }


def _health_check(plan: ClusterPlan) -> Draft:
    labels = {CLUSTER_NAME_LABEL: plan.name, DEPLOYMENT_NAME_LABEL: plan.deployment}
    unhealthy = [{"type": "Ready", "status": status, "timeoutSeconds": 600} for status in ("False", "Unknown")]
    spec = {
        "clusterName": plan.name,
        "selector": {"matchLabels": labels},
        "checks": {"nodeStartupTimeoutSeconds": 1800, "unhealthyNodeConditions": unhealthy},
        "remediation": {"triggerIf": {"unhealthyLessThanOrEqualTo": "40%"}},
    }
    status = {
        "conditions": conditions(plan.spec, (("RemediationAllowed", "RemediationAllowed"),)),
        "currentHealthy": plan.spec.workers,
        "expectedMachines": plan.spec.workers,
        "remediationsAllowed": plan.spec.workers * 2 // 5,
        "observedGeneration": 0,
    }
    targets = _worker_names(plan.machines())
    known = {"targets": targets} if targets else {}
    return authored(plan, model.MACHINE_HEALTH_CHECK, plan.deployment, spec, status={**status, **known})


def _worker_names(machines: tuple[MachinePlan, ...]) -> list[str]:
    return [machine.name for machine in machines if not machine.control_plane]
