"""The way back: the copies leave the target, and the source is exactly as it was.

Copies first, pauses last: no object is unpaused on both clusters, not even for a moment.
"""

from __future__ import annotations

from graph.resource import ObjectKey
from mover.discovery import NAMESPACES, deletion_webhooks, discover
from mover.errors import MoverError, NotFoundError, PauseTimeoutError, StoppedError, UsageError
from mover.events import Listener, Noted
from mover.execute.clock import Clock
from mover.execute.copying import copies_made
from mover.execute.deleting import Remover, settle_nothing
from mover.execute.journal import Journal
from mover.execute.ready import run_each
from mover.kube import Cluster
from mover.models import MANAGER, Phase
from mover.pause import Pause, resume_patch
from mover.plan import Plan
from mover.verify import read_objects
from mover.waiting import wait_until

# Kubernetes puts this ConfigMap into every namespace by itself.
_ROOT_CA = "kube-root-ca.crt"
_NAMESPACE_GOES_S = 60.0


async def roll_back(source: Cluster, target: Cluster, journal: Journal, plan: Plan, listener: Listener) -> None:
    """Undoes a move before its commit point.

    If the target refuses or cannot be reached the source is resumed all the same: the copies are paused, so there is
    still one owner. The source's record stays then, and a later rollback takes the copies off.

    Args:
        source: The cluster to be as it was.
        target: The cluster with the copies.
        journal: The journal of the move; it must not be committed.
        plan: Made from what is on the source now.
        listener: Told of every step.

    Raises:
        StoppedError: The copies could not be taken off the target; the source is as it was.
    """
    clock = Clock(listener)
    with clock.phase(Phase.ROLLING_BACK, len(plan.selection.selected)):
        await journal.begin_rollback()
        try:
            await journal.write(journal.record)
            await _remove_copies(target, journal, plan, clock, listener)
        except MoverError as error:
            await _restore_pauses(source, journal)
            raise StoppedError(
                f"The source is as it was, but the copies could not be taken off the target: {error}",
                "They are paused and do no harm; once that is mended: capi-mover rollback",
            ) from error
        await _restore_pauses(source, journal)
        await journal.remove()
    listener(Noted("Everything is as it was before the move"))


async def _remove_copies(target: Cluster, journal: Journal, plan: Plan, clock: Clock, listener: Listener) -> None:
    record = journal.record
    if not record.copying:
        return
    kept = {**record.used, **record.overwritten}
    made = await copies_made(target, plan, kept)
    there = {obj.uid: obj for obj in await read_objects(target, plan.images())}
    foreign = {ObjectKey(*parts) for parts in record.foreign}
    copies = {uid: there[new] for uid, new in made.items() if new in there and there[new].key not in foreign}
    remover = Remover(target, await deletion_webhooks(target), settle_nothing)
    order = plan.creation.only(copies).backwards()
    await remover.remove_all(copies, order, clock.counter(Phase.ROLLING_BACK, "removed"))
    for name in record.namespaces:
        await _remove_namespace(target, name, listener)


async def _remove_namespace(target: Cluster, name: str, listener: Listener) -> None:
    """Deletes a namespace that the move has created, unless somebody else has put something into it.

    Waits until it is gone, as long as that is a matter of seconds: the next move would meet a dying one.
    """
    try:
        found = await target.get(NAMESPACES, "", name)
        inventory = await discover(target, name)
        if any(obj.key.namespace == name and obj.key.name != _ROOT_CA for obj in inventory.objects):
            return
        if not found.deleting:
            await target.delete(NAMESPACES, found.key, uid=found.uid)
        await wait_until(target, [found], lambda _: "it is being deleted", _NAMESPACE_GOES_S, listener)
    except (NotFoundError, UsageError):
        # It is gone; the second by the look into it.
        return
    except PauseTimeoutError:
        listener(Noted(f"The namespace {name} of the target is still being deleted"))


async def _restore_pauses(source: Cluster, journal: Journal) -> None:
    async def restore(pause: Pause) -> None:
        try:
            await source.merge_patch(pause.resource, pause.key, resume_patch(pause), manager=MANAGER)
        except NotFoundError:
            # Somebody has deleted it meanwhile; there is nothing to resume.
            return

    await run_each([entry.pause() for entry in journal.record.pauses], restore)
