"""Saving to a directory and restoring from it, which `move` and the commands of their own do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mover.cli.telling import Teller
from mover.cli.terminal import run

if TYPE_CHECKING:
    from mover.api import ClusterRef
    from mover.models import MoveOptions


@dataclass(frozen=True, slots=True)
class Saving:
    """What backup and restore are asked for, beside what a move is."""

    keep_paused: bool = False
    encrypt_to: tuple[str, ...] = ()
    identity: Path | None = None


def save(teller: Teller, source: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    """Saves the objects to a directory and tells what was done."""
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
    """Restores the objects of a directory and tells what was done."""
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
