"""What the steps of a pivot work on, and what a step finds to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from graph.resource import ObjectKey
from mover import metal3
from mover.api import DEFAULT_NAMESPACE, ClusterRef
from mover.discovery import discover
from mover.errors import Problem
from mover.events import Listener
from mover.execute.journal import find
from mover.kube import Cluster
from mover.pivot.memory import Memory, recall
from mover.pivot.models import PivotOptions
from mover.pivot.states import states_of
from mover.pivot.workloads import wait_for
from mover.planning import Plan, make_plan
from mover.record import Record


@dataclass(frozen=True, slots=True)
class Place:
    """The way to the target.

    Attributes:
        ref: Where it is found.
        cluster: The Cluster whose kubeconfig that is, "" if the target was given.
        kubeconfig: That kubeconfig.
    """

    ref: ClusterRef
    cluster: str = ""
    kubeconfig: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Both clusters, and what was found on the source when the pivot was started.

    Attributes:
        source: Where the objects are.
        target: Where they go.
        refs: How both are found, for the move.
        options: What was asked for.
        listener: Told of every step.
        scope: The namespace that moves, "" for all.
        plan: What is still on the source.
        record: The record of a move that was interrupted.
        memory: What an interrupted pivot has left.
        place: The way to the target.
    """

    source: Cluster
    target: Cluster
    refs: tuple[ClusterRef, ClusterRef]
    options: PivotOptions
    listener: Listener
    scope: str
    plan: Plan
    record: Record | None
    memory: Memory | None
    place: Place

    @property
    def is_move_begun(self) -> bool:
        """Returns whether an earlier run has begun the move."""
        return self.record is not None

    def memory_now(self) -> Memory:
        """Returns what has to be remembered: the states of now while all objects are here, else those of before."""
        cluster, kubeconfig = self.place.cluster, self.place.kubeconfig
        if self.memory is not None and (self.is_move_begun or not self.plan.selection.moved):
            return self.memory
        return Memory.of(cluster, kubeconfig, self._states())

    def _states(self) -> dict[ObjectKey, str]:
        return states_of(self.plan.selection.moved, self.options.move.to_namespace)


@dataclass(frozen=True, slots=True)
class Todo:
    """What a step finds to do.

    Attributes:
        lines: What it would do, or what it found.
        act: Does it; None if there is nothing left to do.
        problems: What stands against going on.
    """

    lines: tuple[str, ...]
    act: Callable[[], Awaitable[None]] | None = None
    problems: tuple[Problem, ...] = ()


def scope_of(source: Cluster, options: PivotOptions) -> str:
    """Returns the namespace that moves; like kubectl, the context's one, else "default"."""
    if options.move.namespace is None:
        return source.default_namespace or DEFAULT_NAMESPACE
    return options.move.namespace


async def look_around(
    clusters: tuple[Cluster, Cluster],
    refs: tuple[ClusterRef, ClusterRef],
    place: Place,
    options: PivotOptions,
    listener: Listener,
) -> Scene:
    """Returns what is there now; waits for hosts that are about to change, if asked to.

    Without Ironic a host could never finish what it has begun.

    Raises:
        UsageError: The source is no management cluster, or has no such namespace.
        NotReadyError: Hosts still change when the time to wait for them is over.
    """
    source, target = clusters
    scope = scope_of(source, options)
    strict = options.move.strict_labels
    plan = make_plan(await discover(source, scope, strict_labels=strict))
    hosts = [obj for obj in plan.selection.moved if metal3.is_host(obj)]
    if options.move.wait_hosts_s and not options.dry_run and any(map(metal3.transition, hosts)):
        await wait_for(source, hosts, metal3.transition, options.move.wait_hosts_s, listener)
        plan = make_plan(await discover(source, scope, strict_labels=strict))
    record = (await find(source, target, scope)).newest
    memory = await recall(source, scope)
    return Scene(source, target, refs, options, listener, scope, plan, record, memory, place)
