"""A plan as a page: the graph, each object's fate and why, the order of both sides."""

from __future__ import annotations

from mover.page.graph import graph_data
from mover.page.template import filled
from mover.page.words import Tense
from mover.planning import Plan
from mover.scope import described


def plan_page(plan: Plan) -> str:
    """Returns the HTML of a page with everything in it: it loads nothing, and holds no content of any object."""
    graph = graph_data(plan.selection, plan.creation, plan.deletion)
    return filled(
        "plan.html",
        {"graphs": [{"scope": plan.scope, "tense": Tense.PLANNED, "graph": graph}], "units": []},
        title=f"Move of {described(plan.scope)}",
    )
