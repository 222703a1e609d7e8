"""Who is asked before an object is written: admission webhooks and policies, as a cluster's configurations say.

Selectors and conditions are not looked at: whoever may be asked counts as asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graph.resource import ResourceType
from mover.concurrency import all_of
from mover.errors import ForbiddenError, NotFoundError
from mover.kube import Cluster

_API = "/apis/admissionregistration.k8s.io/v1"
_WEBHOOKS = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
_POLICIES = "validatingadmissionpolicies"


@dataclass(frozen=True, slots=True)
class Asked:
    """A webhook or policy.

    Attributes:
        name: The name of the webhook or policy.
        configuration: The object that it is configured by, as kubectl names it.
        matches: (operation, group, plural) that it is asked about; "*" for any.
    """

    name: str
    configuration: str
    matches: frozenset[tuple[str, str, str]]

    def is_asked(self, operation: str, resource: ResourceType) -> bool:
        """Returns whether it may be asked about an operation ("CREATE", "UPDATE", "DELETE") on a type."""
        operations, groups = ("*", operation), ("*", resource.group)
        plurals = ("*", "*/*", resource.plural, f"{resource.plural}/*")
        return any((o, g, p) in self.matches for o in operations for g in groups for p in plurals)


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is asked on one cluster.

    Attributes:
        all_asked: Webhooks and policies.
        is_known: Whether the configurations could be read; if not, anybody may be asked about anything.
    """

    all_asked: tuple[Asked, ...]
    is_known: bool = True

    def asked(self, operation: str, resource: ResourceType) -> tuple[Asked, ...]:
        """Returns who may be asked about an operation on a type."""
        return tuple(one for one in self.all_asked if one.is_asked(operation, resource))

    def any_asked(self, operation: str, resource: ResourceType) -> bool:
        """Returns whether anybody may be asked."""
        return not self.is_known or bool(self.asked(operation, resource))


async def read_admission(cluster: Cluster) -> Admission:
    """Returns who is asked on a cluster; reads only."""
    try:
        hooks = await all_of(cluster.list_names(f"{_API}/{plural}") for plural in _WEBHOOKS)
        policies = await _policies(cluster)
    except ForbiddenError:
        return Admission((), is_known=False)
    found = [
        one
        for plural, items in zip(_WEBHOOKS, hooks, strict=True)
        for item in items
        for one in _webhooks(plural.removesuffix("s"), item)
    ]
    return Admission((*found, *(_policy(item) for item in policies)))


async def _policies(cluster: Cluster) -> Iterable[Mapping[str, Any]]:
    try:
        return await cluster.list_names(f"{_API}/{_POLICIES}")
    except NotFoundError:  # before Kubernetes 1.30
        return ()


def _webhooks(kind: str, item: Mapping[str, Any]) -> Iterable[Asked]:
    configuration = f"{kind}/{item['metadata']['name']}"
    for hook in item.get("webhooks") or ():
        yield Asked(str(hook["name"]), configuration, _matches(hook.get("rules") or ()))


def _policy(item: Mapping[str, Any]) -> Asked:
    name = item["metadata"]["name"]
    constraints = (item.get("spec") or {}).get("matchConstraints") or {}
    return Asked(name, f"validatingadmissionpolicy/{name}", _matches(constraints.get("resourceRules") or ()))


def _matches(matched: Iterable[Mapping[str, Any]]) -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (operation, group, plural)
        for rule in matched
        for operation in rule.get("operations") or ()
        for group in rule.get("apiGroups") or ()
        for plural in rule.get("resources") or ()
    )
