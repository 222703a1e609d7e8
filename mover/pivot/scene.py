"""What the steps of a pivot work on, and what a step finds to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from graph.resource import ObjectKey
from mover import metal3
from mover.api import DEFAULT_NAMESPACE, ClusterRef
from mover.discovery import discover
from mover.errors import Problem, StoppedError
from mover.events import Listener
from mover.execute.given_up import require_no_note
from mover.execute.journal import find
from mover.execute.run import identity_of
from mover.kube import Cluster
from mover.pivot.memory import Memory, Recalled, new_memory
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
        recalled: What an interrupted pivot has left.
        begun: What is to be remembered of this one, without the states.
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
    recalled: Recalled | None
    begun: Memory
    place: Place

    @property
    def memory(self) -> Memory | None:
        """Returns what an interrupted pivot has left, None if there is nothing."""
        return self.recalled.memory if self.recalled else None

    @property
    def is_move_begun(self) -> bool:
        """Returns whether an earlier run has begun the move."""
        return self.record is not None

    def memory_now(self) -> Memory:
        """Returns what has to be remembered: the states of now while all objects are here, else those of before."""
        if self.memory is not None and (self.is_move_begun or not self.plan.selection.moved):
            return self.memory
        way = {"cluster": self.place.cluster, "kubeconfig": self.place.kubeconfig}
        return self.begun.model_copy(update=way).with_states(self._states())

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
    way: tuple[Place, Recalled | None],
    options: PivotOptions,
    listener: Listener,
) -> Scene:
    """Returns what is there now; waits for hosts that are about to change, if asked to.

    Without Ironic a host could never finish what it has begun.

    Args:
        clusters: The source and the target.
        refs: How both are found.
        way: The way to the target, and what an interrupted pivot has left.
        options: What was asked for.
        listener: Told of every step.

    Raises:
        UsageError: The source is no management cluster, or has no such namespace.
        StoppedError: An interrupted pivot was one between other clusters.
        NotReadyError: Hosts still change when the time to wait for them is over.
    """
    source, target = clusters
    place, recalled = way
    scope = scope_of(source, options)
    await require_no_note(source, target, scope)
    uids = (await identity_of(source)).uid, (await identity_of(target)).uid
    if recalled is not None:
        require_same_clusters(recalled, uids)
    strict = options.move.strict_labels
    plan = make_plan(await discover(source, scope, strict_labels=strict))
    hosts = [obj for obj in plan.selection.moved if metal3.is_host(obj)]
    if options.move.wait_hosts_s and any(map(metal3.transition, hosts)):
        await wait_for(source, hosts, metal3.transition, options.move.wait_hosts_s, listener)
        plan = make_plan(await discover(source, scope, strict_labels=strict))
    record = (await find(source, target, scope)).newest
    begun = new_memory(scope, *uids, options)
    return Scene(source, target, refs, options, listener, scope, plan, record, recalled, begun, place)


def require_same_clusters(recalled: Recalled, uids: Sequence[str]) -> None:
    """Raises StoppedError if the clusters, given by the UIDs of their kube-system namespaces, are not those."""
    memory = recalled.memory
    for name, known, found in zip(("source", "target"), (memory.source_uid, memory.target_uid), uids, strict=True):
        if known != found:
            raise StoppedError(
                f"{recalled.told().removesuffix('. It is gone on with')}. The {name} of that pivot is the cluster "
                f"{known}, and this one is {found}",
                "Give the clusters that it was started with; if no such pivot was begun, find out who wrote the Secret",
            )
