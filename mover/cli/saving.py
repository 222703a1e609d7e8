"""Saving to a directory and restoring from it, which `move` and the commands of their own do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mover.cli.dry_runs import NOTHING_CHANGED, quiet, refuse
from mover.cli.telling import Teller
from mover.cli.terminal import print_json, run

if TYPE_CHECKING:
    from graph.resource import ObjectKey
    from mover.api import ClusterRef
    from mover.models import MoveOptions


@dataclass(frozen=True, slots=True)
class Saving:
    """What backup and restore are asked for, beside what a move is."""

    keep_paused: bool = False
    encrypt_to: tuple[str, ...] = ()
    identity: Path | None = None
    dry_run: bool = False


def save(teller: Teller, source: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    """Saves the objects to a directory and tells what was done; in a dry run it tells what would be."""
    if saving.dry_run:
        dry_save(teller, source, folder, options, saving)
        return
    from mover import api
    from mover.models import BackupReport
    from mover.report import backup_summary

    with teller.watching() as listener:
        result = run(
            api.backup_async(
                source, folder, options, listener, keep_paused=saving.keep_paused, encrypt_to=saving.encrypt_to
            )
        )
    report = BackupReport(
        directory=str(folder),
        objects=len(result.plan.selection.selected),
        seconds=dict(result.seconds),
        paused_s=result.paused_s,
        still_paused=saving.keep_paused,
    )
    teller.report(report, backup_summary(report))


def load(teller: Teller, target: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    """Restores the objects of a directory and tells what was done; in a dry run it tells what would be."""
    if saving.dry_run:
        dry_load(teller, target, folder, options, saving)
        return
    from mover import api
    from mover.models import RestoreReport
    from mover.report import restore_summary

    with teller.watching() as listener:
        result = run(
            api.restore_async(
                target, folder, options, listener, identity=saving.identity, keep_paused=saving.keep_paused
            )
        )
    report = RestoreReport(
        directory=str(folder),
        created=result.created,
        used=len(result.used),
        left=result.left,
        seconds=dict(result.seconds),
        still_paused=len(result.paused),
    )
    teller.report(report, restore_summary(report))


def dry_save(teller: Teller, source: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    """Shows what would be saved; raises RefusedError if the backup would be refused."""
    from graph.render import tree
    from mover import api
    from mover.checks import described
    from mover.plan_report import plan_json

    found = run(api.dry_backup_async(source, folder, options, encrypt_to=saving.encrypt_to))
    selection = found.plan.selection
    if teller.is_json:
        print_json({**plan_json(found.plan), "directory": str(folder), "problems": described(found.problems)})
    count = f"{len(selection.selected)} objects would be saved to {folder}."
    teller.show([NOTHING_CHANGED, tree(selection), "", count])
    refuse(found.problems)


def dry_load(teller: Teller, target: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    """Shows what would be created; raises RefusedError if the restore would be refused."""
    from mover import api
    from mover.checks import described

    with teller.watching() as listener:
        asked = api.dry_restore_async(target, folder, options, quiet(teller, listener), identity=saving.identity)
        found = run(asked)
    if teller.is_json:
        keys = {"created": found.created, "used": found.used, "completed": found.completed}
        print_json(
            {
                "directory": str(folder),
                **{name: list(map(str, given)) for name, given in keys.items()},
                "namespaces": list(found.namespaces),
                "left": [left.model_dump() for left in found.left],
                "problems": described(found.problems),
                "warnings": described(found.warnings),
            }
        )
    teller.show(
        [
            NOTHING_CHANGED,
            *_listed("would be created", found.created),
            *_listed("are there already and would be left as they are", found.used),
            *_listed("were left incomplete by a restore, and would be completed", found.completed),
            *(f"The namespace {name} would be created." for name in found.namespaces),
            *(f"{left.object} would be left out: {left.reason}" for left in found.left),
            *(f"Warning: {warning}" for warning in found.warnings),
        ]
    )
    refuse(found.problems)


def _listed(what: str, keys: Sequence[ObjectKey]) -> list[str]:
    return [f"{len(keys)} objects {what}:", *(f"  {key}" for key in keys)] if keys else []
