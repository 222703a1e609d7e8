"""A plan for people and for programs: tree, table, and plain values for JSON and YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graph.render import to_json, tree
from graph.resource import Object
from graph.selection import Fate, Rule
from mover.planning import Plan

_COUNTS = {Fate.MOVE: "MOVE", Fate.KEEP: "COPY, KEEP", Fate.LEAVE: "STAY"}
_GAP = "   "


def tree_lines(plan: Plan) -> list[str]:
    """Returns a plan as a tree of owners, the counts per kind, and what stays with its reason."""
    drawn = tree(plan.selection)
    return [*([drawn, ""] if drawn else []), *count_lines(plan), *_stay_lines(plan)]


def table_lines(plan: Plan) -> list[str]:
    """Returns a plan as a table in the order of creation, then the counts per kind.

    CREATE and DELETE are the places in the two orders, from 1. What stays comes last, without objects of namespaces
    that are not moved.
    """
    heading = ("CREATE", "DELETE", "FATE", "KIND", "NAMESPACE", "NAME", "WHY")
    return [*_columns([heading, *_rows(plan)]), "", *count_lines(plan)]


def plan_json(plan: Plan) -> dict[str, Any]:
    """Returns a plan as plain JSON values: the graph with all decisions, both orders as UIDs, counts per kind."""
    return {
        **to_json(plan.selection),
        "creation": list(plan.creation.sequence),
        "deletion": list(plan.deletion.sequence),
        "counts": {fate.value: dict(sorted(kinds.items())) for fate, kinds in _counts(plan).items()},
    }


def count_lines(plan: Plan) -> list[str]:
    """Returns how many objects of each kind move, are copied and kept, and stay; the last line is the sum."""
    counts = _counts(plan)
    kinds = sorted({kind for found in counts.values() for kind in found})
    rows = [(kind, *(_shown(counts[fate][kind]) for fate in _COUNTS)) for kind in kinds]
    sums = ("all", *(_shown(counts[fate].total()) for fate in _COUNTS))
    return _columns([("KIND", *_COUNTS.values()), *rows, sums])


def _counts(plan: Plan) -> Mapping[Fate, Counter[str]]:
    selection = plan.selection
    return {
        Fate.MOVE: Counter(str(obj.type) for obj in selection.moved),
        Fate.KEEP: Counter(str(obj.type) for obj in selection.kept),
        Fate.LEAVE: Counter(str(obj.type) for obj in _staying(plan)),
    }


def _staying(plan: Plan) -> list[Object]:
    """Returns what stays, without what is in namespaces that are not moved."""
    decisions = plan.selection.decisions
    return [obj for obj in plan.selection.left if decisions[obj.uid].rule is not Rule.OUTSIDE_NAMESPACE]


def _shown(count: int) -> str:
    return str(count) if count else "-"


def _stay_lines(plan: Plan) -> list[str]:
    lines = [f"{_GAP}{obj.key}: {plan.selection.decisions[obj.uid].reason}" for obj in _staying(plan)]
    return ["", "What stays:", *lines] if lines else []


def _rows(plan: Plan) -> Iterator[tuple[str, ...]]:
    created, deleted = (_places(order.sequence) for order in (plan.creation, plan.deletion))
    for obj in (*map(plan.object, plan.creation.sequence), *_staying(plan)):
        decision, key = plan.selection.decisions[obj.uid], obj.key
        places = (created.get(obj.uid, "-"), deleted.get(obj.uid, "-"))
        yield (*places, decision.fate.value, str(obj.type), key.namespace or "-", key.name, decision.reason)


def _places(sequence: Sequence[str]) -> Mapping[str, str]:
    return {uid: str(number) for number, uid in enumerate(sequence, start=1)}


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the rows as lines with aligned columns, however wide: a terminal's width must not cut a name."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
