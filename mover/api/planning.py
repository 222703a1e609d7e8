"""What a move would do: plans, and the reasons of single objects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from graph.explain import Explanation, explain
from graph.resource import ResourceType
from mover import metal3
from mover.api.places import ClusterRef, namespace_of_move
from mover.choosing import choose, chooses
from mover.concurrency import both
from mover.directory.files import FileError, read_file, write_file
from mover.discovery import credential_namespaces, discover, list_providers, movable_types
from mover.errors import RefusedError, UsageError
from mover.events import Listener
from mover.execute.run import identity_of
from mover.kube import Cluster, connect
from mover.lookup import find_object
from mover.models import MoveOptions
from mover.namespace import check_rules, namespace_mutator
from mover.planning import Mutator, Plan, Rules, make_plan
from mover.saved_plan import (
    LONGEST,
    SavedPlan,
    changes_since,
    decode,
    encode,
    planned_options,
    require_cluster,
    saved_plan,
)
from mover.waiting import wait_until


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
    saved = await read_plan(plan_file)
    options = planned(saved, options)
    async with await connect("source", source.kubeconfig, source.context, source.max_requests) as cluster:
        await require_planned_cluster(saved, cluster)
        plan = await plan_of(cluster, namespace_of_move(cluster, options), options)
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
    async with await connect("source", source.kubeconfig, source.context, source.max_requests) as cluster:
        plan = await plan_of(cluster, namespace_of_move(cluster, options), options)
        found = await find_object(cluster, plan, text)
    return explain(plan.selection, plan.creation, plan.deletion, found.uid)


async def types_async(source: ClusterRef) -> tuple[tuple[ResourceType, ...], tuple[str, ...]]:
    """Returns the types that a move from `source` reads, and the namespaces of its infrastructure providers.

    Raises:
        UsageError: The kubeconfig or context is not there, or it is no management cluster.
        ApiError: The cluster refused a request or could not be reached.
    """
    async with await connect("source", source.kubeconfig, source.context, source.max_requests) as cluster:
        types, providers = await both(movable_types(cluster), list_providers(cluster))
    return types, credential_namespaces(providers)


async def read_plan(file: Path | None) -> SavedPlan | None:
    """Returns the saved plan of a file, None without one."""
    if file is None:
        return None
    try:
        return decode(await asyncio.to_thread(read_file, file, LONGEST, may_be_link=True), str(file))
    except FileError as error:
        raise UsageError(f"The plan {error}", "Save one with: capi-mover plan --save FILE") from error


def planned(saved: SavedPlan | None, options: MoveOptions | None) -> MoveOptions:
    """Returns the options of a move, as its saved plan has them if there is one."""
    options = options or MoveOptions()
    return options if saved is None else planned_options(saved, options)


async def require_planned_cluster(saved: SavedPlan | None, source: Cluster) -> None:
    """Raises UsageError if a plan was saved of another cluster."""
    if saved is not None:
        require_cluster(saved, await identity_of(source))


def all_mutators(namespace: str, options: MoveOptions, others: Sequence[Mutator]) -> tuple[Mutator, ...]:
    """Returns the mutators of a move: that of `to_namespace` first."""
    if options.to_namespace is None:
        return tuple(others)
    check_rules(namespace, options.to_namespace)
    return (namespace_mutator(namespace, options.to_namespace), *others)


async def steady_plan(
    source: Cluster, namespace: str, options: MoveOptions, mutators: tuple[Mutator, ...], listener: Listener
) -> Plan:
    """Returns the plan, made when no host is about to change any more or wait_hosts_s is over."""
    plan = await plan_of(source, namespace, options, mutators)
    hosts = [obj for obj in plan.selection.moved if metal3.is_host(obj)]
    if not options.wait_hosts_s or not any(map(metal3.transition, hosts)):
        return plan
    await wait_until(source, hosts, metal3.transition, options.wait_hosts_s, listener)
    return await plan_of(source, namespace, options, mutators)


async def plan_of(source: Cluster, namespace: str, options: MoveOptions, mutators: tuple[Mutator, ...] = ()) -> Plan:
    """Returns the plan made from what is on the source now; see `plan_async`."""
    chooses(options)
    inventory = await discover(source, namespace, strict_labels=options.strict_labels)
    choice = await choose(source, inventory, options)
    return make_plan(inventory, Rules(mutators=mutators, clusters=choice.clusters, hosts=choice.hosts))
