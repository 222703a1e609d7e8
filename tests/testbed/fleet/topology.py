"""The ClusterClass that the clusters of a fleet with `topology` share, and its templates."""

from __future__ import annotations

from collections.abc import Iterator

from graph.resource import ResourceType
from tests.testbed.fleet import model
from tests.testbed.fleet.content import conditions
from tests.testbed.fleet.model import Amendment, Draft, FleetSpec, Owner, Tree
from tests.testbed.fleet.parts import (
    CLASS_NAME,
    DEPLOYMENT_CLASS,
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
    yield _template(spec, model.METAL3_CLUSTER_TEMPLATE, CLASS_NAME, {"template": {"spec": {}}})
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
    body = {
        "infrastructure": _template_reference(model.METAL3_CLUSTER_TEMPLATE, CLASS_NAME),
        "controlPlane": {
            **_template_reference(model.KUBEADM_CONTROL_PLANE_TEMPLATE, _CONTROL_PLANE),
            "machineInfrastructure": machines,
        },
        "workers": {"machineDeployments": [worker]},
    }
    reported = (("RefVersionsUpToDate", "RefVersionsUpToDate"), ("VariablesReady", "VariablesReady"))
    status = {"conditions": conditions(spec, reported), "observedGeneration": 0}
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
