"""Dry runs of moves: what a move would do, and whether it would be refused. Nothing is written anywhere.

Everything that the move itself asks before its first write is asked, by the same functions; what the servers would say
to the writes is rehearsed (`dryRun=All`). Without a target only the source is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graph.unit import units
from mover.api.moving import Asked, findings_of, interrupted, require_series
from mover.api.places import ClusterRef, connected, namespace_of_move, opened, require_answers
from mover.api.planning import all_mutators, plan_of, planned, read_plan, require_planned_cluster, steady_plan
from mover.api.rolling import interrupted_units, require_rollable, require_units, rolling_findings
from mover.api.sharding import ShardMove, check_shared, namespaces_of, require_whole
from mover.checks import Findings, check_source
from mover.checks.clusters import check_connection
from mover.errors import RefusedError
from mover.events import Listener, ignore
from mover.execute.backup import moves_under_way
from mover.execute.run import Clusters
from mover.kube import Cluster
from mover.models import MoveOptions
from mover.planning import Mutator, Plan
from mover.record import Record
from mover.saved_plan import SavedPlan, changes_since
from mover.scope import scope_of


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a move of one namespace would do.

    Attributes:
        findings: The plan, and what stands against it.
        first: Interrupted moves of the same objects, which the move would finish first; nothing else can be found out
            before that is done.
    """

    findings: Findings
    first: tuple[Record, ...] = ()

    @property
    def plan(self) -> Plan:
        """Returns what would be moved."""
        return self.findings.plan


async def dry_run_async(
    source: ClusterRef,
    target: ClusterRef | None,
    each: Sequence[MoveOptions],
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    plan_file: Path | None = None,
) -> tuple[DryRun, ...]:
    """Returns what a move by each of the options would do, one after the other; reads and rehearses only.

    Args:
        source: Where the objects are.
        target: Where they would go; None if that is not known: only the source is asked then.
        each: What to move, and how; `rolling` ones are judged as a rolling move is.
        listener: Told what is waited for, in the event loop's thread.
        mutators: Those of the move.
        plan_file: A saved plan, which must still hold.

    Raises:
        UsageError: What is asked for does not go together; a kubeconfig, context or namespace is not there; the saved
            plan is none of this move.
        RefusedError: A cluster does not answer, or another move of these objects is under way.
        ApiError: A cluster refused a read without which nothing can be found out.
    """
    _require_possible(each)
    saved = await read_plan(plan_file)
    each = [planned(saved, options) for options in each]
    if target is None:
        async with opened("source", source, listener) as cluster:
            if problems := await check_connection(cluster):
                raise RefusedError(problems)
            await require_planned_cluster(saved, cluster)
            return tuple([await _on_source(cluster, options, saved, mutators, listener) for options in each])
    async with connected(source, target, listener) as clusters:
        await require_answers(clusters)
        await require_planned_cluster(saved, clusters.source)
        return tuple([await _judged(clusters, options, saved, mutators, listener) for options in each])


async def dry_shard_async(
    source: ClusterRef, target: ClusterRef | None, asked: ShardMove, listener: Listener = ignore
) -> tuple[tuple[str, ...], tuple[DryRun, ...]]:
    """Returns the namespaces of a shard that hold something to move, and what its move would do with each.

    Raises: see `dry_run_async`.
    """
    require_whole(asked)
    if target is None:
        async with opened("source", source, listener) as cluster:
            found = tuple(await namespaces_of((cluster,), asked))
        return found, await dry_run_async(source, None, [asked.of(one) for one in found], listener, asked.mutators)
    async with connected(source, target, listener) as clusters:
        await require_answers(clusters)
        found = tuple(await namespaces_of((clusters.source, clusters.target), asked))
        runs = [await _judged(clusters, asked.of(one), None, asked.mutators, listener) for one in found]
    return found, tuple(_with_shared(run, one) for run, one in zip(runs, found, strict=True))


def _require_possible(each: Sequence[MoveOptions]) -> None:
    """Raises UsageError as the move itself would."""
    for options in each:
        if options.rolling:
            require_rollable(options)
    if len(each) > 1 and not each[0].rolling:
        require_series([options.namespace or "" for options in each], each[0])


def _with_shared(run: DryRun, namespace: str) -> DryRun:
    if run.first:
        return run
    problems = (*run.findings.problems, *check_shared(run.findings, namespace))
    return replace(run, findings=replace(run.findings, problems=problems))


async def _judged(
    clusters: Clusters, options: MoveOptions, saved: SavedPlan | None, mutators: Sequence[Mutator], listener: Listener
) -> DryRun:
    namespace = namespace_of_move(clusters.source, options)
    first = await _begun(clusters, namespace, options)
    if first:
        known = all_mutators(namespace, options, mutators)
        return DryRun(Findings(await plan_of(clusters.source, namespace, options, known), (), (), {}, {}), first)
    if not options.rolling:
        return DryRun(await findings_of(clusters, Asked(namespace, options, saved), mutators, listener))
    found = await rolling_findings(clusters, namespace, options, mutators, listener)
    if not found.problems:
        require_units(found.plan, units(found.plan.selection))
    return DryRun(found)


async def _begun(clusters: Clusters, namespace: str, options: MoveOptions) -> tuple[Record, ...]:
    """Returns the interrupted moves that the move would finish first."""
    if options.rolling:
        return tuple(await interrupted_units(clusters, namespace, options))
    record = await interrupted(clusters, namespace, options)
    return () if record is None else (record,)


async def _on_source(
    source: Cluster, options: MoveOptions, saved: SavedPlan | None, mutators: Sequence[Mutator], listener: Listener
) -> DryRun:
    namespace = namespace_of_move(source, options)
    under_way = await moves_under_way(source, [scope_of(namespace, options.clusters)])
    if under_way:
        raise RefusedError(under_way)
    plan = await steady_plan(source, namespace, options, all_mutators(namespace, options, mutators), listener)
    found = check_source(plan, options)
    if options.rolling and not found.problems:
        require_units(plan, units(plan.selection))
    changes = [] if saved is None else changes_since(saved, plan)
    return DryRun(replace(found, problems=(*changes, *found.problems)))
