"""What a Kubernetes object is to the graph: its type, its key, its owners, its body.

All values are frozen. An object keeps its body packed: most bodies are only passed on, and a parsed tree takes many
times the memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

_QUICKLY = 1
"""Of zlib's levels the quickest; the others make it a little smaller and take several times as long."""
_EMPTY = zlib.compress(b"{}", _QUICKLY)


@dataclass(frozen=True, slots=True, order=True)
class ResourceType:
    """A resource of the API: what is needed to list it, and what its CRD says about moving it.

    Attributes:
        group: API group, "" for the core group.
        version: The version the objects are read and written in (the CRD's storage version).
        kind: The kind, e.g. "Machine".
        plural: The name in URLs, e.g. "machines"; never guessed from the kind.
        namespaced: False for cluster-scoped types.
        has_status: Whether the type has the status subresource; without it `.status` travels in the body.
        move: The CRD carries `clusterctl.cluster.x-k8s.io/move`.
        move_hierarchy: The CRD carries `…/move-hierarchy`, or the kind is a Cluster, ClusterClass or
            ClusterResourceSet (clusterctl objectgraph.go, getDiscoveryTypes).
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    has_status: bool = False
    move: bool = False
    move_hierarchy: bool = False

    @property
    def api_version(self) -> str:
        """Returns `group/version`, or the bare version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> tuple[str, str]:
        """Returns (group, kind)."""
        return (self.group, self.kind)

    @property
    def resource_name(self) -> str:
        """Returns `plural.group`, the form kubectl and RBAC use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """The name of an object that is the same on every cluster: no version, no UID."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {path}"


@dataclass(frozen=True, slots=True)
class OwnerRef:
    """One entry of `metadata.ownerReferences`, as it was read."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None

    @property
    def group(self) -> str:
        """Returns the API group, "" for the core group."""
        return self.api_version.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a cluster at one resourceVersion.

    Attributes:
        type: The resource type it was listed as.
        key: Group, kind, namespace and name.
        uid: Its UID on the cluster (or in the directory) it was read from.
        resource_version: Opaque; "" if it was read from a file.
        owners: Its owner references, in the order of the object.
        labels: `metadata.labels`.
        annotations: `metadata.annotations`.
        finalizers: `metadata.finalizers`.
        deleting: Whether it has a deletionTimestamp.
        packed: The whole object as JSON, compressed: a fleet is held in memory, and what the objects of a fleet say is
            much the same.
    """

    type: ResourceType
    key: ObjectKey
    uid: str
    resource_version: str
    owners: tuple[OwnerRef, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    finalizers: tuple[str, ...] = ()
    deleting: bool = False
    packed: bytes = _EMPTY

    @property
    def raw(self) -> bytes:
        """Returns the whole object as JSON."""
        return zlib.decompress(self.packed)

    def body(self) -> dict[str, Any]:
        """Returns the object as a new tree that the caller may change."""
        parsed: dict[str, Any] = orjson.loads(self.raw)
        return parsed

    def __str__(self) -> str:
        return str(self.key)


def parse_object(resource_type: ResourceType, body: Mapping[str, Any]) -> Object:
    """Returns the object of `resource_type` that `body` describes.

    List responses leave out apiVersion and kind of their items for built-in types, and metadata-only ones call
    every item a PartialObjectMetadata; both are put right, so that what is packed is always a whole object.
    """
    metadata = body.get("metadata") or {}
    whole = {**body, "apiVersion": resource_type.api_version, "kind": resource_type.kind}
    return Object(
        type=resource_type,
        key=ObjectKey(resource_type.group, resource_type.kind, metadata.get("namespace") or "", metadata["name"]),
        uid=metadata.get("uid") or "",
        resource_version=metadata.get("resourceVersion") or "",
        owners=tuple(map(_parse_owner, metadata.get("ownerReferences") or ())),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleting=bool(metadata.get("deletionTimestamp")),
        packed=zlib.compress(orjson.dumps(whole), _QUICKLY),
    )


def _parse_owner(reference: Mapping[str, Any]) -> OwnerRef:
    return OwnerRef(
        api_version=reference["apiVersion"],
        kind=reference["kind"],
        name=reference["name"],
        uid=reference["uid"],
        controller=reference.get("controller"),
        block_owner_deletion=reference.get("blockOwnerDeletion"),
    )
