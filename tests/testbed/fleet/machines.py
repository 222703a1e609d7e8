"""What a cluster has for each of its machines: CAPI's objects, Metal3's, its data and its address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graph.resource import ResourceType
from tests.testbed.fleet import model
from tests.testbed.fleet.content import (
    CERTIFICATES_EXPIRE,
    KUBERNETES_VERSION,
    SETTLED,
    conditions,
    identity,
    meta_data,
    network_data,
    user_data,
)
from tests.testbed.fleet.model import Amendment, Draft, Owner, Tree, controlled_by
from tests.testbed.fleet.parts import (
    CLUSTER_NAME_LABEL,
    SECRET_TYPE,
    cluster_labels,
    control_plane_config,
    machine_set_labels,
    machine_template_spec,
    reference,
    worker_config,
)
from tests.testbed.fleet.plan import MachinePlan

MACHINE_FINALIZER = "machine.cluster.x-k8s.io"
METAL3_MACHINE_FINALIZER = "metal3machine.infrastructure.cluster.x-k8s.io"
DATA_FINALIZER = "metal3data.infrastructure.cluster.x-k8s.io"
DATA_CLAIM_FINALIZER = "metal3dataclaim.infrastructure.cluster.x-k8s.io"
DATA_SECRET_TYPE = "infrastructure.cluster.x-k8s.io/secret"

_HEALTHY = (("Ready", "Ready"), ("Available", "Available"), ("UpToDate", "UpToDate"))
_MACHINE_CONDITIONS = (
    *_HEALTHY,
    ("BootstrapConfigReady", "Ready"),
    ("InfrastructureReady", "Ready"),
    ("NodeHealthy", "NodeHealthy"),
    ("NodeReady", "NodeReady"),
    ("!Updating", "NotUpdating"),
    ("!Deleting", "NotDeleting"),
)
_CONTROL_PLANE_CONDITIONS = (
    ("APIServerPodHealthy", "PodRunning"),
    ("ControllerManagerPodHealthy", "PodRunning"),
    ("SchedulerPodHealthy", "PodRunning"),
    ("EtcdPodHealthy", "PodRunning"),
    ("EtcdMemberHealthy", "Healthy"),
    ("NodeKubeadmLabelsAndTaintsSet", "Set"),
)


def machine_drafts(machine: MachinePlan) -> Iterator[Draft]:
    """Yields everything that exists for one machine, but its host."""
    yield _machine(machine)
    yield _metal3_machine(machine)
    yield _kubeadm_config(machine)
    yield _bootstrap_secret(machine)
    yield _data_claim(machine)
    yield _data(machine)
    yield _data_secret(machine, "metadata", meta_data(machine))
    yield _data_secret(machine, "networkdata", network_data(machine))
    yield _ip_claim(machine)
    yield _ip_address(machine)


def _draft(machine: MachinePlan, resource: ResourceType, name: str, body: Tree, **rest: Any) -> Draft:
    return Draft(resource, machine.cluster.spec.namespace, name, body, **rest)


def _labels(machine: MachinePlan) -> dict[str, str]:
    plan = machine.cluster
    if not machine.control_plane:
        return {**machine_set_labels(plan), "cluster.x-k8s.io/set-name": plan.machine_set}
    names = {"cluster.x-k8s.io/control-plane": "", "cluster.x-k8s.io/control-plane-name": plan.name}
    return {**cluster_labels(plan), **names}


def _creator(machine: MachinePlan) -> str:
    return model.KCP_APPLY if machine.control_plane else model.MACHINE_SET_APPLY


def _machine(machine: MachinePlan) -> Draft:
    plan = machine.cluster
    owner = (
        controlled_by(model.KUBEADM_CONTROL_PLANE, plan.name)
        if machine.control_plane
        else controlled_by(model.MACHINE_SET, plan.machine_set)
    )
    hook = {"pre-terminate.delete.hook.machine.cluster.x-k8s.io/kcp-cleanup": ""}
    metadata = {"labels": _labels(machine), "annotations": hook if machine.control_plane else {}}
    spec = {
        "clusterName": plan.name,
        "version": KUBERNETES_VERSION,
        "bootstrap": {"configRef": reference(model.KUBEADM_CONFIG, machine.name)},
        "infrastructureRef": reference(model.METAL3_MACHINE, machine.name),
    }
    found = {"providerID": machine.provider_id, "bootstrap": {"dataSecretName": machine.name}}
    patch = {"metadata": {"finalizers": [MACHINE_FINALIZER]}, "spec": found}
    return _draft(
        machine,
        model.MACHINE,
        machine.name,
        {"metadata": metadata, "spec": spec},
        manager=_creator(machine),
        apply=True,
        owners=(owner,),
        amendments=(Amendment(model.CAPI_MANAGER, patch),),
        status=_machine_status(machine),
    )


def _machine_status(machine: MachinePlan) -> dict[str, Any]:
    extra = _CONTROL_PLANE_CONDITIONS if machine.control_plane else ()
    expiry = {"certificatesExpiryDate": CERTIFICATES_EXPIRE} if machine.control_plane else {}
    return {
        "addresses": _addresses(machine),
        "conditions": conditions(machine.cluster.spec, (*_MACHINE_CONDITIONS, *extra)),
        "initialization": {"bootstrapDataSecretCreated": True, "infrastructureProvisioned": True},
        "lastUpdated": SETTLED,
        "nodeInfo": _node_info(machine),
        "nodeRef": {"name": machine.name},
        "observedGeneration": 0,
        "phase": "Running",
        **expiry,
    }


def _addresses(machine: MachinePlan) -> list[dict[str, str]]:
    return [
        {"type": "InternalIP", "address": machine.address},
        {"type": "Hostname", "address": machine.name},
        {"type": "InternalDNS", "address": machine.name},
    ]


def _node_info(machine: MachinePlan) -> dict[str, str]:
    return {
        "architecture": "amd64",
        "bootID": identity(f"{machine.host.name} boot"),
        "containerRuntimeVersion": "cri-o://1.36.0",
        "kernelVersion": "6.8.0-60-generic",
        "kubeProxyVersion": "",
        "kubeletVersion": KUBERNETES_VERSION,
        "machineID": identity(f"{machine.host.name} machine").replace("-", ""),
        "operatingSystem": "linux",
        "osImage": "Ubuntu 24.04.2 LTS",
        "systemUUID": identity(f"{machine.host.name} system"),
    }


def _metal3_machine(machine: MachinePlan) -> Draft:
    spec = machine_template_spec(machine.data_template)["template"]["spec"]
    cloned = {
        "cluster.x-k8s.io/cloned-from-groupkind": str(model.METAL3_MACHINE_TEMPLATE),
        "cluster.x-k8s.io/cloned-from-name": machine.template,
    }
    host = {"metal3.io/BareMetalHost": f"{machine.host.namespace}/{machine.host.name}"}
    patch = {
        "metadata": {"annotations": host, "finalizers": [METAL3_MACHINE_FINALIZER]},
        "spec": {"providerID": machine.provider_id},
    }
    return _draft(
        machine,
        model.METAL3_MACHINE,
        machine.name,
        {"metadata": {"labels": _labels(machine), "annotations": cloned}, "spec": spec},
        manager=_creator(machine),
        apply=True,
        owners=(controlled_by(model.MACHINE, machine.name),),
        amendments=(Amendment(model.CAPI_MANAGER, patch, adopts=True),),
        status=_metal3_machine_status(machine),
    )


def _metal3_machine_status(machine: MachinePlan) -> dict[str, Any]:
    reported = (
        ("Ready", "Ready"),
        ("AssociateBareMetalHost", "AssociateBareMetalHostSuccess"),
        ("AssociateMetal3MachineMetaData", "AssociateMetal3MachineMetaDataSuccess"),
        ("Metal3DataReady", "Metal3DataSecretsReady"),
    )
    return {
        "addresses": _addresses(machine),
        "conditions": conditions(machine.cluster.spec, reported, observed=False),
        "initialization": {"provisioned": True},
        "lastUpdated": SETTLED,
        "metaData": _secret_reference(machine, f"{machine.name}-metadata"),
        "networkData": _secret_reference(machine, f"{machine.name}-networkdata"),
        "renderedData": _secret_reference(machine, machine.data),
        "userData": _secret_reference(machine, machine.name),
    }


def _secret_reference(machine: MachinePlan, name: str) -> dict[str, str]:
    return {"name": name, "namespace": machine.cluster.spec.namespace}


def _kubeadm_config(machine: MachinePlan) -> Draft:
    reported = (
        ("Ready", "Ready"),
        ("CertificatesAvailable", "Available"),
        ("DataSecretAvailable", "Available"),
    )
    status = {
        "conditions": conditions(machine.cluster.spec, reported),
        "dataSecretName": machine.name,
        "initialization": {"dataSecretCreated": True},
        "observedGeneration": 0,
    }
    return _draft(
        machine,
        model.KUBEADM_CONFIG,
        machine.name,
        {"metadata": {"labels": _labels(machine)}, "spec": _kubeadm_spec(machine)},
        manager=_creator(machine),
        apply=True,
        owners=(controlled_by(model.MACHINE, machine.name),),
        status=status,
        status_manager=model.CABPK_MANAGER,
    )


def _kubeadm_spec(machine: MachinePlan) -> dict[str, Any]:
    """Returns the spec for the machine that initializes, or that joins, without the other's section."""
    if not machine.control_plane:
        return worker_config()
    unused = "joinConfiguration" if machine.first else "initConfiguration"
    return {key: value for key, value in control_plane_config().items() if key != unused}


def _bootstrap_secret(machine: MachinePlan) -> Draft:
    labels = {CLUSTER_NAME_LABEL: machine.cluster.name}
    body = {"metadata": {"labels": labels}, "type": SECRET_TYPE, "data": user_data(machine)}
    owner = Owner(model.KUBEADM_CONFIG, machine.name, controller=True)
    return _draft(machine, model.SECRET, machine.name, body, manager=model.CABPK_MANAGER, owners=(owner,))


def _data_claim(machine: MachinePlan) -> Draft:
    finalizers = [METAL3_MACHINE_FINALIZER, DATA_CLAIM_FINALIZER]
    body = {
        "metadata": {"labels": _labels(machine), "finalizers": finalizers},
        "spec": {"template": {"name": machine.data_template}},
    }
    return _draft(
        machine,
        model.METAL3_DATA_CLAIM,
        machine.name,
        body,
        owners=(Owner(model.METAL3_MACHINE, machine.name, controller=True),),
        status={"renderedData": _secret_reference(machine, machine.data)},
    )


def _data(machine: MachinePlan) -> Draft:
    """Returns the data of a machine: owned by claim and machine, not by the template (CAPM3 v1.14)."""
    spec = {
        "index": machine.data_index,
        "claim": _secret_reference(machine, machine.name),
        "template": _secret_reference(machine, machine.data_template),
        "metaData": _secret_reference(machine, f"{machine.name}-metadata"),
        "networkData": _secret_reference(machine, f"{machine.name}-networkdata"),
    }
    metadata = {"labels": _labels(machine), "finalizers": [DATA_CLAIM_FINALIZER, DATA_FINALIZER]}
    claim = Owner(model.METAL3_DATA_CLAIM, machine.name, controller=True)
    return _draft(
        machine,
        model.METAL3_DATA,
        machine.data,
        {"metadata": metadata, "spec": spec},
        owners=(claim, Owner(model.METAL3_MACHINE, machine.name)),
        status={"ready": True},
    )


def _data_secret(machine: MachinePlan, suffix: str, data: Tree) -> Draft:
    labels = {CLUSTER_NAME_LABEL: machine.cluster.name}
    body = {"metadata": {"labels": labels}, "type": DATA_SECRET_TYPE, "data": data}
    owner = Owner(model.METAL3_DATA, machine.data, controller=True)
    return _draft(machine, model.SECRET, f"{machine.name}-{suffix}", body, owners=(owner,))


def _ip_claim(machine: MachinePlan) -> Draft:
    metadata = {"labels": _labels(machine), "finalizers": [DATA_FINALIZER, "ipclaim.ipam.metal3.io"]}
    return _draft(
        machine,
        model.IP_CLAIM,
        machine.ip_claim,
        {"metadata": metadata, "spec": {"pool": _secret_reference(machine, machine.cluster.pool)}},
        owners=(Owner(model.METAL3_DATA, machine.data, controller=True),),
        status={"address": _secret_reference(machine, machine.ip_address)},
    )


def _ip_address(machine: MachinePlan) -> Draft:
    plan = machine.cluster
    spec = {
        "address": machine.address,
        "claim": _secret_reference(machine, machine.ip_claim),
        "pool": _secret_reference(machine, plan.pool),
        "prefix": 16,
        "gateway": str(plan.first_address - 99),
        "dnsServers": [str(plan.first_address - 98)],
    }
    metadata = {"labels": _labels(machine), "finalizers": ["ipaddress.ipam.metal3.io"]}
    owners = (Owner(model.IP_POOL, plan.pool), Owner(model.IP_CLAIM, machine.ip_claim))
    return _draft(machine, model.IP_ADDRESS, machine.ip_address, {"metadata": metadata, "spec": spec}, owners=owners)
