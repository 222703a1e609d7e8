"""Which Clusters can move one after the other, each with its own, and what they share with each other.

A unit is the smallest set of Clusters that can be parted from the rest: what cannot be in two places holds those
together that it belongs to. See docs/decisions/0023.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from networkx.utils import UnionFind

from graph import rules
from graph.belonging import Homes, homes
from graph.resource import Object, ObjectKey
from graph.selection import Selection


@dataclass(frozen=True, slots=True)
class Unit:
    """Clusters that move together.

    Attributes:
        clusters: Their keys; one in nearly all cases.
        hosts: Hosts without a Cluster that cannot be parted from them.
        objects: UIDs of what belongs to them, wholly or with others, whatever becomes of it.
        shared: Keys of what they have in common with others, and can be in two places.
        lasting: Those of `shared` that something uses which belongs to no unit.
    """

    clusters: frozenset[ObjectKey]
    hosts: frozenset[ObjectKey]
    objects: frozenset[str]
    shared: frozenset[ObjectKey]
    lasting: frozenset[ObjectKey]

    @property
    def namespace(self) -> str:
        """Returns the namespace of the Clusters."""
        return min(self.clusters).namespace

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the names of the Clusters, sorted."""
        return tuple(sorted(key.name for key in self.clusters))


def units(selection: Selection) -> tuple[Unit, ...]:
    """Returns the units of the Clusters that move, by namespace and name.

    Clusters that are tied to something which is no Cluster, no host and in one place only make no unit: they go with
    all that is left at the end.
    """
    found = _Division(selection).units()
    return tuple(sorted(found, key=lambda unit: (unit.namespace, unit.names)))


class _Division:
    """The homes of a selection, joined where they cannot be parted."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._graph = selection.graph
        self._homes: Homes = homes(selection.graph)
        self._joined = UnionFind({home for found in self._homes.values() for home in found})  # type: ignore[no-untyped-call]
        self._join_what_is_in_one_place()
        while self._join_what_would_be_collected():
            pass
        self._members = self._members_of_homes()
        self._rolling = frozenset(group for group, found in self._groups().items() if self._can_roll(found))

    def units(self) -> list[Unit]:
        """Returns the units, in no particular order."""
        return [self._unit(found) for group, found in self._groups().items() if group in self._rolling]

    def _groups(self) -> Mapping[str, Sequence[Object]]:
        """Returns the homes that belong together."""
        found: defaultdict[str, list[Object]] = defaultdict(list)
        for home in self._members:
            found[self._joined[home]].append(self._graph.objects[home])
        return found

    def _can_roll(self, group: Iterable[Object]) -> bool:
        """Returns whether a group is Clusters that move, and hosts tied to them."""
        kinds = {home.type.group_kind for home in group if self._selection.is_selected(home.uid)}
        return rules.CLUSTER in kinds and kinds <= {rules.CLUSTER, rules.BARE_METAL_HOST}

    def _unit(self, group: Sequence[Object]) -> Unit:
        """Returns the unit of a group."""
        objects = frozenset(uid for home in group for uid in self._members[home.uid])
        shared = [
            self._graph.objects[uid]
            for uid in objects
            if self._selection.is_selected(uid) and len(self._groups_of(uid)) > 1
        ]
        return Unit(
            clusters=self._keys(group, rules.CLUSTER),
            hosts=self._keys(group, rules.BARE_METAL_HOST),
            objects=objects,
            shared=frozenset(obj.key for obj in shared),
            lasting=frozenset(obj.key for obj in shared if self._groups_of(obj.uid) - self._rolling),
        )

    def _keys(self, group: Iterable[Object], kind: rules.GroupKind) -> frozenset[ObjectKey]:
        of_kind = (home for home in group if home.type.group_kind == kind)
        return frozenset(home.key for home in of_kind if self._selection.is_selected(home.uid))

    def _members_of_homes(self) -> Mapping[str, Sequence[str]]:
        members: defaultdict[str, list[str]] = defaultdict(list)
        for uid, found in self._homes.items():
            for home in found:
                members[home].append(uid)
        return members

    def _groups_of(self, uid: str) -> frozenset[str]:
        return frozenset(self._joined[home] for home in self._homes[uid])

    def _join_what_is_in_one_place(self) -> None:
        for obj in self._selection.selected:
            if not rules.is_shareable(obj.type.group_kind):
                self._join(obj.uid)

    def _join_what_would_be_collected(self) -> bool:
        """Joins those that use what only some of them own: it is collected on the source when these have gone.

        Returns whether there was anything to join.
        """
        for obj in self._selection.selected:
            users = self._groups_of(obj.uid)
            owners = frozenset[str]().union(
                *(self._groups_of(owner.uid) for owner in obj.owners if owner.uid in self._homes)
            )
            if owners and owners < users:
                self._join(obj.uid)
                return True
        return False

    def _join(self, uid: str) -> None:
        self._joined.union(*self._homes[uid])  # type: ignore[no-untyped-call]
