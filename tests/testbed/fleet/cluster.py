"""What a cluster has once: CAPI's objects, the templates, the Secrets with its certificates, its pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.testbed.fleet import model
from tests.testbed.fleet.content import (
    CREATED,
    KUBERNETES_VERSION,
    conditions,
    encoded,
    key_pair,
    kubeconfig,
)
from tests.testbed.fleet.model import Amendment, Draft, Owner, Tree, controlled_by
from tests.testbed.fleet.parts import (
    CLASS_NAME,
    CLUSTER_NAME_LABEL,
    DEPLOYMENT_CLASS,
    ENDPOINT_VARIABLE,
    NOT_ROLLING,
    SECRET_TYPE,
    authored,
    cluster_labels,
    control_plane_config,
    machine_template_spec,
    primary_owner,
    reference,
    replicas,
)
from tests.testbed.fleet.plan import ClusterPlan
from tests.testbed.fleet.workers import worker_drafts


def cluster_drafts(plan: ClusterPlan) -> Iterator[Draft]:
    """Yields everything of a cluster but its machines and what belongs to them."""
    yield _cluster(plan)
    yield _metal3_cluster(plan)
    yield _control_plane(plan)
    yield from _secrets(plan)
    for role in ("controlplane", "workers"):
        yield _machine_template(plan, role)
        yield _data_template(plan, role)
    yield from worker_drafts(plan)
    yield _pool(plan)


def _cluster(plan: ClusterPlan) -> Draft:
    network = {"pods": {"cidrBlocks": ["192.168.0.0/18"]}, "services": {"cidrBlocks": ["10.96.0.0/12"]}}
    references = {
        "infrastructureRef": reference(model.METAL3_CLUSTER, plan.name),
        "controlPlaneRef": reference(model.KUBEADM_CONTROL_PLANE, plan.name),
    }
    endpoint = {"controlPlaneEndpoint": {"host": plan.endpoint, "port": 6443}}
    paused = {"paused": True} if plan.spec.paused else {}
    body = {"clusterNetwork": network, **paused, **(_topology(plan) if plan.spec.topology else references)}
    set_later = {**endpoint, **references} if plan.spec.topology else endpoint
    patch = {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}, "spec": set_later}
    return Draft(
        model.CLUSTER,
        plan.spec.namespace,
        plan.name,
        {"metadata": {"labels": {"cni": "calico", **_topology_owned(plan)}}, "spec": body},
        manager=model.USER_MANAGER,
        amendments=(Amendment(model.CAPI_MANAGER, patch),),
        status=_cluster_status(plan),
    )


def _topology_owned(plan: ClusterPlan) -> dict[str, str]:
    return cluster_labels(plan) if plan.spec.topology else {}


def _topology(plan: ClusterPlan) -> dict[str, Any]:
    deployment = {"class": DEPLOYMENT_CLASS, "name": "md-0", "replicas": plan.spec.workers}
    return {
        "topology": {
            "classRef": {"name": CLASS_NAME},
            "version": KUBERNETES_VERSION,
            "controlPlane": {"replicas": plan.spec.control_planes},
            "workers": {"machineDeployments": [deployment]},
            "variables": [{"name": ENDPOINT_VARIABLE, "value": {"host": plan.endpoint, "port": 6443}}],
        }
    }


def _cluster_status(plan: ClusterPlan) -> Tree:
    topology = (("TopologyReconciled", "ReconcileSucceeded"),) if plan.spec.topology else ()
    reported = (
        ("Available", "Available"),
        ("InfrastructureReady", "Ready"),
        ("ControlPlaneInitialized", "Initialized"),
        ("ControlPlaneAvailable", "Available"),
        ("ControlPlaneMachinesReady", "Ready"),
        ("ControlPlaneMachinesUpToDate", "UpToDate"),
        ("WorkersAvailable", "Available"),
        ("WorkerMachinesReady", "Ready"),
        ("WorkerMachinesUpToDate", "UpToDate"),
        ("RemoteConnectionProbe", "ProbeSucceeded"),
        *NOT_ROLLING,
        *topology,
    )
    return {
        "conditions": conditions(plan.spec, reported),
        "initialization": {"controlPlaneInitialized": True, "infrastructureProvisioned": True},
        "controlPlane": {"desiredReplicas": plan.spec.control_planes, **replicas(plan.spec.control_planes)},
        "workers": {"desiredReplicas": plan.spec.workers, **replicas(plan.spec.workers)},
        "phase": "Provisioned",
        "observedGeneration": 0,
    }


def _metal3_cluster(plan: ClusterPlan) -> Draft:
    spec = {"controlPlaneEndpoint": {"host": plan.endpoint, "port": 6443}, "cloudProviderEnabled": False}
    status = {
        "conditions": conditions(plan.spec, (("Ready", "Ready"), ("BaremetalInfrastructureReady", "Ready"))),
        "initialization": {"provisioned": True},
        "lastUpdated": CREATED,
    }
    return authored(
        plan,
        model.METAL3_CLUSTER,
        plan.name,
        spec,
        owners=primary_owner(plan),
        finalizers=("metal3cluster.infrastructure.cluster.x-k8s.io",),
        status=status,
    )


def _control_plane(plan: ClusterPlan) -> Draft:
    infrastructure = reference(model.METAL3_MACHINE_TEMPLATE, f"{plan.name}-controlplane")
    spec = {
        "replicas": plan.spec.control_planes,
        "version": KUBERNETES_VERSION,
        "kubeadmConfigSpec": control_plane_config(),
        "machineTemplate": {"spec": {"infrastructureRef": infrastructure}},
        "rollout": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
    }
    reported = (
        ("Available", "Available"),
        ("Initialized", "Initialized"),
        ("CertificatesAvailable", "Available"),
        ("EtcdClusterHealthy", "Healthy"),
        ("ControlPlaneComponentsHealthy", "Healthy"),
        ("MachinesReady", "Ready"),
        ("MachinesUpToDate", "UpToDate"),
        *NOT_ROLLING,
    )
    status = {
        "conditions": conditions(plan.spec, reported),
        "initialization": {"controlPlaneInitialized": True},
        "selector": f"{CLUSTER_NAME_LABEL}={plan.name},cluster.x-k8s.io/control-plane",
        "version": KUBERNETES_VERSION,
        "observedGeneration": 0,
        **replicas(plan.spec.control_planes),
    }
    return authored(
        plan,
        model.KUBEADM_CONTROL_PLANE,
        plan.name,
        spec,
        owners=primary_owner(plan),
        finalizers=("kubeadm.controlplane.cluster.x-k8s.io",),
        status=status,
        status_manager=model.KCP_MANAGER,
    )


def _secrets(plan: ClusterPlan) -> Iterator[Draft]:
    """Yields the cluster's Secrets; the user brought the CA, so that only its name ties it to the cluster."""
    owner = controlled_by(model.KUBEADM_CONTROL_PLANE, plan.name)
    generated = {purpose: key_pair(f"{plan.name} {purpose}") for purpose in ("etcd", "sa", "proxy")}
    given = plan.spec.workload_kubeconfig
    generated["kubeconfig"] = encoded(value=given) if given else kubeconfig(plan.name, plan.endpoint)
    for purpose, data in generated.items():
        yield _secret(plan, purpose, data, manager=model.KCP_MANAGER, owners=(owner,))
    yield _secret(plan, "ca", key_pair(f"{plan.name} ca"), manager="kubectl-create", owners=())


def _secret(plan: ClusterPlan, purpose: str, data: Tree, *, manager: str, owners: tuple[Owner, ...]) -> Draft:
    body = {"metadata": {"labels": {CLUSTER_NAME_LABEL: plan.name}}, "type": SECRET_TYPE, "data": data}
    name = f"{plan.name}-{purpose}"
    return Draft(model.SECRET, plan.spec.namespace, name, body, manager=manager, owners=owners)


def _machine_template(plan: ClusterPlan, role: str) -> Draft:
    spec = machine_template_spec(f"{plan.name}-{role}-template")
    return authored(plan, model.METAL3_MACHINE_TEMPLATE, f"{plan.name}-{role}", spec)


def _data_template(plan: ClusterPlan, role: str) -> Draft:
    """Returns a template of machine data; nobody owns it, since clusters may share one."""
    machines = [machine for machine in plan.machines() if machine.role == role]
    finalizers = ["metal3datatemplate.infrastructure.cluster.x-k8s.io"]
    indexes = [{"index": machine.data_index, "name": machine.name} for machine in machines]
    return Draft(
        model.METAL3_DATA_TEMPLATE,
        plan.spec.namespace,
        f"{plan.name}-{role}-template",
        {"metadata": {"labels": {CLUSTER_NAME_LABEL: plan.name}}, "spec": _data_spec(plan)},
        manager=model.USER_MANAGER,
        amendments=(Amendment(model.CAPI_MANAGER, {"metadata": {"finalizers": finalizers}}),),
        status={"indexes": indexes, "lastUpdated": CREATED},
    )


def _data_spec(plan: ClusterPlan) -> dict[str, Any]:
    pool = {"apiGroup": model.IPAM_GROUP, "kind": "IPPool", "name": plan.pool}
    ethernet = {"id": "enp1s0", "type": "phy", "macAddress": {"fromHostInterface": "enp1s0"}}
    network = {"id": "provisioning", "link": "enp1s0", "fromPoolRef": pool}
    return {
        "clusterName": plan.name,
        "metaData": {
            "objectNames": [
                {"key": "name", "object": "machine"},
                {"key": "metal3-name", "object": "baremetalhost"},
            ],
            "ipAddressesFromPool": [{"key": "ip", **pool}],
        },
        "networkData": {
            "links": {"ethernets": [ethernet]},
            "networks": {"ipv4": [network]},
            "services": {"dns": ["10.64.0.2"]},
        },
    }


def _pool(plan: ClusterPlan) -> Draft:
    first = plan.first_address
    spec = {
        "clusterName": plan.name,
        "namePrefix": plan.pool,
        "prefix": 16,
        "gateway": str(first - 99),
        "dnsServers": [str(first - 98)],
        "pools": [{"start": str(first), "end": str(first + 60000)}],
    }
    labels = {CLUSTER_NAME_LABEL: plan.name}
    patch = {"metadata": {"finalizers": ["ippool.ipam.metal3.io"], "labels": labels}}
    allocations = {machine.ip_claim: machine.address for machine in plan.machines()}
    return Draft(
        model.IP_POOL,
        plan.spec.namespace,
        plan.pool,
        {"spec": spec},
        manager=model.USER_MANAGER,
        owners=(Owner(model.CLUSTER, plan.name),),
        amendments=(Amendment(model.CAPI_MANAGER, patch, adopts=True),),
        status={"indexes": allocations, "lastUpdated": CREATED},
    )


def unrelated_drafts(namespace: str, secrets: int) -> Iterator[Draft]:
    """Yields what lives in the namespace and has nothing to do with the fleet: Secrets and a ConfigMap."""
    for number in range(secrets):
        body = {"type": "Opaque", "data": encoded(token=f"unrelated {number}")}
        name = f"unrelated-{number + 1}"
        yield Draft(model.SECRET, namespace, name, body, manager="kubectl-create", unrelated=True)
    trusted = {"data": {"ca.crt": "made up\n"}}
    yield Draft(model.CONFIG_MAP, namespace, "trusted-ca", trusted, manager="kubectl-create", unrelated=True)
