"""Saving to a directory and restoring from it, which `move` and the commands of their own do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mover.cli.terminal import new_view, print_all, run

if TYPE_CHECKING:
    from rich.console import Console

    from mover.api import ClusterRef
    from mover.models import MoveOptions


@dataclass(frozen=True, slots=True)
class Saving:
    """What backup and restore are asked for, beside what a move is."""

    verbosity: int = 0
    keep_paused: bool = False
    encrypt_to: tuple[str, ...] = ()
    identity: Path | None = None


def save(console: Console, source: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    """Saves the objects to a directory and tells what was done."""
    from mover import api

    with new_view(console, saving.verbosity) as view:
        result = run(
            api.backup_async(
                source, folder, options, view, keep_paused=saving.keep_paused, encrypt_to=saving.encrypt_to
            )
        )
    state = "is still paused" if saving.keep_paused else f"was paused for {result.paused_s:.1f} s"
    print_all(console, ["", f"Saved {len(result.plan.selection.selected)} objects to {folder}; the source {state}."])


def load(console: Console, target: ClusterRef, folder: Path, options: MoveOptions, saving: Saving) -> None:
    """Restores the objects of a directory and tells what was done."""
    from mover import api

    with new_view(console, saving.verbosity) as view:
        result = run(
            api.restore_async(target, folder, options, view, identity=saving.identity, keep_paused=saving.keep_paused)
        )
    there = f"; {len(result.used)} were there already and were left as they are" if result.used else ""
    print_all(console, ["", f"Restored {result.created} objects from {folder}{there}."])
