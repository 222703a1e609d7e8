"""Which fields the target would drop: an API server prunes what the schema of a CRD does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graph.resource import Object, ResourceType
from mover.choices import RestoreStatus
from mover.concurrency import all_of
from mover.errors import NotFoundError, Problem
from mover.kube import Cluster
from mover.planning import Plan

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ALWAYS = frozenset({"apiVersion", "kind", "metadata"})
_PRESERVED = "x-kubernetes-preserve-unknown-fields"


async def check_schema(target: Cluster, plan: Plan, restore_status: RestoreStatus) -> list[Problem]:
    """Every field that an object has is known to the target's CRD of its kind."""
    images = plan.images()
    types = sorted({image.type for image in images if image.type.group})
    schemas = dict(zip(types, await all_of(_schema(target, resource) for resource in types), strict=True))
    lost: dict[tuple[ResourceType, str], list[Object]] = {}
    for image in images:
        schema = schemas.get(image.type)
        for path in sorted(set(dropped(image.body(), schema))) if schema else ():
            if restore_status is not RestoreStatus.NONE or not path.startswith("status"):
                lost.setdefault((image.type, path), []).append(image)
    return [_problem(resource, path, objects) for (resource, path), objects in sorted(lost.items())]


def _problem(resource: ResourceType, path: str, objects: list[Object]) -> Problem:
    what = (
        f"the CRD of the target does not know the field {path}: {len(objects)} objects would lose it "
        f"(the first: {objects[0].key})"
    )
    remedy = "Upgrade the provider on the target: clusterctl upgrade apply"
    return Problem("schema", "target", f"{resource.resource_name}, {resource.version}", what, remedy)


async def _schema(target: Cluster, resource: ResourceType) -> Mapping[str, Any] | None:
    """Returns the schema of a type's version; None if the target has none, or keeps all fields."""
    try:
        crd = await target.get_json(f"{_CRDS}/{resource.resource_name}")
    except NotFoundError:
        return None
    spec = crd["spec"]
    version = next((found for found in spec["versions"] if found["name"] == resource.version), None)
    if version is None or spec.get("preserveUnknownFields"):
        return None
    schema: Mapping[str, Any] | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return schema


def dropped(body: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yields the paths of the fields of an object that its schema does not know; entries of lists as `[]`."""
    for name, value in body.items():
        if name not in _ALWAYS:
            yield from _dropped_field(name, value, schema, name)


def _dropped_field(name: str, value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    known = (schema.get("properties") or {}).get(name)
    if known is None:
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping):
            known = more
        elif more or schema.get(_PRESERVED):
            return
        else:
            yield path
            return
    yield from _dropped(value, known, path)


def _dropped(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for entry in value:
            yield from _dropped(entry, schema.get("items") or {_PRESERVED: True}, f"{path}[]")
    elif isinstance(value, Mapping):
        embedded = _ALWAYS if schema.get("x-kubernetes-embedded-resource") else frozenset()
        for name, below in value.items():
            if name not in embedded:
                yield from _dropped_field(name, below, schema, f"{path}.{name}")
