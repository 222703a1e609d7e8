"""Resuming the target without the source, which is gone for good: after the commit the copies are all there is.

The note that the source was given up is written before the target is resumed, so that at no moment a source that comes
back could be resumed beside it (docs/decisions/0034).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from graph.resource import Object, ObjectKey, ResourceType
from mover.concurrency import all_of
from mover.discovery import find_type, movable_types
from mover.errors import NotFoundError, StoppedError, UsageError
from mover.events import Listener, Noted
from mover.execute.clock import Clock
from mover.execute.given_up import source_name
from mover.execute.journal import Journal
from mover.execute.lease import held, this_holder
from mover.execute.resuming import resume
from mover.execute.run import identity_of
from mover.kube import Cluster
from mover.models import MANAGER, Phase
from mover.pause import Pause, is_paused
from mover.record import PauseEntry, Record, RecordError, name_of

_SHOWN = 20


class CopiesNotWholeError(StoppedError):
    """Copies that the record of a move names are missing, or are not the recorded ones.

    Attributes:
        found: What is wrong with each of them.
    """

    def __init__(self, record: Record, found: Sequence[str]) -> None:
        more = [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        lines = [*(f"  - {one}" for one in found[:_SHOWN]), *more]
        super().__init__(
            f"The copies of the move {record.id} on the target are not those that its record names; nothing was "
            "resumed:\n" + "\n".join(lines),
            "Find out who has changed or removed them there, and mend that; else restore a backup to another cluster "
            "with: capi-mover restore",
        )
        self.found = tuple(found)


async def require_resumable(target: Cluster, record: Record) -> tuple[Pause, ...]:
    """Returns the pauses to take off the target if the record says that this is safe without the source.

    Raises:
        UsageError: The cluster is not the move's target.
        StoppedError: The move is before its commit, or is done.
        CopiesNotWholeError: Copies are missing, or are others.
        RecordError: It names for a copy what can be none.
    """
    if (await identity_of(target)).uid != record.target.uid:
        raise UsageError(
            f"The move {record.id} has another target cluster (context {record.target.context})",
            "Give the kubeconfig of its target with --to-kubeconfig",
        )
    if record.is_note:
        raise StoppedError(
            f"The source of the move {record.id} was given up on {record.source_gone}, and the target resumed already",
            "See: capi-mover status",
        )
    if not record.is_committed:
        raise StoppedError(
            f"The move {record.id} is in the phase {record.phase}, before its commit: the copies on the target may be "
            "incomplete, and are not resumed without the source",
            "Bring the source back, then: capi-mover resume or rollback. If it is gone for good, restore a backup to "
            "another cluster with: capi-mover restore",
        )
    types = await movable_types(target, strict_labels=record.options.strict_labels)
    return _judged(record, await _read(target, types, record))


@dataclass(frozen=True, slots=True)
class _There:
    """What the target has of what a record names."""

    types: Collection[ResourceType]
    objects: Mapping[ObjectKey, Object]
    uids: frozenset[str]

    def is_own(self, key: ObjectKey, before: Collection[str]) -> bool:
        """Returns whether an object is one that the move was to use, or bears a pause that only a mover sets."""
        obj = self.objects.get(key)
        return obj is not None and (obj.uid in before or MANAGER in obj.annotations.values())


def _judged(record: Record, there: _There) -> tuple[Pause, ...]:
    pauses = [entry.pause() for entry in record.target_pauses]
    copies = {entry.key for entry in record.copies}
    before = {*record.used.values(), *record.overwritten.values()}
    _require_kinds(record, there.types)
    is_at_work = record.phase is Phase.RESUMING and any(_is_off(pause, there) for pause in pauses)
    found = [] if is_at_work else list(_wrong(record, there))
    if found:
        raise CopiesNotWholeError(record, found)
    known = [pause for pause in pauses if pause.key in copies or there.is_own(pause.key, before)]
    strange = [pause.key for pause in pauses if pause not in known and pause.key in there.objects]
    if strange and not is_at_work:
        raise RecordError(name_of(record.scope), f"{strange[0]} is to be resumed, and is no copy of the move")
    return tuple(known)


def _is_off(pause: Pause, there: _There) -> bool:
    """Returns whether a pause was taken off already: the copies were whole before that, and are at work since."""
    obj = there.objects.get(pause.key)
    return obj is not None and pause.is_pause and not is_paused(obj)


def _require_kinds(record: Record, types: Collection[ResourceType]) -> None:
    to = record.options.to_namespace
    space = record.namespace if to is None else to
    for entry in record.target_pauses:
        kind = find_type(types, (entry.group, entry.kind))
        if kind is None or kind.plural != entry.plural:
            raise RecordError(
                name_of(record.scope), f"{entry.kind} ({entry.plural}.{entry.group}) is no type that moves"
            )
    for key in (entry.key for entry in record.copies):
        if record.namespace and key.namespace not in ("", space):
            raise RecordError(name_of(record.scope), f"{key} is to be a copy, and nothing of the move is copied there")


def _wrong(record: Record, there: _There) -> Iterator[str]:
    """Yields what is wrong with the copies, and with what the target had before and the move has used."""
    for entry in record.copies:
        found = there.objects.get(entry.key)
        if found is None or found.deleting:
            yield f"{entry.key} is {'missing' if found is None else 'being deleted'}"
        elif not entry.describes(found):
            yield f"{entry.key} is not the copy that was recorded"
    resumed = {entry.pause().key for entry in record.target_pauses} - {entry.key for entry in record.copies}
    yield from (f"{key} is missing" for key in sorted(resumed - there.objects.keys()))
    for uid in sorted({*record.used.values(), *record.overwritten.values()} - there.uids):
        yield f"the object {uid}, which the target had before and the move has used, is missing"


async def _read(target: Cluster, types: Collection[ResourceType], record: Record) -> _There:
    keys = {*(entry.key for entry in record.copies), *(entry.pause().key for entry in record.target_pauses)}
    before = {*record.used.values(), *record.overwritten.values()}
    kinds = {resource.group_kind: resource for resource in types}
    spaces = sorted({(kinds[key.group, key.kind], key.namespace) for key in keys if (key.group, key.kind) in kinds})
    objects: dict[ObjectKey, Object] = {}
    for resource, namespace in spaces:
        objects.update((obj.key, obj) for obj in await _list(target, resource, namespace) if obj.key in keys)
    uids: set[str] = set()
    if before:
        pages = await all_of(target.list_metadata(resource) for resource in types)
        uids.update(obj.uid for page in pages for obj in page.objects)
    return _There(types, objects, frozenset(uids))


async def _list(target: Cluster, resource: ResourceType, namespace: str) -> Sequence[Object]:
    try:
        return (await target.list(resource, namespace)).objects
    except NotFoundError:
        return ()


async def resume_without_source(target: Cluster, record: Record, confirmed: str, listener: Listener) -> Record:
    """Resumes the target of a move whose source is gone for good, and returns the note that it leaves there.

    Args:
        target: The target.
        record: As the target has it.
        confirmed: The context of the source as the record names it: says that it is off, and will not be resumed.
        listener: Told of every step.

    Raises:
        UsageError: Another source is confirmed than that of the move.
        LeaseHeldError: Another mover works on the move.
        StoppedError: It is not safe, see `require_resumable`.
        SupersededError: Somebody else has ended the move meanwhile, or taken it over.
    """
    if confirmed != source_name(record):
        raise UsageError(
            f"The source of the move {record.id} is {source_name(record)}, and {confirmed or 'nothing'} was confirmed",
            "Make sure that it is off for good, then name it",
        )
    async with held(target, record.scope, listener):
        journal = await Journal.opened_alone(record, target)
        pauses = await require_resumable(target, journal.record)
        now = journal.record.source_gone or datetime.now(UTC).isoformat(timespec="seconds")
        own = tuple(PauseEntry.of(pause) for pause in pauses)
        known = {"holder": this_holder(), "source_gone": now, "target_pauses": own}
        await journal.advance(Phase.RESUMING, **known)
        with Clock(listener).phase(Phase.RESUMING, len(pauses)):
            await resume(target, pauses, listener)
        await journal.advance(Phase.DONE)
        listener(Noted(f"The source {source_name(record)} is given up; a note of that stays on the target"))
        return journal.record
