"""`capi-mover move --rolling`: units one after the other, a line for each, a table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from mover.cli.telling import Teller
from mover.cli.terminal import STOPPED, fail, run

if TYPE_CHECKING:
    from mover.api import ClusterRef
    from mover.models import MoveOptions, RollingOptions


def roll(
    teller: Teller,
    places: tuple[ClusterRef, ClusterRef],
    each: Sequence[MoveOptions],
    rolling: RollingOptions,
) -> None:
    """Moves namespaces unit by unit; leaves with an exit code if a unit did not move.

    Args:
        teller: Whom to tell.
        places: The source and the target.
        each: What to move, for each namespace.
        rolling: How many at once, and in which order.
    """
    from mover import api
    from mover.report import rolling_summary

    source, target = places
    failed = False
    for options in each:
        with teller.watching() as listener:
            report = run(api.roll_async(source, target, options, rolling, listener))
        teller.report(report, rolling_summary(report))
        failed = failed or bool(report.failed)
        if failed and rolling.fail_fast:
            break
    if failed:
        raise typer.Exit(STOPPED)


def require_rollable(*, plan: bool, directory: bool, clusters: bool, namespaces: int) -> None:
    """Leaves with an error if what is asked for beside --rolling does not go with it."""
    if plan:
        fail("Please specify only one of --rolling and --plan: a saved plan is of one move", exit_code=2)
    if directory:
        fail("A directory is written and read in one move: leave out --rolling", exit_code=2)
    if clusters and namespaces > 1:
        fail("Single Clusters are of one namespace. Move them with one --namespace at a time", exit_code=2)
