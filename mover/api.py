"""What the library offers: plan and move, as coroutines and as plain functions that run them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from graph.resource import Object
from mover.discovery import discover
from mover.errors import RefusedError
from mover.events import Listener, PhaseEnded, PhaseStarted, ignore
from mover.execute.move import Outcome, carry_out
from mover.kube import Cluster, connect
from mover.models import KindCount, LeftObject, MoveOptions, MoveReport, Phase
from mover.plan import Plan, make_plan
from mover.preflight import check_move

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


def plan(source: ClusterRef, options: MoveOptions | None = None) -> Plan:
    """Returns what a move from `source` would do; reads only. See `plan_async`."""
    return asyncio.run(plan_async(source, options))


async def plan_async(source: ClusterRef, options: MoveOptions | None = None) -> Plan:
    """Returns what a move from `source` would do; reads only.

    Raises:
        UsageError: The kubeconfig, context or namespace is not there.
        ApiError: The cluster refused a request or could not be reached.
    """
    options = options or MoveOptions()
    async with await connect("source", source.kubeconfig, source.context) as cluster:
        return make_plan(await discover(cluster, _namespace(cluster, options)))


def move(
    source: ClusterRef, target: ClusterRef, options: MoveOptions | None = None, listener: Listener = ignore
) -> MoveReport:
    """Moves objects from `source` to `target`. See `move_async`."""
    return asyncio.run(move_async(source, target, options, listener))


async def move_async(
    source: ClusterRef, target: ClusterRef, options: MoveOptions | None = None, listener: Listener = ignore
) -> MoveReport:
    """Moves objects from `source` to `target` and returns what was done.

    Args:
        source: Where the objects are.
        target: Where they go.
        options: What to move, and how.
        listener: Told of every step, in the event loop's thread.

    Raises:
        UsageError: A kubeconfig, context or namespace is not there; nothing was read or changed.
        RefusedError: The preflight found problems; nothing was changed.
        VerificationError: The copies differ from their sources; nothing was deleted.
        StoppedError: The move could not go on.
        ApiError: A cluster refused a request or could not be reached.
    """
    options = options or MoveOptions()
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(await connect("source", source.kubeconfig, source.context))
        goal = await stack.enter_async_context(await connect("target", target.kubeconfig, target.context))
        listener(PhaseStarted(Phase.PREFLIGHT))
        clock = asyncio.get_running_loop()
        started = clock.time()
        plan = make_plan(await discover(origin, _namespace(origin, options)))
        findings = await check_move(origin, goal, plan, options)
        if findings.problems:
            raise RefusedError(findings.problems)
        seconds = clock.time() - started
        listener(PhaseEnded(Phase.PREFLIGHT, seconds))
        outcome = await carry_out(origin, goal, findings, options, listener)
        return _report(origin, goal, outcome, seconds)


def _namespace(source: Cluster, options: MoveOptions) -> str:
    """Returns the namespace that is asked for; like kubectl, the context's one, else "default"."""
    if options.namespace is None:
        return source.default_namespace or DEFAULT_NAMESPACE
    return options.namespace


def _report(source: Cluster, target: Cluster, outcome: Outcome, preflight_s: float) -> MoveReport:
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
        seconds={Phase.PREFLIGHT: preflight_s, **outcome.seconds},
        paused_s=outcome.paused_s,
        calls=dict(sorted((source.link.calls + target.link.calls).items())),
        retries=source.link.retries + target.link.retries,
        verified=outcome.created,
    )


def _counted(objects: Sequence[Object]) -> tuple[KindCount, ...]:
    counts = Counter(str(obj.type) for obj in objects)
    return tuple(KindCount(kind=kind, count=count) for kind, count in sorted(counts.items()))
