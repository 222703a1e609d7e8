"""The graphs of what is moved, kept for a page as they are planned."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from mover.events import Event, Planned
from mover.page.graph import graph_data


@dataclass(frozen=True, slots=True)
class Drawn:
    """The graph of what is moved.

    Attributes:
        scope: What is moved, as `mover.scope` writes it.
        source: Context name of the source.
        target: Context name of the target.
        data: The JSON of `graph_data`: a tenth of what the objects themselves take.
        units: The scopes of the units of a rolling move.
    """

    scope: str
    source: str
    target: str
    data: bytes
    units: tuple[str, ...]


class Drawer:
    """A listener that keeps the graphs that a move tells of; of the objects themselves it keeps nothing."""

    def __init__(self) -> None:
        self._graphs: dict[str, Drawn] = {}

    def __call__(self, event: Event) -> None:
        """Keeps a graph; what is told of the same scope later takes its place."""
        if not isinstance(event, Planned):
            return
        data = graph_data(event.selection, event.creation, event.deletion, event.units)
        self._graphs[event.scope] = Drawn(
            event.scope, event.source, event.target, orjson.dumps(data), tuple(data["units"])
        )

    def graphs(self) -> tuple[Drawn, ...]:
        """Returns what was moved; several if namespaces were moved one after the other."""
        return tuple(self._graphs.values())
