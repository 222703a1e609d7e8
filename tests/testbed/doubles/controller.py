"""What the doubles have in common: they watch some types of one cluster, remember the newest state, and react."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from graph.resource import ResourceType
from graph.rules import GroupKind
from tests.testbed.client import AdminClient
from tests.testbed.crds import CRDS_PATH
from tests.testbed.witness import RELISTED, Body, Stream, collection_path, type_of

Key = tuple[str, str]
"""Namespace and name."""


class Controller:
    """A double of a controller, from `async with` to its end; what went wrong is raised at the end.

    Args:
        client: A client of the cluster; each of `kinds` holds one connection.
        kinds: What to watch. It knows the types that are installed when it starts.
        latency_s: How long it takes to react, in seconds; may be changed while it runs.
        namespaces: The namespaces to look at; all if None.
    """

    def __init__(
        self,
        client: AdminClient,
        kinds: Collection[GroupKind],
        *,
        latency_s: float,
        namespaces: Collection[str] | None = None,
    ) -> None:
        self.latency_s = latency_s
        self._client = client
        self._kinds = frozenset(kinds)
        self._namespaces = namespaces
        self._types: dict[GroupKind, ResourceType] = {}
        self._objects: defaultdict[GroupKind, dict[Key, Body]] = defaultdict(dict)
        self._dead: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._busy = 0
        self._progress = asyncio.Event()
        self._ready = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    def _changed(self, body: Body) -> None:
        """Is told of an object that appeared or changed, or is gone; the newest state is in `_objects`."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        crds = (await self._client.list(CRDS_PATH))["items"]
        types = sorted(type_of(crd) for crd in crds)
        self._types = {t.group_kind: t for t in types if t.group_kind in self._kinds}
        self._task = asyncio.create_task(self._run())
        await self._until(self._ready)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _run(self) -> None:
        streams = [Stream(self._client, resource, self._take) for resource in self._types.values()]
        async with self._group:
            await asyncio.gather(*(stream.start() for stream in streams))
            self._ready.set()
            for stream in streams:
                self._group.create_task(stream.follow())

    def _take(self, stream: Stream, event_type: str, body: Body) -> None:
        if event_type == RELISTED:
            self._relist(stream, body["items"])
        elif self._namespaces is None or body["metadata"]["namespace"] in self._namespaces:
            self._remember(stream.type.group_kind, body, gone=event_type == "DELETED")
            self._changed(body)
            self._progress.set()

    def _relist(self, stream: Stream, items: Iterable[Body]) -> None:
        listed = list(items)
        there = {uid_of(body) for body in listed}
        for body in list(self._objects[stream.type.group_kind].values()):
            if uid_of(body) not in there:
                self._take(stream, "DELETED", body)
        for body in listed:
            self._take(stream, "MODIFIED", body)

    def _remember(self, kind: GroupKind, body: Body, *, gone: bool = False) -> None:
        """Keeps the newest state: the answer to a write may be newer than the next event, or older."""
        known = self._objects[kind]
        key = key_of(body)
        uid = uid_of(body)
        if gone:
            self._dead.add(uid)
            if key in known and uid_of(known[key]) == uid:
                del known[key]
        elif uid not in self._dead and (key not in known or _is_newer(body, known[key])):
            known[key] = body

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._busy += 1
        self._group.create_task(self._counted(work))

    async def _counted(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._busy -= 1
            self._progress.set()

    async def caught_up(self) -> Mapping[str, int]:
        """Returns UID -> resourceVersion of what was there at the call, once all of it was seen and acted on."""
        there: dict[str, int] = {}
        revisions: dict[GroupKind, int] = {}
        for kind, resource in self._types.items():
            answer = await self._client.list(collection_path(resource))
            revisions[kind] = int(answer["metadata"]["resourceVersion"])
            there |= {uid_of(item): version_of(item) for item in answer["items"] if self._is_seen(item)}
        while self._busy or self._is_behind(there, revisions):
            self._progress.clear()
            await self._until(self._progress)
        return there

    def _is_seen(self, body: Body) -> bool:
        return self._namespaces is None or body["metadata"]["namespace"] in self._namespaces

    def _is_behind(self, there: Mapping[str, int], revisions: Mapping[GroupKind, int]) -> bool:
        known = {uid_of(body): version_of(body) for bodies in self._objects.values() for body in bodies.values()}
        if any(known.get(uid, 0) < version for uid, version in there.items() if uid not in self._dead):
            return True
        return any(
            uid_of(body) not in there and version_of(body) <= revisions[kind]
            for kind, bodies in self._objects.items()
            for body in bodies.values()
        )

    async def _until(self, event: asyncio.Event) -> None:
        """Returns when the event is set; raises what the double has failed with if that comes first."""
        if self._task is None:
            raise RuntimeError("the double is used outside of its context")
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                self._task.result()
                raise RuntimeError("the double has ended")
        finally:
            waiting.cancel()


def annotations_of(body: Body) -> Mapping[str, str]:
    """Returns the annotations of an object."""
    return body["metadata"].get("annotations") or {}


def key_of(body: Body) -> Key:
    """Returns namespace and name of an object."""
    return body["metadata"]["namespace"], body["metadata"]["name"]


def uid_of(body: Body) -> str:
    """Returns the UID of an object."""
    return str(body["metadata"]["uid"])


def version_of(body: Body) -> int:
    """Returns the resourceVersion of an object."""
    return int(body["metadata"]["resourceVersion"])


def _is_newer(body: Body, known: Body) -> bool:
    return uid_of(body) != uid_of(known) or version_of(body) > version_of(known)
