"""What appears on the source after the commit, below an owner that leaves: it has to leave with it.

Once its owners are gone the garbage collector deletes it there, within milliseconds. So the source is watched for as
long as originals are deleted, and what appears is read at once, to be copied even if it is collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from graph.resource import Object
from mover.concurrency import all_of
from mover.errors import ApiError, NotFoundError
from mover.events import Listener, Noted
from mover.kube import Cluster, Reflector, WatchEvent
from mover.planning import Plan


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
        types = [resource for resource in plan.inventory.types if resource.namespaced]
        self._reflectors = [Reflector(source, resource, namespace, self) for resource in types]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[tuple[Object, ...]]:
        """Watches the source until the end of the block, and gives what has appeared by its beginning.

        What is found from then on is given by `arrived`.

        Raises:
            ApiError: The source could not be read, or not be watched, and then not because it did not answer.
        """
        tasks = [asyncio.ensure_future(reflector.follow()) for reflector in self._reflectors]
        try:
            await all_of(reflector.is_known.wait() for reflector in self._reflectors)
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
        await all_of(reflector.look() for reflector in self._reflectors)
        return self._taken()

    def _taken(self) -> tuple[Object, ...]:
        found, self._found = self._found, []
        return tuple(found)

    async def listed(self, objects: Sequence[Object]) -> None:
        """Meets all objects that are there."""
        for obj in objects:
            await self.meet(obj)

    async def changed(self, event: WatchEvent) -> None:
        """Meets what has appeared; a controller may make an object first and its owner reference after that."""
        if event.kind in ("ADDED", "MODIFIED"):
            await self.meet(event.object)

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


def _raise_first(ended: Iterable[object]) -> None:
    for error in ended:
        if isinstance(error, Exception):
            raise error
