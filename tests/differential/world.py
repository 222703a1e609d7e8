"""A world: the objects a scenario starts with, described by names, the same on both sources.

Namespaces and cluster-scoped names are written as aliases; each run gives them real names of its own, so that no
scenario sees another one's objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from graph.resource import ObjectKey, ResourceType

HERE = "here"
"""Alias of the namespace that is moved."""

THERE = "there"
"""Alias of a namespace beside it."""

_REFERENCES = {f"@{alias}": alias for alias in (HERE, THERE)}

Tree = Mapping[str, Any]


class Ends(StrEnum):
    """Where clusterctl leaves an object of the source."""

    MOVED = "moved"
    """On the target only."""
    KEPT = "kept"
    """On both."""
    LEFT = "left"
    """On the source only."""
    COLLECTED = "collected"
    """On neither: the garbage collector deleted it after its owner."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner reference by name; the flags are left out of the reference where they are None.

    Attributes:
        type: The owner's type.
        name: The owner's name.
        controller: `controller` of the reference.
        block: `blockOwnerDeletion` of the reference.
    """

    type: ResourceType
    name: str
    controller: bool | None = None
    block: bool | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """A change after the object was created.

    Attributes:
        manager: The field manager that makes it.
        body: A merge patch, or what is applied.
        apply: Whether it is a server-side apply.
        subresource: "status" for the status.
    """

    manager: str
    body: Tree
    apply: bool = False
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of a world.

    Attributes:
        type: Its type; `has_status` says whether the status is written through the subresource.
        name: Its name; an alias if it is cluster-scoped.
        body: All of it but metadata and status. `"@here"` and `"@there"` in it stand for the namespaces.
        namespace: HERE, THERE or the real name of a namespace that is there already.
        owners: Its owners; those that come later in the world are added in the end, so cycles are possible.
        labels: Its labels.
        annotations: Its annotations.
        finalizers: Its finalizers.
        generate_name: Its generateName.
        manager: The field manager that creates it.
        apply: Whether it is created by server-side apply.
        writes: What is changed after its creation.
        status: Its status.
        deleted: Whether it is deleted before the move, which its finalizers hold up.
        ends: Where clusterctl leaves it.
    """

    type: ResourceType
    name: str
    body: Tree = field(default_factory=dict)
    namespace: str = HERE
    owners: tuple[Owner, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    generate_name: str = ""
    manager: str = "author"
    apply: bool = False
    writes: tuple[Write, ...] = ()
    status: Tree | None = None
    deleted: bool = False
    ends: Ends = Ends.MOVED

    def owner(self, *, controller: bool | None = None, block: bool | None = None) -> Owner:
        """Returns a reference to this object."""
        return Owner(self.type, self.name, controller, block)


@dataclass(frozen=True, slots=True)
class World:
    """What is on the clusters before the move.

    Attributes:
        source: The source's objects, owners first where possible.
        target: What the target has already.
        labels: Labels of the moved namespace on the source.
        spaces: Aliases of the namespaces that the target has already.
    """

    source: tuple[Thing, ...] = ()
    target: tuple[Thing, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    spaces: tuple[str, ...] = ()

    @property
    def types(self) -> frozenset[ResourceType]:
        """Returns the types of all objects."""
        return frozenset(thing.type for thing in (*self.source, *self.target))

    def __str__(self) -> str:
        lines = [*map(line_of, self.source), *(f"on the target: {line_of(thing)}" for thing in self.target)]
        return "\n".join(f"  {line}" for line in lines)


@dataclass(frozen=True, slots=True)
class Names:
    """The real names of one run.

    Attributes:
        prefix: The name of the moved namespace, which all others begin with.
    """

    prefix: str

    def namespace(self, alias: str) -> str:
        """Returns a namespace's real name."""
        return {HERE: self.prefix, THERE: f"{self.prefix}-there"}.get(alias, alias)

    @property
    def own(self) -> tuple[str, str]:
        """Returns the namespaces that belong to the run alone."""
        return self.namespace(HERE), self.namespace(THERE)

    def name(self, resource: ResourceType, namespace: str, name: str) -> str:
        """Returns an object's real name: with the prefix where others could use the same."""
        own = resource.namespaced and self.namespace(namespace) in self.own
        return name if own else f"{self.prefix}-{name}"

    def key(self, thing: Thing) -> ObjectKey:
        """Returns the key of a thing."""
        return self.key_of(thing.type, thing.namespace, thing.name)

    def key_of(self, resource: ResourceType, namespace: str, name: str) -> ObjectKey:
        """Returns the key of the object with that alias."""
        space = self.namespace(namespace) if resource.namespaced else ""
        return ObjectKey(resource.group, resource.kind, space, self.name(resource, namespace, name))

    def owner_key(self, thing: Thing, owner: Owner) -> ObjectKey:
        """Returns the key of an owner of a thing: it is in the thing's namespace, or in none."""
        return self.key_of(owner.type, thing.namespace, owner.name)

    def resolved(self, value: Any) -> Any:
        """Returns a JSON tree with the aliases of namespaces replaced."""
        if isinstance(value, Mapping):
            return {name: self.resolved(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolved(inner) for inner in value]
        return self.namespace(_REFERENCES[value]) if isinstance(value, str) and value in _REFERENCES else value


def path_of(key: ObjectKey, resource: ResourceType) -> str:
    """Returns the API path of an object."""
    return f"{collection_of(resource, key.namespace)}/{key.name}"


def collection_of(resource: ResourceType, namespace: str = "") -> str:
    """Returns the API path of a type's objects, of one namespace or of all."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    return f"{root}/namespaces/{namespace}/{resource.plural}" if namespace else f"{root}/{resource.plural}"


def line_of(thing: Thing) -> str:
    """Returns a thing in one line, for the report of a failure."""
    parts = [f"{thing.type} {thing.namespace}/{thing.name}" if thing.type.namespaced else f"{thing.type} {thing.name}"]
    parts += [f"< {owner.type.kind} {owner.name}" for owner in thing.owners]
    parts += [
        f"{word}={dict(found)}" for word, found in (("labels", thing.labels), ("notes", thing.annotations)) if found
    ]
    parts += [f"finalizers={list(thing.finalizers)}"] if thing.finalizers else []
    body = {name: value for name, value in thing.body.items() if value not in ({"of": thing.name}, "")}
    parts += [f"body={body}"[:120]] if body else []
    return " ".join(parts)
