"""Which Clusters and hosts of a namespace are meant: by name, by label selector.

Selectors are left to the API server, which knows how to read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graph import rules
from graph.resource import Object, ObjectKey
from graph.rules import GroupKind
from mover.discovery import Inventory, find_type
from mover.errors import InvalidError, UsageError
from mover.kube import Cluster
from mover.kube.cluster import collection_path
from mover.models import MoveOptions


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a namespace moves.

    Attributes:
        clusters: The Clusters; None if the whole namespace moves.
        hosts: The spare hosts that come along with them.
    """

    clusters: frozenset[ObjectKey] | None = None
    hosts: frozenset[ObjectKey] = frozenset()


def chooses(options: MoveOptions) -> bool:
    """Returns whether single Clusters are asked for.

    Raises:
        UsageError: The options contradict each other.
    """
    by_cluster = bool(options.clusters or options.selector)
    if (options.hosts or options.all_hosts) and not by_cluster:
        raise UsageError(
            "Spare hosts are chosen only beside single Clusters (--cluster, --selector)",
            "With a whole namespace all of them move",
        )
    if options.hosts and options.all_hosts:
        raise UsageError("Please specify only one of --hosts and --all-hosts")
    if options.clusters and options.selector:
        raise UsageError("Please specify only one of --cluster and --selector")
    if by_cluster and options.namespace == "":
        raise UsageError("Single Clusters are of one namespace", "Choose it with --namespace")
    return by_cluster


async def choose(source: Cluster, inventory: Inventory, options: MoveOptions) -> Choice:
    """Returns the Clusters and hosts that the options mean.

    Raises:
        UsageError: A name or a selector means nothing that is there, or is none.
    """
    if not chooses(options):
        return Choice()
    there = {obj.key.name for obj in inventory.objects if obj.type.group_kind == rules.CLUSTER}
    if options.selector:
        names = await _selected(source, inventory, rules.CLUSTER, options.selector)
        _require(names, f"The selector {options.selector} selects no Cluster", there, inventory)
    else:
        names = frozenset(options.clusters)
        unknown = ", ".join(sorted(names - there))
        _require(not unknown, f"There is no Cluster {unknown}", there, inventory)
    return Choice(_keys(rules.CLUSTER, names, inventory), await _hosts(source, inventory, options))


async def _hosts(source: Cluster, inventory: Inventory, options: MoveOptions) -> frozenset[ObjectKey]:
    hosts = (obj for obj in inventory.objects if obj.type.group_kind == rules.BARE_METAL_HOST)
    spare = {obj.key.name for obj in hosts if _is_spare(obj)}
    if options.all_hosts:
        return _keys(rules.BARE_METAL_HOST, spare, inventory)
    if not options.hosts:
        return frozenset()
    names = await _selected(source, inventory, rules.BARE_METAL_HOST, options.hosts) & spare
    _require(names, f"The selector {options.hosts} selects no spare host", spare, inventory)
    return _keys(rules.BARE_METAL_HOST, names, inventory)


def _is_spare(host: Object) -> bool:
    return not (host.body().get("spec") or {}).get("consumerRef")


def _keys(kind: GroupKind, names: Iterable[str], inventory: Inventory) -> frozenset[ObjectKey]:
    return frozenset(ObjectKey(*kind, inventory.namespace, name) for name in names)


async def _selected(source: Cluster, inventory: Inventory, kind: GroupKind, selector: str) -> frozenset[str]:
    resource = find_type(inventory.types, kind)
    if resource is None:
        return frozenset()
    try:
        items = await source.list_names(collection_path(resource, inventory.namespace), {"labelSelector": selector})
    except InvalidError as error:
        raise UsageError(
            f"{selector!r} is no label selector: {error.message}", "For example: env=prod,tier!=test"
        ) from error
    return frozenset(item["metadata"]["name"] for item in items)


def _require(held: object, what: str, there: Iterable[str], inventory: Inventory) -> None:
    if not held:
        names = ", ".join(sorted(there)) or "none"
        raise UsageError(f"{what} in the namespace {inventory.namespace}", f"There are: {names}")
