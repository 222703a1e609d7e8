"""A plan as a page: the graph, each object's fate and why, the order of both sides.

The graph is drawn by Cytoscape.js, which is part of the package (cytoscape.min.js, cytoscape.LICENSE); where each
object is drawn is decided here, in the order of the tree, so that ten thousand objects need no layout in the browser.
"""

from __future__ import annotations

import html
from importlib.resources import files
from typing import Any

import orjson

from graph.render import rows, to_json
from mover.planning import Plan

_COLUMN = 210
_ROW = 34
_FILES = files("mover.page")


def plan_page(plan: Plan) -> str:
    """Returns the HTML of a page with everything in it: it loads nothing, and holds no content of any object."""
    scope = plan.inventory.namespace
    title = f"Move of the namespace {scope}" if scope else "Move of all namespaces"
    parts = {
        "TITLE": html.escape(title),
        "STYLE": _text("page.css"),
        "DATA": _script_text(page_data(plan)),
        "LIBRARY": _text("cytoscape.min.js"),
        "PROGRAM": _text("page.js"),
    }
    page = _text("page.html")
    for name, part in parts.items():
        page = page.replace(f"<!--{name}-->", part)
    return page


def page_data(plan: Plan) -> dict[str, Any]:
    """Returns what the page shows, as plain values.

    Objects have their place in the drawing (x, y), in the order of creation and in that of deletion (from 1; 0 for
    none). Edges name owner and dependent by their position in the list of objects.
    """
    whole = to_json(plan.selection)
    drawn = rows(plan.selection)
    shown = {uid: number for number, (uid, _) in enumerate(drawn)}
    created, deleted = (_places(order.sequence) for order in (plan.creation, plan.deletion))
    nodes = {node["uid"]: node for node in whole["nodes"]}
    return {
        "objects": [
            {
                **nodes[uid],
                "x": depth * _COLUMN,
                "y": number * _ROW,
                "created": created.get(uid, 0),
                "deleted": deleted.get(uid, 0),
            }
            for number, (uid, depth) in enumerate(drawn)
        ],
        "edges": [
            [shown[edge["owner"]], shown[edge["dependent"]], edge["hard"]]
            for edge in whole["edges"]
            if edge["owner"] in shown and edge["dependent"] in shown
        ],
    }


def _places(sequence: tuple[str, ...]) -> dict[str, int]:
    return {uid: place for place, uid in enumerate(sequence, start=1)}


def _text(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _script_text(value: Any) -> str:
    """Returns JSON that cannot end the script element that it stands in."""
    return orjson.dumps(value).decode().replace("<", "\\u003c")
