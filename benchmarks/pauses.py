"""How long each Cluster stands still: from its pause on the source to its resume on the target, watched on both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from tests.testbed.client import AdminClient
from tests.testbed.witness import events


class PauseWatch:
    """Notes when Clusters are paused on the source and resumed on the target."""

    def __init__(self, namespace: str) -> None:
        self._path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/clusters"
        self._paused: dict[str, float] = {}
        self._resumed: dict[str, float] = {}

    @asynccontextmanager
    async def watching(self, source: AdminClient, target: AdminClient) -> AsyncIterator[PauseWatch]:
        """Watches both sides until the end of the `async with`."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._watch(source, self._on_source))]
            tasks.append(group.create_task(self._watch(target, self._on_target)))
            yield self
            for task in tasks:
                task.cancel()

    def windows(self) -> Mapping[str, float]:
        """Returns the pause of each Cluster by name, in seconds."""
        return {name: end - self._paused[name] for name, end in self._resumed.items() if name in self._paused}

    async def _watch(self, client: AdminClient, note: Any) -> None:
        version = (await client.list(self._path))["metadata"]["resourceVersion"]
        async with aclosing(events(client, self._path, version)) as changes:
            async for change in changes:
                if change["type"] != "BOOKMARK":
                    note(change["object"])

    def _on_source(self, cluster: Mapping[str, Any]) -> None:
        if cluster["spec"].get("paused"):
            self._paused.setdefault(cluster["metadata"]["name"], time.monotonic())

    def _on_target(self, cluster: Mapping[str, Any]) -> None:
        if not cluster["spec"].get("paused"):
            self._resumed[cluster["metadata"]["name"]] = time.monotonic()


def percentile(values: Mapping[str, float], share: float) -> float:
    """Returns the smallest value that so many of the values do not exceed."""
    ordered = sorted(values.values())
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))] if ordered else 0.0
