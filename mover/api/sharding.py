"""Moves of a shard: its namespaces one after the other, under a lease that keeps a second mover of it away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graph import rules
from graph.resource import Object, ResourceType
from mover.api.moving import Asked, SeriesStoppedError, findings_of, interrupted, move_async
from mover.api.places import ClusterRef, connected, require_answers
from mover.api.rolling import interrupted_units, require_rollable, roll_async, rolling_findings
from mover.checks import Findings
from mover.choosing import chooses
from mover.concurrency import all_of
from mover.discovery import movable_types
from mover.errors import MoverError, NotFoundError, Problem, RefusedError, StoppedError, UsageError
from mover.events import Listener, Noted, ignore
from mover.execute.journal import under_way
from mover.execute.run import Clusters, claimed, require_alone
from mover.kube import Cluster
from mover.kube.cluster import collection_path
from mover.models import MoveOptions, MoveReport, RollingOptions, RollingReport
from mover.planning import Mutator
from mover.scope import namespace_of, shard_scope
from mover.shard import Shard


@dataclass(frozen=True, slots=True)
class ShardMove:
    """What a shard is moved by.

    Attributes:
        shard: Which namespaces.
        options: Of the move of each namespace; its own `namespace` is not looked at.
        rolling: How the units of each namespace are moved; None for a move of each namespace as a whole.
        mutators: Applied to every body before it is created; see `move_async`.
    """

    shard: Shard
    options: MoveOptions = field(default_factory=MoveOptions)
    rolling: RollingOptions | None = None
    mutators: tuple[Mutator, ...] = ()

    def of(self, namespace: str) -> MoveOptions:
        """Returns the options of the move of one namespace."""
        return self.options.model_copy(update={"namespace": namespace, "rolling": self.rolling is not None})


async def move_shard_async(
    source: ClusterRef, target: ClusterRef, asked: ShardMove, listener: Listener = ignore
) -> tuple[MoveReport | RollingReport, ...]:
    """Moves the namespaces of a shard one after the other, each as a move of its own, and returns what was done.

    Those that hold something to move are found out at the beginning, and all of them are checked before the first one
    moves. Those whose move was interrupted are finished. What appears later is moved when the shard is moved again.

    Args:
        source: Where the namespaces are.
        target: Where they go.
        asked: The shard, and how it is moved.
        listener: Told of every step, in the event loop's thread.

    Raises:
        UsageError: The options do not go together with a shard.
        RefusedError: The preflight found problems in one of the namespaces; nothing was changed.
        LeaseHeldError: Another mover works on the same shard, or on all namespaces at once.
        SeriesStoppedError: One of them failed after others were moved; it says which.
        MoverError: The first one failed; see `move_async` and `roll_async`.
    """
    require_whole(asked)
    async with connected(source, target, listener) as clusters:
        await require_answers(clusters)
        scope = shard_scope(asked.shard.index, asked.shard.total)
        async with claimed(clusters, scope, listener) as claims:
            try:
                await require_alone(clusters, scope)
                return await _move_shard((source, target), clusters, asked, listener)
            except StoppedError as error:
                lost = claims.source.lost or claims.target.lost
                if lost is None or lost is error:
                    raise
                # The move at work knows only that somebody has stopped it.
                raise StoppedError(f"{error}\n{lost.what}", "Move the shard again") from error


async def _move_shard(
    places: tuple[ClusterRef, ClusterRef], clusters: Clusters, asked: ShardMove, listener: Listener
) -> tuple[MoveReport | RollingReport, ...]:
    namespaces = await namespaces_of((clusters.source, clusters.target), asked)
    listener(Noted(described_shard(asked.shard, namespaces)))
    await _check_all(clusters, namespaces, asked, listener)
    return await _move_each(places, namespaces, asked, listener)


def described_shard(shard: Shard, namespaces: Sequence[str]) -> str:
    """Returns a line that says what is in a shard."""
    return f"Shard {shard}: {', '.join(namespaces) or 'nothing to move'}"


def require_whole(asked: ShardMove) -> None:
    """Raises UsageError if the options do not go together with a shard."""
    options = asked.options
    if chooses(options):
        raise UsageError("A shard is of whole namespaces", "Move single Clusters with one --namespace at a time")
    if options.to_namespace is not None:
        raise UsageError("Several namespaces cannot become one (--to-namespace)", "Move them one at a time")
    if asked.rolling is not None:
        require_rollable(options)


async def namespaces_of(sides: Sequence[Cluster], asked: ShardMove) -> list[str]:
    """Returns the namespaces of the shard that hold something to move, or whose move was interrupted; sorted.

    Args:
        sides: The source, and the target if it is known.
        asked: The shard, and how it is moved.
    """
    found = await _spaces_with_roots(sides[0], strict_labels=asked.options.strict_labels)
    for cluster in sides:
        found |= {namespace_of(move.scope) for move in await under_way(cluster, [""])}
    return sorted(namespace for namespace in found if namespace and namespace in asked.shard)


async def _spaces_with_roots(source: Cluster, *, strict_labels: bool) -> set[str]:
    """Returns the namespaces with something that others move below, or that moves by itself.

    The objects below it, which are most of all, are in the same namespace: they need not be listed.
    """
    types = [found for found in await movable_types(source, strict_labels=strict_labels) if found.namespaced]
    whole = [_spaces_of(source, found) for found in types if found.move or found.move_hierarchy]
    others = [found for found in types if not (found.move or found.move_hierarchy)]
    labels = (rules.MOVE_LABEL, rules.MOVE_HIERARCHY_LABEL)
    labelled = [_labelled(source, found, label) for found in others for label in labels]
    return {namespace for spaces in await all_of([*whole, *labelled]) for namespace in spaces}


async def _spaces_of(source: Cluster, resource: ResourceType) -> set[str]:
    try:
        return {obj.key.namespace for obj in (await source.list_metadata(resource)).objects}
    except NotFoundError:
        # The CRD has gone, or does not serve its storage version.
        return set()


async def _labelled(source: Cluster, resource: ResourceType, label: str) -> set[str]:
    try:
        found = await source.list_names(collection_path(resource), {"labelSelector": label})
    except NotFoundError:
        return set()
    return {item["metadata"]["namespace"] for item in found}


async def _check_all(clusters: Clusters, namespaces: Sequence[str], asked: ShardMove, listener: Listener) -> None:
    """Runs the preflight of every namespace whose move was not begun yet.

    Raises:
        RefusedError: One of them could not be moved, or shares something that the target does not have yet.
    """
    problems: list[Problem] = []
    for namespace in namespaces:
        if await _was_begun(clusters, namespace, asked):
            continue
        findings = await _findings(clusters, namespace, asked, listener)
        found = (*findings.problems, *check_shared(findings, namespace))
        problems += (problem for problem in found if problem not in problems)
    if problems:
        raise RefusedError(problems)


async def _was_begun(clusters: Clusters, namespace: str, asked: ShardMove) -> bool:
    if asked.rolling is not None:
        return bool(await interrupted_units(clusters, namespace, asked.of(namespace)))
    return await interrupted(clusters, namespace, asked.of(namespace)) is not None


async def _findings(clusters: Clusters, namespace: str, asked: ShardMove, listener: Listener) -> Findings:
    options = asked.of(namespace)
    if asked.rolling is not None:
        return await rolling_findings(clusters, namespace, options, asked.mutators, listener)
    return await findings_of(clusters, Asked(namespace, options, None), asked.mutators, listener)


def check_shared(findings: Findings, namespace: str) -> list[Problem]:
    """What namespaces share is on the target already, so that no shard has to bring it.

    Two that bring the same at once would be in each other's way, and one that is undone would take its copy from under
    the other (docs/decisions/0026).
    """
    what = f"the namespace {namespace} shares it with others, and the target does not have it yet"
    remedy = f"Bring it before the shards begin, by moving one namespace alone: capi-mover move -n {namespace}"
    return [
        Problem("shard", "target", str(obj.key), what, remedy)
        for obj in findings.plan.selection.kept
        if obj.uid not in findings.used and not _is_own(findings, obj, namespace)
    ]


def _is_own(findings: Findings, obj: Object, namespace: str) -> bool:
    """Returns whether an object is copied and kept for the sake of its own namespace alone (--include-referenced)."""
    return obj.key.namespace == namespace and obj.key in findings.plan.rules.included


async def _move_each(
    places: tuple[ClusterRef, ClusterRef], namespaces: Sequence[str], asked: ShardMove, listener: Listener
) -> tuple[MoveReport | RollingReport, ...]:
    reports: list[MoveReport | RollingReport] = []
    for namespace in namespaces:
        options = asked.of(namespace)
        try:
            if asked.rolling is None:
                reports.append(await move_async(*places, options, listener, asked.mutators))
            else:
                reports.append(await roll_async(*places, options, asked.rolling, listener, asked.mutators))
        except MoverError as error:
            if not reports:
                raise
            raise SeriesStoppedError(namespaces, reports, error, "Move the shard again once that is mended") from error
        last = reports[-1]
        if asked.rolling is not None and asked.rolling.fail_fast and isinstance(last, RollingReport) and last.failed:
            break
    return tuple(reports)
