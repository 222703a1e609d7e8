"""Rolling moves: the units of a namespace one after the other, or a few at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from graph import rules
from graph.resource import ObjectKey
from graph.unit import Unit, units
from mover.api.moving import require_none_under_way
from mover.api.own import found_move, require_own
from mover.api.places import ClusterRef, connected, namespace_of_move, require_answers
from mover.api.planning import all_mutators, steady_plan
from mover.checks import Findings, check_move
from mover.checks.target import read_target
from mover.errors import RefusedError, UsageError
from mover.events import Listener, Noted, ignore
from mover.execute.clock import Clock
from mover.execute.given_up import require_no_note
from mover.execute.journal import find, under_way
from mover.execute.run import Clusters, go_on, undo
from mover.models import MoveOptions, Phase, RollingOptions, RollingReport, UnitFate, UnitReport
from mover.planning import Mutator, Plan, make_plan
from mover.record import Record
from mover.rolling import roll
from mover.scope import clusters_of, described, namespace_of, scope_of


async def roll_async(
    source: ClusterRef,
    target: ClusterRef,
    options: MoveOptions | None = None,
    rolling: RollingOptions | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
) -> RollingReport:
    """Moves objects unit by unit, and returns what became of each; a unit is a Cluster with what belongs to it.

    Each is paused for as long as its own move takes. One that fails is rolled back by itself, and the others go on.
    What is left of a whole namespace moves at the end, once every unit has moved. Units of an earlier run that were
    interrupted are finished first.

    Args:
        source: Where the objects are.
        target: Where they go.
        options: What to move, and how; `timeout_s` is for each unit.
        rolling: How many units at once, in which order, and whether to stop at the first failure.
        listener: Told of every unit, in the event loop's thread.
        mutators: Applied to every body before it is created; see `move_async`.

    Raises:
        UsageError: A kubeconfig, context or namespace is not there, or the options do not go together.
        RefusedError: The preflight found problems; nothing was changed.
        StoppedError: Stopped by a signal, or an interrupted unit could not be finished.
        ApiError: A cluster refused a request or could not be reached before anything was changed.
    """
    options = (options or MoveOptions()).model_copy(update={"rolling": True})
    require_rollable(options)
    started = time.monotonic()
    async with connected(source, target, listener) as clusters:
        await require_answers(clusters)
        namespace = namespace_of_move(clusters.source, options)
        finished = await _finish_interrupted(clusters, namespace, options, mutators, listener)
        plan = await _accepted_plan(clusters, namespace, options, mutators, listener)
        ended = await roll(clusters, plan, options, rolling or RollingOptions(), listener)
        links = (clusters.source.link, clusters.target.link)
        return RollingReport(
            source=clusters.source.context,
            target=clusters.target.context,
            namespace=namespace,
            units=(*finished, *ended),
            seconds=time.monotonic() - started,
            calls=dict(sorted((links[0].calls + links[1].calls).items())),
            retries=sum(link.retries for link in links),
        )


def require_rollable(options: MoveOptions) -> None:
    """Raises UsageError if the options do not go together with a rolling move."""
    if options.include_referenced:
        raise UsageError(
            "Objects that are only named cannot be included in a rolling move: no unit owns them",
            "Create them on the target first, or leave out --rolling",
        )
    if options.hosts or options.all_hosts:
        raise UsageError(
            "Spare hosts belong to no unit of a rolling move",
            "Roll the whole namespace, which takes them along at the end, or leave out --rolling",
        )


async def _finish_interrupted(
    clusters: Clusters, namespace: str, options: MoveOptions, mutators: Sequence[Mutator], listener: Listener
) -> list[UnitReport]:
    """Finishes the units that an earlier run has left on their way; those it was undoing are undone."""
    finished = []
    for record in await interrupted_units(clusters, namespace, options):
        known = all_mutators(record.namespace, record.options, mutators)
        listener(Noted(f"The move of {described(record.scope)} was interrupted ({record.phase}); it is finished first"))
        listener(found_move(record, "rollback" if record.is_rolling_back else "resume"))
        if record.is_rolling_back:
            await undo(clusters, record, known, listener)
        else:
            outcome = await go_on(clusters, record, known, listener)
            finished.append(
                UnitReport(
                    namespace=namespace_of(record.scope),
                    clusters=clusters_of(record.scope),
                    fate=UnitFate.MOVED,
                    objects=outcome.created,
                    seconds=sum(outcome.seconds.values()),
                )
            )
    return finished


async def interrupted_units(clusters: Clusters, namespace: str, options: MoveOptions) -> list[Record]:
    """Returns the records of units that an earlier run of the same rolling move has left on their way.

    Raises:
        OtherMoveError: Units of a rolling move with other options are under way.
        RecordError: There is a record of these objects that is not one.
    """
    both = (clusters.source, clusters.target)
    await require_no_note(*both, scope_of(namespace, options.clusters))
    scopes = {found.scope for cluster in both for found in await under_way(cluster, [namespace])}
    records = []
    for scope in sorted(scopes):
        found = await find(*both, scope)
        if found.newest is not None and found.newest.options.rolling:
            records.append(await require_own(clusters, found, options, namespace))
    return [record for record in records if record is not None]


async def rolling_findings(
    clusters: Clusters, namespace: str, options: MoveOptions, mutators: Sequence[Mutator], listener: Listener
) -> Findings:
    """Returns what the preflight finds about the whole of a rolling move.

    Raises:
        RefusedError: Another move of these objects is under way.
    """
    await require_none_under_way(clusters, scope_of(namespace, options.clusters))
    known = all_mutators(namespace, options, mutators)
    plan = await steady_plan(clusters.source, namespace, options, known, listener)
    brought = await _brought(clusters, plan)
    plan = make_plan(plan.inventory, replace(plan.rules, brought=brought))
    return await check_move(clusters.source, clusters.target, plan, options)


async def _accepted_plan(
    clusters: Clusters, namespace: str, options: MoveOptions, mutators: Sequence[Mutator], listener: Listener
) -> Plan:
    """Returns the plan of the whole, which the preflight has accepted."""
    clock = Clock(listener)
    with clock.phase(Phase.PREFLIGHT):
        found = await rolling_findings(clusters, namespace, options, mutators, listener)
        rolling = units(found.plan.selection)
        listener(clusters.planned(found.plan, rolling))
        for warning in found.warnings:
            listener(Noted(str(warning)))
        if found.problems:
            raise RefusedError(found.problems)
    require_units(found.plan, rolling)
    return found.plan


async def _brought(clusters: Clusters, plan: Plan) -> frozenset[ObjectKey]:
    """Returns what the target has already of that which may be in two places: units that have moved have brought it."""
    there = (await read_target(clusters.target, plan)).colliding
    shareable = [obj for obj in plan.selection.selected if rules.is_shareable(obj.type.group_kind)]
    return frozenset(obj.key for obj in shareable if plan.image(obj).key in there)


def require_units(plan: Plan, rolling: Sequence[Unit]) -> None:
    """Raises UsageError if a chosen Cluster cannot be parted from something that is no Cluster."""
    fixed = sorted((plan.rules.clusters or frozenset()).difference(*(unit.clusters for unit in rolling)))
    if fixed:
        raise UsageError(
            f"{fixed[0]} is no unit of its own: it is tied to objects of others that are in one place only",
            "Move it with the whole namespace, or without --rolling",
        )
