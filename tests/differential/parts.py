"""Short ways to write the objects of CAPI that the scenarios are made of: as small as their CRDs allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph.resource import ResourceType
from tests.differential.kinds import BINDING, GADGET, RESOURCE_SET
from tests.differential.world import Owner, Thing, Tree
from tests.testbed.fleet import model

INITIALISED: Tree = {
    "initialization": {"infrastructureProvisioned": True, "controlPlaneInitialized": True},
    "conditions": [
        {
            "type": "ControlPlaneInitialized",
            "status": "True",
            "reason": "Initialized",
            "message": "",
            "lastTransitionTime": "2026-01-12T08:45:00Z",
        }
    ],
}
"""The status without which clusterctl moves no Cluster."""


def cluster(name: str = "c", *, status: Tree = INITIALISED, spec: Tree | None = None, **rest: Any) -> Thing:
    """Returns a Cluster that is ready to be moved."""
    endpoint = {"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}}
    return Thing(model.CLUSTER, name, {"spec": {**endpoint, **(spec or {})}}, status=status, **rest)


def topology(name: str, class_name: str, class_namespace: str = "", **rest: Any) -> Thing:
    """Returns a Cluster that is made from a ClusterClass."""
    reference = {"name": class_name, **({"namespace": class_namespace} if class_namespace else {})}
    return cluster(name, spec={"topology": {"classRef": reference, "version": "v1.36.3"}}, **rest)


def machine(name: str, of: Thing, *, has_node: bool = True, **rest: Any) -> Thing:
    """Returns a Machine of a Cluster."""
    reference = {"apiGroup": GADGET.group, "kind": GADGET.kind, "name": name}
    spec = {"clusterName": of.name, "bootstrap": {"dataSecretName": name}, "infrastructureRef": reference}
    status = {"nodeRef": {"name": name}} if has_node else None
    return Thing(
        model.MACHINE, name, {"spec": spec}, owners=(of.owner(controller=True, block=True),), status=status, **rest
    )


def template(name: str, *owners: Owner, **rest: Any) -> Thing:
    """Returns what stands for a template of a ClusterClass."""
    return gadget(name, *owners, body={"spec": {"template": {"spec": {}}}}, **rest)


def cluster_class(name: str, *, infrastructure: str, control_plane: str, **rest: Any) -> Thing:
    """Returns a ClusterClass that refers to two templates by name."""
    spec = {
        "infrastructure": {"templateRef": reference_to(GADGET, infrastructure)},
        "controlPlane": {"templateRef": reference_to(GADGET, control_plane)},
        **rest.pop("spec", {}),
    }
    return Thing(model.CLUSTER_CLASS, name, {"spec": spec}, **rest)


def reference_to(resource: ResourceType, name: str) -> dict[str, str]:
    """Returns a template reference of a ClusterClass."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, "name": name}


def resource_set(name: str, *resources: Thing, **rest: Any) -> Thing:
    """Returns a ClusterResourceSet that applies ConfigMaps and Secrets to every Cluster labelled `cni`."""
    named = [{"kind": thing.type.kind, "name": thing.name} for thing in resources]
    selector = {"matchLabels": {"cni": "calico"}}
    return Thing(RESOURCE_SET, name, {"spec": {"clusterSelector": selector, "resources": named}}, **rest)


def binding(name: str, of: str, *owners: Owner, **rest: Any) -> Thing:
    """Returns a ClusterResourceSetBinding of the Cluster called `of`."""
    return Thing(BINDING, name, {"spec": {"clusterName": of}}, owners=owners, **rest)


def gadget(name: str, *owners: Owner, body: Tree | None = None, **rest: Any) -> Thing:
    """Returns an object of a kind that clusterctl reads but that no label moves."""
    return made(GADGET, name, *owners, body=body, **rest)


def made(resource: ResourceType, name: str, *owners: Owner, body: Tree | None = None, **rest: Any) -> Thing:
    """Returns an object of a made-up kind."""
    return Thing(resource, name, body or {"spec": {"of": name}}, owners=owners, **rest)


def secret(name: str, *owners: Owner, **rest: Any) -> Thing:
    """Returns a Secret of CAPI's type, which cannot be changed later."""
    body = {"type": "cluster.x-k8s.io/secret", "data": {"value": "c2VjcmV0"}}
    return Thing(model.SECRET, name, body, owners=owners, **rest)


def config_map(name: str, *owners: Owner, data: Mapping[str, str] | None = None, **rest: Any) -> Thing:
    """Returns a ConfigMap."""
    return Thing(model.CONFIG_MAP, name, {"data": data or {"of": name}}, owners=owners, **rest)
