"""Moves that were interrupted: finding, finishing and undoing them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mover.api.moving import finish
from mover.api.own import found_move, require_agreement
from mover.api.places import ClusterRef, connected, namespace_of_move, opened
from mover.api.planning import all_mutators
from mover.concurrency import all_of
from mover.errors import TransientError, UsageError
from mover.events import Event, Listener, ObjectDone, ignore
from mover.execute.given_up import require_not_given_up
from mover.execute.journal import Found, Records, list_records, read_record, under_way
from mover.execute.run import Clusters, undo
from mover.kube import Cluster
from mover.models import MoveOptions, MoveReport, Phase, RollbackReport
from mover.planning import Mutator
from mover.record import Record
from mover.scope import described, namespace_of, scope_of


async def resume_async(
    source: ClusterRef,
    target: ClusterRef,
    namespace: str | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    clusters: Sequence[str] = (),
) -> MoveReport:
    """Finishes an interrupted move and returns what was done; see `move_async`.

    Args:
        source: Where the objects come from.
        target: Where they go.
        namespace: What is moved; None for the namespace of the source's context.
        listener: Told of every step.
        mutators: Those that the move was begun with.
        clusters: The Clusters, if single ones are moved; with none the only move of the namespace is meant.

    Raises:
        UsageError: No such move is under way, or several are.
    """
    async with connected(source, target, listener) as both_sides:
        record = await _record_of(both_sides, namespace, clusters)
        return await finish(both_sides, record, mutators, listener)


async def rollback_async(
    source: ClusterRef,
    target: ClusterRef,
    namespace: str | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    clusters: Sequence[str] = (),
) -> RollbackReport:
    """Undoes an interrupted move, and returns what was done: the copies leave the target, the source is as it was.

    Args: see `resume_async`.

    Raises:
        UsageError: No such move is under way, or several are.
        StoppedError: It is past its commit point, or the target cannot be reached.
    """
    async with connected(source, target, listener) as both_sides:
        record = await _record_of(both_sides, namespace, clusters)
        listener(found_move(record, "rollback"))
        removed = _Removed(listener)
        started = time.monotonic()
        await undo(both_sides, record, all_mutators(record.namespace, record.options, mutators), removed)
        return RollbackReport(
            source=both_sides.source.context,
            target=both_sides.target.context,
            namespace=record.namespace,
            clusters=record.clusters,
            removed=removed.count,
            seconds=time.monotonic() - started,
        )


class _Removed:
    """Counts the copies that a rollback takes off the target, and passes all events on."""

    def __init__(self, listener: Listener) -> None:
        self.count = 0
        self._listener = listener

    def __call__(self, event: Event) -> None:
        self.count += isinstance(event, ObjectDone) and event.phase is Phase.ROLLING_BACK
        self._listener(event)


async def status_async(cluster: ClusterRef) -> Records:
    """Returns the moves that a cluster takes part in, as source or target, and what only looks like their records."""
    async with opened("source", cluster) as connected:
        return await list_records(connected)


async def _record_of(clusters: Clusters, namespace: str | None, names: Sequence[str]) -> Record:
    """Returns the record of the move that is meant.

    The source is asked first: its word counts, and a dead target must not keep it from being resumed.
    """
    space = namespace_of_move(clusters.source, MoveOptions(namespace=namespace))
    others: list[str] = []
    for cluster in (clusters.source, clusters.target):
        scopes = [found.scope for found in await under_way(cluster, [space])]
        meant = [scope for scope in scopes if is_meant(scope, space, names)]
        if len(meant) == 1 and (record := await _agreed(clusters, cluster, meant[0])):
            return record
        others += scopes
    await require_not_given_up(clusters.source, clusters.target)
    what = described(scope_of(space, names))
    listed = f". Under way: {'; '.join(map(described, sorted(set(others))))}" if others else ""
    found = await all_of(list_records(cluster) for cluster in (clusters.source, clusters.target))
    unreadable = "".join(f"\n{error.paragraph()}" for one in found for error in one.unreadable)
    raise UsageError(f"No move of {what} is under way{listed}{unreadable}", "See: capi-mover status")


async def _agreed(clusters: Clusters, cluster: Cluster, scope: str) -> Record | None:
    """Returns the record that counts; what the source says alone if the target cannot be reached.

    Raises:
        GivenUpError: The target has a note about the source.
    """
    record = await read_record(cluster, scope)
    if record is None:
        return None
    try:
        other = await read_record(clusters.target, scope)
    except TransientError:
        return record
    await require_not_given_up(clusters.source, clusters.target)
    source = record if cluster is clusters.source else None
    return require_agreement(Found(source, other))


def is_meant(scope: str, namespace: str, names: Sequence[str]) -> bool:
    """Returns whether a move is the one that is asked for; with no names any move of the namespace is."""
    return scope == scope_of(namespace, names) or (not names and namespace_of(scope) == namespace)
