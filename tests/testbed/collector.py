"""Waiting until the garbage collector has seen everything that was written before."""

from __future__ import annotations

import asyncio
import uuid

from tests.testbed.client import AdminClient, AdminError

_SPACE = "default"
_TIMEOUT_S = 120.0


async def wait_for_collector(client: AdminClient) -> None:
    """Returns when the garbage collector of a cluster has caught up with what was written before the call.

    A dependent of an owner that does not exist is left for it to find: the collector works off its queue in order.

    Raises:
        TimeoutError: It does not run, or has not caught up in two minutes.
    """
    path = f"/api/v1/namespaces/{_SPACE}/configmaps"
    name = f"orphan-{uuid.uuid4()}"
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": str(uuid.uuid4())}
    metadata = {"name": name, "ownerReferences": [owner]}
    made = await client.create(path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    async with asyncio.timeout(_TIMEOUT_S):
        async for event in client.watch(path, made["metadata"]["resourceVersion"]):
            if event["type"] == "DELETED" and event["object"]["metadata"]["name"] == name:
                break
    await _assert_gone(client, f"{path}/{name}")


async def _assert_gone(client: AdminClient, path: str) -> None:
    try:
        await client.get(path)
    except AdminError as error:
        if error.status != 404:
            raise
    else:
        raise AssertionError(f"{path} is still there")
