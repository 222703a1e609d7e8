"""Metal3's CRDs: small structural ones of the project's own, or full ones from the folder in `METAL3_CRDS`.

The small ones say of each kind what matters to a mover (group, versions, plural, subresource, labels) and let
any field pass. The labels are the same either way:

- CAPM3's and IPAM's CRDs are providers' components, so they get the labels of `clusterctl init` and the
  contract labels of their kustomizations (config/crd/kustomization.yaml); Metal3DataTemplate has `…/move` of
  its own.
- The baremetal operator is no provider to clusterctl. BareMetalHost and HardwareData are labelled for the move
  by whoever sets Metal3 up; all other kinds of its group have no label, and clusterctl does not see them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.crds import CLUSTERCTL_LABEL, CONTRACT_LABELS, Crd, labelled, provider_labels, read_crds

FULL_CRDS_VARIABLE = "METAL3_CRDS"

MOVE_LABEL = f"{CLUSTERCTL_LABEL}/move"
MOVE_HIERARCHY_LABEL = f"{CLUSTERCTL_LABEL}/move-hierarchy"

INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io"
IPAM = "ipam.metal3.io"
METAL3 = "metal3.io"

_IPAM_CONTRACTS = {
    "cluster.x-k8s.io/v1alpha2": "v1alpha2",
    "cluster.x-k8s.io/v1alpha3": "v1alpha3_v1alpha4",
    "cluster.x-k8s.io/v1alpha4": "v1alpha5",
    "cluster.x-k8s.io/v1beta1": "v1beta1",
}
_GROUP_LABELS: Mapping[str, Mapping[str, str]] = {
    INFRASTRUCTURE: {**provider_labels("infrastructure-metal3"), **CONTRACT_LABELS},
    IPAM: {**provider_labels("ipam-metal3"), **_IPAM_CONTRACTS},
    METAL3: {},
}
_KIND_LABELS: Mapping[str, Mapping[str, str]] = {
    "Metal3DataTemplate": {MOVE_LABEL: ""},
    "BareMetalHost": {CLUSTERCTL_LABEL: "", MOVE_LABEL: "", MOVE_HIERARCHY_LABEL: ""},
    "HardwareData": {CLUSTERCTL_LABEL: "", MOVE_LABEL: ""},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of Metal3's kinds, all of them namespaced.

    Attributes:
        group: API group.
        name: The kind.
        plural: The name in URLs.
        short_names: What kubectl takes for it.
        has_status: Whether it has the status subresource.
    """

    group: str
    name: str
    plural: str
    short_names: tuple[str, ...] = ()
    has_status: bool = True

    @property
    def versions(self) -> tuple[str, ...]:
        """Returns the served versions, the storage version last."""
        return ("v1beta1", "v1beta2") if self.group == INFRASTRUCTURE else ("v1alpha1",)


KINDS: tuple[Kind, ...] = (
    Kind(INFRASTRUCTURE, "Metal3Cluster", "metal3clusters", ("m3c", "m3cluster")),
    Kind(INFRASTRUCTURE, "Metal3ClusterTemplate", "metal3clustertemplates", ("m3ct",), has_status=False),
    Kind(INFRASTRUCTURE, "Metal3Data", "metal3datas", ("m3d", "m3data")),
    Kind(INFRASTRUCTURE, "Metal3DataClaim", "metal3dataclaims", ("m3dc", "m3dataclaim")),
    Kind(INFRASTRUCTURE, "Metal3DataTemplate", "metal3datatemplates", ("m3dt", "m3datatemplate")),
    Kind(INFRASTRUCTURE, "Metal3Machine", "metal3machines", ("m3m", "m3machine")),
    Kind(INFRASTRUCTURE, "Metal3MachineTemplate", "metal3machinetemplates", ("m3mt",), has_status=False),
    Kind(INFRASTRUCTURE, "Metal3Remediation", "metal3remediations", ("m3r", "m3remediation")),
    Kind(INFRASTRUCTURE, "Metal3RemediationTemplate", "metal3remediationtemplates", ("m3rt",)),
    Kind(IPAM, "IPAddress", "ipaddresses", ("ipa", "m3ipa"), has_status=False),
    Kind(IPAM, "IPClaim", "ipclaims", ("ipc", "m3ipc")),
    Kind(IPAM, "IPPool", "ippools", ("ipp", "m3ipp")),
    Kind(METAL3, "BareMetalHost", "baremetalhosts", ("bmh", "bmhost")),
    Kind(METAL3, "BareMetalSwitch", "baremetalswitches", ("bms",)),
    Kind(METAL3, "BMCEventSubscription", "bmceventsubscriptions", ("bes", "bmcevent")),
    Kind(METAL3, "DataImage", "dataimages"),
    Kind(METAL3, "FirmwareSchema", "firmwareschemas", has_status=False),
    Kind(METAL3, "HardwareData", "hardwaredata", ("hd",), has_status=False),
    Kind(METAL3, "HostClaim", "hostclaims"),
    Kind(METAL3, "HostDeployPolicy", "hostdeploypolicies"),
    Kind(METAL3, "HostFirmwareComponents", "hostfirmwarecomponents"),
    Kind(METAL3, "HostFirmwareSettings", "hostfirmwaresettings", ("hfs",)),
    Kind(METAL3, "HostNetworkAttachment", "hostnetworkattachments"),
    Kind(METAL3, "HostUpdatePolicy", "hostupdatepolicies", has_status=False),
    Kind(METAL3, "PreprovisioningImage", "preprovisioningimages", ("ppimg",)),
)


def metal3_crds(folder: Path | None = None) -> tuple[Crd, ...]:
    """Returns Metal3's CRDs, labelled as in a management cluster.

    Args:
        folder: Where the full CRDs are; by default what `METAL3_CRDS` says, and the small ones without it.
    """
    configured = os.environ.get(FULL_CRDS_VARIABLE)
    source = folder or (Path(configured) if configured else None)
    bare = read_crds(source) if source else tuple(map(small_crd, KINDS))
    return tuple(labelled(crd, labels_of(crd["spec"]["group"], crd["spec"]["names"]["kind"])) for crd in bare)


def labels_of(group: str, kind: str) -> dict[str, str]:
    """Returns the labels of the CRD of a Metal3 kind."""
    return {**_GROUP_LABELS[group], **_KIND_LABELS.get(kind, {})}


def small_crd(kind: Kind) -> Crd:
    """Returns a structural CRD without labels that lets any field pass."""
    singular = kind.name.lower()
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": singular,
        "shortNames": list(kind.short_names),
    }
    versions = [_version(name, kind) for name in kind.versions]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "names": names, "scope": "Namespaced", "versions": versions},
    }


def _version(name: str, kind: Kind) -> dict[str, Any]:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    known = {"spec": anything, "status": anything} if kind.has_status else {"spec": anything}
    version = {
        "name": name,
        "served": True,
        "storage": name == kind.versions[-1],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": known}},
    }
    return {**version, "subresources": {"status": {}}} if kind.has_status else version
