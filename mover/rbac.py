"""From the table of permissions to the manifests that grant them to one user or ServiceAccount. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from graph.resource import ResourceType
from mover.names import RECORDS_NAMESPACE
from mover.permissions import Permission, Side, helpful, needed

_GROUP: Final = "rbac.authorization.k8s.io"
_API_VERSION: Final = f"{_GROUP}/v1"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is granted the permissions.

    Attributes:
        name: Of the user or ServiceAccount.
        namespace: Of the ServiceAccount; None for a user.
    """

    name: str
    namespace: str | None = None

    def reference(self) -> dict[str, str]:
        """Returns the subject of a binding."""
        if self.namespace is None:
            return {"apiGroup": _GROUP, "kind": "User", "name": self.name}
        return {"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}


@dataclass(frozen=True, slots=True)
class Move:
    """The move that the permissions are for.

    Attributes:
        types: The types that it reads.
        namespace: What is moved; "" for all namespaces.
        to_namespace: The namespace on the target; None for the same one.
        credential_namespaces: Of the infrastructure providers, whose Secrets are read on the source.
        records_namespace: Where its record and its lease are.
    """

    types: tuple[ResourceType, ...]
    namespace: str = ""
    to_namespace: str | None = None
    credential_namespaces: tuple[str, ...] = ()
    records_namespace: str = RECORDS_NAMESPACE


def side_manifests(move: Move, side: Side, subject: Subject) -> list[dict[str, Any]]:
    """Returns the manifests that grant what a move asks of one side, in the order in which they can be applied.

    A Role needs its namespace: that of the records comes first, but for a ServiceAccount that is in it. Where one
    namespace is moved the target's comes, too, and the right to create namespaces is not granted.
    """
    goal = move.namespace if move.to_namespace is None else move.to_namespace
    # Secrets of all namespaces are read anyway where all namespaces are moved.
    credentials = move.credential_namespaces if move.namespace else ()
    asked = (
        *needed(
            move.types,
            move.namespace,
            to_namespace=move.to_namespace,
            credential_namespaces=credentials,
            creates_namespace=not goal,
            records=move.records_namespace,
        ),
        *helpful(move.types, move.namespace, to_namespace=move.to_namespace),
    )
    spaces = [move.records_namespace] if subject.namespace != move.records_namespace else []
    if side == "target" and goal and goal not in spaces:
        spaces.append(goal)
    made = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in spaces]
    return [*made, *manifests(asked, side, subject)]


def manifests(permissions: Iterable[Permission], side: Side, subject: Subject) -> list[dict[str, Any]]:
    """Returns the manifests that grant exactly the permissions of one side.

    A ClusterRole holds what is cluster-scoped or asked for in all namespaces, a Role in each namespace the rest; each
    is followed by its binding. All are called `capi-mover-SIDE`.
    """
    by_namespace: defaultdict[str, list[Permission]] = defaultdict(list)
    for permission in permissions:
        if permission.side == side:
            by_namespace[permission.namespace].append(permission)
    return [
        manifest
        for namespace, granted in sorted(by_namespace.items())
        for manifest in _role_and_binding(f"capi-mover-{side}", namespace, granted, subject)
    ]


def _role_and_binding(
    name: str, namespace: str, granted: Iterable[Permission], subject: Subject
) -> Iterator[dict[str, Any]]:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    yield {"apiVersion": _API_VERSION, "kind": kind, "metadata": metadata, "rules": _rules(granted)}
    yield {
        "apiVersion": _API_VERSION,
        "kind": f"{kind}Binding",
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": name},
        "subjects": [subject.reference()],
    }


def _rules(granted: Iterable[Permission]) -> list[dict[str, Any]]:
    """Returns one rule for all resources of a group that the same verbs are asked for."""
    verbs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for permission in granted:
        verbs[permission.group, permission.resource].add(permission.verb)
    resources: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), asked in sorted(verbs.items()):
        resources[group, tuple(sorted(asked))].append(resource)
    return [_rule(group, names, asked) for (group, asked), names in sorted(resources.items())]


def _rule(group: str, resources: list[str], verbs: Iterable[str]) -> dict[str, list[str]]:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}
