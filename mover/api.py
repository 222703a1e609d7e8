"""What the library offers: plan and move, as coroutines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from graph.resource import Object
from mover import metal3
from mover.concurrency import all_of
from mover.diff import compare
from mover.discovery import discover
from mover.errors import Difference, RefusedError, UsageError
from mover.events import Listener, Noted, ignore
from mover.execute.backup import BackupResult, backup, release
from mover.execute.clock import Clock
from mover.execute.forward import Outcome
from mover.execute.journal import find, list_records, read_record
from mover.execute.restore import RestoreResult, restore, saved_objects
from mover.execute.run import Clusters, go_on, start, undo
from mover.kube import Cluster, connect
from mover.models import KindCount, LeftObject, MoveOptions, MoveReport, Phase
from mover.namespace import check_rules, namespace_mutator
from mover.plan import Mutator, Plan, Rules, make_plan
from mover.preflight import check_move
from mover.record import Record
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


async def plan_async(source: ClusterRef, options: MoveOptions | None = None) -> Plan:
    """Returns what a move from `source` would do; reads only.

    Raises:
        UsageError: The kubeconfig, context or namespace is not there.
        ApiError: The cluster refused a request or could not be reached.
    """
    options = options or MoveOptions()
    async with await connect("source", source.kubeconfig, source.context) as cluster:
        scope = _namespace(cluster, options)
        return make_plan(await discover(cluster, scope, strict_labels=options.strict_labels))


async def move_async(
    source: ClusterRef,
    target: ClusterRef,
    options: MoveOptions | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
) -> MoveReport:
    """Moves objects from `source` to `target` and returns what was done.

    A move of the same objects that was interrupted is finished: the record in the clusters knows its phase.

    Args:
        source: Where the objects are.
        target: Where they go.
        options: What to move, and how; those of the record if an interrupted move is finished.
        listener: Told of every step, in the event loop's thread.
        mutators: Applied to every body before it is created; a resumed move must be given the same ones.

    Raises:
        UsageError: A kubeconfig, context or namespace is not there; nothing was read or changed.
        RefusedError: The preflight found problems; nothing was changed.
        RolledBackError: The move failed and was undone.
        InterruptedMoveError: The move failed and can be resumed.
        ApiError: A cluster refused a request or could not be reached before anything was changed.
    """
    options = options or MoveOptions()
    async with _connected(source, target) as clusters:
        scope = _namespace(clusters.source, options)
        record = (await find(clusters.source, clusters.target, scope)).newest
        if record is not None and record.is_rolling_back:
            listener(Noted(f"A rollback of the move {record.id} was interrupted; it is finished first"))
            await undo(clusters, record, _mutators(scope, record.options, mutators), listener)
            record = None
        if record is not None:
            return await _go_on(clusters, record, mutators, listener)
        return await _start(clusters, scope, options, mutators, listener)


async def resume_async(
    source: ClusterRef,
    target: ClusterRef,
    namespace: str | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
) -> MoveReport:
    """Finishes an interrupted move and returns what was done; see `move_async`.

    Raises:
        UsageError: No move of that namespace is under way.
    """
    async with _connected(source, target) as clusters:
        record = await _record_of(clusters, namespace)
        return await _go_on(clusters, record, mutators, listener)


async def rollback_async(
    source: ClusterRef,
    target: ClusterRef,
    namespace: str | None = None,
    listener: Listener = ignore,
    mutators: Sequence[Mutator] = (),
) -> None:
    """Undoes an interrupted move: the copies leave the target, the source is as it was.

    Raises:
        UsageError: No move of that namespace is under way.
        StoppedError: It is past its commit point, or the target cannot be reached.
    """
    async with _connected(source, target) as clusters:
        scope = _namespace(clusters.source, MoveOptions(namespace=namespace))
        # The source's word counts, and a dead target must not keep it from being resumed.
        record = await read_record(clusters.source, scope) or await _record_of(clusters, namespace)
        await undo(clusters, record, _mutators(record.scope, record.options, mutators), listener)


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


async def _record_of(clusters: Clusters, namespace: str | None) -> Record:
    scope = _namespace(clusters.source, MoveOptions(namespace=namespace))
    record = (await find(clusters.source, clusters.target, scope)).newest
    if record is None:
        what = f"the namespace {scope}" if scope else "all namespaces"
        raise UsageError(f"No move of {what} is under way", "See: capi-mover status")
    return record


async def _start(
    clusters: Clusters, scope: str, options: MoveOptions, mutators: Sequence[Mutator], listener: Listener
) -> MoveReport:
    clock = Clock(listener)
    with clock.phase(Phase.PREFLIGHT):
        rules = Rules(mutators=_mutators(scope, options, mutators))
        plan = await _steady_plan(clusters.source, scope, options, rules, listener)
        findings = await check_move(clusters.source, clusters.target, plan, options)
        if findings.problems:
            raise RefusedError(findings.problems)
    outcome = await start(clusters, findings, options, listener)
    return _report(clusters, outcome, clock.seconds)


def _mutators(scope: str, options: MoveOptions, others: Sequence[Mutator]) -> tuple[Mutator, ...]:
    """Returns the mutators of a move: that of `to_namespace` first."""
    if options.to_namespace is None:
        return tuple(others)
    check_rules(scope, options.to_namespace)
    return (namespace_mutator(scope, options.to_namespace), *others)


async def _steady_plan(source: Cluster, scope: str, options: MoveOptions, rules: Rules, listener: Listener) -> Plan:
    """Returns the plan, made when no host is about to change any more or wait_hosts_s is over."""
    plan = make_plan(await discover(source, scope, strict_labels=options.strict_labels), rules)
    hosts = [obj for obj in plan.selection.moved if metal3.is_host(obj)]
    if not options.wait_hosts_s or not any(map(metal3.transition, hosts)):
        return plan
    await wait_until(source, hosts, metal3.transition, options.wait_hosts_s, listener)
    return make_plan(await discover(source, scope, strict_labels=options.strict_labels), rules)


async def _go_on(clusters: Clusters, record: Record, mutators: Sequence[Mutator], listener: Listener) -> MoveReport:
    listener(Noted(f"The move {record.id} was interrupted in the phase {record.phase}; it is finished now"))
    known = _mutators(record.scope, record.options, mutators)
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
