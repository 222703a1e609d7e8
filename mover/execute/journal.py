"""Writing the move record to both clusters, and finding it again.

Order of writes: what is about to be done is recorded before it is done. A record is whole at every instant: further
parts are written before the head that names them, and removed after it has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from graph.resource import Object, ObjectKey
from mover import record as codec
from mover.concurrency import all_of
from mover.discovery import CONFIG_MAPS
from mover.errors import AlreadyExistsError, ForbiddenError, NotFoundError
from mover.kube import Cluster
from mover.kube.cluster import collection_path
from mover.models import MANAGER, Phase
from mover.names import shown
from mover.record import CopyEntry, Encoded, Head, Record, RecordError, chunk_name, decode, encode, name_of, read_head
from mover.scope import overlap

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
        """Starts with what is known; `clusters` in the order they are written in: the source, the target."""
        self.record = record
        self._sides = tuple(_Side(cluster, record.scope) for cluster in clusters)

    async def write(self, record: Record) -> None:
        """Writes the record to the source, whose word counts, and then to the target."""
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
        """Removes the record from every cluster: the source's first, the target's says last that all is done."""
        for side in self._sides:
            await side.remove()


class _Side:
    """The record on one cluster, and what is known of it there from this program's own last write.

    As long as nothing is known, which is also so when a write did not come to its end, the server is asked what there
    is: an earlier program may have left parts.
    """

    def __init__(self, cluster: Cluster, scope: str) -> None:
        self._cluster = cluster
        self._scope = scope
        self._parts: frozenset[str] | None = None

    async def write(self, encoded: Encoded) -> None:
        """Writes the record: the further parts first, then the head, then old parts are removed.

        A part is named after the content of all, so one of the last write that is named again is as it was.
        """
        before, self._parts = self._parts, None
        wanted = {chunk["metadata"]["name"]: chunk for chunk in encoded.chunks}
        for name, chunk in wanted.items():
            if before is None or name not in before:
                await _put(self._cluster, chunk)
        await _put(self._cluster, encoded.head, is_there=before is not None)
        old = await _parts_of(self._cluster, self._scope) if before is None else before
        for name in sorted(old - wanted.keys()):
            await _remove(self._cluster, name)
        self._parts = frozenset(wanted)

    async def remove(self) -> None:
        """Removes the record: the head first, so that no half of it is ever read."""
        self._parts = None
        await _remove(self._cluster, name_of(self._scope))
        for name in sorted(await _parts_of(self._cluster, self._scope)):
            await _remove(self._cluster, name)


async def find(source: Cluster, target: Cluster, scope: str) -> Found:
    """Returns what both clusters know of a move of `scope`."""
    one, other = await all_of(read_record(cluster, scope) for cluster in (source, target))
    return Found(one, other)


async def read_record(cluster: Cluster, scope: str) -> Record | None:
    """Returns the record of a move that `cluster` has, None without one.

    Raises:
        RecordError: It is damaged or of another version.
    """
    try:
        head = (await cluster.get(CONFIG_MAPS, cluster.records_namespace, name_of(scope))).body()
    except NotFoundError:
        return None
    return await _read(cluster, head)


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

    What only looks like the record of a move is in nobody's way, but for a move of that very name.
    """
    heads = [_head_or_none(body) for body in await _heads(cluster, cluster.records_namespace)]
    found = [
        UnderWay(head.scope, head.id, head.phase)
        for head in heads
        if head is not None and any(overlap(head.scope, other) for other in scopes)
    ]
    return tuple(sorted(found, key=lambda move: move.scope))


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


async def write_record(cluster: Cluster, scope: str, encoded: Encoded) -> None:
    """Writes a record to one cluster of which nothing is known; see `Journal`, which keeps one."""
    await _Side(cluster, scope).write(encoded)


async def remove_record(cluster: Cluster, scope: str) -> None:
    """Removes a record from one cluster."""
    await _Side(cluster, scope).remove()


async def _parts_of(cluster: Cluster, scope: str) -> frozenset[str]:
    """Returns the names of the further parts that are there, of whatever record of the scope."""
    path = collection_path(CONFIG_MAPS, cluster.records_namespace)
    found = [part["metadata"] for part in await cluster.list_names(path, _PARTS)]
    return frozenset(
        part["name"] for part in found if (part.get("annotations") or {}).get(codec.SCOPE_ANNOTATION) == scope
    )


async def _put(cluster: Cluster, body: Mapping[str, Any], *, is_there: bool = False) -> None:
    """Creates or overwrites a ConfigMap; patches one that `is_there` as far as is known."""
    key = ObjectKey("", "ConfigMap", cluster.records_namespace, body["metadata"]["name"])
    body = {**body, "metadata": {**body["metadata"], "namespace": key.namespace}}
    if is_there:
        with suppress(NotFoundError):
            await cluster.merge_patch(CONFIG_MAPS, key, body, manager=MANAGER)
            return
    try:
        await cluster.create(CONFIG_MAPS, body, manager=MANAGER)
    except AlreadyExistsError:
        await cluster.merge_patch(CONFIG_MAPS, key, body, manager=MANAGER)


async def _remove(cluster: Cluster, name: str) -> None:
    try:
        found = await cluster.get(CONFIG_MAPS, cluster.records_namespace, name)
        await cluster.delete(CONFIG_MAPS, found.key, uid=found.uid, resource_version=found.resource_version)
    except NotFoundError:
        return
