"""One namespace as CAPM3 and IPAM see it, and what they write into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graph import rules
from graph.rules import GroupKind
from tests.testbed.doubles.controller import annotations_of
from tests.testbed.witness import Body


@dataclass(frozen=True, slots=True)
class World:
    """The objects of a namespace, by kind and name."""

    objects: Mapping[GroupKind, Mapping[str, Body]] = field(default_factory=dict)

    def of(self, kind: GroupKind) -> Mapping[str, Body]:
        """Returns the objects of a kind, by name."""
        return self.objects.get(kind, {})

    def get(self, kind: GroupKind, name: str) -> Body | None:
        """Returns an object, None if there is none."""
        return self.of(kind).get(name)

    def cluster_of(self, body: Body) -> Body | None:
        """Returns the Cluster that an object's `spec.clusterName`, or else its label, names."""
        labels = body["metadata"].get("labels") or {}
        name = (body.get("spec") or {}).get("clusterName") or labels.get(rules.CLUSTER_NAME_LABEL)
        return self.get(rules.CLUSTER, name) if name else None

    def is_paused(self, body: Body) -> bool:
        """Returns whether an object is paused: by its own annotation, or by `spec.paused` of its Cluster.

        An object whose Cluster is not there is not paused: that is the worst that a controller can make of it.
        """
        return rules.PAUSED_ANNOTATION in annotations_of(body) or has_paused_spec(self.cluster_of(body))


def has_paused_spec(cluster: Body | None) -> bool:
    """Returns whether there is a Cluster and its `spec.paused` is true."""
    return cluster is not None and (cluster.get("spec") or {}).get("paused") is True


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a controller.

    Attributes:
        kind: Group and kind of the object.
        name: Its name.
        patch: The merge patch, or the body of an object that is created.
        of_status: Whether it goes to the status subresource.
        creates: Whether the object is created.
        new_address_for: The claim that is given an address by it; "" for every other write.
        only_without: An object (kind and name) that must not be there, which is read again before the write.
    """

    kind: GroupKind
    name: str
    patch: Mapping[str, Any]
    of_status: bool = False
    creates: bool = False
    new_address_for: str = ""
    only_without: tuple[GroupKind, str] | None = None


def status_write(kind: GroupKind, body: Body, **status: Any) -> Write:
    """Returns a write of status fields that holds for the object as it was read only."""
    version = {"resourceVersion": body["metadata"]["resourceVersion"]}
    return Write(kind, body["metadata"]["name"], {"metadata": version, "status": status}, of_status=True)
