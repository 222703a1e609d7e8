"""Writing the move record to both clusters, and finding it again.

Order of writes: what is about to be done is recorded before it is done. A record is whole at every instant: further
parts are written before the head that names them, and removed after it has changed.

The head is written with the resourceVersion of the last write, and is created once: a record that somebody else has
changed or removed belongs to them (docs/decisions/0030). Each write has a name of its own in the head, by which one is
recognised whose answer was lost.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from graph.resource import Object, ObjectKey
from mover import record as codec
from mover.concurrency import all_of
from mover.discovery import CONFIG_MAPS
from mover.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    NotFoundError,
    SupersededError,
    TransientError,
)
from mover.kube import Cluster
from mover.kube.cluster import Written
from mover.models import MANAGER, Phase
from mover.record import NAMESPACE, CopyEntry, Encoded, Record, RecordError, chunk_name, decode, encode, name_of
from mover.scope import overlap

WRITE = "write"
"""The field of the head that names the write that it is of."""
log = logging.getLogger("capi-mover.execute")
_HEADS = {"labelSelector": f"{codec.LABEL}=head"}
_COLLECTION = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


@dataclass(frozen=True, slots=True)
class Found:
    """The records of one move on its two clusters.

    Attributes:
        source: What the source's record says, None without one.
        target: The same of the target.
    """

    source: Record | None
    target: Record | None

    @property
    def newest(self) -> Record | None:
        """Returns the record that counts: the source's; the target's only when the source has none any more.

        Every change is written to the source first, and what the source says decides: a commit of which only the
        target knew would be undone by the source and carried out later by whoever read the target. At the end the
        source's record goes first, so a lone one of the target is of a move whose end it saw.
        """
        return self.source or self.target


class Journal:
    """Keeps the record of one move on its clusters."""

    def __init__(self, record: Record, clusters: Sequence[Cluster]) -> None:
        """Starts a new record; `clusters` in the order they are written in: the source, the target."""
        self.record = record
        self._sides = tuple(_Side(cluster, record) for cluster in clusters)

    @classmethod
    async def opened(cls, record: Record, source: Cluster, target: Cluster) -> tuple[Self, Found]:
        """Returns the journal of a move that was begun, as the clusters have it now, and what each of them has.

        Later writes follow the state that was read. A target that cannot be reached is read before its first write.

        Args:
            record: As it was found before the leases of the move were taken.
            source: The source.
            target: The target.

        Raises:
            SupersededError: Somebody else has ended the move meanwhile.
        """
        journal = cls(record, (source, target))
        one, other = journal._sides
        found = Found(await one.read(), None)
        try:
            found = Found(found.source, await other.read())
        except TransientError:
            if found.source is None:
                raise
        there = [side for side in (found.source, found.target) if side is not None]
        if not there or any(side.id != record.id for side in there):
            raise _ended(record.id)
        journal.record = there[0]
        return journal, found

    async def require_own(self, patience_s: float) -> None:
        """Makes sure that both clusters have the record as this program has last written it.

        A write of ours whose answer was lost is followed; nothing was done upon it, so `record` stays what it was. A
        target that does not say what it has is passed over: every change is written to the source first, so that nobody
        has gone on with the move who has not written there.

        Args:
            patience_s: How long the target is asked, in seconds.

        Raises:
            SupersededError: Somebody else has changed or removed it.
            ApiError: The source cannot be read.
        """
        source, *others = self._sides
        await source.require_own()
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(patience_s):
                for side in others:
                    await side.require_own()

    async def write(self, record: Record) -> None:
        """Writes the record to the source, whose word counts, and then to the target.

        Raises:
            SupersededError: Somebody else has written it, or removed it.
        """
        encoded = encode(record)
        await self._sides[0].write(encoded)
        self.record = record
        for side in self._sides[1:]:
            await side.write(encoded)

    async def advance(self, phase: Phase, **known: object) -> None:
        """Writes that the move is in `phase` now, with what is known by now (fields of the record)."""
        await self.write(self.record.model_copy(update={"phase": phase, **known}))

    def with_copies(self, images: Iterable[Object]) -> tuple[CopyEntry, ...]:
        """Returns the record's copies with those that `images` describe, as they are about to be written."""
        known = {entry.key: entry for entry in self.record.copies}
        new = {image.key: CopyEntry.of(image, known.get(image.key)) for image in images}
        return tuple({**known, **new}.values())

    async def begin_rollback(self) -> None:
        """Writes to the source that the move is undone; from then on nothing of it can be carried out."""
        record = self.record.model_copy(update={"phase": Phase.ROLLING_BACK})
        await self._sides[0].write(encode(record))
        self.record = record

    async def remove(self) -> None:
        """Removes the record from every cluster: the source's first, the target's says last that all is done.

        Raises:
            SupersededError: Somebody else has written it.
        """
        for side in self._sides:
            await side.remove()


class _Side:
    """The record on one cluster, and what is known of it there from this program's own reads and writes.

    As long as nothing is known of its parts, which is also so when a write did not come to its end, the server is asked
    what there is: an earlier program may have left some.
    """

    def __init__(self, cluster: Cluster, record: Record) -> None:
        self._cluster = cluster
        self._scope = record.scope
        self._move = record.id
        self._key = ObjectKey("", "ConfigMap", NAMESPACE, name_of(record.scope))
        self._parts: frozenset[str] | None = None
        self._head: _Head | None = None
        self._is_to_be_read = False
        self._is_being_removed = False
        self._sent: set[str] = set()

    async def read(self) -> Record | None:
        """Returns the record that is there, None without one; later writes follow what was read."""
        self._is_to_be_read = True
        found = await read_head(self._cluster, self._scope)
        self._is_to_be_read = False
        self._head = None if found is None else _Head.of(found)
        return None if found is None else await _record_of(self._cluster, self._scope, found)

    async def require_own(self) -> None:
        """What is there was last written here, or read when the move was resumed.

        Raises:
            SupersededError: Somebody else has written or removed it.
        """
        found = await read_head(self._cluster, self._scope)
        if found is None and self._head is not None and not self._is_being_removed:
            raise _ended(self._move)
        if found is not None and (self._head is None or found.resource_version != self._head.version):
            self._recognise(found)

    async def write(self, encoded: Encoded) -> None:
        """Writes the record: the further parts first, then the head, then old parts are removed.

        A part is named after the content of all, so one of the last write that is named again is as it was.
        """
        before, self._parts = self._parts, None
        wanted = {chunk["metadata"]["name"]: chunk for chunk in encoded.chunks}
        for name, chunk in wanted.items():
            if before is None or name not in before:
                await _put(self._cluster, chunk)
        await self._write_head(encoded.head)
        old = await _parts_of(self._cluster, self._scope) if before is None else before
        for name in sorted(old - wanted.keys()):
            await _remove(self._cluster, name)
        self._parts = frozenset(wanted)

    async def _write_head(self, body: Mapping[str, Any]) -> None:
        """Creates the head, or changes it from the state that is known; an own write in between is followed."""
        if self._is_to_be_read:
            await self._read_late()
        name = uuid.uuid4().hex
        self._sent.add(name)
        stamped = {**body, "data": {**body["data"], WRITE: name}}
        while True:
            try:
                written = await self._send_head(stamped)
            except (AlreadyExistsError, ConflictError, NotFoundError) as error:
                found = await read_head(self._cluster, self._scope)
                if found is None:
                    raise _ended(self._move) from error
                if self._recognise(found).write != name:
                    continue
            else:
                self._head = _Head(written.uid, written.resource_version, name)
            self._sent = {name}
            return

    async def _read_late(self) -> None:
        """Reads what there is on a cluster that could not be reached before."""
        found = await self.read()
        if found is not None and found.id != self._move:
            raise _ended(self._move)

    async def _send_head(self, body: Mapping[str, Any]) -> Written:
        if self._head is None:
            return await self._cluster.create(CONFIG_MAPS, body, manager=MANAGER)
        versioned = {**body, "metadata": {**body["metadata"], "resourceVersion": self._head.version}}
        return await self._cluster.merge_patch(CONFIG_MAPS, self._key, versioned, manager=MANAGER)

    def _recognise(self, found: Object) -> _Head:
        """Goes on from a head that is a write of ours.

        Raises:
            SupersededError: It is somebody else's.
        """
        head = _Head.of(found)
        known = {*self._sent, *((self._head.write,) if self._head is not None else ())}
        if not head.write or head.write not in known:
            raise _taken_over(found, self._move, self._cluster)
        self._head = head
        return head

    async def remove(self) -> None:
        """Removes the record: the head first, so that no half of it is ever read.

        One that is gone already is no fault: the answer to an earlier try may have been lost.
        """
        parts, self._parts = self._parts, None
        self._is_being_removed = True
        if self._is_to_be_read:
            await self._read_late()
        while self._head is not None or self._sent:
            head = self._head or self._recognised(await read_head(self._cluster, self._scope))
            try:
                if head is not None:
                    await self._cluster.delete(CONFIG_MAPS, self._key, uid=head.uid, resource_version=head.version)
            except NotFoundError:
                log.debug("%s: the record %s is gone already", self._cluster.name, self._key.name)
            except ConflictError:
                self._head = self._recognised(await read_head(self._cluster, self._scope))
                continue
            self._head, self._sent = None, set()
        for name in sorted(await _parts_of(self._cluster, self._scope) if parts is None else parts):
            await _remove(self._cluster, name)

    def _recognised(self, found: Object | None) -> _Head | None:
        return None if found is None else self._recognise(found)


@dataclass(frozen=True, slots=True)
class _Head:
    """The head of a record as it was at one moment.

    Attributes:
        uid: Its UID.
        version: Its resourceVersion.
        write: The name of the write that made it so, "" if it has none.
    """

    uid: str
    version: str
    write: str

    @classmethod
    def of(cls, found: Object) -> Self:
        """Returns what is to be known of a head that was read."""
        return cls(found.uid, found.resource_version, (found.body().get("data") or {}).get(WRITE) or "")


def _ended(move: str) -> SupersededError:
    return SupersededError(f"The move {move} was ended by somebody else meanwhile; this program changes nothing more")


def _taken_over(found: Object, move: str, cluster: Cluster) -> SupersededError:
    data = found.body().get("data") or {}
    other, holder = str(data.get("id") or ""), str(data.get("holder") or "")
    if other != move:
        return SupersededError(
            f"The {cluster.name} cluster has the record of another move, {other or 'without an ID'}, in place of that "
            f"of the move {move}; this program changes nothing more",
            holder,
        )
    return SupersededError(
        f"Another capi-mover has taken over the move {move}: {holder or 'somebody'} has written its record on the "
        f"{cluster.name} cluster (phase {data.get('phase')}); this program changes nothing more",
        holder,
    )


async def find(source: Cluster, target: Cluster, scope: str) -> Found:
    """Returns what both clusters know of a move of `scope`."""
    one, other = await all_of(read_record(cluster, scope) for cluster in (source, target))
    return Found(one, other)


async def read_record(cluster: Cluster, scope: str) -> Record | None:
    """Returns the record of a move that `cluster` has, None without one.

    Raises:
        RecordError: It is damaged or of another version.
    """
    found = await read_head(cluster, scope)
    return None if found is None else await _record_of(cluster, scope, found)


async def read_head(cluster: Cluster, scope: str) -> Object | None:
    """Returns the ConfigMap that is the head of a record, None without one."""
    try:
        return await cluster.get(CONFIG_MAPS, NAMESPACE, name_of(scope))
    except NotFoundError:
        return None


async def _record_of(cluster: Cluster, scope: str, found: Object) -> Record:
    head = found.body()
    try:
        return decode(head, await _read_chunks(cluster, scope, head.get("data") or {}))
    except (KeyError, NotFoundError) as error:
        what = f"The move record {name_of(scope)} of the {cluster.name} cluster is damaged: {error} is missing"
        raise RecordError(what) from error


async def list_records(cluster: Cluster) -> tuple[Record, ...]:
    """Returns the records of all moves that `cluster` takes part in, by scope."""
    scopes = sorted(head["metadata"]["annotations"][codec.SCOPE_ANNOTATION] for head in await _heads(cluster))
    records = await all_of(read_record(cluster, scope) for scope in scopes)
    return tuple(record for record in records if record is not None)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A move that a cluster takes part in, as the head of its record says."""

    scope: str
    id: str
    phase: str


async def under_way(cluster: Cluster, scopes: Collection[str]) -> tuple[UnderWay, ...]:
    """Returns the moves that `cluster` takes part in and that overlap with one of the scopes, by scope."""
    heads = [(head["metadata"]["annotations"][codec.SCOPE_ANNOTATION], head) for head in await _heads(cluster)]
    found = [
        UnderWay(scope, head["data"]["id"], head["data"]["phase"])
        for scope, head in heads
        if any(overlap(scope, other) for other in scopes)
    ]
    return tuple(sorted(found, key=lambda move: move.scope))


async def _heads(cluster: Cluster) -> Sequence[Mapping[str, Any]]:
    return await cluster.list_names(_COLLECTION, _HEADS)


async def _read_chunks(cluster: Cluster, scope: str, data: Mapping[str, str]) -> list[dict[str, Any]]:
    names = [chunk_name(scope, data["digest"], number) for number in range(1, int(data["parts"]))]
    return [obj.body() for obj in await all_of(cluster.get(CONFIG_MAPS, NAMESPACE, name) for name in names)]


async def _parts_of(cluster: Cluster, scope: str) -> frozenset[str]:
    """Returns the names of the further parts that are there, of whatever record of the scope."""
    found = [
        part["metadata"] for part in await cluster.list_names(_COLLECTION, {"labelSelector": f"{codec.LABEL}=part"})
    ]
    return frozenset(part["name"] for part in found if part["annotations"][codec.SCOPE_ANNOTATION] == scope)


async def _put(cluster: Cluster, body: Mapping[str, Any]) -> None:
    """Creates or overwrites a further part."""
    try:
        await cluster.create(CONFIG_MAPS, body, manager=MANAGER)
    except AlreadyExistsError:
        key = ObjectKey("", "ConfigMap", NAMESPACE, body["metadata"]["name"])
        await cluster.merge_patch(CONFIG_MAPS, key, body, manager=MANAGER)


async def _remove(cluster: Cluster, name: str) -> None:
    try:
        found = await cluster.get(CONFIG_MAPS, NAMESPACE, name)
        await cluster.delete(CONFIG_MAPS, found.key, uid=found.uid, resource_version=found.resource_version)
    except NotFoundError:
        return
