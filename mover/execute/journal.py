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
from mover.errors import AlreadyExistsError, NotFoundError
from mover.kube import Cluster
from mover.models import MANAGER, Phase
from mover.record import NAMESPACE, CopyEntry, Encoded, Record, RecordError, chunk_name, decode, encode, name_of
from mover.scope import overlap

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
        head = (await cluster.get(CONFIG_MAPS, NAMESPACE, name_of(scope))).body()
    except NotFoundError:
        return None
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


async def write_record(cluster: Cluster, scope: str, encoded: Encoded) -> None:
    """Writes a record to one cluster of which nothing is known; see `Journal`, which keeps one."""
    await _Side(cluster, scope).write(encoded)


async def remove_record(cluster: Cluster, scope: str) -> None:
    """Removes a record from one cluster."""
    await _Side(cluster, scope).remove()


async def _parts_of(cluster: Cluster, scope: str) -> frozenset[str]:
    """Returns the names of the further parts that are there, of whatever record of the scope."""
    found = [
        part["metadata"] for part in await cluster.list_names(_COLLECTION, {"labelSelector": f"{codec.LABEL}=part"})
    ]
    return frozenset(part["name"] for part in found if part["annotations"][codec.SCOPE_ANNOTATION] == scope)


async def _put(cluster: Cluster, body: Mapping[str, Any], *, is_there: bool = False) -> None:
    """Creates or overwrites a ConfigMap; patches one that `is_there` as far as is known."""
    key = ObjectKey("", "ConfigMap", NAMESPACE, body["metadata"]["name"])
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
        found = await cluster.get(CONFIG_MAPS, NAMESPACE, name)
        await cluster.delete(CONFIG_MAPS, found.key, uid=found.uid, resource_version=found.resource_version)
    except NotFoundError:
        return
