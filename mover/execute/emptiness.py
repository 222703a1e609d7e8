"""Whether there is anything in a namespace: objects of any type that the server serves, asked type by type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graph.resource import ResourceType
from mover.concurrency import all_of, both
from mover.errors import ApiError, ForbiddenError, InvalidError, NotFoundError, StoppedError
from mover.kube import Cluster

_OF_EVERY_NAMESPACE = {("", "ConfigMap", "kube-root-ca.crt"), ("", "ServiceAccount", "default")}
"""What Kubernetes puts into every namespace by itself (rootcacertpublisher, serviceaccounts_controller)."""
_EVENTS = {("", "Event"), ("events.k8s.io", "Event")}
_UNLISTED = (405,)


class UnseenError(StoppedError):
    """A part of an API does not answer: nobody knows what there is of it."""


async def contents_of(cluster: Cluster, namespace: str) -> str:
    """Returns an object that is in a namespace, by kind and name, "" if there is none.

    Events count for nothing, and neither does what Kubernetes puts into every namespace by itself.

    Raises:
        ForbiddenError: Objects of some type may not be listed: nobody knows whether it is empty.
        UnseenError: A part of the API does not answer.
        ApiError: They could not be listed.
    """
    types = await namespaced_types(cluster)
    found = await all_of(_first_of(cluster, resource, namespace) for resource in types)
    return next((name for name in found if name), "")


async def _first_of(cluster: Cluster, resource: ResourceType, namespace: str) -> str:
    try:
        page = await cluster.list_metadata(resource, namespace)
    except NotFoundError:
        return ""
    except InvalidError as error:
        if error.status in _UNLISTED:
            return ""
        raise
    names = sorted(obj.key.name for obj in page.objects)
    others = [name for name in names if (resource.group, resource.kind, name) not in _OF_EVERY_NAMESPACE]
    return f"{resource.kind} {others[0]}" if others else ""


async def namespaced_types(cluster: Cluster) -> tuple[ResourceType, ...]:
    """Returns every type of object that is in namespaces and can be listed, but events; each in one version, sorted.

    Raises:
        UnseenError: A part of the API does not answer, so that its objects cannot be seen.
        ApiError: The server could not be asked.
    """
    core, others = await both(cluster.discovery("/api"), cluster.discovery("/apis"))
    if not core:
        return tuple(sorted(await _types_by_versions(cluster)))
    return tuple(sorted(resource for found in (*core, *others) for resource in _types_of(cluster, found)))


def _types_of(cluster: Cluster, group: Mapping[str, Any]) -> Iterator[ResourceType]:
    name = group["metadata"].get("name") or ""
    seen: set[str] = set()
    # The preferred version comes first; all of them show the same objects.
    for version in group.get("versions") or ():
        if version.get("freshness") == "Stale":
            raise UnseenError(
                f"The API {name}/{version['version']} of the {cluster.name} cluster does not answer",
                "See: kubectl get apiservices",
            )
        for resource in version.get("resources") or ():
            plural, kind = resource["resource"], (resource.get("responseKind") or {}).get("kind") or ""
            if plural in seen or resource.get("scope") != "Namespaced" or "list" not in (resource.get("verbs") or ()):
                continue
            seen.add(plural)
            if (name, kind) not in _EVENTS:
                yield ResourceType(name, version["version"], kind, plural)


async def _types_by_versions(cluster: Cluster) -> list[ResourceType]:
    """Returns the same of a server that tells its resources only version by version (before Kubernetes 1.27)."""
    groups = (await cluster.get_json("/apis")).get("groups") or ()
    preferred = [(group["name"], group["preferredVersion"]["version"]) for group in groups]
    found: list[ResourceType] = []
    for group, version in [("", "v1"), *preferred]:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        found += _listed(group, version, (await cluster.get_json(path))["resources"])
    return found


def _listed(group: str, version: str, entries: Iterable[Mapping[str, Any]]) -> list[ResourceType]:
    return [
        ResourceType(group, version, entry["kind"], entry["name"])
        for entry in entries
        if entry["namespaced"]
        and "list" in entry["verbs"]
        and "/" not in entry["name"]
        and (group, entry["kind"]) not in _EVENTS
    ]


def why_unknown(error: ApiError | StoppedError) -> str:
    """Returns in words why nobody knows whether a namespace is empty."""
    if isinstance(error, ForbiddenError):
        return f"it may not be looked whether it is empty ({error.message or error.reason})"
    return f"it cannot be seen whether it is empty ({error})"
