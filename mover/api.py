"""What the library offers: plan, explain and move, as coroutines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from graph.explain import Explanation, explain
from graph.resource import Object, ResourceType
from mover import metal3
from mover.choosing import choose, chooses
from mover.concurrency import all_of, both
from mover.diff import compare
from mover.directory.files import FileError, read_file, write_file
from mover.discovery import credential_namespaces, discover, list_providers, movable_types
from mover.errors import Difference, MoverError, Problem, RefusedError, StoppedError, UsageError
from mover.events import Listener, Noted, ignore
from mover.execute.backup import BackupResult, backup, moves_under_way, release
from mover.execute.clock import Clock
from mover.execute.forward import Outcome
from mover.execute.journal import find, list_records, read_record, under_way
from mover.execute.restore import RestoreResult, restore, saved_objects
from mover.execute.run import Clusters, go_on, identity_of, start, undo
from mover.kube import Cluster, connect
from mover.lookup import find_object
from mover.models import KindCount, LeftObject, MoveOptions, MoveReport, Phase
from mover.namespace import check_rules, namespace_mutator
from mover.plan import Mutator, Plan, Rules, make_plan
from mover.preflight import Findings, check_connections, check_move
from mover.record import Record
from mover.saved_plan import SavedPlan, changes_since, decode, encode, planned_options, require_cluster, saved_plan
from mover.scope import described, namespace_of, scope_of
from mover.waiting import wait_until

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class ClusterRef:
    """Where a cluster is to be found.

    Attributes:
        kubeconfig: A kubeconfig file; None for `$KUBECONFIG`, `~/.kube/config` or the pod's service account.
        context: A context of it; None for its current one.
    """

    kubeconfig: Path | None = None
    context: str | None = None


def place_of(text: str) -> ClusterRef | Path:
    """Returns what a directory, KUBECONFIG or KUBECONFIG@CONTEXT names; context names may have an @ themselves."""
    if Path(text).is_dir():
        return Path(text)
    if Path(text).exists() or "@" not in text:
        return ClusterRef(Path(text))
    file, _, context = text.partition("@")
    return ClusterRef(Path(file), context)


async def plan_async(
    source: ClusterRef,
    options: MoveOptions | None = None,
    *,
    save_to: Path | None = None,
    plan_file: Path | None = None,
) -> Plan:
    """Returns what a move from `source` would do; reads only.

    Args:
        source: Where the objects are.
        options: What to move.
        save_to: The plan is saved to this file, for a move that is to do just that.
        plan_file: A saved plan; it must still hold.

    Raises:
        UsageError: The kubeconfig, context or namespace is not there, or the saved plan is not one of this cluster.
        RefusedError: The cluster has changed since the plan was saved.
        FileError: The plan cannot be saved.
        ApiError: The cluster refused a request or could not be reached.
    """
    saved = await _read_plan(plan_file)
    options = _planned(saved, options)
    async with await connect("source", source.kubeconfig, source.context) as cluster:
        await _require_planned_cluster(saved, cluster)
        plan = await _plan(cluster, _namespace(cluster, options), options)
        if saved is not None and (changes := changes_since(saved, plan)):
            raise RefusedError(changes)
        if save_to is not None:
            content = encode(saved_plan(plan, await identity_of(cluster), options))
            await asyncio.to_thread(write_file, save_to, content)
        return plan


async def explain_async(source: ClusterRef, text: str, options: MoveOptions | None = None) -> Explanation:
    """Returns why the object that `text` means, KIND/NAME or KIND.GROUP/NAME, moves or not; reads only.

    Raises:
        UsageError: No object is meant, or several are; see `plan_async`.
        ApiError: The cluster refused a request or could not be reached.
    """
    options = options or MoveOptions()
    async with await connect("source", source.kubeconfig, source.context) as cluster:
        plan = await _plan(cluster, _namespace(cluster, options), options)
        found = await find_object(cluster, plan, text)
    return explain(plan.selection, plan.creation, plan.deletion, found.uid)


async def types_async(source: ClusterRef) -> tuple[tuple[ResourceType, ...], tuple[str, ...]]:
    """Returns the types that a move from `source` reads, and the namespaces of its infrastructure providers.

    Raises:
        UsageError: The kubeconfig or context is not there, or it is no management cluster.
        ApiError: The cluster refused a request or could not be reached.
    """
    async with await connect("source", source.kubeconfig, source.context) as cluster:
        types, providers = await both(movable_types(cluster), list_providers(cluster))
    return types, credential_namespaces(providers)


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
    saved = await _read_plan(plan_file)
    options = _planned(saved, options)
    async with _connected(source, target) as clusters:
        await _require_answers(clusters)
        await _require_planned_cluster(saved, clusters.source)
        asked = _Asked(_namespace(clusters.source, options), options, saved)
        return await _findings(clusters, asked, mutators, listener)


async def _require_answers(clusters: Clusters) -> None:
    if problems := await check_connections(clusters.source, clusters.target):
        raise RefusedError(problems)


async def move_async(
    source: ClusterRef,
    target: ClusterRef,
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    plan_file: Path | None = None,
) -> MoveReport:
    """Moves objects from `source` to `target` and returns what was done.

    A move of the same objects that was interrupted is finished: the record in the clusters knows its phase.

    Args:
        source: Where the objects are.
        target: Where they go.
        options: What to move, and how; those of the record if an interrupted move is finished.
        listener: Told of every step, in the event loop's thread.
        mutators: Applied to every body before it is created; a resumed move must be given the same ones.
        plan_file: A saved plan: the move does just that, or is refused. A move that was begun by it is finished.

    Raises:
        UsageError: A kubeconfig, context or namespace is not there, or the plan is none of this move; nothing was
            changed.
        RefusedError: The preflight found problems, or the source has changed since the plan was saved; nothing was
            changed.
        RolledBackError: The move failed and was undone.
        InterruptedMoveError: The move failed and can be resumed.
        ApiError: A cluster refused a request or could not be reached before anything was changed.
    """
    saved = await _read_plan(plan_file)
    options = _planned(saved, options)
    async with _connected(source, target) as clusters:
        await _require_answers(clusters)
        await _require_planned_cluster(saved, clusters.source)
        namespace = _namespace(clusters.source, options)
        record = await _interrupted(clusters, namespace, options)
        if record is not None and record.is_rolling_back:
            listener(Noted(f"A rollback of the move {record.id} was interrupted; it is finished first"))
            await undo(clusters, record, _mutators(namespace, record.options, mutators), listener)
            record = None
        if record is not None:
            _require_begun_by(options, record)
            return await _go_on(clusters, record, mutators, listener)
        return await _start(clusters, _Asked(namespace, options, saved), mutators, listener)


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
    _require_series(namespaces, options)
    each = [options.model_copy(update={"namespace": namespace}) for namespace in namespaces]
    await _check_all(source, target, each, listener, mutators)
    reports: list[MoveReport] = []
    for one in each:
        try:
            reports.append(await move_async(source, target, one, listener, mutators))
        except MoverError as error:
            if not reports:
                raise
            raise SeriesStoppedError(namespaces, len(reports), error) from error
    return tuple(reports)


class SeriesStoppedError(StoppedError):
    """One of several namespaces could not be moved, after others were."""

    def __init__(self, namespaces: Sequence[str], done: int, cause: MoverError) -> None:
        later = f"; {', '.join(namespaces[done + 1 :])} not begun" if namespaces[done + 1 :] else ""
        super().__init__(
            f"{cause}\nMoved: {', '.join(namespaces[:done])}; stopped at {namespaces[done]}{later}",
            "Give the namespaces that are not moved again once that is mended",
        )
        self.cause = cause
        self.exit_code = cause.exit_code


def _require_series(namespaces: Sequence[str], options: MoveOptions) -> None:
    if chooses(options):
        raise UsageError("Single Clusters are of one namespace", "Move them with one --namespace at a time")
    if options.to_namespace is not None:
        raise UsageError("Several namespaces cannot become one (--to-namespace)", "Move them one at a time")
    if len(set(namespaces)) < len(namespaces):
        raise UsageError("A namespace is given twice")


async def _check_all(
    source: ClusterRef,
    target: ClusterRef,
    each: Sequence[MoveOptions],
    listener: Listener,
    mutators: Sequence[Mutator],
) -> None:
    """Runs the preflight of every move that was not begun yet."""
    problems: list[Problem] = []
    async with _connected(source, target) as clusters:
        await _require_answers(clusters)
        for options in each:
            namespace = _namespace(clusters.source, options)
            if await _interrupted(clusters, namespace, options) is None:
                found = await _findings(clusters, _Asked(namespace, options, None), mutators, listener)
                problems += (problem for problem in found.problems if problem not in problems)
    if problems:
        raise RefusedError(problems)


async def resume_async(
    source: ClusterRef,
    target: ClusterRef,
    namespace: str | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    clusters: Sequence[str] = (),
) -> MoveReport:
    """Finishes an interrupted move and returns what was done; see `move_async`.

    Args:
        source: Where the objects come from.
        target: Where they go.
        namespace: What is moved; None for the namespace of the source's context.
        listener: Told of every step.
        mutators: Those that the move was begun with.
        clusters: The Clusters, if single ones are moved; with none the only move of the namespace is meant.

    Raises:
        UsageError: No such move is under way, or several are.
    """
    async with _connected(source, target) as both_sides:
        record = await _record_of(both_sides, namespace, clusters)
        return await _go_on(both_sides, record, mutators, listener)


async def rollback_async(
    source: ClusterRef,
    target: ClusterRef,
    namespace: str | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
    clusters: Sequence[str] = (),
) -> None:
    """Undoes an interrupted move: the copies leave the target, the source is as it was.

    Args: see `resume_async`.

    Raises:
        UsageError: No such move is under way, or several are.
        StoppedError: It is past its commit point, or the target cannot be reached.
    """
    async with _connected(source, target) as both_sides:
        record = await _record_of(both_sides, namespace, clusters)
        await undo(both_sides, record, _mutators(record.namespace, record.options, mutators), listener)


async def status_async(cluster: ClusterRef) -> tuple[Record, ...]:
    """Returns the moves that a cluster takes part in, as source or target."""
    async with await connect("source", cluster.kubeconfig, cluster.context) as connected:
        return await list_records(connected)


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
    if chooses(options):
        raise UsageError("A directory holds whole namespaces", "Leave out --cluster and --selector")
    async with await connect("source", source.kubeconfig, source.context) as cluster:
        scope = _namespace(cluster, options)
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
    async with await connect("target", target.kubeconfig, target.context) as cluster:
        return await restore(
            cluster, folder, options or MoveOptions(), listener, identity=identity, keep_paused=keep_paused
        )


async def release_async(
    source: ClusterRef, folder: Path, listener: Listener = ignore, *, identity: Path | None = None
) -> int:
    """Resumes a source that a backup has left paused; see `mover.execute.backup.release`."""
    async with await connect("source", source.kubeconfig, source.context) as cluster:
        return await release(cluster, folder, listener, identity=identity)


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
    async with await connect("source", place.kubeconfig, place.context) as cluster:
        scope = _namespace(cluster, MoveOptions(namespace=namespace))
        return make_plan(await discover(cluster, scope)).selection.selected


@asynccontextmanager
async def _connected(source: ClusterRef, target: ClusterRef) -> AsyncIterator[Clusters]:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(await connect("source", source.kubeconfig, source.context))
        goal = await stack.enter_async_context(await connect("target", target.kubeconfig, target.context))
        yield Clusters(origin, goal)


async def _record_of(clusters: Clusters, namespace: str | None, names: Sequence[str]) -> Record:
    """Returns the record of the move that is meant.

    The source is asked first: its word counts, and a dead target must not keep it from being resumed.
    """
    space = _namespace(clusters.source, MoveOptions(namespace=namespace))
    others: list[str] = []
    for cluster in (clusters.source, clusters.target):
        scopes = [found.scope for found in await under_way(cluster, [space])]
        meant = [scope for scope in scopes if _is_meant(scope, space, names)]
        record = await read_record(cluster, meant[0]) if len(meant) == 1 else None
        if record is not None:
            return record
        others += scopes
    what = described(scope_of(space, names))
    listed = f". Under way: {'; '.join(map(described, sorted(set(others))))}" if others else ""
    raise UsageError(f"No move of {what} is under way{listed}", "See: capi-mover status")


def _is_meant(scope: str, namespace: str, names: Sequence[str]) -> bool:
    return scope == scope_of(namespace, names) or (not names and namespace_of(scope) == namespace)


async def _interrupted(clusters: Clusters, namespace: str, options: MoveOptions) -> Record | None:
    """Returns the record of an earlier run of the same move: what a selector chose then, whatever it says now."""
    chooses(options)
    if not options.selector:
        return (await find(clusters.source, clusters.target, scope_of(namespace, options.clusters))).newest
    for cluster in (clusters.source, clusters.target):
        for found in await under_way(cluster, [namespace]):
            record = (await find(clusters.source, clusters.target, found.scope)).newest
            if record is not None and record.namespace == namespace and record.options.selector == options.selector:
                return record
    return None


async def _read_plan(file: Path | None) -> SavedPlan | None:
    if file is None:
        return None
    try:
        return decode(await asyncio.to_thread(read_file, file), str(file))
    except FileError as error:
        raise UsageError(f"The plan {error}", "Save one with: capi-mover plan --save FILE") from error


def _planned(saved: SavedPlan | None, options: MoveOptions | None) -> MoveOptions:
    options = options or MoveOptions()
    return options if saved is None else planned_options(saved, options)


async def _require_planned_cluster(saved: SavedPlan | None, source: Cluster) -> None:
    if saved is not None:
        require_cluster(saved, await identity_of(source))


def _require_begun_by(options: MoveOptions, record: Record) -> None:
    """Raises UsageError if a saved plan was given, and the move that is under way was not begun by it."""
    if options.plan_checksum not in (None, record.options.plan_checksum):
        raise UsageError(
            f"The move {record.id} is under way, which was not begun by this plan",
            "Finish it with: capi-mover resume, or undo it with: capi-mover rollback",
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a new move is asked for: the namespace, the options, and the saved plan that must still hold."""

    namespace: str
    options: MoveOptions
    saved: SavedPlan | None


async def _start(clusters: Clusters, asked: _Asked, mutators: Sequence[Mutator], listener: Listener) -> MoveReport:
    clock = Clock(listener)
    with clock.phase(Phase.PREFLIGHT):
        findings = await _findings(clusters, asked, mutators, listener)
        for warning in findings.warnings:
            listener(Noted(str(warning)))
        if findings.problems:
            raise RefusedError(findings.problems)
    outcome = await start(clusters, findings, asked.options, listener)
    return _report(clusters, outcome, clock.seconds)


async def _findings(clusters: Clusters, asked: _Asked, mutators: Sequence[Mutator], listener: Listener) -> Findings:
    """Returns what the preflight finds, changes since the plan was saved first.

    Raises:
        RefusedError: Another move of these objects is under way: all else that could be found comes of it.
    """
    namespace, options = asked.namespace, asked.options
    scope = scope_of(namespace, options.clusters)
    busy = await all_of(moves_under_way(cluster, [scope]) for cluster in (clusters.source, clusters.target))
    if any(busy):
        raise RefusedError([problem for found in busy for problem in found])
    known = _mutators(namespace, options, mutators)
    plan = await _steady_plan(clusters.source, namespace, options, known, listener)
    found = await check_move(clusters.source, clusters.target, plan, options)
    changes = [] if asked.saved is None else changes_since(asked.saved, found.plan)
    return replace(found, problems=(*changes, *found.problems))


def _mutators(namespace: str, options: MoveOptions, others: Sequence[Mutator]) -> tuple[Mutator, ...]:
    """Returns the mutators of a move: that of `to_namespace` first."""
    if options.to_namespace is None:
        return tuple(others)
    check_rules(namespace, options.to_namespace)
    return (namespace_mutator(namespace, options.to_namespace), *others)


async def _steady_plan(
    source: Cluster, namespace: str, options: MoveOptions, mutators: tuple[Mutator, ...], listener: Listener
) -> Plan:
    """Returns the plan, made when no host is about to change any more or wait_hosts_s is over."""
    plan = await _plan(source, namespace, options, mutators)
    hosts = [obj for obj in plan.selection.moved if metal3.is_host(obj)]
    if not options.wait_hosts_s or not any(map(metal3.transition, hosts)):
        return plan
    await wait_until(source, hosts, metal3.transition, options.wait_hosts_s, listener)
    return await _plan(source, namespace, options, mutators)


async def _plan(source: Cluster, namespace: str, options: MoveOptions, mutators: tuple[Mutator, ...] = ()) -> Plan:
    chooses(options)
    inventory = await discover(source, namespace, strict_labels=options.strict_labels)
    choice = await choose(source, inventory, options)
    return make_plan(inventory, Rules(mutators=mutators, clusters=choice.clusters, hosts=choice.hosts))


async def _go_on(clusters: Clusters, record: Record, mutators: Sequence[Mutator], listener: Listener) -> MoveReport:
    listener(Noted(f"The move {record.id} was interrupted in the phase {record.phase}; it is finished now"))
    known = _mutators(record.namespace, record.options, mutators)
    return _report(clusters, await go_on(clusters, record, known, listener), {})


def _namespace(source: Cluster, options: MoveOptions) -> str:
    """Returns the namespace that is asked for; like kubectl, the context's one, else "default"."""
    if options.namespace is None:
        return source.default_namespace or DEFAULT_NAMESPACE
    return options.namespace


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
