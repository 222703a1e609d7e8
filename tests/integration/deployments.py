"""Deployments of providers, operators and Ironic, and a stand-in for what makes their pods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from tests.testbed.client import AdminClient, AdminError
from tests.testbed.providers import ensure_namespace

ALL_DEPLOYMENTS = "/apis/apps/v1/deployments"


class Deployer:
    """Stands in for the Deployment controller and the kubelet: what is wanted is there at once."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        listed = await self._client.list(ALL_DEPLOYMENTS)
        for body in listed["items"]:
            await self._report(body)
        self._task = asyncio.create_task(self._follow(listed["metadata"]["resourceVersion"]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _follow(self, version: str) -> None:
        async for event in self._client.watch(ALL_DEPLOYMENTS, version):
            if event["type"] in ("ADDED", "MODIFIED"):
                await self._report(event["object"])

    async def _report(self, body: Mapping[str, Any]) -> None:
        metadata, replicas = body["metadata"], body["spec"]["replicas"]
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {"observedGeneration": metadata["generation"], **dict.fromkeys(names, replicas)}
        if (body.get("status") or {}).get("observedGeneration") == metadata["generation"]:
            return
        try:
            await self._client.patch_status(deployment(metadata["namespace"], metadata["name"]), status)
        except AdminError as error:
            if error.status != 404:
                raise


async def deploy(client: AdminClient, namespace: str, name: str, replicas: int = 1) -> None:
    """Creates a Deployment, and its namespace, unless it is there already."""
    await ensure_namespace(client, namespace)
    labels = {"name": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }
    try:
        await client.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    except AdminError as error:
        if error.reason != "AlreadyExists":
            raise


def deployment(namespace: str, name: str) -> str:
    """Returns the path of a Deployment."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
