"""What is on a cluster: by key, with bodies, for tests to compare."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from graph.resource import Object, ObjectKey, ResourceType, parse_object
from tests.testbed.client import AdminClient
from tests.testbed.witness import collection_path, watched_types

_BUILT_IN = (ResourceType("", "v1", "Secret", "secrets"), ResourceType("", "v1", "ConfigMap", "configmaps"))


async def objects(client: AdminClient, namespace: str = "") -> dict[ObjectKey, Object]:
    """Returns all objects of the watched types, of one namespace or of all, by key."""
    types = {*await watched_types(client), *_BUILT_IN}
    lists = await asyncio.gather(*(_list(client, resource, namespace) for resource in sorted(types)))
    return {obj.key: obj for found in lists for obj in found}


async def present(client: AdminClient, namespace: str, keys: Iterable[ObjectKey]) -> set[ObjectKey]:
    """Returns those of `keys` that are there."""
    return set(keys) & set(await objects(client, namespace))


async def _list(client: AdminClient, resource: ResourceType, namespace: str) -> list[Object]:
    items: tuple[Any, ...] = await client.list_all(collection_path(resource, namespace))
    return [parse_object(resource, item) for item in items]
