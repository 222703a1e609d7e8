"""From an inventory to a plan: what moves, in which order it is created and in which it is deleted.

Pure, and the same for the same inventory: the dry run shows exactly what a move would do.
"""

from __future__ import annotations

from dataclasses import dataclass

from graph.build import build
from graph.order import Order, creation_order, deletion_order
from graph.resource import Object, ObjectKey
from graph.selection import Fate, Scope, Selection, select
from mover.discovery import Inventory


@dataclass(frozen=True, slots=True)
class Plan:
    """What a move does, object by object.

    Attributes:
        inventory: What the plan was made from.
        selection: Every object's fate with its reason.
        creation: The order of creation on the target.
        deletion: The order of deletion on the source.
    """

    inventory: Inventory
    selection: Selection
    creation: Order
    deletion: Order

    def object(self, uid: str) -> Object:
        """Returns the object of that UID on the source."""
        return self.selection.graph.objects[uid]

    def is_kept(self, obj: Object) -> bool:
        """Returns whether the object stays on the source, too."""
        return self.selection.decisions[obj.uid].fate is Fate.KEEP


def make_plan(inventory: Inventory, left_behind: frozenset[ObjectKey] = frozenset()) -> Plan:
    """Returns the plan for moving what the inventory holds, without `left_behind` and everything below it."""
    scope = Scope(inventory.namespace, inventory.shared_classes, left_behind)
    selection = select(build(inventory.objects), scope)
    return Plan(inventory, selection, creation_order(selection), deletion_order(selection))
