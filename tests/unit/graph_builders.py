"""Small objects for tests of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graph import rules
from graph.build import build
from graph.resource import Object, ResourceType, parse_object
from graph.rules import GroupKind
from graph.selection import Scope, Selection, select

NAMESPACE = "ns"
WIDGET: GroupKind = ("example.org", "Widget")


def resource_type(
    kind: GroupKind = WIDGET,
    *,
    namespaced: bool = True,
    move: bool = False,
    move_hierarchy: bool = False,
) -> ResourceType:
    """Returns the type of the kind with the flags that discovery would give it."""
    flags = rules.METAL3_KINDS.get(kind, rules.MoveFlags())
    return ResourceType(
        group=kind[0],
        version="v1",
        kind=kind[1],
        plural=f"{kind[1].lower()}s",
        namespaced=namespaced,
        move=move or flags.move,
        move_hierarchy=move_hierarchy or flags.move_hierarchy or rules.is_hierarchy_kind(*kind),
    )


def make(
    kind: GroupKind | ResourceType,
    name: str,
    *,
    namespace: str = NAMESPACE,
    owners: Iterable[Object | Mapping[str, Any]] = (),
    labels: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    uid: str = "",
    **more: Any,
) -> Object:
    """Returns an object; its UID is made from its key unless it is given."""
    made = kind if isinstance(kind, ResourceType) else resource_type(kind)
    namespace = namespace if made.namespaced else ""
    metadata = {
        "name": name,
        "uid": uid or f"uid-{made.kind}-{namespace}-{name}",
        "ownerReferences": [owned_by(owner) for owner in owners],
        "labels": labels or {},
    }
    if namespace:
        metadata["namespace"] = namespace
    return parse_object(made, {"metadata": metadata, "spec": spec or {}, **more})


def owned_by(owner: Object | Mapping[str, Any], *, controller: bool | None = None) -> dict[str, Any]:
    """Returns an owner reference to an object; a ready one is returned as it is."""
    if not isinstance(owner, Object):
        return dict(owner)
    reference: dict[str, Any] = {
        "apiVersion": owner.type.api_version,
        "kind": owner.key.kind,
        "name": owner.key.name,
        "uid": owner.uid,
    }
    return reference if controller is None else {**reference, "controller": controller}


def unseen(kind: str = "Ghost", name: str = "ghost", uid: str = "uid-ghost") -> dict[str, Any]:
    """Returns an owner reference to what was never seen."""
    return {"apiVersion": "example.org/v1", "kind": kind, "name": name, "uid": uid}


def select_all(*objects: Object, scope: Scope | None = None) -> Selection:
    """Returns the selection of all namespaces, or of a scope, among the objects."""
    return select(build(objects), scope or Scope())


def names(selection: Selection, uids: Iterable[str]) -> list[str]:
    """Returns the names of the objects."""
    return [selection.graph.objects[uid].key.name for uid in uids]


def widgets(edges: str) -> list[Object]:
    """Returns widgets from their edges: "root>a a>b" makes a widget a owned by root and b by a.

    The widget named root carries the label that makes it and all below it move.
    """
    pairs = [pair.partition(">")[::2] for pair in edges.split()]
    all_names = {name: None for pair in pairs for name in pair if name}
    bare = {name: make(WIDGET, name) for name in all_names}
    return [
        make(
            WIDGET,
            name,
            owners=[bare[owner] for owner, dependent in pairs if dependent == name],
            labels={rules.MOVE_HIERARCHY_LABEL: ""} if name == "root" else {},
        )
        for name in all_names
    ]
