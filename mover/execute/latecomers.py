"""What appears on the source after the commit, below an owner that leaves: it has to leave with it.

Once its owners are gone the garbage collector deletes it there, within milliseconds. So the source is watched for as
long as originals are deleted, and what appears is read at once, to be copied even if it is collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tenacity import AsyncRetrying, retry_if_exception_type, retry_if_result
from tenacity.wait import wait_random_exponential

from graph.resource import Object, ResourceType
from mover.concurrency import all_of
from mover.errors import ExpiredError, NotFoundError, TransientError
from mover.events import Listener, Noted
from mover.kube import Cluster
from mover.plan import Plan

_WATCH_S = 300.0
_FIRST_REOPENING_S = 0.1
_LONGEST_REOPENING_S = 5.0


class Latecomers:
    """Finds the objects that appear below the owners that a plan takes away."""

    def __init__(self, source: Cluster, plan: Plan, listener: Listener) -> None:
        self._source = source
        self._listener = listener
        self._known = {obj.uid for obj in plan.selection.selected}
        self._leaving = {obj.uid for obj in plan.selection.moved}
        self._found: list[Object] = []
        # The collector follows no owner from a cluster-scoped object into a namespace.
        namespace = plan.inventory.namespace
        self._spaces = [_Space(self, source, resource, namespace) for resource in plan.inventory.types]
        self._spaces = [space for space in self._spaces if space.resource.namespaced]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watches the source until the end of the block; what is found is given by `arrived`.

        Raises:
            ApiError: The source could not be watched, and not because it did not answer.
        """
        tasks = [asyncio.ensure_future(space.follow()) for space in self._spaces]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def arrived(self) -> tuple[Object, ...]:
        """Returns what has appeared since this was asked last, owners before their dependents; reads the source."""
        await all_of(space.look() for space in self._spaces)
        found, self._found = self._found, []
        return tuple(found)

    async def meet(self, seen: Object) -> None:
        """Takes note of an object that is on the source, of which only the metadata is known."""
        if seen.uid in self._known or seen.deleting or not self._is_collected(seen):
            return
        self._known.add(seen.uid)
        try:
            whole = await self._source.get(seen.type, seen.key.namespace, seen.key.name)
        except NotFoundError:
            whole = None
        if whole is None or whole.uid != seen.uid:
            what = f"{seen.key} appeared on the {self._source.name} cluster after the commit, and was gone at once"
            self._listener(Noted(f"{what}: it has no copy"))
            return
        self._leaving.add(whole.uid)
        self._found.append(whole)

    def _is_collected(self, obj: Object) -> bool:
        return bool(obj.owners) and all(owner.uid in self._leaving for owner in obj.owners)


class _Space:
    """The objects of one type."""

    def __init__(self, late: Latecomers, source: Cluster, resource: ResourceType, namespace: str) -> None:
        self.resource = resource
        self._late = late
        self._source = source
        self._namespace = namespace
        self._version = ""

    async def look(self) -> None:
        """Meets all objects that are there."""
        page = await self._source.list_metadata(self.resource, self._namespace)
        self._version = page.resource_version
        await self._meet_all(page.objects)

    async def follow(self) -> None:
        """Meets what appears from the version on that was looked at, without end; a watch that ends goes on there."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientError) | retry_if_result(_always),
            wait=wait_random_exponential(_FIRST_REOPENING_S, _LONGEST_REOPENING_S),
        )
        await retrying(self._follow_once)

    async def _follow_once(self) -> None:
        try:
            async for event in self._source.watch(
                self.resource, self._namespace, self._version, _WATCH_S, metadata_only=True
            ):
                self._version = event.object.resource_version
                if event.kind == "ADDED":
                    await self._late.meet(event.object)
        except ExpiredError:
            await self.look()

    async def _meet_all(self, objects: Sequence[Object]) -> None:
        for obj in objects:
            await self._late.meet(obj)


def _always(_: None) -> bool:
    return True
