"""What is on a cluster, in a form that is the same on any cluster, and where two clusters differ."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from graph.resource import Object, ObjectKey, ResourceType, parse_object
from mover.differences import Names as Uids
from mover.differences import names_of, normalised
from tests.differential.world import collection_of
from tests.testbed.client import AdminClient, AdminError

NAMESPACE = ResourceType("", "v1", "Namespace", "namespaces", namespaced=False)
_SHOWN = 160


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()
"""Stands for a field or an object that is not there."""

Tree = Mapping[str, Any]


class Side(StrEnum):
    """Which cluster of a pair, or how the move ended."""

    SOURCE = "source"
    TARGET = "target"
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class State:
    """What is on one cluster.

    Attributes:
        objects: The objects by key.
    """

    objects: Mapping[ObjectKey, Object] = field(default_factory=dict)

    @property
    def versions(self) -> Mapping[ObjectKey, tuple[str, str]]:
        """Returns UID and resourceVersion of each object: equal states were not written to in between."""
        return {key: (obj.uid, obj.resource_version) for key, obj in self.objects.items()}

    def uids(self) -> Uids:
        """Returns which UID is which object."""
        return names_of(tuple(self.objects.values()))

    def owners(self) -> Mapping[ObjectKey, frozenset[ObjectKey]]:
        """Returns the owners of each object, as far as they are there."""
        uids = self.uids()
        return {
            key: frozenset(uids[owner.uid] for owner in obj.owners if owner.uid in uids)
            for key, obj in self.objects.items()
        }

    def normal(self, elsewhere: Uids | None = None) -> dict[ObjectKey, Tree]:
        """Returns the objects in their normal form.

        Args:
            elsewhere: The UIDs of the source, to tell them from unknown ones on a target.
        """
        foreign = {uid: replace(key, kind=f"source's {key.kind}") for uid, key in (elsewhere or {}).items()}
        uids = {**foreign, **self.uids()}
        return {key: normal_form(obj, uids) for key, obj in self.objects.items()}


async def read_state(
    client: AdminClient, types: Iterable[ResourceType], namespaces: Iterable[str], keys: Iterable[ObjectKey]
) -> State:
    """Returns the objects of the types that are in the namespaces or have one of the keys, and the namespaces."""
    spaces, wanted = set(namespaces), set(keys)
    wanted |= {ObjectKey("", "Namespace", "", space) for space in spaces}
    lists = await asyncio.gather(*(_list(client, resource) for resource in sorted({*types, NAMESPACE})))
    found = [obj for items in lists for obj in items]
    return State({obj.key: obj for obj in found if obj.key in wanted or obj.key.namespace in spaces})


async def _list(client: AdminClient, resource: ResourceType) -> list[Object]:
    try:
        items = await client.list_all(collection_of(resource))
    except AdminError as error:
        if error.status == 404:
            return []
        raise
    return [parse_object(resource, item) for item in items]


def normal_form(obj: Object, uids: Uids) -> Tree:
    """Returns an object as it would be on any cluster: `mover.differences`'s form with generateName and deletion."""
    whole = normalised(obj, uids)
    body = obj.body()["metadata"]
    metadata = {name: value for name, value in whole["metadata"].items() if not name.startswith("deletion")}
    if body.get("generateName"):
        metadata["generateName"] = body["generateName"]
    if body.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = "set"
    if obj.type == NAMESPACE:
        return {"metadata": {name: metadata.get(name) or {} for name in ("labels", "annotations")}}
    return {**whole, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that clusterctl and capi-mover left differently.

    Attributes:
        side: Where.
        key: The object; None for the outcome.
        path: The names of the fields down to it; empty for the object as a whole.
        oracle: What clusterctl left; MISSING for nothing.
        ours: What capi-mover left.
    """

    side: Side
    key: ObjectKey | None
    path: tuple[str, ...]
    oracle: Any
    ours: Any

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.side, str(self.key or ""), ".".join(self.path))))
        return f"{where}: clusterctl {_shown(self.oracle)}, capi-mover {_shown(self.ours)}"


def compare(side: Side, oracle: Mapping[ObjectKey, Tree], ours: Mapping[ObjectKey, Tree]) -> list[Difference]:
    """Returns every difference between two clusters, in key order."""
    return [
        Difference(side, key, path, one, other)
        for key in sorted({*oracle, *ours})
        for path, one, other in _walk((), oracle.get(key, MISSING), ours.get(key, MISSING))
    ]


def _walk(path: tuple[str, ...], one: Any, other: Any) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from _walk((*path, name), one.get(name, MISSING), other.get(name, MISSING))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _walk((*path, str(index)), *pair)
    elif one != other:
        yield path, one, other


def _shown(value: Any) -> str:
    if value is MISSING:
        return "nothing"
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def at(tree: Any, path: Sequence[str]) -> Any:
    """Returns what is at a path of a tree, MISSING if nothing is."""
    for name in path:
        if isinstance(tree, list):
            tree = tree[int(name)] if name.isdigit() and int(name) < len(tree) else MISSING
        else:
            tree = tree.get(name, MISSING) if isinstance(tree, Mapping) else MISSING
    return tree
