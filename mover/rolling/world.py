"""What of both clusters the move of one unit sees: its own objects, what it shares, and what appears below them."""

from __future__ import annotations

from graph import rules
from graph.build import ObjectGraph
from graph.resource import Object, ObjectKey
from graph.unit import Unit


class World:
    """The objects of a unit on both clusters; it grows with what appears on the source while the unit moves."""

    def __init__(self, unit: Unit, graph: ObjectGraph) -> None:
        self._clusters = unit.clusters
        objects = [graph.objects[uid] for uid in unit.objects]
        self._own = {obj.uid for obj in objects if obj.key not in unit.shared}
        # Owners of others are seen, so that nothing is taken for an object whose owners have all gone.
        owners = {owner.uid for obj in objects for owner in obj.owners}
        self._seen = {*unit.objects, *owners}
        self._names = {_name(obj.key) for obj in objects}
        # By uid the version that was looked at: the same thousands are asked for again and again.
        self._strangers: dict[str, str] = {}

    def on_source(self, obj: Object) -> bool:
        """Returns whether an object of the source is seen."""
        if obj.uid in self._seen:
            return True
        if self._strangers.get(obj.uid) == obj.resource_version:
            return False
        if not self._is_new_of_unit(obj):
            self._strangers[obj.uid] = obj.resource_version
            return False
        self._strangers.clear()  # some of them may be below this one
        self._own.add(obj.uid)
        self._seen.add(obj.uid)
        self._names.add(_name(obj.key))
        return True

    def on_target(self, obj: Object) -> bool:
        """Returns whether an object of the target is seen: one with the name of an object of the unit."""
        return _name(obj.key) in self._names

    def _is_new_of_unit(self, obj: Object) -> bool:
        label = obj.labels.get(rules.CLUSTER_NAME_LABEL, "")
        if ObjectKey(*rules.CLUSTER, obj.key.namespace, label) in self._clusters:
            return True
        return any(owner.uid in self._own for owner in obj.owners)


def _name(key: ObjectKey) -> tuple[str, str, str]:
    """Returns what a copy has in common with its original, whatever namespace it goes to."""
    return key.group, key.kind, key.name
