"""What appears on the source after the commit, below an owner that leaves: it has to leave with it.

Once its owners are gone the garbage collector deletes it there, within milliseconds. So the source is watched for as
long as originals are deleted, and what appears is read at once, to be copied even if it is collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from tenacity import AsyncRetrying, retry_if_exception_type, retry_if_result
from tenacity.wait import wait_random_exponential

from graph.resource import Object, ResourceType
from mover.concurrency import all_of
from mover.errors import ApiError, ExpiredError, NotFoundError, TransientError
from mover.events import Listener, Noted
from mover.kube import Cluster, WatchEvent
from mover.planning import Plan

_WATCH_S = 300.0
_FIRST_REOPENING_S = 0.1
_LONGEST_REOPENING_S = 5.0
_BEGINNING_S = 5.0
"""How long a watch may take to tell what is there: a server does so at once, or when its cache has caught up."""


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
    async def watched(self) -> AsyncIterator[tuple[Object, ...]]:
        """Watches the source until the end of the block, and gives what has appeared by its beginning.

        What is found from then on is given by `arrived`.

        Raises:
            ApiError: The source could not be read, or not be watched, and then not because it did not answer.
        """
        tasks = [asyncio.ensure_future(space.follow()) for space in self._spaces]
        try:
            await all_of(space.is_known.wait() for space in self._spaces)
            _raise_first(task.exception() for task in tasks if task.done())
            yield self._taken()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        _raise_first(ended)

    async def arrived(self) -> tuple[Object, ...]:
        """Returns what has appeared since this was asked last; reads the source.

        The watches alone would not do: nobody says how far behind the server one of them is.
        """
        await all_of(space.look() for space in self._spaces)
        return self._taken()

    def _taken(self) -> tuple[Object, ...]:
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
        except (ApiError, asyncio.CancelledError):
            self._known.discard(seen.uid)
            raise
        if whole is None or whole.uid != seen.uid:
            what = f"{seen.key} appeared on the {self._source.name} cluster after the commit, and was gone at once"
            self._listener(Noted(f"{what}: it has no copy"))
            return
        self._leaving.add(whole.uid)
        self._found.append(whole)

    def _is_collected(self, obj: Object) -> bool:
        return bool(obj.owners) and all(owner.uid in self._leaving for owner in obj.owners)


class _Space:
    """The objects of one type.

    Attributes:
        resource: The type.
        is_known: Set once all that was there has been met, or could not be read.
    """

    def __init__(self, late: Latecomers, source: Cluster, resource: ResourceType, namespace: str) -> None:
        self.resource = resource
        self.is_known = asyncio.Event()
        self._late = late
        self._source = source
        self._namespace = namespace
        self._version = ""

    async def look(self) -> None:
        """Meets all objects that are there."""
        page = await self._source.list_metadata(self.resource, self._namespace)
        for obj in page.objects:
            await self._late.meet(obj)
        self._version = page.resource_version

    async def follow(self) -> None:
        """Meets all objects that are there, then what appears, without end; a watch that ends goes on where it was."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientError) | retry_if_result(_always),
            wait=wait_random_exponential(_FIRST_REOPENING_S, _LONGEST_REOPENING_S),
        )
        try:
            await self._begin()
            if not self.is_known.is_set():
                await self.look()
                self.is_known.set()
            await retrying(self._go_on)
        finally:
            self.is_known.set()

    async def _begin(self) -> None:
        """Follows a watch that tells first what is there; a server that does not tell it soon is asked for a list."""
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(_BEGINNING_S) as limit:
                async for event in self._watch():
                    await self._meet(event)
                    if event.ends_beginning:
                        limit.reschedule(None)
                        self.is_known.set()
                    if self.is_known.is_set():
                        self._version = event.object.resource_version

    async def _go_on(self) -> None:
        try:
            async for event in self._watch():
                await self._meet(event)
                self._version = event.object.resource_version
        except ExpiredError:
            await self.look()

    def _watch(self) -> AsyncIterator[WatchEvent]:
        return self._source.watch(self.resource, self._namespace, self._version, _WATCH_S, metadata_only=True)

    async def _meet(self, event: WatchEvent) -> None:
        # A controller may make an object first and its owner reference after that.
        if event.kind in ("ADDED", "MODIFIED"):
            await self._late.meet(event.object)


def _always(_: None) -> bool:
    return True


def _raise_first(ended: Iterable[object]) -> None:
    for error in ended:
        if isinstance(error, Exception):
            raise error
