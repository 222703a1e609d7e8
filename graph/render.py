"""The graph as tree, Mermaid, DOT and JSON: names and decisions, never what an object holds.

Objects of namespaces that are not moved, and that stay, are left out of the drawings; the JSON form has them
all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from graph.build import ObjectGraph
from graph.resource import Object, ObjectKey
from graph.selection import Decision, Fate, Rule, Selection

_MARKS: Mapping[Fate, str] = MappingProxyType({Fate.MOVE: "", Fate.KEEP: "kept", Fate.LEAVE: "left"})


def tree(selection: Selection) -> str:
    """Returns the graph as a text tree, roots in key order, one line for each object; "" without objects.

    An object with several owners is shown whole once, under its controller or else its first owner, and as a
    reference under the others. The namespace is given where it is not the one of the line above in the tree.
    """
    return "\n".join(_TreeWriter(selection).lines())


def rows(selection: Selection) -> tuple[tuple[str, int], ...]:
    """Returns the UIDs of the tree's lines from top to bottom, each with its depth; every object once."""
    return tuple(_TreeWriter(selection).homes())


def mermaid(selection: Selection) -> str:
    """Returns the graph as a Mermaid flowchart; soft edges are dotted, kept and left nodes have classes."""
    shown = _shown(selection)
    names = {uid: f"n{number}" for number, uid in enumerate(shown)}
    nodes = (_mermaid_node(names[uid], uid, selection) for uid in shown)
    edges = (
        f"  {names[owner]} {'-->' if hard else '-.->'} {names[uid]}"
        for owner, uid, hard, _ in _edges(selection.graph, names)
    )
    styles = ("  classDef kept stroke-dasharray: 4 3", "  classDef left opacity: 0.5")
    return "\n".join(("flowchart TD", *nodes, *edges, *styles))


def dot(selection: Selection) -> str:
    """Returns the graph in Graphviz's language; soft owners are dashed, kept objects bold, left ones grey."""
    shown = _shown(selection)
    names = {uid: f"n{number}" for number, uid in enumerate(shown)}
    nodes = (_dot_node(names[uid], uid, selection) for uid in shown)
    edges = (
        f"  {names[owner]} -> {names[uid]}{'' if hard else f' [style=dashed, label={_dot_quote(soft)}]'};"
        for owner, uid, hard, soft in _edges(selection.graph, names)
    )
    return "\n".join(("digraph objects {", "  node [shape=box];", *nodes, *edges, "}"))


def to_json(selection: Selection) -> dict[str, Any]:
    """Returns the graph as plain JSON values: scope, nodes with their decisions, edges, owners never seen."""
    graph, chosen = selection.graph, selection.scope.clusters
    return {
        "scope": {
            "namespace": selection.scope.namespace,
            "sharedClasses": [_json_key(key) for key in sorted(selection.scope.shared_classes)],
            "clusters": None if chosen is None else [_json_key(key) for key in sorted(chosen)],
        },
        "nodes": [_json_node(graph.objects[uid], made) for uid, made in selection.decisions.items()],
        "edges": [
            {"owner": owner, "dependent": uid, "hard": hard, "soft": None if soft is None else str(soft)}
            for owner, uid, hard, soft in graph.edges()
        ],
        "virtualOwners": [{**_json_key(owner.key), "uid": owner.uid} for owner in graph.virtual.values()],
    }


def _shown(selection: Selection) -> tuple[str, ...]:
    return tuple(uid for uid, made in selection.decisions.items() if made.rule is not Rule.OUTSIDE_NAMESPACE)


def _edges(graph: ObjectGraph, shown: Mapping[str, str]) -> Iterator[tuple[str, str, bool, str | None]]:
    return (edge for edge in graph.edges() if edge[0] in shown and edge[1] in shown)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line still to be written: `trunk` stands before it, `branch` joins it to its owner."""

    uid: str
    owner: str | None = None
    trunk: str = ""
    branch: str = ""
    depth: int = 0

    def trunk_below(self) -> str:
        if not self.branch:
            return self.trunk
        return self.trunk + ("   " if self.branch.startswith("└") else "│  ")


class _TreeWriter:
    """Walks down from each root; what no root reaches (a cycle) is entered at its first object."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._graph = selection.graph
        self._visible = frozenset(_shown(selection))
        self._written: set[str] = set()

    def lines(self) -> Iterator[str]:
        """Yields the lines from top to bottom."""
        return (self._line(entry, "" if is_home else "shown elsewhere") for entry, is_home in self._entries())

    def homes(self) -> Iterator[tuple[str, int]]:
        """Yields each object with its depth, where it is shown whole."""
        return ((entry.uid, entry.depth) for entry, is_home in self._entries() if is_home)

    def _entries(self) -> Iterator[tuple[_Entry, bool]]:
        """Yields the entries from top to bottom, and whether the object is shown whole there."""
        ordered = _shown(self._selection)
        rootless = [uid for uid in ordered if not self._visible_owners(uid)]
        for uid in (*rootless, *ordered):
            if uid not in self._written:
                yield from self._entries_from(_Entry(uid))

    def _entries_from(self, start: _Entry) -> Iterator[tuple[_Entry, bool]]:
        stack = [start]
        while stack:
            entry = stack.pop()
            if entry.uid in self._written or not self._is_home(entry):
                yield entry, False
                continue
            self._written.add(entry.uid)
            yield entry, True
            stack.extend(reversed(list(self._below(entry))))

    def _below(self, entry: _Entry) -> Iterator[_Entry]:
        dependents = [uid for uid in self._graph.dependents(entry.uid) if uid in self._visible]
        for uid in dependents:
            branch = "└─ " if uid == dependents[-1] else "├─ "
            yield _Entry(uid, entry.uid, entry.trunk_below(), branch, entry.depth + 1)

    def _is_home(self, entry: _Entry) -> bool:
        return entry.owner is None or entry.owner == self._home(entry.uid)

    def _home(self, uid: str) -> str | None:
        """Returns the owner under which an object is shown whole."""
        controllers = [owner.uid for owner in self._graph.objects[uid].owners if owner.controller]
        owners = self._visible_owners(uid)
        hard = [owner for owner in owners if self._graph.is_hard(owner, uid)]
        controlling = [owner for owner in hard if owner in controllers]
        return next(iter((*controlling, *hard, *owners)), None)

    def _visible_owners(self, uid: str) -> list[str]:
        return [owner for owner in self._graph.owners(uid) if owner in self._visible]

    def _line(self, entry: _Entry, note: str = "") -> str:
        obj = self._graph.objects[entry.uid]
        marks = [_MARKS[self._selection.decisions[entry.uid].fate], self._soft_mark(entry), note]
        if not note:
            marks += self._absent_owners(entry.uid)
        marked = "".join(f" [{mark}]" for mark in marks if mark)
        return f"{entry.trunk}{entry.branch}{_one_line(self._name(obj, entry.owner))}{marked}"

    def _name(self, obj: Object, owner: str | None) -> str:
        above = self._graph.objects[owner].key.namespace if owner else ""
        space = f" (namespace {obj.key.namespace})" if obj.key.namespace not in ("", above) else ""
        return f"{obj.key.kind} {obj.key.name}{space}"

    def _soft_mark(self, entry: _Entry) -> str:
        if entry.owner is None or self._graph.is_hard(entry.owner, entry.uid):
            return ""
        return f"soft: {self._graph.digraph.edges[entry.owner, entry.uid]['soft']}"

    def _absent_owners(self, uid: str) -> Iterable[str]:
        virtual = self._graph.virtual
        return (
            f"owner not found: {_one_line(f'{virtual[owner].kind} {virtual[owner].name}')}"
            for owner in self._graph.owners(uid)
            if owner in virtual
        )


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)


def _mermaid_node(name: str, uid: str, selection: Selection) -> str:
    key, mark = selection.graph.objects[uid].key, _MARKS[selection.decisions[uid].fate]
    label = f"{_mermaid_escape(key.kind)}<br/>{_mermaid_escape(_path_of(key))}"
    return f'  {name}["{label}"]{":::" + mark if mark else ""}'


def _mermaid_escape(text: str) -> str:
    # Mermaid knows any character by its code point, and reads many others as its own syntax.
    return re.sub(r"[^A-Za-z0-9 ._/-]", lambda match: f"#{ord(match.group())};", text)


def _dot_node(name: str, uid: str, selection: Selection) -> str:
    key, fate = selection.graph.objects[uid].key, selection.decisions[uid].fate
    style = {Fate.MOVE: "", Fate.KEEP: ", style=bold", Fate.LEAVE: ", color=grey, fontcolor=grey"}[fate]
    label = _dot_quote(f"{key.kind}\n{_path_of(key)}")
    return f"  {name} [label={label}{style}];"


def _dot_quote(text: str | None) -> str:
    escaped = (text or "").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _path_of(key: ObjectKey) -> str:
    return f"{key.namespace}/{key.name}" if key.namespace else key.name


def _json_node(obj: Object, decision: Decision) -> dict[str, Any]:
    return {
        **_json_key(obj.key),
        "uid": obj.uid,
        "fate": decision.fate.value,
        "rule": decision.rule.value,
        "reason": decision.reason,
        "path": [str(key) for key in decision.path],
    }


def _json_key(key: ObjectKey) -> dict[str, str]:
    return {"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name}
