"""Directories in the place of clusters, and where two places differ."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from graph.resource import Object
from mover.api.places import ClusterRef, namespace_of_move, opened
from mover.choosing import chooses
from mover.concurrency import all_of
from mover.differences import compare
from mover.discovery import discover
from mover.errors import Difference, UsageError
from mover.events import Listener, ignore
from mover.execute.backup import BackupResult, backup, release
from mover.execute.dry_runs import BackupDryRun, RestoreDryRun, dry_backup, dry_restore
from mover.execute.restore import RestoreResult, restore, saved_objects
from mover.models import MoveOptions
from mover.planning import make_plan


async def backup_async(
    source: ClusterRef,
    folder: Path,
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    *,
    keep_paused: bool = False,
    encrypt_to: Sequence[str] = (),
) -> BackupResult:
    """Saves the objects of a namespace to a directory; see `mover.execute.backup.backup`."""
    options = options or MoveOptions()
    _require_whole(options)
    async with opened("source", source, listener) as cluster:
        scope = namespace_of_move(cluster, options)
        plan = make_plan(await discover(cluster, scope, strict_labels=options.strict_labels))
        return await backup(cluster, plan, folder, options, listener, keep_paused=keep_paused, encrypt_to=encrypt_to)


async def restore_async(
    target: ClusterRef,
    folder: Path,
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    *,
    identity: Path | None = None,
    keep_paused: bool = False,
) -> RestoreResult:
    """Creates the objects of a directory on a cluster; see `mover.execute.restore.restore`."""
    async with opened("target", target, listener) as cluster:
        return await restore(
            cluster, folder, options or MoveOptions(), listener, identity=identity, keep_paused=keep_paused
        )


async def dry_backup_async(
    source: ClusterRef, folder: Path, options: MoveOptions | None = None, *, encrypt_to: Sequence[str] = ()
) -> BackupDryRun:
    """Returns what a backup would do; see `mover.execute.dry_runs.dry_backup`."""
    options = options or MoveOptions()
    _require_whole(options)
    async with opened("source", source) as cluster:
        scope = namespace_of_move(cluster, options)
        plan = make_plan(await discover(cluster, scope, strict_labels=options.strict_labels))
        return await dry_backup(cluster, plan, folder, options, encrypt_to)


async def dry_restore_async(
    target: ClusterRef,
    folder: Path,
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    *,
    identity: Path | None = None,
) -> RestoreDryRun:
    """Returns what a restore would do; see `mover.execute.dry_runs.dry_restore`."""
    async with opened("target", target) as cluster:
        return await dry_restore(cluster, folder, options or MoveOptions(), listener, identity=identity)


async def release_async(
    source: ClusterRef, folder: Path, listener: Listener = ignore, *, identity: Path | None = None
) -> int:
    """Resumes a source that a backup has left paused; see `mover.execute.backup.release`."""
    async with opened("source", source, listener) as cluster:
        return await release(cluster, folder, listener, identity=identity)


def _require_whole(options: MoveOptions) -> None:
    if chooses(options):
        raise UsageError("A directory holds whole namespaces", "Leave out --cluster and --selector")
    if options.to_namespace is not None:
        raise UsageError("A backup is of the namespaces as they are", "Leave out --to-namespace")


async def diff_async(
    one: ClusterRef | Path, other: ClusterRef | Path, namespace: str | None = None, identity: Path | None = None
) -> list[Difference]:
    """Returns where the movable objects of two clusters or directories differ.

    Args:
        one: A cluster, or the directory of a backup.
        other: The same.
        namespace: What to compare of a cluster; None for the namespace of its context.
        identity: A file with age identities, for encrypted backups.
    """
    sides = await all_of(_movable(place, namespace, identity) for place in (one, other))
    return compare(*sides)


async def _movable(place: ClusterRef | Path, namespace: str | None, identity: Path | None) -> tuple[Object, ...]:
    if isinstance(place, Path):
        return await asyncio.to_thread(saved_objects, place, identity)
    async with opened("source", place) as cluster:
        scope = namespace_of_move(cluster, MoveOptions(namespace=namespace))
        return make_plan(await discover(cluster, scope)).selection.selected
