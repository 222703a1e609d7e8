"""Why one object moves or not: its owners up to the root, what refers to it, its place in both orders. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from graph.build import ObjectGraph
from graph.order import Order
from graph.references import references
from graph.resource import Object, ObjectKey
from graph.rules import SoftRule
from graph.selection import Decision, Fate, Selection


@dataclass(frozen=True, slots=True)
class Tie:
    """An object that another one is tied to by ownership.

    Attributes:
        key: The object.
        fate: What becomes of it; None for an owner that was never seen.
        hard: Whether the owner reference is there.
        soft: The rule that makes it an owner or dependent without one, or beside it.
    """

    key: ObjectKey
    fate: Fate | None
    hard: bool
    soft: SoftRule | None


@dataclass(frozen=True, slots=True)
class Named:
    """A reference in a spec, from or to the object that is explained.

    Attributes:
        field: Where the name stands, e.g. "spec.consumerRef".
        key: The object at the other end.
        fate: What becomes of that one; None if it is not there.
    """

    field: str
    key: ObjectKey
    fate: Fate | None


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an object in an order.

    Attributes:
        number: Counted from 1.
        total: How many objects the order has.
        waits_for: The objects that must be done before it, in key order.
    """

    number: int
    total: int
    waits_for: tuple[ObjectKey, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an object moves or not.

    Attributes:
        obj: The object.
        decision: What becomes of it, and why.
        path: From the root down to its nearest owner, each tied to the next one, the last one to the object; the
            root is the one that decided, or for want of one the topmost owner.
        owners: Its owners that are not the last of `path`, in key order.
        dependents: What it owns, in key order.
        names: What its spec names.
        named_by: Whose spec names it, in key order.
        creation: Its place among what is created on the target; None if it is not.
        deletion: Its place among what is deleted from the source; None if it is not.
    """

    obj: Object
    decision: Decision
    path: tuple[Tie, ...]
    owners: tuple[Tie, ...]
    dependents: tuple[Tie, ...]
    names: tuple[Named, ...]
    named_by: tuple[Named, ...]
    creation: Place | None
    deletion: Place | None


def explain(selection: Selection, creation: Order, deletion: Order, uid: str) -> Explanation:
    """Returns why the object of that UID moves or not.

    Args:
        selection: Every object's fate.
        creation: The order of creation on the target.
        deletion: The order of deletion on the source.
        uid: An object of the selection's graph.
    """
    graph = selection.graph
    obj, decision = graph.objects[uid], selection.decisions[uid]
    above = _path(graph, decision, uid)
    nearest = above[-1:]
    return Explanation(
        obj=obj,
        decision=decision,
        path=tuple(_tie(selection, owner, (owner, below)) for owner, below in pairwise((*above, uid))),
        owners=tuple(_tie(selection, owner, (owner, uid)) for owner in graph.owners(uid) if owner not in nearest),
        dependents=tuple(_tie(selection, found, (uid, found)) for found in graph.dependents(uid)),
        names=tuple(_named(selection, found.field, found.key) for found in references(obj)),
        named_by=tuple(_referrers(selection, obj.key)),
        creation=_place(graph, creation, uid),
        deletion=_place(graph, deletion, uid),
    )


def _path(graph: ObjectGraph, decision: Decision, uid: str) -> tuple[str, ...]:
    """Returns the UIDs from the root down to the nearest owner; empty for an object without owners."""
    decided = [found.uid for key in decision.path[:-1] if (found := graph.by_key(key)) is not None]
    return tuple(decided) if decision.path else _to_the_top(graph, uid)


def _to_the_top(graph: ObjectGraph, uid: str) -> tuple[str, ...]:
    """Returns the shortest way from an owner that nobody owns down to the object's nearest owner.

    Owners that own each other in a circle have no top: then there is none.
    """
    below: dict[str, str | None] = {uid: None}
    level = [uid]
    while level:
        top = next((found for found in level if not graph.owners(found)), None)
        if top is not None:
            return tuple(_down(below, top))
        upwards = [(owner, found) for found in level for owner in graph.owners(found) if owner not in below]
        for owner, found in upwards:
            below.setdefault(owner, found)
        level = list(dict.fromkeys(owner for owner, _ in upwards))
    return ()


def _down(below: Mapping[str, str | None], top: str) -> Iterator[str]:
    current = top
    while (following := below[current]) is not None:
        yield current
        current = following


def _tie(selection: Selection, uid: str, edge: tuple[str, str]) -> Tie:
    """Returns the tie to the object `uid`, which is one end of the edge."""
    graph = selection.graph
    node = graph.objects.get(uid) or graph.virtual[uid]
    data = graph.digraph.edges[edge]
    return Tie(node.key, _fate(selection, uid), data["hard"], data["soft"])


def _fate(selection: Selection, uid: str) -> Fate | None:
    decision = selection.decisions.get(uid)
    return None if decision is None else decision.fate


def _named(selection: Selection, field: str, key: ObjectKey) -> Named:
    found = selection.graph.by_key(key)
    return Named(field, key, None if found is None else _fate(selection, found.uid))


def _referrers(selection: Selection, key: ObjectKey) -> Iterator[Named]:
    for uid, obj in selection.graph.objects.items():
        for reference in references(obj):
            if reference.key == key:
                yield Named(reference.field, obj.key, _fate(selection, uid))


def _place(graph: ObjectGraph, order: Order, uid: str) -> Place | None:
    if uid not in order.waits_for:
        return None
    waits = tuple(graph.objects[other].key for other in order.waits_for[uid])
    return Place(order.sequence.index(uid) + 1, len(order.sequence), waits)


_FATES: Mapping[Fate | None, str] = MappingProxyType(
    {Fate.MOVE: "moves", Fate.KEEP: "is copied and kept", Fate.LEAVE: "stays", None: "not found"}
)
_INDENT = "  "


def explanation_lines(why: Explanation) -> list[str]:
    """Returns an explanation as lines of text."""
    heading = f"{why.obj.key} ({why.obj.type.resource_name}) {_FATES[why.decision.fate]}."
    return [
        heading,
        f"{_INDENT}{why.decision.reason}",
        f"{_INDENT}Rule: {why.decision.rule}",
        *_section("Owners, from the root down", _path_lines(why)),
        *_section("Further owners", [_tie_line(tie) for tie in why.owners]),
        *_section("What it owns", [_tie_line(tie) for tie in why.dependents]),
        *_section("What it names", [_named_line(named) for named in why.names]),
        *_section("What names it", [_named_line(named) for named in why.named_by]),
        *_section("Order", _order_lines(why)),
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"{_INDENT}{line}" for line in lines)] if lines else []


def _path_lines(why: Explanation) -> list[str]:
    """Returns the way down as a tree; behind each object stands how the one above owns it."""
    if not why.path:
        return []
    keys = [*(tie.key for tie in why.path), why.obj.key]
    fates = [_FATES[fate] for fate in (*(tie.fate for tie in why.path), why.decision.fate)]
    owned = ["", *(f"{_kind_of(tie)}, " for tie in why.path)]
    rows = enumerate(zip(keys, owned, fates, strict=True))
    return [f"{_branch(depth)}{key} ({how}{fate})" for depth, (key, how, fate) in rows]


def _branch(depth: int) -> str:
    return f"{'   ' * (depth - 1)}└─ " if depth else ""


def _kind_of(tie: Tie) -> str:
    soft = f"soft: {tie.soft}" if tie.soft else ""
    return " and ".join(filter(None, ("owner reference" if tie.hard else "", soft)))


def _tie_line(tie: Tie) -> str:
    return f"{tie.key} ({_kind_of(tie)}, {_FATES[tie.fate]})"


def _named_line(named: Named) -> str:
    return f"{named.key} ({named.field}, {_FATES[named.fate]})"


def _order_lines(why: Explanation) -> list[str]:
    places = (("created on the target", why.creation), ("deleted from the source", why.deletion))
    return [_place_line(verb, place) for verb, place in places if place is not None]


def _place_line(verb: str, place: Place) -> str:
    after = f", after {', '.join(map(str, place.waits_for))}" if place.waits_for else ""
    return f"{verb} as number {place.number} of {place.total}{after}"


def explanation_json(why: Explanation) -> dict[str, Any]:
    """Returns an explanation as plain JSON values."""
    return {
        **_json_key(why.obj.key),
        "uid": why.obj.uid,
        "resource": why.obj.type.resource_name,
        "fate": why.decision.fate.value,
        "rule": why.decision.rule.value,
        "reason": why.decision.reason,
        "path": [_json_tie(tie) for tie in why.path],
        "furtherOwners": [_json_tie(tie) for tie in why.owners],
        "dependents": [_json_tie(tie) for tie in why.dependents],
        "names": [_json_named(named) for named in why.names],
        "namedBy": [_json_named(named) for named in why.named_by],
        "creation": _json_place(why.creation),
        "deletion": _json_place(why.deletion),
    }


def _json_key(key: ObjectKey) -> dict[str, str]:
    return {"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name}


def _json_tie(tie: Tie) -> dict[str, Any]:
    return {
        **_json_key(tie.key),
        "fate": tie.fate and tie.fate.value,
        "hard": tie.hard,
        "soft": tie.soft and tie.soft.value,
    }


def _json_named(named: Named) -> dict[str, Any]:
    return {"field": named.field, **_json_key(named.key), "fate": named.fate and named.fate.value}


def _json_place(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {"number": place.number, "total": place.total, "waitsFor": [_json_key(key) for key in place.waits_for]}
