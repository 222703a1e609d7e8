"""A source that was given up and has come back: what the move would have deleted from it goes, then the note of it.

Nothing is copied again: the copies have been at work since, and are the truth.
"""

from __future__ import annotations

from collections.abc import Sequence

from graph.resource import Object
from mover.discovery import Inventory, deletion_webhooks, discover
from mover.errors import StoppedError, UsageError
from mover.events import Listener, Noted
from mover.execute.clock import Clock
from mover.execute.deleting import Remover, settle_nothing
from mover.execute.given_up import source_name
from mover.execute.journal import Journal, read_record
from mover.execute.lease import held
from mover.execute.pause_watch import PauseWatch
from mover.execute.run import Clusters, claimed, identity_of, require_same_clusters, rules_of
from mover.kube import Cluster
from mover.models import Phase
from mover.planning import Mutator, Plan, make_plan
from mover.record import Record
from mover.verify import read_objects


def require_note(record: Record) -> None:
    """Raises StoppedError if a record is of a move that is under way, and no note."""
    if not record.is_note:
        raise StoppedError(
            f"The move {record.id} is under way (phase {record.phase}); its source was not given up, or the target was "
            "not resumed yet",
            "See: capi-mover status",
        )


async def forget(target: Cluster, record: Record, listener: Listener) -> None:
    """Removes the note about a source that cannot come back.

    Raises:
        UsageError: The cluster is not the target of that move.
        StoppedError: The record is no note.
    """
    if (await identity_of(target)).uid != record.target.uid:
        raise UsageError(
            f"The move {record.id} has another target cluster (context {record.target.context})",
            "Give the kubeconfig of that one with --to-kubeconfig",
        )
    async with held(target, record.scope, listener):
        journal = await Journal.opened_alone(record, target)
        require_note(journal.record)
        await journal.remove()
    listener(Noted(f"Nothing on the {target.name} cluster speaks of {source_name(record)} any more"))


async def retire(clusters: Clusters, record: Record, mutators: Sequence[Mutator], listener: Listener) -> int:
    """Deletes what is left of the originals from a source that was given up, and returns how many there were.

    Their pauses are set again where they are off, and watched, as in a move; each is deleted exactly. Then the source's
    record goes, and the note last.

    Args:
        clusters: The source that has come back, and the target.
        record: The note.
        mutators: Those that the move was begun with.
        listener: Told of every step.

    Raises:
        UsageError: The clusters are others.
        StoppedError: The record is no note, or an original has no copy; nothing was deleted.
    """
    await require_same_clusters(clusters, record)
    async with claimed(clusters, record.scope, listener):
        await _require_own_record(clusters.source, record)
        journal, found = await Journal.opened(record, clusters.source, clusters.target)
        if found.target is None:
            raise StoppedError(f"The note of the move {record.id} was removed meanwhile", "See: capi-mover status")
        record = found.target
        require_note(record)
        plan = await _plan_of(clusters.source, record, mutators)
        await _require_copies(clusters, record, plan)
        await _delete(clusters.source, record, plan, listener)
        await journal.remove()
    return len(plan.selection.moved)


async def _require_own_record(source: Cluster, record: Record) -> None:
    found = await read_record(source, record.scope)
    if found is not None and (found.id != record.id or found.is_rolling_back):
        raise StoppedError(
            f"The source has a record of the move {found.id} (phase {found.phase}), which is not what was left there "
            f"when it was given up by the move {record.id}",
            "Find out who has written it; nothing was changed",
        )


async def _plan_of(source: Cluster, record: Record, mutators: Sequence[Mutator]) -> Plan:
    """Returns what is left of the originals.

    Raises:
        StoppedError: There is more on the source that would have moved.
    """
    try:
        inventory = await discover(source, record.namespace, strict_labels=record.options.strict_labels)
    except UsageError:
        # All originals are gone, and their namespace is gone, too.
        inventory = Inventory(record.namespace, (), (), (), frozenset())
    plan = make_plan(inventory, rules_of(record, mutators))
    left = {obj.uid for obj in plan.selection.moved}
    owned = [obj for obj in inventory.objects if obj.uid not in left and any(owner.uid in left for owner in obj.owners)]
    later = [obj for obj in owned if not plan.selection.is_selected(obj.uid)]
    if later:
        raise StoppedError(
            f"{_names(later)} on the source was not there when it was given up, and has no copy; it would go with its "
            "owner. Nothing was deleted",
            "Keep what is needed of it on the target, take it off the source, then give the same command again",
        )
    return plan


async def _require_copies(clusters: Clusters, record: Record, plan: Plan) -> None:
    images = [plan.image(obj) for obj in plan.selection.moved]
    there = {obj.key for obj in await read_objects(clusters.target, images, metadata_only=True)}
    lost = [obj for obj in plan.selection.moved if plan.image(obj).key not in there]
    if lost:
        raise StoppedError(
            f"{_names(lost)} on the source of the move {record.id} has no copy on the target any more. Nothing was "
            "deleted",
            "If the target has deleted it since in its own work, take its finalizers off on the source and delete it "
            "there, then give the same command again",
        )


async def _delete(source: Cluster, record: Record, plan: Plan, listener: Listener) -> None:
    clock = Clock(listener)

    async def work() -> None:
        webhooks = await deletion_webhooks(source)
        remover = Remover(source, webhooks, settle_nothing, watch.all_on)
        objects = {uid: plan.object(uid) for uid in plan.deletion.sequence}
        await remover.remove_all(objects, plan.deletion, clock.counter(Phase.DELETING, "deleted"))

    with clock.phase(Phase.DELETING, len(plan.deletion.sequence)):
        async with PauseWatch(source, plan, record.options, listener) as watch:
            await watch.take_over()
            await watch.unless_taken_off(work())


def _names(objects: Sequence[Object]) -> str:
    more = f" and {len(objects) - 5} more" if len(objects) > 5 else ""
    return ", ".join(str(obj.key) for obj in objects[:5]) + more
