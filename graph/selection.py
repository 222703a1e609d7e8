"""What moves, what is copied but kept, what stays, and the reason for each.

The rules are clusterctl's (objectgraph.go: setTenants, setShouldNotDelete, getMoveNodes; mover.go,
deleteSourceObject), each object's answer in one value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from graph import rules
from graph.belonging import Homes, homes
from graph.build import ObjectGraph
from graph.resource import Object, ObjectKey, OwnerRef, ResourceType


class Fate(StrEnum):
    """What becomes of an object."""

    MOVE = "move"
    """Created on the target, deleted from the source."""
    KEEP = "keep"
    """Created on the target, kept on the source."""
    LEAVE = "leave"
    """Stays on the source, and only there."""


class Rule(StrEnum):
    """The rule that decided the fate of an object."""

    HIERARCHY_ROOT = "hierarchy-root"
    BELOW_ROOT = "below-root"
    MOVE_TYPE = "move-type"
    MOVE_LABEL = "move-label"
    CLUSTER_SCOPED = "cluster-scoped"
    BELOW_CLUSTER_SCOPED = "below-cluster-scoped"
    CLASS_OUTSIDE_NAMESPACE = "class-outside-namespace"
    CLASS_USED_OUTSIDE_NAMESPACE = "class-used-outside-namespace"
    NOT_IN_HIERARCHY = "not-in-hierarchy"
    OUTSIDE_NAMESPACE = "outside-namespace"
    RECORDED = "recorded"
    LEFT_BEHIND = "left-behind"
    BELOW_LEFT_BEHIND = "below-left-behind"
    OF_CHOSEN = "of-chosen"
    SHARED = "shared"
    CANNOT_BE_SPLIT = "cannot-be-split"
    BELOW_CANNOT_BE_SPLIT = "below-cannot-be-split"
    OF_OTHERS = "of-others"
    INCLUDED = "included"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one object, and why.

    Attributes:
        fate: What becomes of it.
        rule: The rule that decided.
        reason: One sentence for an operator.
        path: The keys from the hierarchy root down to the object, both included; empty if no root is above
            it.
    """

    fate: Fate
    rule: Rule
    reason: str
    path: tuple[ObjectKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """What the move was asked for.

    Attributes:
        namespace: The namespace that is moved; "" for all.
        shared_classes: ClusterClasses of this namespace that Clusters of other namespaces use.
        left_behind: Objects that stay although the rules would move them, with everything below them.
        exactly: UIDs of the objects that move, and no others, whatever the rules say: those of a move that is
            resumed when some owners have gone already; None to go by the rules.
        clusters: The Clusters that are moved, and nothing that does not belong to them; None to move all of the
            namespace.
        hosts: Hosts without a Cluster that come along with these.
        included: Objects that are copied and kept although the rules would leave them.
        shared: With single Clusters: objects that other Clusters use, too, which the graph may not show.
    """

    namespace: str = ""
    shared_classes: frozenset[ObjectKey] = frozenset()
    left_behind: frozenset[ObjectKey] = frozenset()
    exactly: frozenset[str] | None = None
    clusters: frozenset[ObjectKey] | None = None
    hosts: frozenset[ObjectKey] = frozenset()
    included: frozenset[ObjectKey] = frozenset()
    shared: frozenset[ObjectKey] = frozenset()


@dataclass(frozen=True)
class Selection:
    """What becomes of each object of a graph.

    Attributes:
        graph: The graph that was decided on.
        scope: What the move was asked for.
        decisions: One decision for each object of the graph, by UID, in key order.
    """

    graph: ObjectGraph = field(repr=False)
    scope: Scope
    decisions: Mapping[str, Decision] = field(repr=False)

    @property
    def moved(self) -> tuple[Object, ...]:
        """Returns the objects that are created on the target and deleted from the source, in key order."""
        return self._with(Fate.MOVE)

    @property
    def kept(self) -> tuple[Object, ...]:
        """Returns the objects that are created on the target and kept on the source, in key order."""
        return self._with(Fate.KEEP)

    @property
    def left(self) -> tuple[Object, ...]:
        """Returns the objects that stay on the source, in key order."""
        return self._with(Fate.LEAVE)

    @property
    def selected(self) -> tuple[Object, ...]:
        """Returns the objects that are created on the target, in key order."""
        return self._with(Fate.MOVE, Fate.KEEP)

    @property
    def outside_owners(self) -> tuple[tuple[Object, OwnerRef], ...]:
        """Returns the references of selected objects to owners that are not, in key order of the objects.

        clusterctl never creates such an object, and says nothing (mover.go, getMoveSequence).
        """
        found: list[tuple[Object, OwnerRef]] = []
        for obj in self.selected:
            outside = [reference for reference in obj.owners if not self.is_selected(reference.uid)]
            if outside:
                # Once for all of them: what a fleet shares has hundreds of owners.
                dropped = self.dropped_owners(obj.uid)
                found += [(obj, reference) for reference in outside if reference.uid not in dropped]
        return tuple(found)

    def dropped_owners(self, uid: str) -> frozenset[str]:
        """Returns the owners that the copy of an object shared with staying Clusters does not have: theirs."""
        if self.scope.clusters is None or self.decisions[uid].fate is not Fate.KEEP:
            return frozenset()
        obj = self.graph.objects[uid]
        if obj.key in self.scope.shared:
            # Of the others the graph may show a part, and not why they stay.
            return frozenset(reference.uid for reference in obj.owners if not self.is_selected(reference.uid))
        seen = (reference.uid for reference in obj.owners if reference.uid in self.decisions)
        return frozenset(owner for owner in seen if self.decisions[owner].rule is Rule.OF_OTHERS)

    def is_selected(self, uid: str) -> bool:
        """Returns whether the object is created on the target; False for owners that were never seen."""
        decision = self.decisions.get(uid)
        return decision is not None and decision.fate is not Fate.LEAVE

    def counts(self) -> Mapping[Fate, Mapping[ResourceType, int]]:
        """Returns the number of objects of each type by fate; fates and types without objects are absent."""
        counters: dict[Fate, Counter[ResourceType]] = {fate: Counter() for fate in Fate}
        for uid, decision in self.decisions.items():
            counters[decision.fate][self.graph.objects[uid].type] += 1
        return {fate: dict(sorted(counter.items())) for fate, counter in counters.items() if counter}

    def _with(self, *fates: Fate) -> tuple[Object, ...]:
        return tuple(self.graph.objects[uid] for uid, made in self.decisions.items() if made.fate in fates)


def select(graph: ObjectGraph, scope: Scope) -> Selection:
    """Returns what becomes of each object of the graph.

    Selected is what has a hierarchy root above it by owners of any kind, hard or soft, is one itself, or
    carries a move label (on the object or its CRD; presence counts, the value does not). Of that is kept on
    the source: what is cluster-scoped or below a cluster-scoped root; and, if one namespace is moved, the
    ClusterClasses of other namespaces and those that other namespaces use, with all that they own by owner
    references.

    If Clusters of the namespace are chosen, all that stays which belongs to none of them; what belongs to them and
    to others is copied and kept if it can be in two places, and is left, by a rule of its own, if it cannot
    (docs/decisions/0021).
    """
    walks = _walk_all(graph, scope)
    decisions = {uid: _decide(graph.objects[uid], graph, scope, walks) for uid in graph.objects}
    if scope.clusters is not None and scope.exactly is None:
        split = _Split(graph, homes(graph), scope.clusters | scope.hosts, scope.shared)
        decisions = {uid: split.narrowed(uid, made) for uid, made in decisions.items()}
    return Selection(graph=graph, scope=scope, decisions=MappingProxyType(decisions))


# A walk maps each UID that was reached to the one it was reached from (None for a root).
_Walk = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class _Walks:
    hierarchy: _Walk
    cluster_scoped: _Walk
    classes: _Walk
    left_behind: _Walk


def _walk_all(graph: ObjectGraph, scope: Scope) -> _Walks:
    roots = [uid for uid, obj in graph.objects.items() if _is_root(obj)]
    return _Walks(
        hierarchy=_walk(graph, roots, hard_only=False),
        cluster_scoped=_walk(graph, [uid for uid in roots if not graph.objects[uid].type.namespaced], hard_only=False),
        classes=_walk(graph, _undeletable_classes(graph, scope), hard_only=True),
        left_behind=_walk(graph, _left_behind(graph, scope), hard_only=False),
    )


def _walk(graph: ObjectGraph, roots: Iterable[str], *, hard_only: bool) -> _Walk:
    """Returns a breadth-first walk from the roots: shortest paths, of equal ones the first in key order."""
    reached: dict[str, str | None] = dict.fromkeys(roots)
    level = list(reached)
    while level:
        following = []
        for uid in level:
            for dependent in graph.dependents(uid):
                if dependent not in reached and (not hard_only or graph.is_hard(uid, dependent)):
                    reached[dependent] = uid
                    following.append(dependent)
        level = following
    return reached


def _is_root(obj: Object) -> bool:
    return obj.type.move_hierarchy or rules.MOVE_HIERARCHY_LABEL in obj.labels


def _undeletable_classes(graph: ObjectGraph, scope: Scope) -> Iterator[str]:
    if not scope.namespace:
        return
    for uid, obj in graph.objects.items():
        is_class = obj.type.group_kind == rules.CLUSTER_CLASS
        if is_class and (obj.key.namespace != scope.namespace or obj.key in scope.shared_classes):
            yield uid


def _left_behind(graph: ObjectGraph, scope: Scope) -> Iterator[str]:
    return (uid for uid, obj in graph.objects.items() if obj.key in scope.left_behind)


def _path(graph: ObjectGraph, walk: _Walk, uid: str) -> tuple[ObjectKey, ...]:
    keys = []
    current: str | None = uid
    while current is not None:
        keys.append(graph.objects[current].key)
        current = walk[current]
    return tuple(reversed(keys))


def _decide(obj: Object, graph: ObjectGraph, scope: Scope, walks: _Walks) -> Decision:
    if scope.exactly is not None:
        if obj.uid in scope.exactly:
            return Decision(Fate.MOVE, Rule.RECORDED, "It is part of the move that is resumed.")
        return Decision(Fate.LEAVE, Rule.RECORDED, "It is not part of the move that is resumed.")
    path = _path(graph, walks.hierarchy, obj.uid) if obj.uid in walks.hierarchy else ()
    chosen = _chosen(obj, path)
    if chosen is None:
        return _included(obj, scope) or _left(obj, graph, scope)
    if obj.uid in walks.left_behind:
        return _behind(_path(graph, walks.left_behind, obj.uid))
    return _kept(obj, graph, scope, walks) or chosen


def _chosen(obj: Object, path: tuple[ObjectKey, ...]) -> Decision | None:
    if len(path) == 1:
        reason = f"{obj.key} is the root of a hierarchy: it moves with everything below it."
        return Decision(Fate.MOVE, Rule.HIERARCHY_ROOT, reason, path)
    if path:
        return Decision(Fate.MOVE, Rule.BELOW_ROOT, f"It is below {path[0]}, which moves.", path)
    if obj.type.move:
        reason = f"All objects of the type {obj.type.resource_name} move, as with the label {rules.MOVE_LABEL}."
        return Decision(Fate.MOVE, Rule.MOVE_TYPE, reason)
    if rules.MOVE_LABEL in obj.labels:
        return Decision(Fate.MOVE, Rule.MOVE_LABEL, f"It carries the label {rules.MOVE_LABEL}.")
    return None


def _kept(obj: Object, graph: ObjectGraph, scope: Scope, walks: _Walks) -> Decision | None:
    if not obj.type.namespaced:
        path = _path(graph, walks.hierarchy, obj.uid) if obj.uid in walks.hierarchy else ()
        reason = "It is cluster-scoped, so others may use it: it is copied, and kept on the source."
        return Decision(Fate.KEEP, Rule.CLUSTER_SCOPED, reason, path)
    if obj.uid in walks.cluster_scoped:
        path = _path(graph, walks.cluster_scoped, obj.uid)
        reason = f"It is below the cluster-scoped {path[0]}: it is copied, and kept on the source."
        return Decision(Fate.KEEP, Rule.BELOW_CLUSTER_SCOPED, reason, path)
    if obj.uid in walks.classes:
        return _kept_with_class(_path(graph, walks.classes, obj.uid), scope)
    return None


def _kept_with_class(path: tuple[ObjectKey, ...], scope: Scope) -> Decision:
    if path[0].namespace != scope.namespace:
        rule = Rule.CLASS_OUTSIDE_NAMESPACE
        why = f"outside of the namespace {scope.namespace} that is moved"
    else:
        rule = Rule.CLASS_USED_OUTSIDE_NAMESPACE
        why = "used by Clusters of other namespaces"
    belongs = f"It belongs to {path[0]}, which is {why}" if len(path) > 1 else f"{path[0]} is {why}"
    return Decision(Fate.KEEP, rule, f"{belongs}: it is copied, and kept on the source.", path)


def _included(obj: Object, scope: Scope) -> Decision | None:
    if obj.key not in scope.included:
        return None
    reason = "Something that moves names it, so it was asked for: it is copied, and kept on the source."
    return Decision(Fate.KEEP, Rule.INCLUDED, reason)


def _behind(path: tuple[ObjectKey, ...]) -> Decision:
    if len(path) == 1:
        return Decision(Fate.LEAVE, Rule.LEFT_BEHIND, "It stays, as asked for: one of its owners does not move.", path)
    return Decision(Fate.LEAVE, Rule.BELOW_LEFT_BEHIND, f"It stays with its owner {path[0]}.", path)


def _left(obj: Object, graph: ObjectGraph, scope: Scope) -> Decision:
    if scope.namespace and obj.type.namespaced and obj.key.namespace != scope.namespace:
        reason = f"It is in the namespace {obj.key.namespace}, which is not moved, and nothing that moves owns it."
        return Decision(Fate.LEAVE, Rule.OUTSIDE_NAMESPACE, reason)
    owners = [str(graph.objects.get(uid) or graph.virtual[uid]) for uid in graph.owners(obj.uid)]
    if owners:
        reason = f"Its owners do not move ({', '.join(owners)}), and no label moves it."
    else:
        reason = "It has no owner, and no label moves it."
    return Decision(Fate.LEAVE, Rule.NOT_IN_HIERARCHY, reason)


@dataclass(frozen=True, slots=True)
class _Split:
    """Decides what of a namespace goes with the chosen Clusters and hosts."""

    graph: ObjectGraph
    homes: Homes
    chosen: frozenset[ObjectKey]
    shared: frozenset[ObjectKey]

    def narrowed(self, uid: str, made: Decision) -> Decision:
        """Returns the decision on an object when only the chosen move; `made` is that for the whole namespace."""
        if made.fate is Fate.LEAVE or made.rule is Rule.INCLUDED:
            return made
        going, staying = self._sides(uid)
        if not going:
            return Decision(Fate.LEAVE, Rule.OF_OTHERS, self._why_stays(uid, staying), made.path)
        if made.fate is Fate.KEEP:
            return made
        if self._is_for_others(uid):
            reason = "Other Clusters use it, too: it is copied, and kept on the source until the last of them moves."
            return Decision(Fate.KEEP, Rule.SHARED, reason, made.path)
        if not staying:
            return Decision(Fate.MOVE, Rule.OF_CHOSEN, self._why_moves(uid, going), made.path)
        if rules.is_shareable(self.graph.objects[uid].type.group_kind):
            reason = f"{self._first(staying)}, which stays, uses it, too: it is copied, and kept on the source."
            return Decision(Fate.KEEP, Rule.SHARED, reason, made.path)
        return self._unsplit(uid, made.path)

    def _is_for_others(self, uid: str) -> bool:
        """Returns whether others use an object, and its last owner does not leave: the collector would take it."""
        obj = self.graph.objects[uid]
        if obj.key not in self.shared:
            return False
        owners = [self.graph.objects[owner.uid] for owner in obj.owners if owner.uid in self.graph.objects]
        return not owners or any(owner.key in self.shared or self._sides(owner.uid)[1] for owner in owners)

    def _sides(self, uid: str) -> tuple[list[Object], list[Object]]:
        found = [self.graph.objects[home] for home in self.graph.in_key_order(self.homes[uid])]
        return [home for home in found if home.key in self.chosen], [
            home for home in found if home.key not in self.chosen
        ]

    def _why_stays(self, uid: str, staying: list[Object]) -> str:
        obj = self.graph.objects[uid]
        if self.homes[uid] != {uid}:
            return f"It belongs to {self._first(staying)}, which stays."
        if obj.type.group_kind == rules.CLUSTER:
            return "It is not one of the Clusters that are moved."
        if obj.type.group_kind == rules.BARE_METAL_HOST:
            return "It is a spare host: such stay with single Clusters, unless they are chosen, too."
        return "It belongs to no Cluster that is moved."

    def _why_moves(self, uid: str, going: list[Object]) -> str:
        return "It was chosen." if self.homes[uid] == {uid} else f"It belongs to {self._first(going)}, which moves."

    def _unsplit(self, uid: str, path: tuple[ObjectKey, ...]) -> Decision:
        """Returns the decision on what cannot be in two places; what is below such an object is not its cause."""
        for owner in self.graph.owners(uid):
            if owner in self.homes and self._is_unsplit(owner):
                reason = f"It is below {self.graph.objects[owner].key}, which cannot be split."
                return Decision(Fate.LEAVE, Rule.BELOW_CANNOT_BE_SPLIT, reason, path)
        going, staying = self._sides(uid)
        reason = f"It belongs to {self._first(going)}, which moves, and to {self._first(staying)}, which stays."
        return Decision(Fate.LEAVE, Rule.CANNOT_BE_SPLIT, reason, path)

    def _is_unsplit(self, uid: str) -> bool:
        return not rules.is_shareable(self.graph.objects[uid].type.group_kind) and all(self._sides(uid))

    @staticmethod
    def _first(found: list[Object]) -> ObjectKey:
        """Returns the key of the first Cluster, else of the first object."""
        return min(found, key=lambda home: (home.type.group_kind != rules.CLUSTER, home.key)).key
