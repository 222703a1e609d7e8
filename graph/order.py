"""In which order the selected objects are created and deleted.

Orders are given twice: as a sequence, and as what each object waits for, so that independent objects can be
handled at the same time.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import networkx as nx

from graph import rules
from graph.build import ObjectGraph
from graph.resource import Object
from graph.selection import Selection

# (what is done first, what is done second, whether an owner reference says so)
_Edge: TypeAlias = tuple[str, str, bool]
# Each object with those that are done before it.
_Waits: TypeAlias = dict[str, set[str]]


@dataclass(frozen=True, slots=True)
class Order:
    """An order of objects; none comes before one it waits for.

    Attributes:
        sequence: The UIDs of all objects, each once; of those that are ready the first in key order comes
            first.
        waits_for: For each object the UIDs that must be done before it, in key order; never a circle.
        late_owners: For objects in an owner cycle the UIDs of the hard owners that come after it, in key
            order: a reference to one of them can only be patched in afterwards. Objects without any are
            absent.
    """

    sequence: tuple[str, ...]
    waits_for: Mapping[str, tuple[str, ...]]
    late_owners: Mapping[str, tuple[str, ...]]

    def backwards(self) -> Order:
        """Returns the opposite order: what came last comes first and is waited for."""
        waits: dict[str, list[str]] = {uid: [] for uid in self.sequence}
        for uid in self.sequence:
            for other in self.waits_for.get(uid, ()):
                waits[other].append(uid)
        return Order(self.sequence[::-1], {uid: tuple(others) for uid, others in waits.items()}, {})

    def only(self, uids: Collection[str]) -> Order:
        """Returns the order of some of the objects; what the others waited for is not kept up."""
        kept = frozenset(uids)
        waits = {uid: tuple(other for other in self.waits_for.get(uid, ()) if other in kept) for uid in kept}
        return Order(tuple(uid for uid in self.sequence if uid in kept), waits, {})


def creation_order(selection: Selection) -> Order:
    """Returns the order in which the selected objects are created: after their owners, hard and soft.

    clusterctl never creates objects in an owner cycle, nor what has an owner outside the move (mover.go,
    getMoveSequence). Here an owner outside the move holds nothing up (see `Selection.outside_owners`), and a
    cycle is broken at few hard edges, which `late_owners` names; soft edges are dropped where they would make
    a cycle.
    """
    graph = selection.graph
    waits = _owners_of_each(graph, [obj.uid for obj in selection.selected])
    if (order := _without_cycles(graph, waits)) is not None:
        return order
    owned = _owned(graph, list(waits))
    dropped = _break_cycles(graph, owned)
    waits = {uid: set(owners) for uid, owners in owned.pred.items()}
    sequence = _sequence(graph, waits)
    late = _restore(waits, dropped, sequence)
    return Order(sequence, _waits_for(graph, waits, sequence), _late_owners(graph, late))


def deletion_order(selection: Selection) -> Order:
    """Returns the order in which the moved objects are deleted from the source: dependents before owners.

    Kept and left objects are not in it. On top of the owners it obeys `rules.DELETED_AFTER`. In a cycle
    `late_owners` names the owners that are deleted before their dependent.
    """
    graph = selection.graph
    moved = [obj.uid for obj in selection.moved]
    after = list(_deleted_after(selection))
    if (order := _without_cycles(graph, _dependents_of_each(graph, moved, after))) is not None:
        return order
    owned = _owned(graph, moved)
    for last, first in after:
        if not owned.has_edge(last, first):
            owned.add_edge(last, first, hard=False)
    dropped = [(uid, owner, is_hard) for owner, uid, is_hard in _break_cycles(graph, owned)]
    waits = {uid: set(dependents) for uid, dependents in owned.succ.items()}
    sequence = _sequence(graph, waits)
    late = [(owner, uid) for uid, owner in _restore(waits, dropped, sequence)]
    return Order(sequence, _waits_for(graph, waits, sequence), _late_owners(graph, late))


def cycles(selection: Selection) -> tuple[tuple[str, ...], ...]:
    """Returns the sets of selected objects that own each other in a circle by owner references.

    Each set is in key order, and the sets are in the order of their first; an object that owns itself is one
    of one. The API server rejects no such references.
    """
    graph = selection.graph
    owned = _owned(graph, [obj.uid for obj in selection.selected])
    hard = _hard_part(owned)
    found = [graph.in_key_order(component) for component in _cyclic_components(hard)]
    return tuple(sorted(found, key=lambda component: graph.rank(component[0])))


def _owners_of_each(graph: ObjectGraph, uids: Collection[str]) -> _Waits:
    chosen, predecessors = set(uids), graph.digraph.pred
    return {uid: chosen.intersection(predecessors[uid]) for uid in uids}


def _dependents_of_each(graph: ObjectGraph, uids: Collection[str], after: Iterable[tuple[str, str]]) -> _Waits:
    waits: _Waits = {uid: set() for uid in uids}
    for uid, owners in _owners_of_each(graph, uids).items():
        for owner in owners:
            waits[owner].add(uid)
    for last, first in after:
        waits[last].add(first)
    return waits


def _without_cycles(graph: ObjectGraph, waits: _Waits) -> Order | None:
    """Returns the order in which nothing has to be given up, None if there is none: nearly always there is."""
    sequence = _sequence(graph, waits)
    if len(sequence) < len(waits):
        return None
    return Order(sequence, _waits_for(graph, waits, sequence), MappingProxyType({}))


def _owned(graph: ObjectGraph, uids: Collection[str]) -> nx.DiGraph:
    """Returns the part of the graph among the objects, as a new graph with the attribute hard."""
    owned = nx.DiGraph()
    owned.add_nodes_from(uids)
    predecessors = graph.digraph.pred
    owned.add_edges_from(
        (owner, uid, {"hard": data["hard"]})
        for uid in uids
        for owner, data in predecessors[uid].items()
        if owner in owned
    )
    return owned


def _hard_part(owned: nx.DiGraph) -> nx.DiGraph:
    hard = nx.DiGraph()
    hard.add_nodes_from(owned)
    hard.add_edges_from((owner, uid) for owner, uid, is_hard in owned.edges(data="hard") if is_hard)
    return hard


def _cyclic_components(owned: nx.DiGraph) -> list[set[str]]:
    own_owners = {uid for uid in owned if owned.has_edge(uid, uid)}
    components: Iterable[set[str]] = nx.strongly_connected_components(owned)
    return [part for part in components if len(part) > 1 or not part.isdisjoint(own_owners)]


def _break_cycles(graph: ObjectGraph, owned: nx.DiGraph) -> list[_Edge]:
    """Takes edges out of `owned` until it has no cycle, soft ones first, then few hard ones; returns them."""
    dropped: list[_Edge] = []
    cyclic = _cyclic_components(owned)
    for component in cyclic:
        dropped += [edge for edge in _edges_within(owned, component) if not edge[2]]
    owned.remove_edges_from([edge[:2] for edge in dropped])
    for component in _cyclic_components(owned.subgraph(set().union(*cyclic))):
        place = {uid: number for number, uid in enumerate(_greedy_sequence(graph, owned, component))}
        backward = [edge for edge in _edges_within(owned, component) if place[edge[0]] >= place[edge[1]]]
        owned.remove_edges_from([edge[:2] for edge in backward])
        dropped += backward
    return dropped


def _edges_within(owned: nx.DiGraph, component: set[str]) -> Iterator[_Edge]:
    for owner in component:
        for uid, data in owned.succ[owner].items():
            if uid in component:
                yield owner, uid, data["hard"]


def _greedy_sequence(graph: ObjectGraph, owned: nx.DiGraph, component: set[str]) -> Iterator[str]:
    """Yields the objects of a cycle so that few owners come after their dependents.

    Next comes the object with the fewest owners still to come, then with the most dependents, then the first
    in key order (after the heuristic of Eades, Lin and Smyth for feedback arc sets).
    """
    within = owned.subgraph(component)
    owners = {uid: sum(owner != uid for owner in within.pred[uid]) for uid in component}
    dependents = {uid: len(within.succ[uid]) for uid in component}
    queue = [(owners[uid], -dependents[uid], graph.rank(uid), uid) for uid in component]
    heapq.heapify(queue)
    while queue:
        count, _, _, uid = heapq.heappop(queue)
        if uid not in owners or owners[uid] != count:
            continue
        yield uid
        del owners[uid]
        for other in owned.succ[uid]:
            if other in owners:
                owners[other] -= 1
                heapq.heappush(queue, (owners[other], -dependents[other], graph.rank(other), other))


def _sequence(graph: ObjectGraph, waits: _Waits) -> tuple[str, ...]:
    """Returns a topological order; of those that are ready the first in key order comes first."""
    missing = {uid: len(firsts) for uid, firsts in waits.items()}
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for uid, firsts in waits.items():
        for first in firsts:
            waiting[first].append(uid)
    ready = [(graph.rank(uid), uid) for uid, count in missing.items() if not count]
    heapq.heapify(ready)
    sequence = []
    while ready:
        _, done = heapq.heappop(ready)
        sequence.append(done)
        for uid in waiting[done]:
            missing[uid] -= 1
            if not missing[uid]:
                heapq.heappush(ready, (graph.rank(uid), uid))
    return tuple(sequence)


def _restore(waits: _Waits, dropped: Iterable[_Edge], sequence: Iterable[str]) -> list[tuple[str, str]]:
    """Puts back the dropped edges that the sequence obeys; returns the hard ones that it does not."""
    place = {uid: number for number, uid in enumerate(sequence)}
    broken = []
    for first, second, is_hard in dropped:
        if place[first] < place[second]:
            waits[second].add(first)
        elif is_hard:
            broken.append((first, second))
    return broken


def _waits_for(graph: ObjectGraph, waits: _Waits, sequence: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({uid: graph.in_key_order(waits[uid]) for uid in sequence})


def _late_owners(graph: ObjectGraph, late: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for owner, uid in late:
        owners[uid].append(owner)
    return MappingProxyType({uid: graph.in_key_order(owners[uid]) for uid in graph.in_key_order(owners)})


def _deleted_after(selection: Selection) -> Iterator[tuple[str, str]]:
    """Yields (what is deleted last, what is deleted first) for each pair that `rules.DELETED_AFTER` ties."""
    kinds = {*rules.DELETED_AFTER, *rules.DELETED_AFTER.values()}
    members: defaultdict[tuple[rules.GroupKind, str, str], list[str]] = defaultdict(list)
    for obj in selection.moved:
        if obj.type.group_kind in kinds:
            for name in sorted(_cluster_names(selection.graph, obj)):
                members[obj.type.group_kind, obj.key.namespace, name].append(obj.uid)
    for (kind, namespace, name), uids in members.items():
        if kind in rules.DELETED_AFTER:
            for first in members.get((rules.DELETED_AFTER[kind], namespace, name), ()):
                yield from ((last, first) for last in uids)


def _cluster_names(graph: ObjectGraph, obj: Object) -> set[str]:
    """Returns the names of the Clusters that an object belongs to, by its label or else by its owners."""
    label = obj.labels.get(rules.CLUSTER_NAME_LABEL)
    if label:
        return {label}
    above = (graph.objects[uid] for uid in _ancestors(graph, obj.uid) if uid in graph.objects)
    return {
        owner.key.name
        for owner in above
        if owner.type.group_kind == rules.CLUSTER and owner.key.namespace == obj.key.namespace
    }


def _ancestors(graph: ObjectGraph, uid: str) -> set[str]:
    # nx.ancestors() makes a reversed view for each call, which costs more than the few owners there are.
    predecessors = graph.digraph.pred
    found: set[str] = set()
    todo = [uid]
    while todo:
        new = [owner for owner in predecessors[todo.pop()] if owner not in found]
        found.update(new)
        todo += new
    return found
