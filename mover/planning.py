"""From an inventory to a plan: what moves, in which order it is created and in which it is deleted.

Pure, and the same for the same inventory: the dry run shows exactly what a move would do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graph.build import DuplicateObjectError, DuplicateUIDError, build
from graph.order import Order, creation_order, deletion_order
from graph.resource import Object, ObjectKey, parse_object
from graph.selection import Fate, Scope, Selection, select
from mover import metal3
from mover.discovery import Inventory
from mover.errors import StoppedError
from mover.pause import Pause, pause_of, with_pause
from mover.scope import scope_of
from mover.transform import without_owners

Mutator = Callable[[dict[str, Any]], dict[str, Any]]
"""Body on the source -> body on the target; pure, and its argument stays as it is.

The namespace, labels, annotations, spec, data and status may change; name, kind and owners may not."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a plan is made by, beside the inventory.

    Attributes:
        left_behind: Objects that stay although they would move, with everything below them.
        exactly: UIDs of the objects that move, whatever their owners; None to go by clusterctl's rules.
        mutators: Applied in their order to every body before it is created on the target.
        clusters: The single Clusters that move; None for all of the namespace.
        hosts: Spare hosts that come along with these.
        included: Objects that are copied and kept because something that moves names them.
        shared: Objects that other Clusters use, too, whatever the inventory shows: they are copied and kept.
        brought: Objects that an earlier unit of a rolling move may have brought to the target: what is equal there is
            taken over (docs/decisions/0023).
    """

    left_behind: frozenset[ObjectKey] = frozenset()
    exactly: frozenset[str] | None = None
    mutators: tuple[Mutator, ...] = ()
    clusters: frozenset[ObjectKey] | None = None
    hosts: frozenset[ObjectKey] = frozenset()
    included: frozenset[ObjectKey] = frozenset()
    shared: frozenset[ObjectKey] = frozenset()
    brought: frozenset[ObjectKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a move does, object by object.

    Attributes:
        inventory: What the plan was made from.
        rules: What it was made by.
        selection: Every object's fate with its reason.
        creation: The order of creation on the target.
        deletion: The order of deletion on the source.
    """

    inventory: Inventory
    rules: Rules
    selection: Selection
    creation: Order
    deletion: Order

    @property
    def scope(self) -> str:
        """Returns what is moved, as `mover.scope` writes it."""
        return scope_of(self.inventory.namespace, (key.name for key in self.rules.clusters or ()))

    def object(self, uid: str) -> Object:
        """Returns the object of that UID on the source."""
        return self.selection.graph.objects[uid]

    def moves(self, uid: str) -> bool:
        """Returns whether the object of that UID leaves the source; False for one that is not known."""
        decision = self.selection.decisions.get(uid)
        return decision is not None and decision.fate is Fate.MOVE

    def is_kept(self, obj: Object) -> bool:
        """Returns whether the object stays on the source, too."""
        return self.selection.decisions[obj.uid].fate is Fate.KEEP

    def mutated(self, obj: Object) -> Object:
        """Returns the object as the target shall have it in the end, but for owners and server fields.

        Owners that stay with the Clusters they belong to are not owners of the copy.
        """
        dropped = self.selection.dropped_owners(obj.uid)
        if dropped:
            obj = parse_object(obj.type, without_owners(obj.body(), dropped))
        if not self.rules.mutators:
            return obj
        body = obj.body()
        for mutate in self.rules.mutators:
            body = mutate(body)
        return parse_object(obj.type, body)

    def image(self, obj: Object) -> Object:
        """Returns the object as its copy shall be until the target is resumed: mutated, and paused in any case.

        What moves was paused on the source; but a pause may have been stripped there since, and what is kept was
        never paused there.
        """
        image = self.mutated(obj)
        if metal3.is_host(image):
            return metal3.fenced(image)
        pause = pause_of(image)
        return image if pause is None else with_pause(image, pause)

    def images(self) -> tuple[Object, ...]:
        """Returns the images of all that is created on the target, in the key order of their originals."""
        return tuple(self.image(obj) for obj in self.selection.selected)

    def image_of_pause(self, pause: Pause) -> Pause:
        """Returns the pause of the copy that belongs to a pause of the original."""
        obj = self.selection.graph.by_key(pause.key)
        return pause if obj is None else pause.on(self.image(obj).key)

    def copy_pauses(self) -> tuple[Pause, ...]:
        """Returns the pauses that only the copies have, not their originals in the snapshot."""
        pauses = (pause_of(self.mutated(obj)) for obj in self.selection.selected)
        return tuple(pause for pause in pauses if pause is not None)


def make_plan(inventory: Inventory, rules: Rules | None = None) -> Plan:
    """Returns the plan for moving what the inventory holds.

    Raises:
        StoppedError: Two objects of the inventory cannot have been there at the same time.
    """
    rules = rules or Rules()
    scope = Scope(
        inventory.namespace,
        inventory.shared_classes,
        left_behind=rules.left_behind,
        exactly=rules.exactly,
        clusters=rules.clusters,
        hosts=rules.hosts,
        included=rules.included,
        shared=rules.shared,
    )
    try:
        selection = select(build(inventory.objects, knows_metal3=not inventory.strict_labels), scope)
    except (DuplicateObjectError, DuplicateUIDError) as error:
        raise StoppedError(f"An object was replaced while the cluster was read: {error}", "Try again") from error
    return Plan(inventory, rules, selection, creation_order(selection), deletion_order(selection))
