"""`capi-mover move -A --shard INDEX/TOTAL`: some of all namespaces, told by their names, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mover.cli.series import tell_series
from mover.cli.telling import Teller
from mover.cli.terminal import STOPPED, fail, run

if TYPE_CHECKING:
    from mover.api import ClusterRef, ShardMove


def move_shard(teller: Teller, places: tuple[ClusterRef, ClusterRef], asked: ShardMove) -> None:
    """Moves the namespaces of a shard; leaves with an exit code if a unit of one did not move."""
    from mover import api
    from mover.models import RollingReport

    reports = tell_series(teller, lambda listener: run(api.move_shard_async(*places, asked, listener)))
    if any(isinstance(report, RollingReport) and report.failed for report in reports):
        raise typer.Exit(STOPPED)


def require_shardable(shard: str, *, all_namespaces: bool, to_namespace: bool, clusters: bool, one_move: bool) -> None:
    """Leaves with an error if what is asked for beside --shard does not go with it.

    Args:
        shard: What --shard says.
        all_namespaces: Whether all namespaces are asked for.
        to_namespace: Whether another namespace on the target is.
        clusters: Whether single Clusters are.
        one_move: Whether something is that is of one move: a plan, a directory.
    """
    if not shard:
        return
    if not all_namespaces:
        fail("--shard is a part of all namespaces: please specify --all-namespaces, too", exit_code=2)
    if to_namespace:
        fail("Please specify only one of --shard and --to-namespace: several namespaces cannot become one", exit_code=2)
    if clusters:
        fail("A shard is of whole namespaces: leave out --cluster and --selector", exit_code=2)
    if one_move:
        fail("Plans and directories are of one move, a shard is of several: leave out --shard", exit_code=2)
