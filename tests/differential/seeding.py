"""Puts a world on a cluster, and takes off it what other scenarios could see."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from graph.resource import ObjectKey
from tests.differential.kinds import PROVIDER
from tests.differential.world import HERE, THERE, Names, Owner, Thing, World, collection_of, path_of
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.providers import ensure_namespace

Uids = dict[ObjectKey, str]


async def seed(source: AdminClient, target: AdminClient, world: World, names: Names) -> None:
    """Makes the namespaces and objects of a world on a source and a target.

    Raises:
        AdminError: A server refused an object.
    """
    await asyncio.gather(_seed_source(source, world, names), _seed_target(target, world, names))


async def _seed_source(client: AdminClient, world: World, names: Names) -> None:
    metadata = {"name": names.namespace(HERE), "labels": dict(world.labels)}
    await client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    if any(thing.namespace == THERE for thing in world.source):
        await ensure_namespace(client, names.namespace(THERE))
    await _write_all(client, world.source, names)


async def _seed_target(client: AdminClient, world: World, names: Names) -> None:
    used = {thing.namespace for thing in world.target if thing.type.namespaced}
    for alias in sorted({*world.spaces, *used} & {HERE, THERE}):
        await ensure_namespace(client, names.namespace(alias))
    await _write_all(client, world.target, names)


async def _write_all(client: AdminClient, things: tuple[Thing, ...], names: Names) -> None:
    uids: Uids = {}
    late: list[Thing] = []
    for thing in things:
        known = all(names.owner_key(thing, owner) in uids for owner in thing.owners)
        uids[names.key(thing)] = await _write(client, thing, names, uids)
        if not known:
            late.append(thing)
    for thing in late:
        patch = {"metadata": {"ownerReferences": _references(thing, names, uids)}}
        await client.patch_merge(path_of(names.key(thing), thing.type), patch, manager=thing.manager)
    for thing in filter(lambda thing: thing.deleted, things):
        await client.delete(path_of(names.key(thing), thing.type))


async def _write(client: AdminClient, thing: Thing, names: Names, uids: Uids) -> str:
    """Returns the UID of a thing after everything that happened to it."""
    key = names.key(thing)
    path = path_of(key, thing.type)
    body = first_body(thing, names, uids)
    if thing.apply:
        written = await client.apply(path, body, manager=thing.manager)
    else:
        written = await client.create(collection_of(thing.type, key.namespace), body, manager=thing.manager)
    for write in thing.writes:
        if write.apply:
            identity = {name: body[name] for name in ("apiVersion", "kind")}
            where = f"{path}/{write.subresource}" if write.subresource else path
            await client.apply(where, {**identity, **names.resolved(write.body)}, manager=write.manager)
        else:
            patch = names.resolved(write.body)
            await client.patch_merge(path, patch, manager=write.manager, subresource=write.subresource)
    if thing.status is not None and thing.type.has_status:
        await client.patch_status(path, names.resolved(thing.status), manager=f"{thing.manager}-controller")
    return str(written["metadata"]["uid"])


def first_body(thing: Thing, names: Names, uids: Mapping[ObjectKey, str]) -> dict[str, Any]:
    """Returns the body that a thing is created with; owners that are not there yet are left out."""
    key = names.key(thing)
    given = {
        "namespace": key.namespace,
        "generateName": thing.generate_name,
        "labels": dict(thing.labels),
        "annotations": dict(thing.annotations),
        "finalizers": list(thing.finalizers),
        "ownerReferences": _references(thing, names, uids),
    }
    metadata = {"name": key.name, **{name: value for name, value in given.items() if value}}
    status = {"status": thing.status} if thing.status is not None and not thing.type.has_status else {}
    identity = {"apiVersion": thing.type.api_version, "kind": thing.type.kind, "metadata": metadata}
    return {**identity, **names.resolved({**thing.body, **status})}


def _references(thing: Thing, names: Names, uids: Mapping[ObjectKey, str]) -> list[dict[str, Any]]:
    keys = {owner: names.owner_key(thing, owner) for owner in thing.owners}
    return [_reference(owner, key, uids[key]) for owner, key in keys.items() if key in uids]


def _reference(owner: Owner, key: ObjectKey, uid: str) -> dict[str, Any]:
    flags = {"controller": owner.controller, "blockOwnerDeletion": owner.block}
    named = {"apiVersion": owner.type.api_version, "kind": key.kind, "name": key.name, "uid": uid}
    return {**named, **{name: value for name, value in flags.items() if value is not None}}


def is_shared(thing: Thing) -> bool:
    """Returns whether moves of other namespaces see the thing, too."""
    return not thing.type.namespaced or thing.namespace not in (HERE, THERE) or thing.type == PROVIDER


async def clear(client: AdminClient, world: World, names: Names) -> None:
    """Deletes what moves of other namespaces would see."""
    shared = {names.key(thing): thing for thing in (*world.source, *world.target) if is_shared(thing)}
    await asyncio.gather(*(_delete(client, path_of(key, thing.type)) for key, thing in shared.items()))


async def _delete(client: AdminClient, path: str) -> None:
    try:
        await client.patch_merge(path, {"metadata": {"finalizers": None}})
        await client.delete(path)
    except AdminError as error:
        if error.status != 404:
            raise


async def unblock(client: AdminClient, world: World, names: Names, annotation: str) -> None:
    """Takes an annotation off every thing of the source that has it, as its provider would."""
    marked = {names.key(thing): thing for thing in world.source if annotation in thing.annotations}
    patch = {"metadata": {"annotations": {annotation: None}}}
    for key, thing in marked.items():
        await client.patch_merge(path_of(key, thing.type), patch, manager="provider")
