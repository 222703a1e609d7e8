"""The types of Cluster API, its kubeadm providers and Metal3, for when there is no cluster to ask.

Sources: the CRDs of cluster-api v1.14, CAPM3, ip-address-manager and baremetal-operator, as `clusterctl init` leaves
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from graph import rules
from graph.resource import ResourceType
from mover.discovery import CONFIG_MAPS, SECRETS

CREDENTIAL_NAMESPACE: Final = "capm3-system"
"""Where CAPM3 is installed: Secrets of an infrastructure provider's namespace are read, too."""

_CAPI_IPAM_GROUP: Final = "ipam.cluster.x-k8s.io"
_RUNTIME_GROUP: Final = "runtime.cluster.x-k8s.io"

# API group -> version, and kind -> plural; with a "*" behind it the type has no status subresource.
_KINDS: Final[Mapping[tuple[str, str], Mapping[str, str]]] = MappingProxyType(
    {
        (rules.CAPI_GROUP, "v1beta2"): {
            "Cluster": "clusters",
            "ClusterClass": "clusterclasses",
            "Machine": "machines",
            "MachineDeployment": "machinedeployments",
            "MachineDrainRule": "machinedrainrules*",
            "MachineHealthCheck": "machinehealthchecks",
            "MachinePool": "machinepools",
            "MachineSet": "machinesets",
        },
        (rules.ADDONS_GROUP, "v1beta2"): {
            "ClusterResourceSet": "clusterresourcesets",
            "ClusterResourceSetBinding": "clusterresourcesetbindings*",
        },
        (rules.BOOTSTRAP_GROUP, "v1beta2"): {
            "KubeadmConfig": "kubeadmconfigs",
            "KubeadmConfigTemplate": "kubeadmconfigtemplates*",
        },
        (rules.CONTROL_PLANE_GROUP, "v1beta2"): {
            "KubeadmControlPlane": "kubeadmcontrolplanes",
            "KubeadmControlPlaneTemplate": "kubeadmcontrolplanetemplates*",
        },
        (_CAPI_IPAM_GROUP, "v1beta2"): {"IPAddress": "ipaddresses*", "IPAddressClaim": "ipaddressclaims"},
        (_RUNTIME_GROUP, "v1beta2"): {"ExtensionConfig": "extensionconfigs"},
        (rules.INFRA_GROUP, "v1beta2"): {
            "Metal3Cluster": "metal3clusters",
            "Metal3ClusterTemplate": "metal3clustertemplates*",
            "Metal3Data": "metal3datas",
            "Metal3DataClaim": "metal3dataclaims",
            "Metal3DataTemplate": "metal3datatemplates",
            "Metal3Machine": "metal3machines",
            "Metal3MachineTemplate": "metal3machinetemplates*",
            "Metal3Remediation": "metal3remediations",
            "Metal3RemediationTemplate": "metal3remediationtemplates",
        },
        (rules.METAL3_IPAM_GROUP, "v1alpha1"): {
            "IPAddress": "ipaddresses*",
            "IPClaim": "ipclaims",
            "IPPool": "ippools",
        },
        (rules.METAL3_GROUP, "v1alpha1"): {
            "BareMetalHost": "baremetalhosts",
            "BareMetalSwitch": "baremetalswitches",
            "BMCEventSubscription": "bmceventsubscriptions",
            "DataImage": "dataimages",
            "FirmwareSchema": "firmwareschemas*",
            "HardwareData": "hardwaredata*",
            "HostClaim": "hostclaims",
            "HostDeployPolicy": "hostdeploypolicies",
            "HostFirmwareComponents": "hostfirmwarecomponents",
            "HostFirmwareSettings": "hostfirmwaresettings",
            "HostNetworkAttachment": "hostnetworkattachments",
            "HostUpdatePolicy": "hostupdatepolicies*",
            "PreprovisioningImage": "preprovisioningimages",
        },
    }
)

_CLUSTER_SCOPED: Final = frozenset({(_RUNTIME_GROUP, "ExtensionConfig")})


def known_types() -> tuple[ResourceType, ...]:
    """Returns the types that a move reads where nothing else is installed, with Secrets and ConfigMaps; sorted."""
    return tuple(sorted([*_crd_types(), SECRETS, CONFIG_MAPS]))


def _crd_types() -> Iterator[ResourceType]:
    for (group, version), kinds in _KINDS.items():
        for kind, plural in kinds.items():
            yield ResourceType(
                group=group,
                version=version,
                kind=kind,
                plural=plural.removesuffix("*"),
                namespaced=(group, kind) not in _CLUSTER_SCOPED,
                has_status=not plural.endswith("*"),
            )
