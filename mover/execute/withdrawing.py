"""Taking copies off the target: of a move that is undone, or of an original that was gone before it was paused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from graph.build import build
from graph.order import deletion_order
from graph.resource import Object, ObjectKey, ResourceType
from graph.selection import Scope, select
from mover.concurrency import all_of
from mover.discovery import deletion_webhooks, find_type
from mover.errors import NotFoundError
from mover.execute.deleting import Remover, settle_nothing
from mover.kube import Cluster
from mover.record import CopyEntry, Record


async def withdraw(
    target: Cluster,
    record: Record,
    types: Collection[ResourceType],
    done: Callable[[Object], None],
    made: Collection[str] = (),
    images: Mapping[ObjectKey, Object] = MappingProxyType({}),
) -> tuple[ObjectKey, ...]:
    """Deletes the copies that a record names from the target, dependents first.

    What has the name of a copy and a content that the move has never written is somebody else's, and stays; its keys
    are returned.

    Args:
        target: The cluster with the copies.
        record: What the move has written.
        types: The types of what moves.
        done: Told of each copy that is gone.
        made: UIDs on the target of copies that this program has made, whatever the target has made of them.
        images: What the copies would be made of now, as far as their originals are there.
    """
    foreign = {ObjectKey(*parts) for parts in record.foreign}
    entries = {entry.key: entry for entry in record.copies if entry.key not in foreign}
    lists = await all_of(_list(target, types, *space) for space in sorted(set(map(_space, record.copies))))
    there = [obj for found in lists for obj in found if obj.key in entries]
    copies = {obj.uid: obj for obj in there if obj.uid in made or entries[obj.key].describes(obj, images.get(obj.key))}
    order = deletion_order(select(build(copies.values()), Scope(exactly=frozenset(copies))))
    remover = Remover(target, await deletion_webhooks(target), settle_nothing)
    await remover.remove_all(copies, order, done)
    return tuple(sorted(obj.key for obj in there if obj.uid not in copies))


def _space(entry: CopyEntry) -> tuple[str, str, str]:
    return entry.group, entry.kind, entry.namespace


async def _list(
    target: Cluster, types: Collection[ResourceType], group: str, kind: str, namespace: str
) -> tuple[Object, ...]:
    resource = find_type(types, (group, kind))
    try:
        return (await target.list(resource, namespace)).objects if resource is not None else ()
    except NotFoundError:
        return ()
