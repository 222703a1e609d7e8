"""The values the fleet builder works with: what is wanted, what is to be written, what was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graph.resource import ObjectKey, ResourceType

CLUSTER_GROUP = "cluster.x-k8s.io"
BOOTSTRAP_GROUP = "bootstrap.cluster.x-k8s.io"
CONTROL_PLANE_GROUP = "controlplane.cluster.x-k8s.io"
INFRASTRUCTURE_GROUP = "infrastructure.cluster.x-k8s.io"
IPAM_GROUP = "ipam.metal3.io"
METAL3_GROUP = "metal3.io"

CAPI_MANAGER = "manager"
KCP_MANAGER = "capi-kubeadm-control-plane-manager"
CABPK_MANAGER = "capi-kubeadm-bootstrap-manager"
BMO_MANAGER = "baremetal-operator"
USER_MANAGER = "kubectl-client-side-apply"

KCP_APPLY = "capi-kubeadmcontrolplane"
MACHINE_DEPLOYMENT_APPLY = "capi-machinedeployment"
MACHINE_SET_APPLY = "capi-machineset"
TOPOLOGY_APPLY = "capi-topology"

Tree = Mapping[str, Any]


def _capi(group: str, kind: str, *, has_status: bool = True) -> ResourceType:
    plural = f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"
    return ResourceType(group, "v1beta2", kind, plural, has_status=has_status)


def _metal3(group: str, kind: str, plural: str, *, has_status: bool = True) -> ResourceType:
    return ResourceType(group, "v1alpha1", kind, plural, has_status=has_status)


SECRET = ResourceType("", "v1", "Secret", "secrets")
CONFIG_MAP = ResourceType("", "v1", "ConfigMap", "configmaps")
CLUSTER = _capi(CLUSTER_GROUP, "Cluster")
CLUSTER_CLASS = _capi(CLUSTER_GROUP, "ClusterClass")
MACHINE = _capi(CLUSTER_GROUP, "Machine")
MACHINE_SET = _capi(CLUSTER_GROUP, "MachineSet")
MACHINE_DEPLOYMENT = _capi(CLUSTER_GROUP, "MachineDeployment")
MACHINE_HEALTH_CHECK = _capi(CLUSTER_GROUP, "MachineHealthCheck")
KUBEADM_CONFIG = _capi(BOOTSTRAP_GROUP, "KubeadmConfig")
KUBEADM_CONFIG_TEMPLATE = _capi(BOOTSTRAP_GROUP, "KubeadmConfigTemplate", has_status=False)
KUBEADM_CONTROL_PLANE = _capi(CONTROL_PLANE_GROUP, "KubeadmControlPlane")
KUBEADM_CONTROL_PLANE_TEMPLATE = _capi(CONTROL_PLANE_GROUP, "KubeadmControlPlaneTemplate", has_status=False)
METAL3_CLUSTER = _capi(INFRASTRUCTURE_GROUP, "Metal3Cluster")
METAL3_CLUSTER_TEMPLATE = _capi(INFRASTRUCTURE_GROUP, "Metal3ClusterTemplate", has_status=False)
METAL3_MACHINE = _capi(INFRASTRUCTURE_GROUP, "Metal3Machine")
METAL3_MACHINE_TEMPLATE = _capi(INFRASTRUCTURE_GROUP, "Metal3MachineTemplate", has_status=False)
METAL3_DATA = _capi(INFRASTRUCTURE_GROUP, "Metal3Data")
METAL3_DATA_CLAIM = _capi(INFRASTRUCTURE_GROUP, "Metal3DataClaim")
METAL3_DATA_TEMPLATE = _capi(INFRASTRUCTURE_GROUP, "Metal3DataTemplate")
IP_POOL = _metal3(IPAM_GROUP, "IPPool", "ippools")
IP_CLAIM = _metal3(IPAM_GROUP, "IPClaim", "ipclaims")
IP_ADDRESS = _metal3(IPAM_GROUP, "IPAddress", "ipaddresses", has_status=False)
HOST = _metal3(METAL3_GROUP, "BareMetalHost", "baremetalhosts")
HARDWARE_DATA = _metal3(METAL3_GROUP, "HardwareData", "hardwaredata", has_status=False)
FIRMWARE_SETTINGS = _metal3(METAL3_GROUP, "HostFirmwareSettings", "hostfirmwaresettings")
FIRMWARE_SCHEMA = _metal3(METAL3_GROUP, "FirmwareSchema", "firmwareschemas", has_status=False)

UNLABELLED_TYPES = (FIRMWARE_SETTINGS, FIRMWARE_SCHEMA)


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """What a fleet is made of; all of it is in one namespace.

    Attributes:
        namespace: Created if it is missing.
        clusters: Number of workload clusters, each with the machines below.
        control_planes: Control plane machines of each cluster.
        workers: Workers of each cluster, in one MachineDeployment.
        spare_hosts: Inspected hosts that no cluster claims.
        unrelated_secrets: Secrets that have nothing to do with any of it.
        topology: Whether the clusters are made from a ClusterClass that they share.
        paused_conditions: Whether the kinds that report a Paused condition have it (False, NotPaused).
        paused: Whether the clusters are created paused, for real controllers to look on while the rest is written.
        host_owners: Whether a claimed host is owned by its Metal3Machine, as CAPM3 did up to v1.13.
        workload_kubeconfig: What the kubeconfig Secrets hold; made up if empty.
        cluster_name: Clusters are called `<cluster_name>-1` and so on.
        host_name: Hosts are called `<host_name>-0001` and so on.
    """

    namespace: str = "metal3"
    clusters: int = 1
    control_planes: int = 3
    workers: int = 2
    spare_hosts: int = 2
    unrelated_secrets: int = 2
    topology: bool = False
    paused_conditions: bool = True
    paused: bool = False
    host_owners: bool = False
    workload_kubeconfig: str = ""
    cluster_name: str = "prod"
    host_name: str = "node"

    @property
    def machines(self) -> int:
        """Returns the number of machines of the whole fleet."""
        return self.clusters * (self.control_planes + self.workers)

    @property
    def hosts(self) -> int:
        """Returns the number of hosts, claimed and spare."""
        return self.machines + self.spare_hosts


@dataclass(frozen=True, slots=True)
class Fleet:
    """What was made on the API server, sorted by key.

    Attributes:
        spec: What was asked for.
        movable: Everything a move has to take along.
        unrelated: What it has to leave alone.
        left_by_clusterctl: Those of `movable` that clusterctl does not see: their CRDs lack its label.
    """

    spec: FleetSpec
    movable: tuple[ObjectKey, ...]
    unrelated: tuple[ObjectKey, ...]
    left_by_clusterctl: tuple[ObjectKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner reference to an object of the fleet, whose UID is known once it was made."""

    type: ResourceType
    name: str
    controller: bool = False
    block_deletion: bool = False


@dataclass(frozen=True, slots=True)
class Amendment:
    """A merge patch that a controller makes after the object was created.

    Attributes:
        manager: Its field manager.
        patch: What it changes.
        adopts: Whether it is this patch that sets the owner references.
    """

    manager: str
    patch: Tree
    adopts: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """An object to write, and how it came to be: who created it, who changed it, who reports its status.

    Attributes:
        type: Its resource type.
        namespace: Its namespace.
        name: Its name.
        body: All of it but apiVersion, kind, name, namespace, owners and status.
        manager: The field manager that creates it.
        apply: Whether it is created by server-side apply.
        owners: Its owners, all of them in the same fleet.
        amendments: Later changes, in this order.
        status: Written through the status subresource; every `observedGeneration` in it becomes the true one.
        status_manager: The field manager of the status.
        unrelated: Whether a move leaves it alone.
    """

    type: ResourceType
    namespace: str
    name: str
    body: Tree
    manager: str = CAPI_MANAGER
    apply: bool = False
    owners: tuple[Owner, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    status: Tree | None = None
    status_manager: str = CAPI_MANAGER
    unrelated: bool = False

    @property
    def key(self) -> ObjectKey:
        """Returns the object's key."""
        return ObjectKey(self.type.group, self.type.kind, self.namespace, self.name)

    @property
    def owner_keys(self) -> tuple[ObjectKey, ...]:
        """Returns the keys of its owners."""
        return tuple(ObjectKey(owner.type.group, owner.type.kind, self.namespace, owner.name) for owner in self.owners)

    @property
    def collection_path(self) -> str:
        """Returns the path that objects of its type and namespace are created at."""
        root = f"/apis/{self.type.api_version}" if self.type.group else f"/api/{self.type.version}"
        return f"{root}/namespaces/{self.namespace}/{self.type.plural}"


def controlled_by(resource: ResourceType, name: str) -> Owner:
    """Returns the reference that controller-runtime's SetControllerReference sets."""
    return Owner(resource, name, controller=True, block_deletion=True)
