"""What the parts of a cluster have in common: labels, references, kubeadm's configuration, who writes them."""

from __future__ import annotations

from typing import Any

from graph.resource import ResourceType
from tests.testbed.fleet import model
from tests.testbed.fleet.content import image
from tests.testbed.fleet.model import Amendment, Draft, Owner, Tree, controlled_by
from tests.testbed.fleet.plan import ClusterPlan

CLUSTER_NAME_LABEL = "cluster.x-k8s.io/cluster-name"
DEPLOYMENT_NAME_LABEL = "cluster.x-k8s.io/deployment-name"
TEMPLATE_HASH_LABEL = "machine-template-hash"
TOPOLOGY_OWNED_LABEL = "topology.cluster.x-k8s.io/owned"
TOPOLOGY_DEPLOYMENT_LABEL = "topology.cluster.x-k8s.io/deployment-name"
SECRET_TYPE = "cluster.x-k8s.io/secret"
CLASS_NAME = "metal3-class"
DEPLOYMENT_CLASS = "worker"
ENDPOINT_VARIABLE = "endpoint"

NOT_ROLLING = (
    ("!RollingOut", "NotRollingOut"),
    ("!ScalingUp", "NotScalingUp"),
    ("!ScalingDown", "NotScalingDown"),
    ("!Remediating", "NotRemediating"),
    ("!Deleting", "NotDeleting"),
)


def reference(resource: ResourceType, name: str) -> dict[str, str]:
    """Returns a reference as CAPI's v1beta2 contract writes it, without a version."""
    return {"apiGroup": resource.group, "kind": resource.kind, "name": name}


def node_registration() -> dict[str, Any]:
    """Returns kubeadm's nodeRegistration for a host: its name comes from the rendered metadata."""
    argument = {"name": "node-labels", "value": "metal3.io/uuid={{ ds.meta_data.uuid }}"}
    return {"name": "{{ ds.meta_data.name }}", "kubeletExtraArgs": [argument]}


def bootstrap_spec() -> dict[str, Any]:
    """Returns what is the same in every machine's kubeadm configuration."""
    netplan = "network:\n  version: 2\n  ethernets:\n    enp1s0: {dhcp4: true}\n"
    return {
        "format": "cloud-config",
        "files": [{"path": "/etc/netplan/52-metal3.yaml", "permissions": "0600", "content": netplan}],
        "preKubeadmCommands": ["netplan apply", "systemctl enable --now crio kubelet"],
        "users": [{"name": "metal3", "sudo": "ALL=(ALL) NOPASSWD:ALL", "sshAuthorizedKeys": ["ssh-ed25519 AAAA"]}],
    }


def control_plane_config() -> dict[str, Any]:
    """Returns the kubeadmConfigSpec of the control plane."""
    registration = {"nodeRegistration": node_registration()}
    return {
        **bootstrap_spec(),
        "clusterConfiguration": {"apiServer": {"extraArgs": [{"name": "cloud-provider", "value": "baremetal"}]}},
        "initConfiguration": registration,
        "joinConfiguration": {**registration, "controlPlane": {}},
    }


def worker_config() -> dict[str, Any]:
    """Returns the KubeadmConfig spec of the workers."""
    return {**bootstrap_spec(), "joinConfiguration": {"nodeRegistration": node_registration()}}


def machine_template_spec(data_template: str) -> dict[str, Any]:
    """Returns the spec of a Metal3MachineTemplate."""
    wanted = image()
    spec = {
        "automatedCleaningMode": "metadata",
        "dataTemplate": {"name": data_template},
        "image": {**{key: wanted[key] for key in ("url", "checksum", "checksumType")}, "diskFormat": "raw"},
    }
    return {"nodeReuse": False, "template": {"spec": spec}}


def cluster_labels(plan: ClusterPlan) -> dict[str, str]:
    """Returns the labels of what a cluster's user or its topology controller creates."""
    owned = {TOPOLOGY_OWNED_LABEL: ""} if plan.spec.topology else {}
    return {CLUSTER_NAME_LABEL: plan.name, **owned}


def machine_set_labels(plan: ClusterPlan) -> dict[str, str]:
    """Returns the labels that select the machines of the cluster's MachineSet."""
    topology = {TOPOLOGY_OWNED_LABEL: "", TOPOLOGY_DEPLOYMENT_LABEL: "md-0"} if plan.spec.topology else {}
    return {
        CLUSTER_NAME_LABEL: plan.name,
        DEPLOYMENT_NAME_LABEL: plan.deployment,
        TEMPLATE_HASH_LABEL: plan.template_hash,
        **topology,
    }


def authored(plan: ClusterPlan, resource: ResourceType, name: str, spec: Tree, **rest: Any) -> Draft:
    """Returns what the user writes, or the topology controller for them, and CAPI's controllers adopt."""
    finalizers = rest.pop("finalizers", ())
    metadata: dict[str, Any] = {"labels": cluster_labels(plan), **rest.pop("metadata", {})}
    rest.setdefault("owners", (Owner(model.CLUSTER, plan.name),))
    patch = {"metadata": {"finalizers": list(finalizers)}} if finalizers else {}
    author = model.TOPOLOGY_APPLY if plan.spec.topology else model.USER_MANAGER
    return Draft(
        resource,
        plan.spec.namespace,
        name,
        {"metadata": metadata, "spec": spec},
        manager=author,
        apply=plan.spec.topology,
        amendments=(Amendment(model.CAPI_MANAGER, patch, adopts=True),),
        **rest,
    )


def primary_owner(plan: ClusterPlan) -> tuple[Owner, ...]:
    """Returns the owner of infrastructure and control plane (CAPI cluster_controller_phases.go)."""
    if plan.spec.topology:
        return (controlled_by(model.CLUSTER, plan.name),)
    return (Owner(model.CLUSTER, plan.name),)


def replicas(count: int) -> dict[str, int]:
    """Returns the replica counters of a status whose replicas are all well."""
    return dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "upToDateReplicas"), count)
