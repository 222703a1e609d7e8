"""The kinds of the scenarios: made-up ones for each shape a CRD can have, and CAPI's that the test bed lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graph import rules
from graph.resource import ResourceType
from tests.testbed.crds import Crd
from tests.testbed.fleet import model

GROUP = "made-up.example.com"
OTHER_GROUP = "other.example.com"

DISCOVERED = {rules.CLUSTERCTL_LABEL: ""}
MOVE = {**DISCOVERED, rules.MOVE_LABEL: ""}
HIERARCHY = {**DISCOVERED, rules.MOVE_HIERARCHY_LABEL: ""}


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A kind that only the scenarios know.

    Attributes:
        type: Its type, in its storage version.
        labels: The labels of its CRD.
        others: The other versions that are served.
    """

    type: ResourceType
    labels: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    def crd(self) -> Crd:
        """Returns its CRD; it lets any field pass."""
        names = {"kind": self.type.kind, "plural": self.type.plural, "singular": self.type.kind.lower()}
        versions = [self._version(name) for name in sorted({self.type.version, *self.others})]
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.type.plural}.{self.type.group}", "labels": dict(self.labels)},
            "spec": {
                "group": self.type.group,
                "names": {**names, "listKind": f"{self.type.kind}List"},
                "scope": "Namespaced" if self.type.namespaced else "Cluster",
                "versions": versions,
            },
        }

    def _version(self, name: str) -> dict[str, Any]:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        status: dict[str, Any] = {"subresources": {"status": {}}} if self.type.has_status else {}
        storage = name == self.type.version
        return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}, **status}


def _kind(kind: str, plural: str, group: str = GROUP, version: str = "v1", *, namespaced: bool = True) -> ResourceType:
    return ResourceType(group, version, kind, plural, namespaced=namespaced, has_status=True)


GADGET = _kind("Gadget", "gadgets")
OTHER_GADGET = _kind("Gadget", "gadgets", OTHER_GROUP)
ROVER = _kind("Rover", "rovers")
REALM = _kind("Realm", "realms")
GHOST = _kind("Ghost", "ghosts")
GOOSE = _kind("Goose", "geese")
EDITION = _kind("Edition", "editions", version="v1beta1")
STONE = ResourceType(GROUP, "v1", "Stone", "stones")
PLANET = _kind("Planet", "planets", namespaced=False)
COMET = _kind("Comet", "comets", namespaced=False)
GALAXY = _kind("Galaxy", "galaxies", namespaced=False)

MADE_UP = (
    MadeUp(GADGET, DISCOVERED),
    MadeUp(OTHER_GADGET, DISCOVERED),
    MadeUp(ROVER, MOVE),
    MadeUp(REALM, HIERARCHY),
    MadeUp(GHOST),
    MadeUp(GOOSE, MOVE),
    MadeUp(EDITION, MOVE, others=("v1alpha1", "v2")),
    MadeUp(STONE, MOVE),
    MadeUp(PLANET, DISCOVERED),
    MadeUp(COMET, MOVE),
    MadeUp(GALAXY, HIERARCHY),
)

# --- CAPI's kinds that the fleet of the test bed has no use for -----------------------------------

PROVIDER = ResourceType("clusterctl.cluster.x-k8s.io", "v1alpha3", "Provider", "providers")
RESOURCE_SET = ResourceType(rules.ADDONS_GROUP, "v1beta2", "ClusterResourceSet", "clusterresourcesets", has_status=True)
BINDING = ResourceType(rules.ADDONS_GROUP, "v1beta2", "ClusterResourceSetBinding", "clusterresourcesetbindings")
MACHINE_POOL = ResourceType(model.CLUSTER_GROUP, "v1beta2", "MachinePool", "machinepools", has_status=True)
