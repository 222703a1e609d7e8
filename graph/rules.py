"""The labels, annotations, kinds and names of Cluster API, clusterctl and Metal3, with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

GroupKind: TypeAlias = tuple[str, str]

# --- API groups -----------------------------------------------------------------------------------

CAPI_GROUP: Final = "cluster.x-k8s.io"
ADDONS_GROUP: Final = "addons.cluster.x-k8s.io"
BOOTSTRAP_GROUP: Final = "bootstrap.cluster.x-k8s.io"
CONTROL_PLANE_GROUP: Final = "controlplane.cluster.x-k8s.io"
INFRA_GROUP: Final = "infrastructure.cluster.x-k8s.io"
CLUSTERCTL_GROUP: Final = "clusterctl.cluster.x-k8s.io"
METAL3_GROUP: Final = "metal3.io"
METAL3_IPAM_GROUP: Final = "ipam.metal3.io"

# --- clusterctl's labels and annotations (cluster-api cmd/clusterctl/api/v1alpha3) ----------------
# Their presence counts, their value does not (objectgraph.go, objMetaToNode).

CLUSTERCTL_LABEL: Final = "clusterctl.cluster.x-k8s.io"
"""On a CRD: its objects are discovered."""

CONTRACT_LABEL: Final = "cluster.x-k8s.io/v1beta2"
"""On CAPI's CRDs: the contract that this version of it serves (cluster-api cmd/clusterctl, CheckCAPIContract)."""

CLUSTERS_CRD: Final = "clusters.cluster.x-k8s.io"

MOVE_LABEL: Final = "clusterctl.cluster.x-k8s.io/move"
"""On a CRD or an object: it moves, whoever owns it."""

MOVE_HIERARCHY_LABEL: Final = "clusterctl.cluster.x-k8s.io/move-hierarchy"
"""On a CRD or an object: it moves with everything below it."""

BLOCK_MOVE_ANNOTATION: Final = "clusterctl.cluster.x-k8s.io/block-move"
"""Set by a provider on an object that is not yet safely paused."""

DELETE_FOR_MOVE_ANNOTATION: Final = "clusterctl.cluster.x-k8s.io/delete-for-move"
"""Tells deletion webhooks that the object was moved and lives on elsewhere."""

# --- Cluster API's labels and annotations (cluster-api api/core, common_types.go) -----------------

PAUSED_ANNOTATION: Final = "cluster.x-k8s.io/paused"
"""A controller leaves the object alone, whatever the value."""

CLUSTER_NAME_LABEL: Final = "cluster.x-k8s.io/cluster-name"
"""Names the Cluster that an object belongs to, in the object's namespace."""

# --- Metal3's labels and annotations (baremetal-operator apis/metal3.io/v1alpha1; CAPM3 baremetal)

HOST_PAUSED_ANNOTATION: Final = "baremetalhost.metal3.io/paused"
"""On a BareMetalHost: the operator returns before doing anything else, whatever the value."""

HOST_STATUS_ANNOTATION: Final = "baremetalhost.metal3.io/status"
"""On a BareMetalHost: the status to begin with while `.status.lastUpdated` is zero; without `hardware`."""

CAPM3_HOST_PAUSED_VALUE: Final = "metal3.io/capm3"
"""The value CAPM3 gives to its own pause of a host; it takes off no other."""

# --- Kinds ----------------------------------------------------------------------------------------

SECRET: Final[GroupKind] = ("", "Secret")
CONFIG_MAP: Final[GroupKind] = ("", "ConfigMap")

CLUSTER: Final[GroupKind] = (CAPI_GROUP, "Cluster")
CLUSTER_CLASS: Final[GroupKind] = (CAPI_GROUP, "ClusterClass")
MACHINE: Final[GroupKind] = (CAPI_GROUP, "Machine")
MACHINE_SET: Final[GroupKind] = (CAPI_GROUP, "MachineSet")
MACHINE_DEPLOYMENT: Final[GroupKind] = (CAPI_GROUP, "MachineDeployment")
MACHINE_POOL: Final[GroupKind] = (CAPI_GROUP, "MachinePool")
MACHINE_HEALTH_CHECK: Final[GroupKind] = (CAPI_GROUP, "MachineHealthCheck")
CLUSTER_RESOURCE_SET: Final[GroupKind] = (ADDONS_GROUP, "ClusterResourceSet")
CLUSTER_RESOURCE_SET_BINDING: Final[GroupKind] = (ADDONS_GROUP, "ClusterResourceSetBinding")
KUBEADM_CONFIG: Final[GroupKind] = (BOOTSTRAP_GROUP, "KubeadmConfig")
KUBEADM_CONTROL_PLANE: Final[GroupKind] = (CONTROL_PLANE_GROUP, "KubeadmControlPlane")

PROVIDER: Final[GroupKind] = (CLUSTERCTL_GROUP, "Provider")
"""clusterctl's inventory of what is installed; Secrets are also read from the infrastructure providers'
namespaces (objectgraph.go, Discovery)."""

METAL3_CLUSTER: Final[GroupKind] = (INFRA_GROUP, "Metal3Cluster")
METAL3_CLUSTER_TEMPLATE: Final[GroupKind] = (INFRA_GROUP, "Metal3ClusterTemplate")
METAL3_MACHINE: Final[GroupKind] = (INFRA_GROUP, "Metal3Machine")
METAL3_MACHINE_TEMPLATE: Final[GroupKind] = (INFRA_GROUP, "Metal3MachineTemplate")
METAL3_DATA: Final[GroupKind] = (INFRA_GROUP, "Metal3Data")
METAL3_DATA_CLAIM: Final[GroupKind] = (INFRA_GROUP, "Metal3DataClaim")
METAL3_DATA_TEMPLATE: Final[GroupKind] = (INFRA_GROUP, "Metal3DataTemplate")
METAL3_REMEDIATION: Final[GroupKind] = (INFRA_GROUP, "Metal3Remediation")
METAL3_REMEDIATION_TEMPLATE: Final[GroupKind] = (INFRA_GROUP, "Metal3RemediationTemplate")

BARE_METAL_HOST: Final[GroupKind] = (METAL3_GROUP, "BareMetalHost")
BARE_METAL_SWITCH: Final[GroupKind] = (METAL3_GROUP, "BareMetalSwitch")
BMC_EVENT_SUBSCRIPTION: Final[GroupKind] = (METAL3_GROUP, "BMCEventSubscription")
DATA_IMAGE: Final[GroupKind] = (METAL3_GROUP, "DataImage")
FIRMWARE_SCHEMA: Final[GroupKind] = (METAL3_GROUP, "FirmwareSchema")
HARDWARE_DATA: Final[GroupKind] = (METAL3_GROUP, "HardwareData")
HOST_CLAIM: Final[GroupKind] = (METAL3_GROUP, "HostClaim")
HOST_DEPLOY_POLICY: Final[GroupKind] = (METAL3_GROUP, "HostDeployPolicy")
HOST_FIRMWARE_COMPONENTS: Final[GroupKind] = (METAL3_GROUP, "HostFirmwareComponents")
HOST_FIRMWARE_SETTINGS: Final[GroupKind] = (METAL3_GROUP, "HostFirmwareSettings")
HOST_NETWORK_ATTACHMENT: Final[GroupKind] = (METAL3_GROUP, "HostNetworkAttachment")
HOST_UPDATE_POLICY: Final[GroupKind] = (METAL3_GROUP, "HostUpdatePolicy")
PREPROVISIONING_IMAGE: Final[GroupKind] = (METAL3_GROUP, "PreprovisioningImage")

IP_POOL: Final[GroupKind] = (METAL3_IPAM_GROUP, "IPPool")
IP_CLAIM: Final[GroupKind] = (METAL3_IPAM_GROUP, "IPClaim")
IP_ADDRESS: Final[GroupKind] = (METAL3_IPAM_GROUP, "IPAddress")

HIERARCHY_KINDS: Final[frozenset[GroupKind]] = frozenset({CLUSTER, CLUSTER_CLASS, CLUSTER_RESOURCE_SET})
"""Kinds that move with everything below them without a label (objectgraph.go, getDiscoveryTypes)."""

# --- What moves -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MoveFlags:
    """What the labels of a CRD say about moving its objects.

    Attributes:
        move: As if the CRD carried `MOVE_LABEL`.
        move_hierarchy: As if the CRD carried `MOVE_HIERARCHY_LABEL`.
    """

    move: bool = False
    move_hierarchy: bool = False


_BY_OWNER = MoveFlags()

METAL3_KINDS: Final[Mapping[GroupKind, MoveFlags]] = MappingProxyType(
    {
        METAL3_CLUSTER: _BY_OWNER,
        METAL3_CLUSTER_TEMPLATE: _BY_OWNER,
        METAL3_MACHINE: _BY_OWNER,
        METAL3_MACHINE_TEMPLATE: _BY_OWNER,
        METAL3_DATA: _BY_OWNER,
        METAL3_DATA_CLAIM: _BY_OWNER,
        # Labelled so in CAPM3's own CRD.
        METAL3_DATA_TEMPLATE: MoveFlags(move=True),
        METAL3_REMEDIATION: _BY_OWNER,
        METAL3_REMEDIATION_TEMPLATE: _BY_OWNER,
        # Metal3's pivot puts these on by hand (metal3-dev-env, CAPM3 e2e): no owner leads to a host.
        BARE_METAL_HOST: MoveFlags(move=True, move_hierarchy=True),
        HARDWARE_DATA: MoveFlags(move=True),
        BARE_METAL_SWITCH: _BY_OWNER,
        BMC_EVENT_SUBSCRIPTION: _BY_OWNER,
        DATA_IMAGE: _BY_OWNER,
        FIRMWARE_SCHEMA: _BY_OWNER,
        HOST_CLAIM: _BY_OWNER,
        HOST_DEPLOY_POLICY: _BY_OWNER,
        HOST_FIRMWARE_COMPONENTS: _BY_OWNER,
        HOST_FIRMWARE_SETTINGS: _BY_OWNER,
        HOST_NETWORK_ATTACHMENT: _BY_OWNER,
        HOST_UPDATE_POLICY: _BY_OWNER,
        PREPROVISIONING_IMAGE: _BY_OWNER,
        IP_POOL: _BY_OWNER,
        IP_CLAIM: _BY_OWNER,
        IP_ADDRESS: _BY_OWNER,
    }
)
"""The Metal3 kinds that are discovered without a label on their CRDs, with the labels they would have.

clusterctl asks for the labels. Without flags of its own a kind moves only where an owner takes it along; that
brings HostFirmwareSettings, HostFirmwareComponents, FirmwareSchema, DataImage and HostUpdatePolicy, which
clusterctl leaves behind to be collected with their host."""

# --- What can be in two places ---------------------------------------------------------------------

ALLOCATOR_KINDS: Final[frozenset[GroupKind]] = frozenset(
    {METAL3_DATA_TEMPLATE, IP_POOL, ("ipam.cluster.x-k8s.io", "InClusterIPPool")}
)
"""Kinds that hand out addresses or indexes from one range: two copies would hand out the same ones twice."""

_SHAREABLE_KINDS: Final[frozenset[GroupKind]] = frozenset(
    {
        SECRET,
        CONFIG_MAP,
        CLUSTER_CLASS,
        CLUSTER_RESOURCE_SET,
        FIRMWARE_SCHEMA,
        HOST_DEPLOY_POLICY,
        HOST_NETWORK_ATTACHMENT,
    }
)
_SHAREABLE_ENDINGS: Final = ("Template", "Identity")


def is_shareable(kind: GroupKind) -> bool:
    """Returns whether an object of the kind can be on two clusters at once (docs/decisions/0021).

    It is read by those who use it and acts on nothing of its own but the Clusters beside it. Everything else, unknown
    kinds too, is taken to act on machines or to hand out what must not be handed out twice.

    >>> is_shareable(METAL3_MACHINE_TEMPLATE), is_shareable(METAL3_DATA_TEMPLATE), is_shareable(MACHINE)
    (True, False, False)
    """
    return kind in _SHAREABLE_KINDS or (kind[1].endswith(_SHAREABLE_ENDINGS) and kind not in ALLOCATOR_KINDS)


# --- What pauses ----------------------------------------------------------------------------------

PAUSED_CONDITION_KINDS: Final[frozenset[GroupKind]] = frozenset(
    {
        CLUSTER,
        CLUSTER_CLASS,
        CLUSTER_RESOURCE_SET,
        MACHINE,
        MACHINE_SET,
        MACHINE_DEPLOYMENT,
        MACHINE_POOL,
        MACHINE_HEALTH_CHECK,
        KUBEADM_CONFIG,
        KUBEADM_CONTROL_PLANE,
        METAL3_CLUSTER,
        METAL3_MACHINE,
    }
)
"""Kinds whose controllers report that they saw a pause, in the condition `Paused` (CAPI v1beta2, CAPM3)."""

PAUSE_NOT_AWAITED_KINDS: Final[frozenset[GroupKind]] = frozenset({METAL3_CLUSTER})
"""Of those, the kinds that must not be waited for: CAPM3 does not reconcile a Metal3Cluster when its Cluster
is paused, so its condition may stay False for ever."""

OWN_PAUSE_KINDS: Final[frozenset[GroupKind]] = frozenset(
    {METAL3_DATA_TEMPLATE, IP_POOL, IP_CLAIM, CLUSTER_RESOURCE_SET}
)
"""Kinds that can ignore the pause of a Cluster and so get a `PAUSED_ANNOTATION` of the move's own (an IPPool
without `spec.clusterName` belongs to no Cluster; a ClusterResourceSet looks only at its own annotation,
clusterresourceset_controller.go)."""

# --- What is deleted when -------------------------------------------------------------------------

DELETED_AFTER: Final[Mapping[GroupKind, GroupKind]] = MappingProxyType({METAL3_CLUSTER: METAL3_MACHINE})
"""Kind -> the kind of the same Cluster that is deleted before it, on top of dependents before owners.

Once the Metal3Cluster is gone CAPM3 writes into every Metal3Machine that it waits for it; each exact delete
of one then meets a conflict."""

# --- Soft owners ----------------------------------------------------------------------------------


class SoftRule(StrEnum):
    """The rules that make an owner without an owner reference.

    The first three are clusterctl's (objectgraph.go, setSoftOwnership), the others Metal3's (docs/decisions/0002).
    """

    SECRET_NAME = "cluster-secret-name"  # noqa: S105 - the name of a rule
    TOPOLOGY_CLASS = "cluster-topology-class"
    BINDING_CLUSTER = "binding-cluster-name"
    HOST_SECRET = "host-secret"  # noqa: S105 - the name of a rule
    CLAIM_POOL = "claim-pool"


SECRET_PURPOSES: Final[tuple[str, ...]] = (
    "kubeconfig",
    "ca",
    "etcd",
    "sa",
    "proxy",
    "apiserver-etcd-client",
)
"""The last part of the name of a Cluster's Secret (cluster-api util/secret, consts.go)."""


def is_hierarchy_kind(group: str, kind: str) -> bool:
    """Returns whether objects of the kind move with everything below them without any label.

    Source: clusterctl objectgraph.go, getDiscoveryTypes.
    """
    return (group, kind) in HIERARCHY_KINDS


def parse_cluster_secret_name(name: str) -> str | None:
    """Returns the Cluster's name in a Secret's name `<cluster>-<purpose>`, or None if it is no such name.

    Source: cluster-api util/secret, ParseSecretName.

    >>> parse_cluster_secret_name("prod-apiserver-etcd-client")
    'prod'
    >>> parse_cluster_secret_name("prod-token") is None
    True
    """
    for purpose in SECRET_PURPOSES:
        cluster = name.removesuffix(f"-{purpose}")
        if cluster != name:
            return cluster or None
    return None
