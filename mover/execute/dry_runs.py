"""Dry runs of a backup and of a restore: all that the real one checks, and its writes rehearsed (`dryRun=All`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graph.resource import ObjectKey
from mover.checks.admission import read_admission
from mover.checks.rehearsal import rehearse_copies, rehearse_pauses
from mover.directory import load, require_writable
from mover.errors import Problem
from mover.events import Listener
from mover.execute.backup import require_savable
from mover.execute.copying import missing_namespaces
from mover.execute.restore import note_origin, prepare, require_same_namespace
from mover.execute.run import identity_of
from mover.kube import Cluster
from mover.models import LeftObject, MoveOptions
from mover.planning import Plan


@dataclass(frozen=True, slots=True)
class BackupDryRun:
    """What a backup would do.

    Attributes:
        plan: What it would save.
        problems: What stands against it.
    """

    plan: Plan
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class RestoreDryRun:
    """What a restore would do.

    Attributes:
        plan: What the directory holds, without what would be left out.
        created: What would be created.
        used: What the target has already: it would be left as it is, and own the others.
        completed: Copies that an interrupted restore has left incomplete.
        left: What would be left out on request, and why.
        namespaces: The namespaces that would be created.
        problems: What the target would refuse.
        warnings: What could not be found out.
    """

    plan: Plan
    created: tuple[ObjectKey, ...]
    used: tuple[ObjectKey, ...]
    completed: tuple[ObjectKey, ...]
    left: tuple[LeftObject, ...]
    namespaces: tuple[str, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


async def dry_backup(
    source: Cluster, plan: Plan, folder: Path, options: MoveOptions, encrypt_to: Sequence[str] = ()
) -> BackupDryRun:
    """Returns what a backup would do; nothing is paused, and no folder is made.

    Raises: What the backup would raise before it has changed anything; see `mover.execute.backup.backup`.
    """
    plan = await require_savable(source, plan, options)
    await asyncio.to_thread(require_writable, folder, encrypt_to)
    return BackupDryRun(plan, tuple(await rehearse_pauses(source, plan, await read_admission(source))))


async def dry_restore(
    target: Cluster, folder: Path, options: MoveOptions, listener: Listener, *, identity: Path | None = None
) -> RestoreDryRun:
    """Returns what a restore would do; nothing is created.

    Raises: What the restore would raise before it has changed anything; see `mover.execute.restore.restore`.
    """
    require_same_namespace(options)
    backup = await asyncio.to_thread(load, folder, identity)
    note_origin(backup, (await identity_of(target)).uid, listener)
    ready = await prepare(target, backup, options)
    images = ready.plan.images()
    new = [image for image in images if image.uid not in ready.used and image.uid not in ready.incomplete]
    missing = await missing_namespaces(target, ready.plan)
    found = await rehearse_copies(target, ready.plan, new, missing, await read_admission(target))
    return RestoreDryRun(
        plan=ready.plan,
        created=tuple(sorted(image.key for image in new)),
        used=tuple(sorted(image.key for image in images if image.uid in ready.used)),
        completed=tuple(sorted(image.key for image in images if image.uid in ready.incomplete)),
        left=ready.left,
        namespaces=missing,
        problems=tuple(problem for problem in found if not problem.is_warning),
        warnings=tuple(problem for problem in found if problem.is_warning),
    )
