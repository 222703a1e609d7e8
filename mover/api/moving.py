"""Moves from their preflight to their report, one namespace or several one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graph.resource import Object
from mover.api.own import found_move, require_own
from mover.api.places import ClusterRef, connected, namespace_of_move, require_answers
from mover.api.planning import all_mutators, planned, read_plan, require_planned_cluster, steady_plan
from mover.checks import Findings, check_move
from mover.choosing import chooses
from mover.concurrency import all_of
from mover.errors import MoverError, Problem, RefusedError, StoppedError, UsageError
from mover.events import Listener, Noted, ignore
from mover.execute.backup import moves_under_way
from mover.execute.clock import Clock
from mover.execute.forward import Outcome
from mover.execute.given_up import require_no_note
from mover.execute.journal import Found, find, under_way
from mover.execute.run import Clusters, go_on, start, undo
from mover.models import KindCount, LeftObject, MoveOptions, MoveReport, Phase, RollingReport
from mover.planning import Mutator
from mover.record import Record
from mover.saved_plan import SavedPlan, changes_since
from mover.scope import scope_of


async def preflight_async(
    source: ClusterRef,
    target: ClusterRef,
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    plan_file: Path | None = None,
) -> Findings:
    """Returns all that stands against a move, and what else is to be known; changes nothing on either cluster.

    Args: see `move_async`.

    Raises:
        UsageError: A kubeconfig, context or namespace is not there, or a check cannot be left out.
        RefusedError: A cluster does not answer, or another move of these objects is under way: nothing else can be
            found out then.
        ApiError: A cluster refused a read without which there is no preflight.
    """
    saved = await read_plan(plan_file)
    options = planned(saved, options)
    async with connected(source, target, listener) as clusters:
        await require_answers(clusters)
        await require_planned_cluster(saved, clusters.source)
        asked = Asked(namespace_of_move(clusters.source, options), options, saved)
        await require_no_note(clusters.source, clusters.target, scope_of(asked.namespace, options.clusters))
        return await findings_of(clusters, asked, mutators, listener)


async def move_async(
    source: ClusterRef,
    target: ClusterRef,
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    plan_file: Path | None = None,
) -> MoveReport:
    """Moves objects from `source` to `target` and returns what was done.

    A move that was interrupted, and was asked for with the same options, is finished: the records in both clusters know
    its phase. Any other move of these objects that is under way is told, and left to `resume` and `rollback`.

    Args:
        source: Where the objects are.
        target: Where they go.
        options: What to move, and how.
        listener: Told of every step, in the event loop's thread.
        mutators: Applied to every body before it is created; a resumed move must be given the same ones.
        plan_file: A saved plan: the move does just that, or is refused. A move that was begun by it is finished.

    Raises:
        UsageError: A kubeconfig, context or namespace is not there, or the plan is none of this move; nothing was
            changed.
        RefusedError: The preflight found problems, or the source has changed since the plan was saved; nothing was
            changed.
        OtherMoveError: Another move of these objects is under way.
        RecordError: There is a record of these objects that is not one.
        RolledBackError: The move failed and was undone.
        InterruptedMoveError: The move failed and can be resumed.
        SupersededError: This program stood still, and another one has taken the move over.
        ApiError: A cluster refused a request or could not be reached before anything was changed.
    """
    async with connected(source, target, listener) as clusters:
        return await _move(clusters, options, listener, mutators, plan_file)


async def _move(
    clusters: Clusters,
    options: MoveOptions | None,
    listener: Listener,
    mutators: Sequence[Mutator],
    plan_file: Path | None = None,
) -> MoveReport:
    saved = await read_plan(plan_file)
    options = planned(saved, options)
    await require_answers(clusters)
    await require_planned_cluster(saved, clusters.source)
    namespace = namespace_of_move(clusters.source, options)
    record = await interrupted(clusters, namespace, options)
    if record is not None and record.is_rolling_back:
        listener(Noted(f"A rollback of the move {record.id} was interrupted; it is finished first"))
        listener(found_move(record, "rollback"))
        await undo(clusters, record, all_mutators(namespace, record.options, mutators), listener)
        record = None
    if record is not None:
        return await finish(clusters, record, mutators, listener)
    return await _start(clusters, Asked(namespace, options, saved), mutators, listener)


async def move_each_async(
    source: ClusterRef,
    target: ClusterRef,
    namespaces: Sequence[str],
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
) -> tuple[MoveReport, ...]:
    """Moves several namespaces one after the other, each as a move of its own; see `move_async`.

    All of them are checked before the first one moves. Each is moved, verified and committed for itself, so that a
    failure leaves whole namespaces behind it; interrupted ones are finished.

    Raises:
        UsageError: Single Clusters of several namespaces are asked for, or one namespace twice.
        RefusedError: The preflight found problems in one of them; nothing was changed.
        SeriesStoppedError: One of them failed after others were moved; it says which.
        MoverError: The first one failed; see `move_async`.
    """
    options = options or MoveOptions()
    require_series(namespaces, options)
    each = [options.model_copy(update={"namespace": namespace}) for namespace in namespaces]
    async with connected(source, target, listener) as clusters:
        await _check_all(clusters, each, listener, mutators)
    reports: list[MoveReport] = []
    for number, one in enumerate(each, start=1):
        # A namespace for records that is to be used again at once is not removed.
        places = connected(source, target, listener, last=number == len(each))
        try:
            async with places as clusters:
                reports.append(await _move(clusters, one, listener, mutators))
        except MoverError as error:
            if not reports:
                raise
            raise SeriesStoppedError(namespaces, reports, error) from error
    return tuple(reports)


class SeriesStoppedError(StoppedError):
    """One of several namespaces could not be moved, after others were.

    Attributes:
        reports: Of those that were.
        cause: What the one failed with.
    """

    def __init__(
        self,
        namespaces: Sequence[str],
        reports: Sequence[MoveReport | RollingReport],
        cause: MoverError,
        remedy: str = "Give the namespaces that are not moved again once that is mended",
    ) -> None:
        done = len(reports)
        later = f"; {', '.join(namespaces[done + 1 :])} not begun" if namespaces[done + 1 :] else ""
        super().__init__(
            f"{cause}\nMoved: {', '.join(namespaces[:done])}; stopped at {namespaces[done]}{later}",
            remedy,
        )
        self.reports = tuple(reports)
        self.cause = cause
        self.exit_code = cause.exit_code


def require_series(namespaces: Sequence[str], options: MoveOptions) -> None:
    """Raises UsageError if what is asked for is not of several namespaces."""
    if chooses(options):
        raise UsageError("Single Clusters are of one namespace", "Move them with one --namespace at a time")
    if options.to_namespace is not None:
        raise UsageError("Several namespaces cannot become one (--to-namespace)", "Move them one at a time")
    if len(set(namespaces)) < len(namespaces):
        raise UsageError("A namespace is given twice", "Give each --namespace once")


async def _check_all(
    clusters: Clusters,
    each: Sequence[MoveOptions],
    listener: Listener,
    mutators: Sequence[Mutator],
) -> None:
    """Runs the preflight of every move that was not begun yet."""
    problems: list[Problem] = []
    await require_answers(clusters)
    for options in each:
        namespace = namespace_of_move(clusters.source, options)
        if await interrupted(clusters, namespace, options) is None:
            found = await findings_of(clusters, Asked(namespace, options, None), mutators, listener)
            problems += (problem for problem in found.problems if problem not in problems)
    if problems:
        raise RefusedError(problems)


async def interrupted(clusters: Clusters, namespace: str, options: MoveOptions) -> Record | None:
    """Returns the record of an earlier run of the same move: what a selector chose then, whatever it says now.

    Raises:
        OtherMoveError: A move of the same objects is under way, and it is not just this one.
        RecordError: There is a record of the same objects that is not one.
        GivenUpError: The source was given up.
    """
    chooses(options)
    await require_no_note(clusters.source, clusters.target, scope_of(namespace, options.clusters))
    if options.selector:
        found = await _chosen_before(clusters, namespace, options.selector)
    else:
        found = await find(clusters.source, clusters.target, scope_of(namespace, options.clusters))
    if found.newest is not None:
        require_begun_by(options, found.newest)
    return await require_own(clusters, found, options, namespace)


async def _chosen_before(clusters: Clusters, namespace: str, selector: str) -> Found:
    """Returns the records of a move of the Clusters that a selector has chosen."""
    both = (clusters.source, clusters.target)
    scopes = {one.scope for cluster in both for one in await under_way(cluster, [namespace])}
    for scope in sorted(scopes):
        found = await find(*both, scope)
        record = found.newest
        if record is not None and record.namespace == namespace and record.options.selector == selector:
            return found
    return Found(None, None)


def require_begun_by(options: MoveOptions, record: Record) -> None:
    """Raises UsageError if a saved plan was given, and the move that is under way was not begun by it."""
    if options.plan_checksum not in (None, record.options.plan_checksum):
        raise UsageError(
            f"The move {record.id} is under way, which was not begun by this plan",
            "Finish it with: capi-mover resume, or undo it with: capi-mover rollback",
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a new move is asked for: the namespace, the options, and the saved plan that must still hold."""

    namespace: str
    options: MoveOptions
    saved: SavedPlan | None


async def _start(clusters: Clusters, asked: Asked, mutators: Sequence[Mutator], listener: Listener) -> MoveReport:
    clock = Clock(listener)
    with clock.phase(Phase.PREFLIGHT):
        findings = await findings_of(clusters, asked, mutators, listener)
        for warning in findings.warnings:
            listener(Noted(str(warning)))
        if findings.problems:
            raise RefusedError(findings.problems)
    moving = start(clusters, findings, asked.options, listener)
    del findings
    outcome = await moving
    listener(clusters.planned(outcome.plan))
    return _report(clusters, outcome, clock.seconds)


async def findings_of(clusters: Clusters, asked: Asked, mutators: Sequence[Mutator], listener: Listener) -> Findings:
    """Returns what the preflight finds, changes since the plan was saved first.

    Raises:
        RefusedError: Another move of these objects is under way: all else that could be found comes of it.
    """
    namespace, options = asked.namespace, asked.options
    await require_none_under_way(clusters, scope_of(namespace, options.clusters))
    known = all_mutators(namespace, options, mutators)
    plan = await steady_plan(clusters.source, namespace, options, known, listener)
    found = await check_move(clusters.source, clusters.target, plan, options)
    listener(clusters.planned(found.plan))
    changes = [] if asked.saved is None else changes_since(asked.saved, found.plan)
    return replace(found, problems=(*changes, *found.problems))


async def require_none_under_way(clusters: Clusters, scope: str) -> None:
    """Raises RefusedError if a move is under way that overlaps with `scope`."""
    busy = await all_of(moves_under_way(cluster, [scope]) for cluster in (clusters.source, clusters.target))
    if any(busy):
        raise RefusedError([problem for found in busy for problem in found])


async def finish(clusters: Clusters, record: Record, mutators: Sequence[Mutator], listener: Listener) -> MoveReport:
    """Finishes an interrupted move and returns what was done."""
    listener(Noted(f"The move {record.id} was interrupted in the phase {record.phase}; it is finished now"))
    listener(found_move(record, "resume"))
    known = all_mutators(record.namespace, record.options, mutators)
    return _report(clusters, await go_on(clusters, record, known, listener), {})


def _report(clusters: Clusters, outcome: Outcome, before: Mapping[Phase, float]) -> MoveReport:
    source, target = clusters.source, clusters.target
    selection = outcome.plan.selection
    scope = selection.scope.namespace
    return MoveReport(
        source=source.context,
        target=target.context,
        namespace=scope,
        clusters=tuple(sorted(key.name for key in selection.scope.clusters or ())),
        moved=_counted(selection.moved),
        kept=_counted(selection.kept),
        left=tuple(
            LeftObject(object=str(obj.key), reason=selection.decisions[obj.uid].reason)
            for obj in selection.left
            if not scope or obj.key.namespace in (scope, "")
        ),
        seconds={**before, **outcome.seconds},
        paused_s=outcome.paused_s,
        calls=dict(sorted((source.link.calls + target.link.calls).items())),
        retries=source.link.retries + target.link.retries,
        verified=outcome.created,
    )


def _counted(objects: Sequence[Object]) -> tuple[KindCount, ...]:
    counts = Counter(str(obj.type) for obj in objects)
    return tuple(KindCount(kind=kind, count=count) for kind, count in sorted(counts.items()))
