"""The ClusterClass that the clusters of a fleet with `topology` share, and its templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graph.resource import ResourceType
from tests.testbed.fleet import model
from tests.testbed.fleet.content import conditions
from tests.testbed.fleet.model import Amendment, Draft, FleetSpec, Owner, Tree
from tests.testbed.fleet.parts import (
    CLASS_NAME,
    DEPLOYMENT_CLASS,
    ENDPOINT_VARIABLE,
    control_plane_config,
    machine_template_spec,
    worker_config,
)

_CONTROL_PLANE = f"{CLASS_NAME}-control-plane"
_WORKER = f"{CLASS_NAME}-{DEPLOYMENT_CLASS}"


def class_drafts(spec: FleetSpec) -> Iterator[Draft]:
    """Yields the ClusterClass and the templates it refers to, which it owns."""
    kubeadm = {"kubeadmConfigSpec": control_plane_config()}
    yield _cluster_class(spec)
    cluster = {"cloudProviderEnabled": False}
    yield _template(spec, model.METAL3_CLUSTER_TEMPLATE, CLASS_NAME, {"template": {"spec": cluster}})
    yield _template(spec, model.KUBEADM_CONTROL_PLANE_TEMPLATE, _CONTROL_PLANE, {"template": {"spec": kubeadm}})
    yield _template(spec, model.KUBEADM_CONFIG_TEMPLATE, _WORKER, {"template": {"spec": worker_config()}})
    for name in (_CONTROL_PLANE, _WORKER):
        yield _template(spec, model.METAL3_MACHINE_TEMPLATE, name, machine_template_spec(f"{name}-data"))


def _template(spec: FleetSpec, resource: ResourceType, name: str, body: Tree) -> Draft:
    return Draft(
        resource,
        spec.namespace,
        name,
        {"spec": body},
        manager=model.USER_MANAGER,
        owners=(Owner(model.CLUSTER_CLASS, CLASS_NAME),),
        amendments=(Amendment(model.CAPI_MANAGER, {}, adopts=True),),
    )


def _cluster_class(spec: FleetSpec) -> Draft:
    machines = _template_reference(model.METAL3_MACHINE_TEMPLATE, _CONTROL_PLANE)
    worker = {
        "class": DEPLOYMENT_CLASS,
        "bootstrap": _template_reference(model.KUBEADM_CONFIG_TEMPLATE, _WORKER),
        "infrastructure": _template_reference(model.METAL3_MACHINE_TEMPLATE, _WORKER),
    }
    variable = _endpoint_variable()
    body = {
        "infrastructure": _template_reference(model.METAL3_CLUSTER_TEMPLATE, CLASS_NAME),
        "controlPlane": {
            **_template_reference(model.KUBEADM_CONTROL_PLANE_TEMPLATE, _CONTROL_PLANE),
            "machineInfrastructure": machines,
        },
        "workers": {"machineDeployments": [worker]},
        "variables": [{"name": ENDPOINT_VARIABLE, **variable}],
        "patches": [_endpoint_patch(), *map(_data_template_patch, ("controlplane", "workers"))],
    }
    reported = (("RefVersionsUpToDate", "RefVersionsUpToDate"), ("VariablesReady", "VariablesReady"))
    known = {"name": ENDPOINT_VARIABLE, "definitions": [{**variable, "from": "inline"}]}
    status = {"conditions": conditions(spec, reported), "variables": [known], "observedGeneration": 0}
    return Draft(
        model.CLUSTER_CLASS,
        spec.namespace,
        CLASS_NAME,
        {"spec": body},
        manager=model.USER_MANAGER,
        status=status,
    )


def _template_reference(resource: ResourceType, name: str) -> dict[str, dict[str, str]]:
    return {"templateRef": {"apiVersion": resource.api_version, "kind": resource.kind, "name": name}}


def _endpoint_variable() -> dict[str, Any]:
    properties = {"host": {"type": "string"}, "port": {"type": "integer"}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    return {"required": True, "schema": schema}


def _endpoint_patch() -> dict[str, Any]:
    selector = {**_selected(model.METAL3_CLUSTER_TEMPLATE), "matchResources": {"infrastructureCluster": True}}
    change = _add("/spec/template/spec/controlPlaneEndpoint", {"variable": ENDPOINT_VARIABLE})
    return {"name": "endpoint", "definitions": [{"selector": selector, "jsonPatches": [change]}]}


def _data_template_patch(role: str) -> dict[str, Any]:
    """Returns the patch that gives the machines of each cluster a Metal3DataTemplate of the cluster's own."""
    workers = {"machineDeploymentClass": {"names": [DEPLOYMENT_CLASS]}}
    matched = {"controlPlane": True} if role == "controlplane" else workers
    selector = {**_selected(model.METAL3_MACHINE_TEMPLATE), "matchResources": matched}
    name = {"template": f"{{{{ .builtin.cluster.name }}}}-{role}-template"}
    change = _add("/spec/template/spec/dataTemplate/name", name)
    return {"name": f"{role}-data", "definitions": [{"selector": selector, "jsonPatches": [change]}]}


def _selected(resource: ResourceType) -> dict[str, str]:
    return {"apiVersion": resource.api_version, "kind": resource.kind}


def _add(path: str, value_from: Tree) -> dict[str, Any]:
    return {"op": "add", "path": path, "valueFrom": value_from}
