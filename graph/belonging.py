"""To which Clusters each object belongs: those it is below, those that use it, those it is labelled with.

Every object has one home or more. A Cluster is its own home, and so is whatever is tied to nothing: a host that
nobody claims, a template that nobody uses. All else has the homes of what it is tied to. See docs/decisions/0021.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import networkx as nx

from graph import rules
from graph.build import ObjectGraph
from graph.mentions import Directory
from graph.references import references
from graph.resource import Object, ObjectKey
from graph.rules import SoftRule

Homes: TypeAlias = Mapping[str, frozenset[str]]
"""UID of each object -> UIDs of its homes, one at least."""

# (what gives its homes, what takes them)
_Tie: TypeAlias = tuple[str, str]

_BACKWARD = frozenset({"spec.consumerRef", "metadata.name"})
"""References that name what the object belongs to, where the others name what it uses."""


def homes(graph: ObjectGraph) -> Homes:
    """Returns the homes of every object.

    An object that can be in two places has the homes of all that it is tied to. One that cannot (a machine, an
    address) belongs to one Cluster: if it is tied both to something of one home and to something shared, such as an
    address to its claim and to the pool of many, the first counts.
    """
    ties = nx.DiGraph()
    ties.add_nodes_from(graph.objects)
    ties.add_edges_from(tie for tie in _ties(graph) if not _is_cluster(graph.objects[tie[1]]))
    parts = nx.condensation(ties)
    of_part: dict[int, frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for part in nx.topological_sort(parts):
        members = parts.nodes[part]["members"]
        above = [of_part[other] for other in parts.pred[part]]
        of_part[part] = _united(above, graph, members) or frozenset({min(members, key=graph.rank)})
        found.update(dict.fromkeys(members, of_part[part]))
    return found


def _united(above: list[frozenset[str]], graph: ObjectGraph, members: Iterable[str]) -> frozenset[str]:
    if not any(rules.is_shareable(graph.objects[uid].type.group_kind) for uid in members):
        above = [one for one in above if len(one) == 1] or above
    return frozenset[str]().union(*above)


def _is_cluster(obj: Object) -> bool:
    return obj.type.group_kind == rules.CLUSTER


def _ties(graph: ObjectGraph) -> Iterator[_Tie]:
    yield from _owner_ties(graph)
    yield from _name_ties(graph)
    yield from _resource_set_ties(graph)
    directory = Directory(graph.objects.values())
    for uid, obj in graph.objects.items():
        used = {found.uid for found in directory.mentioned(obj)} | set(_used(graph, obj))
        # What names its own owner does not use it on top: an address its pool.
        yield from ((uid, other) for other in used if not graph.digraph.has_edge(other, uid))
        yield from ((other, uid) for other in _belongs_to(graph, obj))


def _owner_ties(graph: ObjectGraph) -> Iterator[_Tie]:
    """Yields a tie from each owner to its dependents, and from a Cluster to its class, which it uses."""
    for owner, uid, _, soft in graph.edges():
        if owner in graph.objects:
            yield (uid, owner) if soft is SoftRule.TOPOLOGY_CLASS else (owner, uid)


def _name_ties(graph: ObjectGraph) -> Iterator[_Tie]:
    """Yields a tie from each Cluster to what bears its name: as a label, or as `spec.clusterName`."""
    for uid, obj in graph.objects.items():
        for name in {obj.labels.get(rules.CLUSTER_NAME_LABEL), _spec(obj).get("clusterName")}:
            cluster = graph.by_key(ObjectKey(*rules.CLUSTER, obj.key.namespace, name)) if name else None
            if cluster is not None:
                yield cluster.uid, uid


def _used(graph: ObjectGraph, obj: Object) -> Iterator[str]:
    named = (graph.by_key(found.key) for found in references(obj) if found.field not in _BACKWARD)
    return (found.uid for found in named if found is not None)


def _belongs_to(graph: ObjectGraph, obj: Object) -> Iterator[str]:
    named = (graph.by_key(found.key) for found in references(obj) if found.field in _BACKWARD)
    return (found.uid for found in named if found is not None)


def _resource_set_ties(graph: ObjectGraph) -> Iterator[_Tie]:
    """Yields a tie from each Cluster to the ClusterResourceSets that apply to it, or have been applied to it."""
    clusters: defaultdict[str, list[Object]] = defaultdict(list)
    for obj in graph.objects.values():
        if _is_cluster(obj):
            clusters[obj.key.namespace].append(obj)
    for uid, obj in graph.objects.items():
        if obj.type.group_kind == rules.CLUSTER_RESOURCE_SET:
            selector = _spec(obj).get("clusterSelector") or {}
            yield from ((one.uid, uid) for one in clusters[obj.key.namespace] if matches(selector, one.labels))
        elif obj.type.group_kind == rules.CLUSTER_RESOURCE_SET_BINDING:
            yield from _binding_ties(graph, obj)


def _binding_ties(graph: ObjectGraph, binding: Object) -> Iterator[_Tie]:
    spec, namespace = _spec(binding), binding.key.namespace
    cluster = graph.by_key(ObjectKey(*rules.CLUSTER, namespace, spec.get("clusterName") or ""))
    for entry in spec.get("bindings") or ():
        applied = graph.by_key(
            ObjectKey(*rules.CLUSTER_RESOURCE_SET, namespace, entry.get("clusterResourceSetName") or "")
        )
        if cluster is not None and applied is not None:
            yield cluster.uid, applied.uid


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Returns whether a label selector of an object (apimachinery meta/v1, LabelSelector) selects the labels.

    An empty one selects nothing, as in a ClusterResourceSet (clusterresourceset_controller.go).
    """
    pairs, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or ()
    if not pairs and not expressions:
        return False
    return all(labels.get(name) == value for name, value in pairs.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def _spec(obj: Object) -> dict[str, Any]:
    return obj.body().get("spec") or {}
