"""Sources that are gone for good after the commit: the target is resumed without them, and later they are retired."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from mover.api.interrupted import is_meant
from mover.api.places import ClusterRef, connected, namespace_of_move, opened
from mover.api.planning import all_mutators
from mover.errors import UsageError
from mover.events import Listener, ignore
from mover.execute.given_up import source_name
from mover.execute.journal import list_records
from mover.execute.retiring import forget, require_note, retire
from mover.execute.source_gone import require_resumable, resume_without_source
from mover.kube import Cluster
from mover.models import KindCount, MoveOptions, MoveReport, RetireReport
from mover.planning import Mutator
from mover.record import Record
from mover.scope import described, scope_of


async def find_resumable_async(target: ClusterRef, namespace: str, clusters: Sequence[str] = ()) -> Record:
    """Returns the record of a move whose target can be resumed without its source; changes nothing.

    Raises: see `resume_source_gone_async`.
    """
    async with opened("target", target) as goal:
        record = await _record_on(goal, namespace, clusters)
        await require_resumable(goal, record)
        return record


async def resume_source_gone_async(
    target: ClusterRef, confirmed: str, namespace: str, listener: Listener = ignore, *, clusters: Sequence[str] = ()
) -> MoveReport:
    """Resumes the target of a move that was interrupted after its commit, and whose source is gone for good.

    A note stays on the target: nobody works with that source any more until it was retired.

    Args:
        target: Where the objects are.
        confirmed: The context of the source as the record names it: says that it is off, and will not be resumed.
        namespace: What was moved; "" for all namespaces.
        listener: Told of every step.
        clusters: The Clusters, if single ones were moved; with none the only move of the namespace is meant.

    Raises:
        UsageError: No such move is under way, or several are; or another source is confirmed than that of the move.
        StoppedError: It is before its commit, or copies are missing or are not the recorded ones; nothing was changed.
        LeaseHeldError: Another mover works on it.
    """
    async with opened("target", target, listener) as goal:
        record = await _record_on(goal, namespace, clusters)
        await require_resumable(goal, record)
        started = time.monotonic()
        note = await resume_without_source(goal, record, confirmed, listener)
        counts = Counter(f"{entry.kind}.{entry.group}" if entry.group else entry.kind for entry in note.copies)
        return MoveReport(
            source=source_name(note),
            target=goal.context,
            namespace=note.namespace,
            clusters=note.clusters,
            moved=tuple(KindCount(kind=kind, count=count) for kind, count in sorted(counts.items())),
            paused_s=time.monotonic() - started,
            calls=dict(sorted(goal.link.calls.items())),
            retries=goal.link.retries,
            verified=len(note.copies),
        )


async def retire_async(
    source: ClusterRef,
    target: ClusterRef,
    namespace: str | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    clusters: Sequence[str] = (),
) -> RetireReport:
    """Deletes from a source that was given up, and has come back, what the move would have deleted; then the note goes.

    Args:
        source: The source that has come back.
        target: The target, which has the note.
        namespace: What was moved; None for the namespace of the source's context.
        listener: Told of every step.
        mutators: Those that the move was begun with.
        clusters: The Clusters, if single ones were moved; with none the only note of the namespace is meant.

    Raises:
        UsageError: There is no such note, or it is about another source.
        StoppedError: An original has no copy on the target, or one that was not there has appeared below an owner that
            goes; nothing was deleted.
        LeaseHeldError: Another mover works on these objects.
    """
    started = time.monotonic()
    async with connected(source, target, listener) as both:
        space = namespace_of_move(both.source, MoveOptions(namespace=namespace))
        record = await _record_on(both.target, space, clusters)
        require_note(record)
        removed = await retire(both, record, all_mutators(record.namespace, record.options, mutators), listener)
        return RetireReport(
            source=both.source.context,
            target=both.target.context,
            namespace=record.namespace,
            clusters=record.clusters,
            removed=removed,
            seconds=time.monotonic() - started,
        )


async def retire_destroyed_async(
    target: ClusterRef, namespace: str, listener: Listener = ignore, *, clusters: Sequence[str] = ()
) -> RetireReport:
    """Removes the note about a source that was given up and can never come back.

    Raises:
        UsageError: There is no such note.
        LeaseHeldError: Another mover works on these objects.
    """
    started = time.monotonic()
    async with opened("target", target, listener) as goal:
        record = await _record_on(goal, namespace, clusters)
        require_note(record)
        await forget(goal, record, listener)
        return RetireReport(
            source=source_name(record),
            target=goal.context,
            namespace=record.namespace,
            clusters=record.clusters,
            seconds=time.monotonic() - started,
        )


async def _record_on(target: Cluster, namespace: str, names: Sequence[str]) -> Record:
    """Returns the record that the target has of the move that is meant.

    Raises:
        UsageError: It has none, or several.
    """
    found = await list_records(target)
    meant = [record for record in found.readable if is_meant(record.scope, namespace, names)]
    if len(meant) == 1:
        return meant[0]
    listed = "; ".join(described(record.scope) for record in found.readable) or "none"
    unreadable = "".join(f"\n{error.paragraph()}" for error in found.unreadable)
    what = described(scope_of(namespace, names))
    raise UsageError(
        f"The {target.name} cluster has {'several records' if meant else 'no record'} of a move of {what}; it has: "
        f"{listed}{unreadable}",
        "See: capi-mover status",
    )
