"""Objects -> the graph of who owns whom.

A node is a UID, an edge runs from the owner to the dependent. Everything is in the order of the objects'
keys, never in the order of UIDs or of the input: the same cluster gives the same graph on every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import networkx as nx

from graph import rules
from graph.references import references
from graph.resource import Object, ObjectKey, OwnerRef
from graph.rules import SoftRule


class DuplicateObjectError(ValueError):
    """Two objects have the same key and different UIDs: the input is not one state of one cluster.

    Attributes:
        key: The key that both have.
        uids: The UIDs, sorted.
    """

    def __init__(self, key: ObjectKey, uids: tuple[str, ...]) -> None:
        self.key = key
        self.uids = uids
        super().__init__(
            f"{key} was read with different UIDs ({', '.join(uids)}): it was replaced during the reading, "
            "or the input mixes two clusters; read it again"
        )


class DuplicateUIDError(ValueError):
    """One UID stands for objects with different keys: they cannot be told apart as owners.

    Attributes:
        uid: The UID that all have; "" if they have none.
        keys: The keys, sorted.
    """

    def __init__(self, uid: str, keys: tuple[ObjectKey, ...]) -> None:
        self.uid = uid
        self.keys = keys
        super().__init__(f'the UID "{uid}" stands for {" and for ".join(map(str, keys))}: each object needs its own')


@dataclass(frozen=True, slots=True)
class VirtualOwner:
    """An owner that was referred to but never seen.

    Attributes:
        uid: The UID in the owner references.
        api_version: The apiVersion in the first of them.
        kind: The kind in the first of them.
        name: The name in the first of them.
        namespace: The namespace of the dependents; "" if they are in several or have none. It is a guess
            where the owner is cluster-scoped.
    """

    uid: str
    api_version: str
    kind: str
    name: str
    namespace: str

    @property
    def key(self) -> ObjectKey:
        """Returns the key that the owner would have."""
        return ObjectKey(self.api_version.rpartition("/")[0], self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        return str(self.key)


@dataclass(frozen=True)
class ObjectGraph:
    """Who owns whom among a set of objects.

    Attributes:
        digraph: Frozen. A node is a UID; an edge runs from owner to dependent, with the attributes `hard`
            (there is an owner reference) and `soft` (the name of the soft rule, or None).
        objects: The objects by UID, in key order.
        virtual: The owners that were never seen, by UID, in key order.
    """

    digraph: nx.DiGraph = field(repr=False, compare=False)
    objects: Mapping[str, Object] = field(repr=False)
    virtual: Mapping[str, VirtualOwner] = field(repr=False)
    _uids: Mapping[ObjectKey, str] = field(repr=False, compare=False)
    _ranks: Mapping[str, int] = field(repr=False, compare=False)

    def owners(self, uid: str) -> tuple[str, ...]:
        """Returns the UIDs of all owners of an object, hard, soft and virtual, in key order."""
        return self.in_key_order(self.digraph.predecessors(uid))

    def dependents(self, uid: str) -> tuple[str, ...]:
        """Returns the UIDs of all objects that a node owns, hard or soft, in key order."""
        return self.in_key_order(self.digraph.successors(uid))

    def by_key(self, key: ObjectKey) -> Object | None:
        """Returns the object with the key, or None."""
        uid = self._uids.get(key)
        return None if uid is None else self.objects[uid]

    def rank(self, uid: str) -> int:
        """Returns the place of a node among all nodes in key order, from 0."""
        return self._ranks[uid]

    def in_key_order(self, uids: Iterable[str]) -> tuple[str, ...]:
        """Returns the nodes in the order of their keys."""
        return tuple(sorted(uids, key=self._ranks.__getitem__))

    def is_hard(self, owner: str, dependent: str) -> bool:
        """Returns whether an edge comes from an owner reference (it may stand for a soft rule too)."""
        return bool(self.digraph.edges[owner, dependent]["hard"])

    def edges(self) -> Iterator[tuple[str, str, bool, SoftRule | None]]:
        """Yields (owner, dependent, hard, soft rule) of each edge, in key order of dependents, owners."""
        for uid in self.objects:
            for owner in self.owners(uid):
                data = self.digraph.edges[owner, uid]
                yield owner, uid, data["hard"], data["soft"]


def build(objects: Iterable[Object], *, knows_metal3: bool = True) -> ObjectGraph:
    """Returns the graph of the objects.

    An object that was listed twice (the Secrets of a provider's namespace are) is one node. Hard edges are
    the owner references, by UID alone; soft edges follow clusterctl objectgraph.go, setSoftOwnership, and Metal3's
    references: a Secret without owners belongs to the host that names it, an IPPool without owners to the IPClaims
    that draw from it.

    Args:
        objects: In any order.
        knows_metal3: Whether Metal3's references count; without them the graph is clusterctl's.

    Raises:
        DuplicateObjectError: Two objects have the same key and different UIDs.
        DuplicateUIDError: Objects with different keys have the same UID.
    """
    found = _by_uid(objects)
    digraph = nx.DiGraph()
    digraph.add_nodes_from(found)
    virtual = _in_key_order(_add_hard_edges(digraph, found))
    _add_soft_edges(digraph, found)
    if knows_metal3:
        _add_metal3_edges(digraph, found)
    return ObjectGraph(
        digraph=nx.freeze(digraph),  # type: ignore[no-untyped-call]
        objects=MappingProxyType(found),
        virtual=MappingProxyType(virtual),
        _uids=MappingProxyType({obj.key: uid for uid, obj in found.items()}),
        _ranks=MappingProxyType(_ranks(found, virtual)),
    )


def topology_class(obj: Object) -> ObjectKey | None:
    """Returns the key of the ClusterClass that a Cluster uses, or None for other Clusters and other kinds.

    The reference is `spec.topology.classRef` in v1beta2, `spec.topology.class` and `.classNamespace` before;
    the namespace defaults to the Cluster's (cluster-api, Cluster.GetClassKey).
    """
    if obj.type.group_kind != rules.CLUSTER:
        return None
    topology = _spec(obj).get("topology") or {}
    reference = topology.get("classRef") or {}
    name = reference.get("name") or topology.get("class")
    if not name:
        return None
    namespace = reference.get("namespace") or topology.get("classNamespace") or obj.key.namespace
    return ObjectKey(*rules.CLUSTER_CLASS, namespace, name)


def _spec(obj: Object) -> dict[str, Any]:
    return obj.body().get("spec") or {}


def _by_uid(objects: Iterable[Object]) -> dict[str, Object]:
    found: dict[str, Object] = {}
    uids: dict[ObjectKey, str] = {}
    for obj in sorted(objects, key=_sort_key):
        known = found.get(obj.uid)
        if known is not None and known.key != obj.key:
            raise DuplicateUIDError(obj.uid, (known.key, obj.key))
        if uids.setdefault(obj.key, obj.uid) != obj.uid:
            raise DuplicateObjectError(obj.key, tuple(sorted((uids[obj.key], obj.uid))))
        found[obj.uid] = obj
    return found


def _sort_key(obj: Object) -> tuple[str, str, str, str, int, str, bytes]:
    # Of two readings of one object the one with the greater resourceVersion comes last, and stays.
    key, version = obj.key, obj.resource_version
    return (key.group, key.kind, key.namespace, key.name, len(version), version, obj.packed)


def _key_tuple(key: ObjectKey) -> tuple[str, str, str, str]:
    # Comparing the dataclass itself takes several times as long.
    return (key.group, key.kind, key.namespace, key.name)


def _add_hard_edges(digraph: nx.DiGraph, found: Mapping[str, Object]) -> dict[str, VirtualOwner]:
    virtual: dict[str, VirtualOwner] = {}
    for uid, obj in found.items():
        for reference in obj.owners:
            if reference.uid not in found:
                virtual[reference.uid] = _virtual_owner(reference, obj, virtual.get(reference.uid))
            digraph.add_edge(reference.uid, uid, hard=True, soft=None)
    return virtual


def _virtual_owner(reference: OwnerRef, dependent: Object, known: VirtualOwner | None) -> VirtualOwner:
    namespace = dependent.key.namespace
    if known is None:
        return VirtualOwner(reference.uid, reference.api_version, reference.kind, reference.name, namespace)
    if known.namespace == namespace:
        return known
    return VirtualOwner(known.uid, known.api_version, known.kind, known.name, "")


def _in_key_order(virtual: Mapping[str, VirtualOwner]) -> dict[str, VirtualOwner]:
    return dict(sorted(virtual.items(), key=lambda item: _key_tuple(item[1].key)))


def _ranks(found: Mapping[str, Object], virtual: Mapping[str, VirtualOwner]) -> dict[str, int]:
    keys = [(_key_tuple(obj.key), uid) for uid, obj in found.items()]
    keys += [(_key_tuple(owner.key), uid) for uid, owner in virtual.items()]
    keys.sort(key=lambda item: item[0])
    return {uid: rank for rank, (_, uid) in enumerate(keys)}


def _add_soft_edges(digraph: nx.DiGraph, found: Mapping[str, Object]) -> None:
    heads = {
        _key_tuple(obj.key): uid
        for uid, obj in found.items()
        if obj.type.group_kind in (rules.CLUSTER, rules.CLUSTER_CLASS)
    }
    for uid, obj in found.items():
        owner_key, rule = _soft_owner(obj)
        owner = heads.get(_key_tuple(owner_key)) if owner_key else None
        if owner is not None:
            hard = digraph.has_edge(owner, uid)
            digraph.add_edge(owner, uid, hard=hard, soft=rule)


_METAL3_TIES = {
    rules.BARE_METAL_HOST: (rules.SECRET, SoftRule.HOST_SECRET),
    rules.IP_CLAIM: (rules.IP_POOL, SoftRule.CLAIM_POOL),
}


def _add_metal3_edges(digraph: nx.DiGraph, found: Mapping[str, Object]) -> None:
    """Ties what nobody owns to the Metal3 objects that name it."""
    kinds = {kind for kind, _ in _METAL3_TIES.values()}
    ownerless = {obj.key: uid for uid, obj in found.items() if not obj.owners and obj.type.group_kind in kinds}
    for uid, obj in found.items():
        tie = _METAL3_TIES.get(obj.type.group_kind)
        if tie is None:
            continue
        kind, rule = tie
        for reference in references(obj):
            named = ownerless.get(reference.key)
            if named is not None and found[named].type.group_kind == kind and not digraph.has_edge(uid, named):
                digraph.add_edge(uid, named, hard=False, soft=rule)


def _soft_owner(obj: Object) -> tuple[ObjectKey | None, SoftRule | None]:
    kind = obj.type.group_kind
    if kind == rules.SECRET and not obj.owners:
        return _cluster_key(obj, rules.parse_cluster_secret_name(obj.key.name)), SoftRule.SECRET_NAME
    if kind == rules.CLUSTER:
        return topology_class(obj), SoftRule.TOPOLOGY_CLASS
    if kind == rules.CLUSTER_RESOURCE_SET_BINDING:
        return _cluster_key(obj, _spec(obj).get("clusterName")), SoftRule.BINDING_CLUSTER
    return None, None


def _cluster_key(obj: Object, name: str | None) -> ObjectKey | None:
    return ObjectKey(*rules.CLUSTER, obj.key.namespace, name) if name else None
