"""A cluster whose lists are answered from memory, kept current by one watch for each type.

For whoever moves many Clusters of a namespace one after the other: each needs the same lists again and again, of which
it looks at a few objects only. What is listed has at least all that was written through this connection. It may lack
what others have written within the last instants: whoever decides on it has to name the version that was seen (see
docs/decisions/0023).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from tenacity import AsyncRetrying, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from graph.resource import Object, ObjectKey, ResourceType
from mover import errors
from mover.kube.cluster import Cluster, Page, WatchEvent, Written, collection_path

_WATCH_S = 40.0
_CATCH_UP_S = 60.0
"""Longer than a watch: a connection that has died without a word is noticed when that does not end in time."""
_FIRST_REOPENING_S = 0.1
_LONGEST_REOPENING_S = 5.0
_REMEMBERED = 2_000
"""How many deletions are remembered for watches that begin in the past."""


class Live:
    """The objects of some types of one cluster; a context manager around their use."""

    def __init__(self, cluster: Cluster, namespace: str, types: Collection[ResourceType]) -> None:
        """`namespace` is followed, "" for all."""
        self.cluster = cluster
        self._namespace = namespace
        # By name: what else is known of a type depends on where it comes from.
        self._types = {found.resource_name: found for found in types}
        self._followers: dict[str, Follower] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def follower(self, resource: ResourceType, namespace: str) -> Follower | None:
        """Returns who follows a type in a namespace, "" for all; None if nobody does."""
        name = resource.resource_name
        if name not in self._types or not self._covers(resource, namespace):
            return None
        if name not in self._followers:
            follower = Follower(self.cluster, self._types[name], self._namespace)
            self._followers[name] = follower
            self._tasks.append(asyncio.create_task(follower.follow()))
        return self._followers[name]

    def _covers(self, resource: ResourceType, namespace: str) -> bool:
        return not resource.namespaced or self._namespace in ("", namespace)

    def wrote(self, resource: ResourceType, namespace: str, written: Written) -> None:
        """Takes note of what was written: lists have it from now on."""
        if resource.resource_name in self._followers and self._covers(resource, namespace):
            self._followers[resource.resource_name].expect(int(written.resource_version))

    def deleted(self, resource: ResourceType, uid: str) -> None:
        """Takes note of what was deleted: lists have it no more, or as something that is being deleted."""
        if resource.resource_name in self._followers:
            self._followers[resource.resource_name].expect_gone(uid)


class Follower:
    """All objects of one type."""

    def __init__(self, cluster: Cluster, resource: ResourceType, namespace: str) -> None:
        self._cluster = cluster
        self._resource = resource
        self._namespace = namespace
        self._objects: dict[str, Object] = {}
        self._first_seen: dict[str, int] = {}
        self._gone: dict[str, tuple[int, Object]] = {}
        self._forgotten = 0
        self._position = 0
        self._is_current = False
        self._written = 0
        self._going: set[str] = set()
        self._error: Exception | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._queues: set[asyncio.Queue[WatchEvent]] = set()

    def expect(self, position: int) -> None:
        """Lists wait until they have what has this resourceVersion."""
        self._written = max(self._written, position)

    def expect_gone(self, uid: str) -> None:
        """Lists wait until they have the deletion of an object."""
        self._going.add(uid)

    async def page(self, belongs: Callable[[Object], bool], namespace: str) -> Page:
        """Returns the objects of a namespace ("" for all) that belong to those who ask.

        Raises:
            ConnectionFailedError: The watch has been away for too long.
            ApiError: The type cannot be read.
        """
        await self._catch_up()
        spaces = ("", namespace) if namespace else ()
        objects = (obj for obj in self._objects.values() if not spaces or obj.key.namespace in spaces)
        return Page(tuple(filter(belongs, objects)), str(self._position))

    async def changes(self, since: str, timeout_s: float) -> AsyncGenerator[WatchEvent]:
        """Yields what has changed after a position, then what changes, for at most `timeout_s` seconds.

        After "" come first all objects that are there, and a bookmark that says so; see `Cluster.watch`.

        Raises:
            ExpiredError: Some deletions since then are not remembered any more.
            ApiError: The type cannot be read.
        """
        await self._catch_up()
        if since and int(since) < self._forgotten:
            raise errors.ExpiredError(self._call(), 410, "Expired", "too many deletions since")
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        for event in self._since(int(since)) if since else self._beginning():
            queue.put_nowait(event)
        self._queues.add(queue)
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    event = await queue.get()
                yield event
        except TimeoutError:
            return
        finally:
            self._queues.discard(queue)

    async def follow(self) -> None:
        """Keeps the objects current until it is cancelled, or the type cannot be read."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(errors.TransientError),
            wait=wait_random_exponential(_FIRST_REOPENING_S, _LONGEST_REOPENING_S),
        )
        try:
            while True:
                await retrying(self._follow_once)
                # A server that ends its watches at once is not asked without a break.
                await asyncio.sleep(_FIRST_REOPENING_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait for the lists have to be told
            self._error = error
            self._wake()

    async def _follow_once(self) -> None:
        try:
            if not self._is_current:
                self._renew(await self._cluster.list(self._resource, self._namespace))
            events = self._cluster.watch(self._resource, self._namespace, str(self._position), _WATCH_S)
            async for event in events:
                self._take(event, int(event.object.resource_version))
        except errors.ExpiredError:
            self._is_current = False
        except errors.TransientError:
            # Nobody knows for how long nothing came; the next list does.
            self._is_current = False
            raise

    def _renew(self, page: Page) -> None:
        position = int(page.resource_version)
        is_first = not self._position
        there = {obj.uid: obj for obj in page.objects}
        for uid in self._objects.keys() - there.keys():
            self._take(WatchEvent("DELETED", self._objects[uid]), position)
        for uid, obj in there.items():
            known = self._objects.get(uid)
            if known is None or known.resource_version != obj.resource_version:
                self._take(WatchEvent("MODIFIED" if known else "ADDED", obj), 0 if is_first else position)
        self._position = max(self._position, position)
        self._is_current = True
        self._wake()

    def _take(self, event: WatchEvent, position: int) -> None:
        self._position = max(self._position, position)
        obj = event.object
        if event.kind == "DELETED":
            self._forget(obj, position)
        elif event.kind != "BOOKMARK":
            self._objects[obj.uid] = obj
            self._first_seen.setdefault(obj.uid, position)
        if event.kind != "BOOKMARK":
            for queue in self._queues:
                queue.put_nowait(event)
        self._wake()

    def _forget(self, obj: Object, position: int) -> None:
        self._objects.pop(obj.uid, None)
        self._first_seen.pop(obj.uid, None)
        self._going.discard(obj.uid)
        self._gone[obj.uid] = (position, obj)
        if len(self._gone) > _REMEMBERED:
            oldest = next(iter(self._gone))
            self._forgotten = self._gone.pop(oldest)[0]

    def _beginning(self) -> Iterator[WatchEvent]:
        for obj in self._objects.values():
            yield WatchEvent("ADDED", obj)
        yield WatchEvent.of_bookmark(self._resource, str(self._position), ends_beginning=True)

    def _since(self, position: int) -> Iterator[WatchEvent]:
        for gone_at, obj in self._gone.values():
            if gone_at > position:
                yield WatchEvent("DELETED", obj)
        for uid, obj in self._objects.items():
            if self._first_seen[uid] > position:
                yield WatchEvent("ADDED", obj)
            elif int(obj.resource_version) > position:
                yield WatchEvent("MODIFIED", obj)

    async def _catch_up(self) -> None:
        try:
            async with asyncio.timeout(_CATCH_UP_S):
                while not self._has_caught_up():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.add(waiter)
                    await waiter
        except TimeoutError as error:
            raise errors.ConnectionFailedError(self._call(), f"the watch is {_CATCH_UP_S:g} s behind") from error

    def _has_caught_up(self) -> bool:
        if self._error is not None:
            raise self._error
        if not self._is_current or self._position < self._written:
            # What is not known yet may be the creation of what was deleted.
            return False
        self._going = {uid for uid in self._going if uid in self._objects and not self._objects[uid].deleting}
        return not self._going

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _call(self) -> errors.Call:
        return errors.Call(self._cluster.name, "WATCH", collection_path(self._resource, self._namespace))


class LiveCluster(Cluster):
    """A cluster of which only some objects are seen, and those from memory; writes go to the server."""

    def __init__(self, live: Live, belongs: Callable[[Object], bool]) -> None:
        cluster = live.cluster
        super().__init__(cluster.name, cluster.context, cluster.default_namespace, cluster.link, cluster.lease_s)
        self.records_namespace = cluster.records_namespace
        self._live = live
        self._belongs = belongs

    async def list(self, resource: ResourceType, namespace: str = "") -> Page:
        """Returns the objects that are seen; of a type that is not followed all of them, from the server."""
        follower = self._live.follower(resource, namespace)
        if follower is None:
            return await super().list(resource, namespace)
        return await follower.page(self._belongs, namespace)

    async def list_metadata(self, resource: ResourceType, namespace: str = "") -> Page:
        """Returns the same as `list` for what is followed: it costs nothing."""
        if self._live.follower(resource, namespace) is None:
            return await super().list_metadata(resource, namespace)
        return await self.list(resource, namespace)

    async def watch(
        self,
        resource: ResourceType,
        namespace: str,
        resource_version: str,
        timeout_s: float,
        *,
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent]:
        """Yields the changes to objects that are seen; see `Cluster.watch`."""
        follower = self._live.follower(resource, namespace)
        if follower is None:
            events = super().watch(resource, namespace, resource_version, timeout_s, metadata_only=metadata_only)
        else:
            events = follower.changes(resource_version, timeout_s)
        async with aclosing(events):
            async for event in events:
                if event.kind == "BOOKMARK" or self._belongs(event.object):
                    yield event

    async def create(self, resource: ResourceType, body: Mapping[str, Any], *, manager: str) -> Written:
        """Creates an object; see `Cluster.create`."""
        written = await super().create(resource, body, manager=manager)
        return self._noted(resource, body["metadata"].get("namespace", ""), written)

    async def replace(self, resource: ResourceType, body: Mapping[str, Any], *, manager: str) -> Written:
        """Replaces an object; see `Cluster.replace`."""
        written = await super().replace(resource, body, manager=manager)
        return self._noted(resource, body["metadata"].get("namespace", ""), written)

    async def merge_patch(
        self, resource: ResourceType, key: ObjectKey, patch: Mapping[str, Any], *, manager: str
    ) -> Written:
        """Changes an object; see `Cluster.merge_patch`."""
        return self._noted(resource, key.namespace, await super().merge_patch(resource, key, patch, manager=manager))

    async def set_status(self, resource: ResourceType, key: ObjectKey, status: Any, *, manager: str) -> Written:
        """Replaces an object's status; see `Cluster.set_status`."""
        return self._noted(resource, key.namespace, await super().set_status(resource, key, status, manager=manager))

    async def delete(self, resource: ResourceType, key: ObjectKey, *, uid: str, resource_version: str = "") -> None:
        """Deletes an object; see `Cluster.delete`."""
        await super().delete(resource, key, uid=uid, resource_version=resource_version)
        self._live.deleted(resource, uid)

    def _noted(self, resource: ResourceType, namespace: str, written: Written) -> Written:
        self._live.wrote(resource, namespace, written)
        return written
