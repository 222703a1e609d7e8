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
    ForbiddenError,
    NotFoundError,
    SupersededError,
    TransientError,
    UnauthorizedError,
)
from mover.kube import Cluster
from mover.kube.cluster import Written, collection_path
from mover.models import MANAGER, Phase
from mover.names import shown
from mover.record import CopyEntry, Encoded, Head, Record, RecordError, chunk_name, decode, encode, name_of, read_head
from mover.scope import overlap

WRITE = "write"
"""The field of the head that names the write that it is of."""
log = logging.getLogger("capi-mover.execute")
_HEADS = {"labelSelector": f"{codec.LABEL}=head"}
_PARTS = {"labelSelector": f"{codec.LABEL}=part"}
_BEFORE = "default"
"""Where versions up to format 1 kept their records."""


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
        except (TransientError, UnauthorizedError, ForbiddenError):
            if found.source is None:
                raise
        there = [side for side in (found.source, found.target) if side is not None]
        if not there or any(side.id != record.id for side in there):
            raise _ended(record.id)
        journal.record = there[0]
        return journal, found

    @classmethod
    async def opened_alone(cls, record: Record, target: Cluster) -> Self:
        """Returns the journal of a move on its target alone, as the target has it now: the source is gone for good.

        Raises:
            SupersededError: Somebody else has ended the move meanwhile.
        """
        journal = cls(record, (target,))
        found = await journal._sides[0].read()
        if found is None or found.id != record.id:
            raise _ended(record.id)
        journal.record = found
        return journal

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

    def note_made(self, uids: Mapping[ObjectKey, str]) -> None:
        """Takes note of copies that are on the target now, by their UIDs; written with what is advanced next."""
        copies = tuple(entry.made_as(uids[entry.key]) if entry.key in uids else entry for entry in self.record.copies)
        self.record = self.record.model_copy(update={"copies": copies})

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
        self._key = ObjectKey("", "ConfigMap", cluster.records_namespace, name_of(record.scope))
        self._parts: frozenset[str] | None = None
        self._head: _Head | None = None
        self._is_to_be_read = False
        self._is_being_removed = False
        self._sent: set[str] = set()

    async def read(self) -> Record | None:
        """Returns the record that is there, None without one; later writes follow what was read."""
        self._is_to_be_read = True
        found = await _head_object(self._cluster, self._scope)
        self._is_to_be_read = False
        self._head = None if found is None else _Head.of(found)
        return None if found is None else await _read(self._cluster, found.body())

    async def require_own(self) -> None:
        """What is there was last written here, or read when the move was resumed.

        Raises:
            SupersededError: Somebody else has written or removed it.
        """
        found = await _head_object(self._cluster, self._scope)
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
        stamped = {**_placed(self._cluster, body), "data": {**body["data"], WRITE: name}}
        while True:
            try:
                written = await self._send_head(stamped)
            except (AlreadyExistsError, ConflictError, NotFoundError) as error:
                found = await _head_object(self._cluster, self._scope)
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
        if found is not None and (found.id != self._move or found.source_gone):
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
            head = self._head or self._recognised(await _head_object(self._cluster, self._scope))
            try:
                if head is not None:
                    await self._cluster.delete(CONFIG_MAPS, self._key, uid=head.uid, resource_version=head.version)
            except NotFoundError:
                log.debug("%s: the record %s is gone already", self._cluster.name, self._key.name)
            except ConflictError:
                self._head = self._recognised(await _head_object(self._cluster, self._scope))
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
            f"The {cluster.name} cluster has the record of another move, {shown(other) or 'without an ID'}, in place "
            f"of that of the move {move}; this program changes nothing more",
            holder,
        )
    return SupersededError(
        f"Another capi-mover has taken over the move {move}: {shown(holder) or 'somebody'} has written its record on "
        f"the {cluster.name} cluster (phase {shown(str(data.get('phase')))}); this program changes nothing more",
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
    found = await _head_object(cluster, scope)
    return None if found is None else await _read(cluster, found.body())


async def _head_object(cluster: Cluster, scope: str) -> Object | None:
    """Returns the ConfigMap that is the head of a record, None without one."""
    try:
        return await cluster.get(CONFIG_MAPS, cluster.records_namespace, name_of(scope))
    except NotFoundError:
        return None


async def _read(cluster: Cluster, body: Mapping[str, Any]) -> Record:
    """Returns the record that a head begins.

    Raises:
        RecordError: It is damaged, of another version, or says what no record can say.
    """
    try:
        return decode(body, await _read_chunks(cluster, read_head(body)))
    except NotFoundError as error:
        raise RecordError(body["metadata"]["name"], f"it is damaged: {error} is missing").on(cluster.name) from error
    except RecordError as error:
        raise error.on(cluster.name) from error


@dataclass(frozen=True, slots=True)
class Records:
    """The records that a cluster has.

    Attributes:
        readable: Those of moves, by scope.
        unreadable: What is wrong with each of the others; nothing is done by them, and they are in nobody's way.
    """

    readable: tuple[Record, ...] = ()
    unreadable: tuple[RecordError, ...] = ()


async def list_records(cluster: Cluster) -> Records:
    """Returns the records of all moves that `cluster` takes part in, and what looks like records and is none.

    Those that versions before have left in the namespace `default` are among the latter.
    """
    found = await all_of(_read_or_not(cluster, body) for body in await _heads(cluster, cluster.records_namespace))
    readable = [record for record in found if isinstance(record, Record)]
    unreadable = [error for error in found if isinstance(error, RecordError)]
    return Records(
        tuple(sorted(readable, key=lambda record: record.scope)),
        (*sorted(unreadable, key=str), *await earlier_records(cluster)),
    )


async def _read_or_not(cluster: Cluster, body: Mapping[str, Any]) -> Record | RecordError:
    try:
        return await _read(cluster, body)
    except RecordError as error:
        return error


async def earlier_records(cluster: Cluster) -> tuple[RecordError, ...]:
    """Returns what there is in the namespace that versions before kept their records in: it is not followed.

    Whoever may not look there has none of them.
    """
    if cluster.records_namespace == _BEFORE:
        return ()
    try:
        found = await _heads(cluster, _BEFORE)
    except (ForbiddenError, NotFoundError):
        return ()
    names = sorted(shown(str(body["metadata"]["name"])) for body in found)
    what = f"records are kept in the namespace {cluster.records_namespace} now, which others cannot write to"
    remedy = (
        "If a move of yours was interrupted, finish it with the version that began it. Else delete what is there: "
        f"kubectl -n {_BEFORE} delete configmap -l {codec.LABEL}"
    )
    return tuple(RecordError(f"{_BEFORE}/{name} of the {cluster.name} cluster", what, remedy) for name in names)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A move that a cluster takes part in, as the head of its record says."""

    scope: str
    id: str
    phase: str


async def under_way(cluster: Cluster, scopes: Collection[str]) -> tuple[UnderWay, ...]:
    """Returns the moves that `cluster` takes part in and that overlap with one of the scopes, by scope.

    What only looks like the record of a move is in nobody's way, but for a move of that very name. Nor is the note of a
    source that was given up: see `given_up`.
    """
    heads = [_head_or_none(body) for body in await _heads(cluster, cluster.records_namespace)]
    found = [
        UnderWay(head.scope, head.id, head.phase)
        for head in heads
        if head is not None and head.phase != Phase.DONE and any(overlap(head.scope, other) for other in scopes)
    ]
    return tuple(sorted(found, key=lambda move: move.scope))


async def given_up(target: Cluster) -> tuple[Record, ...]:
    """Returns the moves to `target` whose source was given up and not dealt with since, by scope."""
    heads = await _heads(target, target.records_namespace)
    noted = [body for body in heads if (body.get("data") or {}).get("phase") in (Phase.RESUMING, Phase.DONE)]
    found = await all_of(_read_or_not(target, body) for body in noted)
    records = [record for record in found if isinstance(record, Record) and record.source_gone]
    return tuple(sorted(records, key=lambda record: record.scope))


def _head_or_none(body: Mapping[str, Any]) -> Head | None:
    try:
        return read_head(body)
    except RecordError:
        return None


async def _heads(cluster: Cluster, namespace: str) -> Sequence[Mapping[str, Any]]:
    return await cluster.list_names(collection_path(CONFIG_MAPS, namespace), _HEADS)


async def _read_chunks(cluster: Cluster, head: Head) -> list[dict[str, Any]]:
    names = [chunk_name(head.scope, head.digest, number) for number in range(1, head.parts)]
    space = cluster.records_namespace
    return [obj.body() for obj in await all_of(cluster.get(CONFIG_MAPS, space, name) for name in names)]


async def _parts_of(cluster: Cluster, scope: str) -> frozenset[str]:
    """Returns the names of the further parts that are there, of whatever record of the scope."""
    path = collection_path(CONFIG_MAPS, cluster.records_namespace)
    found = [part["metadata"] for part in await cluster.list_names(path, _PARTS)]
    return frozenset(
        part["name"] for part in found if (part.get("annotations") or {}).get(codec.SCOPE_ANNOTATION) == scope
    )


async def _put(cluster: Cluster, body: Mapping[str, Any]) -> None:
    """Creates or overwrites a further part."""
    placed = _placed(cluster, body)
    try:
        await cluster.create(CONFIG_MAPS, placed, manager=MANAGER)
    except AlreadyExistsError:
        key = ObjectKey("", "ConfigMap", cluster.records_namespace, body["metadata"]["name"])
        await cluster.merge_patch(CONFIG_MAPS, key, placed, manager=MANAGER)


def _placed(cluster: Cluster, body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a ConfigMap of a record with the namespace that records are in on a cluster."""
    return {**body, "metadata": {**body["metadata"], "namespace": cluster.records_namespace}}


async def _remove(cluster: Cluster, name: str) -> None:
    try:
        found = await cluster.get(CONFIG_MAPS, cluster.records_namespace, name)
        await cluster.delete(CONFIG_MAPS, found.key, uid=found.uid, resource_version=found.resource_version)
    except NotFoundError:
        return
