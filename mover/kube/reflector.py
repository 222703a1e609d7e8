"""All objects of one type, and every change to them: what client-go calls a reflector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Protocol

from tenacity import AsyncRetrying, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from graph.resource import Object, ResourceType
from mover.errors import ApiError, ExpiredError, TransientError
from mover.kube.cluster import Cluster, WatchEvent

_WATCH_S = 60.0
"""How long a watch may last: a connection that has died without a word is noticed when that does not end in time."""
_FIRST_REOPENING_S = 0.1
_LONGEST_REOPENING_S = 5.0
_BEGINNING_S = 5.0
"""How long a watch may take to tell what is there: a server does so at once, or when its cache has caught up."""


class Observer(Protocol):
    """Is told what a reflector sees; what it raises ends the reflector, unless another try may cure it."""

    async def listed(self, objects: Sequence[Object]) -> None:
        """Takes note of all objects that are there; changes before this may have been missed."""

    async def changed(self, event: WatchEvent) -> None:
        """Takes note of one change, or of an object that was there at the beginning."""


class Reflector:
    """Tells an observer of the objects of one type in one namespace ("" for all).

    Attributes:
        resource: The type.
        is_known: Set once the observer was told of all that was there, or it could not be read.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: ResourceType,
        namespace: str,
        observer: Observer,
        *,
        metadata_only: bool = True,
    ) -> None:
        self.resource = resource
        self.is_known = asyncio.Event()
        self._cluster = cluster
        self._namespace = namespace
        self._observer = observer
        self._metadata_only = metadata_only
        self._version = ""

    async def look(self) -> None:
        """Tells of all objects that are there."""
        read = self._cluster.list_metadata if self._metadata_only else self._cluster.list
        page = await read(self.resource, self._namespace)
        await self._observer.listed(page.objects)
        self._version = page.resource_version

    async def follow(self) -> None:
        """Tells of all objects that are there, then of each change, without end.

        A watch that ends goes on where it was; one that is too old for that begins with a list.

        Raises:
            ApiError: The type cannot be read, and not because the server did not answer.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_random_exponential(_FIRST_REOPENING_S, _LONGEST_REOPENING_S),
        )
        try:
            await self._begin()
            if not self.is_known.is_set():
                await self.look()
                self.is_known.set()
            while True:
                await retrying(self._go_on)
                # A server that ends its watches at once is not asked without a break.
                await asyncio.sleep(_FIRST_REOPENING_S)
        finally:
            self.is_known.set()

    async def _begin(self) -> None:
        """Follows a watch that tells first what is there; a server that does not tell it soon is asked for a list."""
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(_BEGINNING_S) as limit:
                async for event in self._watch():
                    await self._tell(event)
                    if event.ends_beginning:
                        limit.reschedule(None)
                        self.is_known.set()
                    if self.is_known.is_set():
                        self._version = event.object.resource_version

    async def _go_on(self) -> None:
        try:
            async for event in self._watch():
                await self._tell(event)
                self._version = event.object.resource_version
        except ExpiredError:
            await self.look()

    def _watch(self) -> AsyncIterator[WatchEvent]:
        return self._cluster.watch(
            self.resource, self._namespace, self._version, _WATCH_S, metadata_only=self._metadata_only
        )

    async def _tell(self, event: WatchEvent) -> None:
        if event.kind != "BOOKMARK":
            await self._observer.changed(event)
