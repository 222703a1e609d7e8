"""The owner graph of Cluster API objects: what moves, and in which order. Pure: no I/O."""

from graph.build import (
    DuplicateObjectError,
    DuplicateUIDError,
    ObjectGraph,
    VirtualOwner,
    build,
    topology_class,
)
from graph.order import Order, creation_order, cycles, deletion_order
from graph.references import Reference, references
from graph.render import dot, mermaid, to_json, tree
from graph.resource import Object, ObjectKey, OwnerRef, ResourceType, parse_object
from graph.rules import MoveFlags, SoftRule
from graph.selection import Decision, Fate, Rule, Scope, Selection, select
from graph.unit import Unit, units

__all__ = [
    "Decision",
    "DuplicateObjectError",
    "DuplicateUIDError",
    "Fate",
    "MoveFlags",
    "Object",
    "ObjectGraph",
    "ObjectKey",
    "Order",
    "OwnerRef",
    "Reference",
    "ResourceType",
    "Rule",
    "Scope",
    "Selection",
    "SoftRule",
    "Unit",
    "VirtualOwner",
    "build",
    "creation_order",
    "cycles",
    "deletion_order",
    "dot",
    "mermaid",
    "parse_object",
    "references",
    "select",
    "to_json",
    "topology_class",
    "tree",
    "units",
]
