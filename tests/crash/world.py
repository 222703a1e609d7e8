"""What a crash test works on: a small fleet in a namespace of its own, and what is where before and after."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from mover.differences import names_of, normalised
from mover.models import MANAGER
from mover.record import NAMESPACE as RECORDS
from mover.record import name_of
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair
from tests.testbed.witness import collection_path, key_of, read, watched_types

Objects = Mapping[ObjectKey, Object]
State = Mapping[str, Any]

PAUSED_BY_USER = "maintenance"
_ROOT_CA = "kube-root-ca.crt"
_MOVE = {rules.MOVE_LABEL: ""}
_GONE_S = 60.0
_KNOWN_TYPES: dict[str, tuple[ResourceType, ...]] = {}


@dataclass(frozen=True, slots=True)
class World:
    """A seeded namespace.

    Attributes:
        namespace: Its name.
        movable: Everything a move has to take along.
        unrelated: What it has to leave alone.
        before: The exact bodies on the source, see `exact`.
    """

    namespace: str
    movable: frozenset[ObjectKey]
    unrelated: frozenset[ObjectKey]
    before: State


async def seed(pair: Pair, namespace: str) -> World:
    """Returns a new namespace of the source with a small fleet.

    A cluster of one machine, a spare host that the user has paused, and two ConfigMaps that own each other.
    """
    spec = FleetSpec(
        namespace=namespace, workers=0, control_planes=1, spare_hosts=1, paused_conditions=False, unrelated_secrets=1
    )
    fleet = await build(pair.on_source, spec)
    await _pause(pair.on_source, _spare_host(fleet))
    circle = await _owner_cycle(pair.on_source, namespace)
    before = exact(await objects(pair.on_source, namespace))
    return World(namespace, frozenset({*fleet.movable, *circle}), frozenset(fleet.unrelated), before)


async def objects(client: AdminClient, namespace: str) -> Objects:
    """Returns what is in a namespace, without what every namespace has."""
    lists = await asyncio.gather(*(_list(client, resource, namespace) for resource in await _types(client)))
    return {obj.key: obj for found in lists for obj in found if obj.key.name != _ROOT_CA}


async def _types(client: AdminClient) -> tuple[ResourceType, ...]:
    """Returns what a move may touch, read once: the CRDs are some megabytes, and do not change."""
    if client.server not in _KNOWN_TYPES:
        _KNOWN_TYPES[client.server] = await watched_types(client)
    return _KNOWN_TYPES[client.server]


async def _list(client: AdminClient, resource: ResourceType, namespace: str) -> list[Object]:
    return [parse_object(resource, item) for item in await client.list_all(collection_path(resource, namespace))]


def _spare_host(fleet: Fleet) -> ObjectKey:
    return max(key for key in fleet.movable if (key.group, key.kind) == rules.BARE_METAL_HOST)


async def _pause(client: AdminClient, host: ObjectKey) -> None:
    path = f"/apis/metal3.io/v1alpha1/namespaces/{host.namespace}/baremetalhosts/{host.name}"
    patch = {"metadata": {"annotations": {rules.HOST_PAUSED_ANNOTATION: PAUSED_BY_USER}}}
    await client.patch_merge(path, patch, manager="kubectl-annotate")


async def _owner_cycle(client: AdminClient, namespace: str) -> tuple[ObjectKey, ObjectKey]:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    hen = await client.create(path, _config_map("hen", []), manager="kubectl-create")
    egg = await client.create(path, _config_map("egg", [_owner(hen)]), manager="kubectl-create")
    owners = {"metadata": {"ownerReferences": [_owner(egg)]}}
    await client.patch_merge(f"{path}/hen", owners, manager="kubectl-edit")
    return key_of(hen), key_of(egg)


def _config_map(name: str, owners: list[Any]) -> dict[str, Any]:
    metadata = {"name": name, "labels": _MOVE, "ownerReferences": owners}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"name": name}}


def _owner(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": body["metadata"]["name"], "uid": body["metadata"]["uid"]}


def exact(found: Objects) -> State:
    """Returns the bodies, without what every write changes and without the mover as a field manager."""
    return {str(key): _unversioned(obj.body()) for key, obj in found.items()}


def _unversioned(body: dict[str, Any]) -> dict[str, Any]:
    metadata = body["metadata"]
    managers = [entry for entry in metadata.pop("managedFields", ()) if entry["manager"] != MANAGER]
    rest = {name: value for name, value in metadata.items() if name not in ("resourceVersion", "generation")}
    return {**body, "metadata": {**rest, "managedFields": managers}}


async def end_state(pair: Pair, namespace: str) -> State:
    """Returns what is on both clusters, comparable between namespaces: `{"source Kind ns/name": body}`."""
    state: dict[str, Any] = {}
    for side, client in (("source", pair.on_source), ("target", pair.on_target)):
        found = await objects(client, namespace)
        names = names_of(tuple(found.values()))
        state |= {f"{side} {key}": _legible(normalised(obj, names)) for key, obj in found.items()}
    text = orjson.dumps(state).decode()
    result: State = orjson.loads(text.replace(namespace, "NAMESPACE"))
    return result


def _legible(body: dict[str, Any]) -> dict[str, Any]:
    """Returns the body with a Secret's data decoded: a namespace may be named in it."""
    if body["kind"] != "Secret":
        return body
    data = {name: base64.b64decode(value).decode(errors="replace") for name, value in (body.get("data") or {}).items()}
    return {**body, "data": data}


def first_differences(have: State, want: State, most: int = 8) -> list[str]:
    """Returns some of the fields that differ, for a reader."""
    return list(_walk("", have, want))[:most]


def _walk(path: str, have: Any, want: Any) -> Iterable[str]:
    if isinstance(have, dict) and isinstance(want, dict):
        for name in sorted({*have, *want}):
            yield from _walk(f"{path} > {name}", have.get(name), want.get(name))
    elif have != want:
        yield f"{path}: {str(have)[:200]!r} instead of {str(want)[:200]!r}"


async def versions(pair: Pair, namespace: str) -> Mapping[ObjectKey, str]:
    """Returns the resourceVersions of all objects of the source."""
    return {key: obj.resource_version for key, obj in (await objects(pair.on_source, namespace)).items()}


async def phases(pair: Pair, namespace: str) -> tuple[str, str]:
    """Returns the phases that the source's and the target's record say, "" without one."""
    path = f"/api/v1/namespaces/{RECORDS}/configmaps/{name_of(namespace)}"
    bodies = [await read(client, path) for client in (pair.on_source, pair.on_target)]
    one, other = (body["data"]["phase"] if body else "" for body in bodies)
    return one, other


async def leases(pair: Pair, namespace: str) -> list[str]:
    """Returns on which clusters a lease of a move is left."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{RECORDS}/leases/{name_of(namespace)}"
    clients = {"source": pair.on_source, "target": pair.on_target}
    return [side for side, client in clients.items() if await read(client, path) is not None]


async def wait_until_gone(client: AdminClient, namespace: str) -> None:
    """Returns when the namespace controller has removed a namespace.

    Raises:
        TimeoutError: It is still there after a minute.
    """
    path = f"/api/v1/namespaces?fieldSelector=metadata.name%3D{namespace}"
    found = await client.get(path)
    if not found["items"]:
        return
    async with asyncio.timeout(_GONE_S):
        async for event in client.watch(path, found["metadata"]["resourceVersion"]):
            if event["type"] == "DELETED":
                return


async def discard(pair: Pair, namespace: str) -> None:
    """Lets the namespace controllers remove a namespace; no finalizer holds it up."""
    for client in (pair.on_source, pair.on_target):
        held = [obj for obj in (await objects(client, namespace)).values() if obj.finalizers]
        free = {"metadata": {"finalizers": None}}
        paths = [f"{collection_path(obj.type, namespace)}/{obj.key.name}" for obj in held]
        await asyncio.gather(*(client.patch_merge(path, free) for path in paths))
        try:
            await client.delete(f"/api/v1/namespaces/{namespace}")
        except AdminError as error:
            if error.status != 404:
                raise
