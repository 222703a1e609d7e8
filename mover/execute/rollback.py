"""The way back: the copies leave the target, and the source is exactly as it was.

Copies first, pauses last: no object is unpaused on both clusters, not even for a moment.
"""

from __future__ import annotations

from collections.abc import Collection

from graph import rules
from mover.discovery import NAMESPACES
from mover.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    MoverError,
    NotFoundError,
    PauseTimeoutError,
    ServerError,
    StoppedError,
    SupersededError,
)
from mover.events import Listener, Noted
from mover.execute.announcing import announce_rolled_back
from mover.execute.clock import Clock
from mover.execute.emptiness import UnseenError, contents_of, why_unknown
from mover.execute.journal import Journal
from mover.execute.ready import run_each
from mover.execute.resuming import resume
from mover.execute.withdrawing import withdraw
from mover.kube import Cluster
from mover.models import MANAGER, Phase
from mover.pause import Pause, resume_patch
from mover.planning import Plan
from mover.record import Record
from mover.verify import read_objects
from mover.waiting import wait_until

_NAMESPACE_GOES_S = 60.0


async def roll_back(
    source: Cluster,
    target: Cluster,
    journal: Journal,
    plan: Plan,
    listener: Listener,
    made: Collection[str] = (),
) -> None:
    """Undoes a move before its commit point.

    If the target refuses or cannot be reached the source is resumed all the same: the copies are paused, so there is
    still one owner. The source's record stays then, and a later rollback takes the copies off.

    Args:
        source: The cluster to be as it was.
        target: The cluster with the copies.
        journal: The journal of the move; it must not be committed.
        plan: Made from what is on the source now.
        listener: Told of every step.
        made: UIDs on the target of copies that this program has made, whatever the target has made of them.

    Raises:
        StoppedError: The copies could not be taken off the target; the source is as it was.
        SupersededError: Another program has taken over; nothing more was changed.
    """
    clock = Clock(listener)
    with clock.phase(Phase.ROLLING_BACK, len(plan.selection.selected)):
        await journal.begin_rollback()
        try:
            await journal.write(journal.record)
            await _recognise(target, journal, plan, made)
            await _remove_copies(target, journal, plan, clock, listener)
        except SupersededError:
            raise
        except MoverError as error:
            await _restore_pauses(source, journal)
            raise StoppedError(
                f"The source is as it was, but the copies could not be taken off the target: {error}",
                "They are paused and do no harm; once that is mended: capi-mover rollback",
            ) from error
        await _restore_pauses(source, journal)
        await announce_rolled_back(source, plan, journal.record, listener)
        await journal.remove()
    listener(Noted("Everything is as it was before the move"))


async def _recognise(target: Cluster, journal: Journal, plan: Plan, made: Collection[str]) -> None:
    """Records what the copies look like that the target has changed at their creation, as an admission webhook may.

    A later rollback has to know them for copies if this one does not come to its end.
    """
    if not made:
        return
    known = {entry.key: entry for entry in journal.record.copies}
    images = {image.key: image for image in plan.images()}
    there = [obj for obj in await read_objects(target, plan.images()) if obj.uid in made and obj.key in known]
    changed = [obj for obj in there if not known[obj.key].describes(obj, images.get(obj.key))]
    if changed:
        journal.note_made({obj.key: obj.uid for obj in changed})
        await journal.advance(journal.record.phase, copies=journal.with_copies(changed))


async def _remove_copies(target: Cluster, journal: Journal, plan: Plan, clock: Clock, listener: Listener) -> None:
    removed = clock.counter(Phase.ROLLING_BACK, "removed")
    images = {image.key: image for image in plan.images()}
    await withdraw(target, journal.record, plan.inventory.types, removed, images=images)
    await resume(target, _pauses_of_adopted(journal.record, plan), listener)
    for name in journal.record.namespaces:
        await _remove_namespace(target, name, listener)


def _pauses_of_adopted(record: Record, plan: Plan) -> list[Pause]:
    """Returns the pauses of shared objects that the target had before: Clusters that live there use them.

    Clusters and hosts that were overwritten stay paused: their originals are about to be resumed.
    """
    adopted = [obj for obj in plan.selection.selected if obj.uid in record.overwritten]
    keys = {plan.image(obj).key for obj in adopted if rules.is_shareable(obj.type.group_kind)}
    return [pause for entry in record.target_pauses if (pause := entry.pause()).key in keys]


async def _remove_namespace(target: Cluster, name: str, listener: Listener) -> None:
    """Deletes a namespace that the move has created, unless somebody else has put something into it.

    Waits until it is gone, as long as that is a matter of seconds: the next move would meet a dying one.
    """
    try:
        found = await target.get(NAMESPACES, "", name)
        if others := await contents_of(target, name):
            listener(Noted(f"The namespace {name} of the target stays: others have put something into it ({others})"))
            return
        if not found.deleting:
            await target.delete(NAMESPACES, found.key, uid=found.uid, resource_version=found.resource_version)
        await wait_until(target, [found], lambda _: "it is being deleted", _NAMESPACE_GOES_S, listener)
    except NotFoundError:
        return
    except ConflictError:
        listener(Noted(f"The namespace {name} of the target stays: somebody has changed it meanwhile"))
    except PauseTimeoutError:
        listener(Noted(f"The namespace {name} of the target is still being deleted"))
    except (ForbiddenError, InvalidError, ServerError, UnseenError) as error:
        listener(Noted(f"The namespace {name} of the target stays: {why_unknown(error)}"))


async def _restore_pauses(source: Cluster, journal: Journal) -> None:
    async def restore(pause: Pause) -> None:
        try:
            await source.merge_patch(pause.resource, pause.key, resume_patch(pause), manager=MANAGER)
        except NotFoundError:
            # Somebody has deleted it meanwhile; there is nothing to resume.
            return

    await run_each([entry.pause() for entry in journal.record.pauses], restore)
