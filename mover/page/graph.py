"""The graph of a page as plain values: objects with their place in the drawing and in both orders, and edges.

Where each object is drawn is decided here, in the order of the tree, so that ten thousand objects need no layout in
the browser. A tall tree goes on in further columns, or all that is seen of it as a whole would be a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graph.order import Order
from graph.render import rows, to_json
from graph.selection import Selection
from graph.unit import Unit
from mover.scope import scope_of

_INDENT = 210
_ROW = 34
_LABEL = 330
"""How wide a name at the end of a row is about, as the rest in pixels at a zoom of one."""
_WIDTH_TO_HEIGHT = 1.6


def graph_data(
    selection: Selection, creation: Order, deletion: Order, units: Sequence[Unit] = ()
) -> dict[str, list[Any]]:
    """Returns what a page draws, without anything that an object holds.

    Objects have their place in the drawing (x, y), in the order of creation and in that of deletion (from 1; 0 for
    none), and the numbers of the units that they belong to. Edges name owner and dependent by their position in the
    list of objects.
    """
    whole = to_json(selection)
    drawn = rows(selection)
    places = _layout([depth for _, depth in drawn])
    shown = {uid: number for number, (uid, _) in enumerate(drawn)}
    created, deleted = (_numbered(order.sequence) for order in (creation, deletion))
    nodes = {node["uid"]: node for node in whole["nodes"]}
    homes = _units_of(units)
    return {
        "objects": [
            {
                **nodes[uid],
                "x": x,
                "y": y,
                "created": created.get(uid, 0),
                "deleted": deleted.get(uid, 0),
                **({"units": homes[uid]} if uid in homes else {}),
            }
            for (uid, _), (x, y) in zip(drawn, places, strict=True)
        ],
        "edges": [
            [shown[edge["owner"]], shown[edge["dependent"]], edge["hard"]]
            for edge in whole["edges"]
            if edge["owner"] in shown and edge["dependent"] in shown
        ],
        "units": [scope_of(unit.namespace, unit.names) for unit in units],
    }


def _layout(depths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields where the rows of a tree are drawn: in as many columns as make the whole about as wide as a screen."""
    width = (max(depths, default=0) + 1) * _INDENT + _LABEL
    columns = max(1, round(math.sqrt(_WIDTH_TO_HEIGHT * _ROW * len(depths) / width)))
    starts = list(_starts(depths, math.ceil(len(depths) / columns)))
    for column, (first, last) in enumerate(zip(starts, [*starts[1:], len(depths)], strict=True)):
        for row in range(first, last):
            yield column * width + depths[row] * _INDENT, (row - first) * _ROW


def _starts(depths: Sequence[int], height: int) -> Iterator[int]:
    """Yields the first row of each column of about `height` rows; what is below one root stays together if it can."""
    start = 0
    while start < len(depths):
        yield start
        best = start + height
        nearest, farthest = start + math.ceil(height * 0.5), start + math.ceil(height * 1.5)
        if farthest >= len(depths):
            return
        start = min(range(nearest, farthest), key=lambda row: (depths[row], abs(row - best)))


def _numbered(sequence: Sequence[str]) -> Mapping[str, int]:
    return {uid: place for place, uid in enumerate(sequence, start=1)}


def _units_of(units: Sequence[Unit]) -> Mapping[str, list[int]]:
    """Returns the numbers of the units that each object belongs to, by UID."""
    found: dict[str, list[int]] = {}
    for number, unit in enumerate(units):
        for uid in unit.objects:
            found.setdefault(uid, []).append(number)
    return found
