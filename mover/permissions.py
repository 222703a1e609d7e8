"""What a move may be asked to do: every verb on every resource that it sends to either cluster.

One table, from which `capi-mover rbac` writes its roles. It follows from what mover.discovery, mover.checks and
mover.execute send; a rollback is part of it. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from graph import rules
from graph.resource import ResourceType
from mover.discovery import CONFIG_MAPS, CRDS, NAMESPACES, SECRETS
from mover.names import RECORDS_NAMESPACE

Side = Literal["source", "target"]
SIDES: Final[tuple[Side, ...]] = ("source", "target")

LEASES: Final = ("coordination.k8s.io", "leases")
DEPLOYMENTS: Final = ("apps", "deployments")
QUOTAS: Final = ("", "resourcequotas")
PROVIDERS: Final = (rules.CLUSTERCTL_GROUP, "providers")
WEBHOOKS: Final = (
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
)
EVENTS: Final = ("events.k8s.io", "events")
POLICIES: Final = ("admissionregistration.k8s.io", "validatingadmissionpolicies")

_READ: Final = ("get", "list", "watch")
_REMOVE: Final = ("patch", "delete")
# `delete` is for a rollback, `update` for a copy whose original changed while it was copied.
_COPY: Final = ("create", "update", "patch", "delete")
_LEASE_VERBS: Final = ("create", "get", "list", "watch", "update", "delete")
_RECORD_VERBS: Final = ("create", "get", "list", "patch", "delete")


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One verb on one resource of one cluster.

    Attributes:
        side: The cluster.
        verb: The verb of the API, e.g. "list".
        group: The API group, "" for the core group.
        resource: The plural name, with the subresource behind a slash: "machines", "machines/status".
        namespace: Where; "" for cluster-scoped resources and for all namespaces.
    """

    side: Side
    verb: str
    group: str
    resource: str
    namespace: str = ""

    def __str__(self) -> str:
        name = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {name}"


def needed(  # noqa: PLR0913 - what is asked of a move, each by its name
    types: Iterable[ResourceType],
    namespace: str,
    *,
    moving: Iterable[ResourceType] | None = None,
    to_namespace: str | None = None,
    credential_namespaces: Iterable[str] = (),
    creates_namespace: bool = True,
    records: str = RECORDS_NAMESPACE,
) -> tuple[Permission, ...]:
    """Returns what a move cannot do without, sorted, each once.

    Args:
        types: The types that are read on the source.
        namespace: What is moved; "" for all namespaces.
        moving: Those of which there are objects that move: they are deleted on the source and created on the target;
            None for all of `types`.
        to_namespace: The namespace on the target; None for the same one.
        credential_namespaces: Other namespaces whose Secrets are read: those of the infrastructure providers.
        creates_namespace: Whether the target's namespace has to be created, and deleted again in a rollback.
        records: The namespace of records and leases on both clusters, which is there.
    """
    read = tuple(types)
    moved = read if moving is None else tuple(moving)
    goal = namespace if to_namespace is None else to_namespace
    found = [
        *_of_types("source", read, namespace, _READ),
        *_of_types("source", moved, namespace, _REMOVE),
        *_of_types("target", moved, goal, ("get", "list", *_COPY)),
        *(_status(resource, goal) for resource in moved if resource.has_status),
        *_elsewhere(read, namespace, credential_namespaces),
        *_of_clusters(records),
    ]
    if creates_namespace:
        found += [Permission("target", verb, "", NAMESPACES.plural) for verb in ("create", "list", "watch", "delete")]
    return tuple(sorted(set(found)))


def followed(types: Iterable[ResourceType], goal: str) -> tuple[Permission, ...]:
    """Returns what a rolling move needs on top: it follows what it has written to the namespace `goal`."""
    return tuple(_of_types("target", types, goal, ("watch",)))


def helpful(
    types: Iterable[ResourceType], namespace: str, *, to_namespace: str | None = None
) -> tuple[Permission, ...]:
    """Returns what a move does without if it must, sorted: checks that say nothing if they cannot look, and events.

    Only a rolling move has to watch the target.
    `update` on the finalizers of an owner is asked for only where the admission plugin
    OwnerReferencesPermissionEnforcement is on.
    """
    goal = namespace if to_namespace is None else to_namespace
    types = tuple(types)
    found = [
        *(Permission(side, "list", *webhooks) for side in SIDES for webhooks in WEBHOOKS),
        *(Permission(side, "list", *DEPLOYMENTS) for side in SIDES),
        *(Permission(side, "list", *POLICIES) for side in SIDES),
        Permission("source", "create", *EVENTS, namespace),
        Permission("target", "create", *EVENTS, goal),
        Permission("target", "list", *QUOTAS, goal),
        *followed(types, goal),
        *(
            Permission("target", "update", resource.group, f"{resource.plural}/finalizers", _where(resource, goal))
            for resource in types
        ),
    ]
    return tuple(sorted(set(found)))


def _of_types(side: Side, types: Iterable[ResourceType], namespace: str, verbs: Iterable[str]) -> Iterator[Permission]:
    return (
        Permission(side, verb, resource.group, resource.plural, _where(resource, namespace))
        for resource in types
        for verb in verbs
    )


def _where(resource: ResourceType, namespace: str) -> str:
    return namespace if resource.namespaced else ""


def _status(resource: ResourceType, namespace: str) -> Permission:
    return Permission("target", "patch", resource.group, f"{resource.plural}/status", _where(resource, namespace))


def _elsewhere(types: Iterable[ResourceType], namespace: str, credentials: Iterable[str]) -> Iterator[Permission]:
    """Yields what is read outside of the namespace that moves."""
    for resource in types:
        if resource.group_kind == rules.CLUSTER:
            # Which ClusterClasses of this namespace do Clusters of other namespaces use?
            yield Permission("source", "list", resource.group, resource.plural)
    for space in credentials:
        if space != namespace:
            yield Permission("source", "list", SECRETS.group, SECRETS.plural, space)


def providing(side: Side) -> tuple[Permission, ...]:
    """Returns what it takes to make the namespace of records and leases where it is missing, and to keep it."""
    return tuple(Permission(side, verb, NAMESPACES.group, NAMESPACES.plural) for verb in ("create", "patch"))


def _of_clusters(records: str) -> Iterator[Permission]:
    """Yields what is asked of any two clusters, whatever moves."""
    for side in SIDES:
        yield from (Permission(side, verb, CRDS.group, CRDS.plural) for verb in ("get", "list"))
        yield Permission(side, "get", NAMESPACES.group, NAMESPACES.plural)
        yield Permission(side, "list", *PROVIDERS)
        yield from (Permission(side, verb, *LEASES, records) for verb in _LEASE_VERBS)
        yield from (Permission(side, verb, CONFIG_MAPS.group, CONFIG_MAPS.plural, records) for verb in _RECORD_VERBS)
