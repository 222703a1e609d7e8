"""How long each Cluster stands still: from its pause on the source to its resume on the target, watched on both."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from tests.testbed.client import AdminClient
from tests.testbed.witness import events, is_paused

Body = Mapping[str, Any]


class PauseWatch:
    """Notes when Clusters are paused on the source and resumed on the target."""

    def __init__(self, namespace: str) -> None:
        self._path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/clusters"
        self._paused: dict[str, float] = {}
        self._resumed: dict[str, float] = {}

    @asynccontextmanager
    async def watching(self, source: AdminClient, target: AdminClient) -> AsyncIterator[PauseWatch]:
        """Watches both sides until the end of the `async with`."""
        starts = [await self._version(client) for client in (source, target)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._watch(source, starts[0], self.on_source)),
                group.create_task(self._watch(target, starts[1], self.on_target)),
            ]
            yield self
            for task in tasks:
                task.cancel()

    def windows(self) -> Mapping[str, float]:
        """Returns the pause of each Cluster by name, in seconds."""
        return {name: end - self._paused[name] for name, end in self._resumed.items() if name in self._paused}

    async def _version(self, client: AdminClient) -> str:
        return str((await client.list(self._path))["metadata"]["resourceVersion"])

    async def _watch(self, client: AdminClient, version: str, note: Callable[[Body, float], None]) -> None:
        while True:  # the server ends a watch now and then
            async with aclosing(events(client, self._path, version)) as changes:
                async for change in changes:
                    version = change["object"]["metadata"]["resourceVersion"]
                    if change["type"] != "BOOKMARK":
                        note(change["object"], time.monotonic())

    def on_source(self, cluster: Body, now_s: float) -> None:
        """Takes note of a Cluster on the source: its first pause counts."""
        if is_paused(cluster):
            self._paused.setdefault(cluster["metadata"]["name"], now_s)

    def on_target(self, cluster: Body, now_s: float) -> None:
        """Takes note of a Cluster on the target: the end of its last pause counts."""
        name = cluster["metadata"]["name"]
        if is_paused(cluster):
            self._resumed.pop(name, None)
        else:
            self._resumed.setdefault(name, now_s)


def percentile(values: Collection[float], share: float) -> float:
    """Returns the smallest of the values that is not below that share of them, 0 if there is none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
