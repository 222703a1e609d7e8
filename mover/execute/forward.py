"""The way of a move from its claim to its end: what each phase does and records.

Read and write ordering, on which everything else rests:

1. A pause is recorded before it is set.
2. The record is on both clusters before anything is created on the target.
   What is copied ahead of the pause is compared again, and made anew where it differs, once the source is paused.
3. A pause is watched from the moment it is set until its original is gone: off before the commit ends the move, off
   after it is set again, and nothing is deleted meanwhile.
4. Nothing is deleted before every copy was read back and found equal, and before both records say `deleting`; the
   source's says so first, and what the source's record says counts.
5. The target is resumed only when the source's originals are gone.
6. The records go last, the source's first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from graph.order import Order
from graph.resource import Object, ObjectKey
from mover.checks.ties import check_left_dependents, check_split
from mover.differences import content
from mover.discovery import SECRETS, again, deletion_webhooks
from mover.errors import BlockedError, Difference, StoppedError, VerificationError
from mover.events import Listener, Noted
from mover.execute.announcing import announce_moved
from mover.execute.clock import Clock
from mover.execute.copying import Copier, ForeignObjectError, copies_made, create_namespaces, missing_namespaces
from mover.execute.deleting import CopyAgain, Remover
from mover.execute.journal import Journal
from mover.execute.latecomers import Latecomers
from mover.execute.pause_watch import PauseWatch
from mover.execute.pausing import Pauser
from mover.execute.ready import run_each
from mover.execute.resuming import resume
from mover.execute.withdrawing import withdraw
from mover.kube import Cluster
from mover.models import Phase
from mover.pause import Pause, united
from mover.planning import Plan, make_plan
from mover.record import PauseEntry
from mover.stripping import is_stripped
from mover.verify import Made, compare_copies, read_objects, source_drift

_SETTLING_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished move did.

    Attributes:
        plan: The plan that was carried out, made from the snapshot of the paused source.
        created: How many copies the move made, each read back and found equal.
        seconds: Duration of each phase, in seconds.
        paused_s: From the first pause on the source to the last resume on the target, in seconds.
    """

    plan: Plan
    created: int
    seconds: Mapping[Phase, float]
    paused_s: float


class Forward:
    """Carries a move forward from the phase that its journal says."""

    def __init__(self, source: Cluster, target: Cluster, journal: Journal, plan: Plan, listener: Listener) -> None:
        """`plan` was made from what is on the source now; it is made again when the source has been paused."""
        self._source = source
        self._target = target
        self._journal = journal
        self.plan = plan
        self._options = journal.record.options
        self._listener = listener
        self._clock = Clock(listener)
        self._copier: Copier | None = None
        self._ahead: frozenset[str] = frozenset()

    @property
    def made(self) -> frozenset[str]:
        """Returns the UIDs on the target of the copies that the move has made, as far as this run knows them."""
        if self._copier is None:
            return self._ahead
        return self._ahead | {self._copier.new_uids[uid] for uid in self._copier.created}

    async def run(self) -> Outcome:
        """Carries the move out to its end.

        Raises:
            StoppedError: The move cannot go on.
            VerificationError: The copies differ; nothing was deleted.
            ApiError: A cluster refused a request.
        """
        record = self._journal.record
        if record.options.copy_ahead and record.phase in (Phase.CLAIMED, Phase.COPYING_AHEAD):
            await self._copy_ahead()
        paused_from_s = self._clock.elapsed()
        created = 0
        if record.phase is not Phase.RESUMING:
            async with PauseWatch(self._source, self.plan, self._options, self._listener) as watch:
                if record.is_committed:
                    await watch.take_over()
                    await self._complete(watch)
                else:
                    created = await self._carry_over(watch, mend=record.phase is not Phase.CLAIMED)
        await self._resume()
        await self._journal.remove()
        return Outcome(self.plan, created, self._clock.seconds, self._clock.elapsed() - paused_from_s)

    async def _carry_over(self, watch: PauseWatch, *, mend: bool) -> int:
        """Copies all there is and deletes the originals; returns how many copies were made."""
        copier = await watch.unless_taken_off(self._copy_paused(watch, mend=mend or self._options.copy_ahead))
        await watch.require()
        watch.set_again_from_now_on()
        await self._commit()
        await watch.unless_taken_off(self._delete(copier, watch))
        return len(copier.created)

    async def _copy_paused(self, watch: PauseWatch, *, mend: bool) -> Copier:
        """Pauses the source, also if an earlier run has, and copies it; returns when every copy is as it should be."""
        await self._pause(watch)
        _require_whole(self.plan, self._source)
        self._require_copies_wanted()
        copier = await self._create()
        await self._verify(copier, mend=mend)
        if mend:
            await self._withdraw_gone()
        return copier

    async def _complete(self, watch: PauseWatch) -> None:
        """Deletes what is left of the originals of a move that was interrupted; what was paused is paused again."""

        async def work() -> None:
            await self._delete(await self._complete_copies(), watch)

        await watch.unless_taken_off(work())

    async def _pause(self, watch: PauseWatch) -> None:
        reached = self._journal.record.phase
        phase = reached if reached in (Phase.CREATING, Phase.VERIFYING) else Phase.PAUSING

        async def note(pauses: Sequence[Pause]) -> None:
            await self._journal.advance(phase, pauses=tuple(map(PauseEntry.of, pauses)))

        with self._clock.phase(Phase.PAUSING, len(self.plan.selection.moved)):
            known = [entry.pause() for entry in self._journal.record.pauses]
            await Pauser(self._source, self.plan, self._options, watch, self._listener).pause(known, note)
            self.plan = await self._plan_again()

    async def _copy_ahead(self) -> None:
        """Copies what there is while the source is at work: what changes meanwhile is copied again later."""
        await self._create(Phase.COPYING_AHEAD)
        self._ahead = self.made
        # What is paused is what there is now, not what there was before so many copies.
        self.plan = await self._plan_again()

    async def _withdraw_gone(self) -> None:
        """Takes the copies off the target whose originals are gone: copied ahead or by an earlier run, deleted since.

        All other copies have their owners by now, so that the target's garbage collector takes none of them along.
        """
        record = self._journal.record
        wanted = {image.key for image in self.plan.images()}
        gone = tuple(entry for entry in record.copies if entry.key not in wanted)
        if gone:
            of_gone = record.model_copy(update={"copies": gone})
            done = self._clock.counter(record.phase, "withdrawn")
            others = await withdraw(self._target, of_gone, self.plan.inventory.types, done, self._ahead)
            if others:
                # Left there it would be resumed with the copies, or be taken for one.
                raise ForeignObjectError(others, self._target.name)
            left = tuple(entry for entry in record.copies if entry.key in wanted)
            await self._journal.advance(record.phase, copies=left)

    async def _create(self, phase: Phase = Phase.CREATING) -> Copier:
        with self._clock.phase(phase, len(self.plan.creation.sequence)):
            known = frozenset(entry.key for entry in self._journal.record.copies)
            await self._prepare(phase)
            return await self._copy_all(phase, known)

    async def _prepare(self, phase: Phase) -> None:
        """Records what is about to be created, and creates the namespaces."""
        record = self._journal.record
        missing = await missing_namespaces(self._target, self.plan)
        there = {**record.used, **record.overwritten}
        images = [self.plan.image(obj) for obj in self.plan.selection.selected if obj.uid not in there]
        await self._journal.advance(
            phase,
            copies=self._journal.with_copies(images),
            namespaces=tuple(sorted({*record.namespaces, *missing})),
            # What the target had before is not paused ahead, so that a rollback has nothing to resume there.
            target_pauses=() if phase is Phase.COPYING_AHEAD else self._target_pauses(),
        )
        others = await create_namespaces(self._source, self._target, self.plan, missing)
        if others:
            namespaces = tuple(name for name in self._journal.record.namespaces if name not in others)
            await self._journal.advance(phase, namespaces=namespaces)

    async def _copy_all(self, phase: Phase, known: Collection[ObjectKey]) -> Copier:
        """Returns a copier that has made all copies which were not there yet; `known` ones may have been."""
        record = self._journal.record
        copier = Copier(self._target, self.plan, self._options, record.used, record.overwritten)
        self._copier = copier
        made = await copies_made(self._target, self.plan, {**record.used, **record.overwritten})
        try:
            unknown = {uid: copy for uid, copy in made.items() if copy not in self._ahead}
            await self._require_own(unknown, known)
            copier.take_over(made)
            is_ahead = phase is Phase.COPYING_AHEAD
            done = self._clock.counter(phase, "copied" if is_ahead else "created")
            await copier.copy_all(done, ahead=is_ahead)
            self._note_made(copier)
        except ForeignObjectError as error:
            # Recorded, so that a rollback does not take it for a copy.
            keys = tuple((key.group, key.kind, key.namespace, key.name) for key in error.keys)
            await self._journal.advance(phase, foreign=(*self._journal.record.foreign, *keys))
            raise
        return copier

    def _note_made(self, copier: Copier) -> None:
        """Takes note of the UIDs of copied Secrets: what is in them is not recorded, not as a digest either."""
        secrets = [obj for obj in self.plan.selection.selected if obj.type == SECRETS and obj.uid in copier.created]
        self._journal.note_made({self.plan.image(obj).key: copier.new_uids[obj.uid] for obj in secrets})

    async def _require_own(self, made: Mapping[str, str], known: Collection[ObjectKey]) -> None:
        """What is on the target was put there by an earlier run of this move, and by nobody else.

        What was not recorded as a copy before is none of ours. What was has a content that was recorded, too; what has
        another content is not taken for a copy, and not overwritten.
        """
        if not made:
            return
        entries = {entry.key: entry for entry in self._journal.record.copies}
        images = {uid: self.plan.image(self.plan.object(uid)) for uid in self.plan.creation.sequence if uid in made}
        there = {obj.key: obj for obj in await read_objects(self._target, tuple(images.values()))}
        foreign = [
            image.key
            for image in images.values()
            if image.key not in known
            or (image.key in there and not entries[image.key].describes(there[image.key], image))
        ]
        if foreign:
            raise ForeignObjectError(foreign, self._target.name)

    def _require_copies_wanted(self) -> None:
        """What an earlier run has copied for single Clusters still goes with them; nothing is left over."""
        if self.plan.rules.clusters is None or self._options.copy_ahead:
            return
        wanted = {image.key for image in self.plan.images()}
        for entry in self._journal.record.copies:
            if entry.key not in wanted:
                raise StoppedError(
                    f"{entry.key} was to move, but belongs to none of the chosen Clusters any more",
                    "Undo the move with: capi-mover rollback, then move again",
                )

    def _target_pauses(self) -> tuple[PauseEntry, ...]:
        pauses = [entry.pause() for entry in self._journal.record.pauses]
        of_moved = [self.plan.image_of_pause(pause) for pause in pauses if pause.is_pause]
        return tuple(map(PauseEntry.of, (*of_moved, *self.plan.copy_pauses())))

    async def _verify(self, copier: Copier, *, mend: bool) -> None:
        with self._clock.phase(Phase.VERIFYING, len(copier.created)):
            await self._journal.advance(Phase.VERIFYING)
            await self._settle(copier, mend=mend)

    async def _settle(self, copier: Copier, *, mend: bool) -> None:
        """Returns when every copy equals the newest state of its original.

        What changed on the source since the snapshot is copied again until nothing has changed while it was
        verified. With `mend` copies that differ are made anew once, too: an earlier run may have been ended between
        an object and its status.
        """
        for _ in range(_SETTLING_ROUNDS):
            found = await compare_copies(self._target, self.plan, copier.made(), self._options.restore_status)
            if found and not mend:
                raise VerificationError([difference for group in found.values() for difference in group])
            drift = await source_drift(self._source, self.plan)
            _require_same(drift.appeared, drift.vanished, self._source)
            # What the target had before does not follow its original, which need not be paused.
            changed = {obj.uid for obj in drift.changed} - self._journal.record.used.keys()
            if not found and not changed:
                return
            if changed:
                self.plan = await self._plan_again()
                # Listed again, so that something may have come with it that has no copy.
                new = [obj for obj in self.plan.selection.selected if obj.uid not in copier.new_uids]
                _require_same(new, (), self._source)
                copier.follow(self.plan)
            await self._renew(copier, found, changed)
            mend = False
        raise StoppedError(
            f"Objects on the {self._source.name} cluster kept changing although they are paused",
            "Find out which controller ignores the pause and stop it",
        )

    async def _renew(self, copier: Copier, found: Mapping[str, Sequence[Difference]], changed: Collection[str]) -> None:
        """Makes copies anew: those with differences as far as these go, those whose originals have changed wholly."""
        renewed = [self.plan.object(uid) for uid in self.plan.creation.sequence if uid in found or uid in changed]
        # What is there and is written over is no copy: a rollback leaves it.
        made = [obj for obj in renewed if obj.uid not in self._journal.record.overwritten]
        copies = self._journal.with_copies([self.plan.image(obj) for obj in made])
        await self._journal.advance(self._journal.record.phase, copies=copies)

        async def work(obj: Object) -> None:
            if obj.uid not in changed and obj.type.has_status and all(map(_is_of_server, found[obj.uid])):
                await copier.refresh(obj)
            else:
                await copier.renew(obj)

        await run_each(renewed, work)

    async def _commit(self) -> None:
        """Records that from now on only forward is safe."""
        moving = tuple(sorted(obj.uid for obj in self.plan.selection.moved))
        pauses = united(map(PauseEntry.pause, self._journal.record.target_pauses), self.plan.copy_pauses())
        entries = tuple(map(PauseEntry.of, pauses))
        await self._journal.advance(Phase.DELETING, moving=moving, target_pauses=entries)

    async def _complete_copies(self) -> Copier:
        """Returns a copier for what is left on the source when deleting was interrupted; every copy is complete.

        An original that was stripped already is no source to copy from; its copy is the truth.
        """
        record = self._journal.record
        copier = Copier(self._target, self.plan, self._options, record.used)
        copier.take_over(await copies_made(self._target, self.plan, record.used))
        lost = [obj for obj in self.plan.selection.moved if obj.uid not in copier.new_uids and is_stripped(obj)]
        if lost:
            raise BlockedError(
                f"{lost[0].key} has no copy on the {self._target.name} cluster any more, and its original has lost its "
                "finalizers already",
                "Find out what deleted the copy; create it anew from the original by hand, then go on",
            )
        there = frozenset(copier.new_uids)
        await copier.copy_all(self._clock.counter(Phase.CREATING, "created"))
        await self._require_equal(Made(frozenset(copier.created) - there, copier.new_uids))
        copies = {obj.key: obj for obj in await read_objects(self._target, self.plan.images())}
        for obj in self.plan.selection.moved:
            image = self.plan.image(obj)
            if not is_stripped(obj) and content(image) != content(copies[image.key]):
                await copier.renew(obj, with_status=False)
        return copier

    async def _require_equal(self, made: Made) -> None:
        """Reads copies that were made after the commit back, before their originals are deleted."""
        if not made.created:
            return
        found = await compare_copies(self._target, self.plan, made, self._options.restore_status)
        if found:
            shown = "\n".join(f"  - {difference}" for group in found.values() for difference in group)
            raise BlockedError(
                f"Copies that were made on the {self._target.name} cluster after the commit differ:\n"
                f"{shown}\nNothing more was deleted",
                "Find out what changes them there, then go on with: capi-mover resume",
            )

    async def _delete(self, copier: Copier, watch: PauseWatch) -> None:
        await self._announce(copier, copier.new_uids.keys())
        with self._clock.phase(Phase.DELETING, len(self.plan.deletion.sequence)):
            webhooks = await deletion_webhooks(self._source)
            remover = Remover(self._source, webhooks, CopyAgain(copier), watch.all_on)
            late = Latecomers(self._source, self.plan, self._listener)
            async with late.watched() as arrived:
                await self._take_along(copier, arrived)
                await self._remove(copier, remover, self.plan.deletion)
                while arrived := await late.arrived():
                    await self._take_along(copier, arrived)
                    await self._remove(copier, remover, self.plan.deletion.only({obj.uid for obj in arrived}))
            await self._journal.advance(Phase.RESUMING)

    async def _remove(self, copier: Copier, remover: Remover, order: Order) -> None:
        objects = {uid: self.plan.object(uid) for uid in order.sequence}
        _require_copies(copier, objects, self._journal.record.used, self._source)
        await remover.remove_all(objects, order, self._clock.counter(Phase.DELETING, "deleted"))

    async def _take_along(self, copier: Copier, arrived: Sequence[Object]) -> None:
        """Copies what has appeared since the commit below owners that leave, as part of the move from now on."""
        if not arrived:
            return
        names = ", ".join(str(obj.key) for obj in arrived)
        self._listener(Noted(f"Appeared after the commit below what moves, and moves with it: {names}"))
        uids = frozenset(obj.uid for obj in arrived)
        self.plan = _with(self.plan, arrived)
        record = self._journal.record
        # Of those that were known before, one that is off now was taken off since: their copies stay as they are.
        keys = {self.plan.image(obj).key for obj in arrived}
        new = [pause for pause in self.plan.copy_pauses() if pause.key in keys]
        pauses = united(map(PauseEntry.pause, record.target_pauses), new)
        await self._journal.advance(
            Phase.DELETING,
            moving=tuple(sorted({*record.moving, *uids})),
            target_pauses=tuple(map(PauseEntry.of, pauses)),
        )
        copier.follow(self.plan)
        await copier.copy_more(uids)
        await self._require_equal(Made(uids, copier.new_uids))
        await self._announce(copier, uids)

    async def _announce(self, copier: Copier, uids: Collection[str]) -> None:
        """Tells of the Clusters among the objects that they move, which is certain now."""
        copies = {uid: copy for uid, copy in copier.new_uids.items() if uid in uids}
        await announce_moved(self._source, self._target, self.plan, copies, self._journal.record, self._listener)

    async def _resume(self) -> None:
        pauses = [entry.pause() for entry in self._journal.record.target_pauses]
        with self._clock.phase(Phase.RESUMING, len(pauses)):
            await resume(self._target, pauses, self._listener)

    async def _plan_again(self) -> Plan:
        """Returns the same plan made from what is on the source now."""
        plan = make_plan(await again(self._source, self.plan.inventory), self.plan.rules)
        _require_whole(plan, self._source)
        return plan


def _is_of_server(difference: Difference) -> bool:
    """Returns whether a difference is of what is written after an object itself: its status, or its managers."""
    return difference.path.startswith(("status", "metadata.managers"))


def _with(plan: Plan, arrived: Sequence[Object]) -> Plan:
    """Returns the plan with some more objects, which move."""
    objects = {obj.uid: obj for obj in (*plan.inventory.objects, *arrived)}
    inventory = replace(plan.inventory, objects=tuple(sorted(objects.values(), key=lambda obj: obj.key)))
    exactly = plan.rules.exactly
    rules = plan.rules if exactly is None else replace(plan.rules, exactly=exactly | {obj.uid for obj in arrived})
    return make_plan(inventory, rules)


def _require_whole(plan: Plan, source: Cluster) -> None:
    """No Cluster that stays, and is at work all the time, has begun to share what cannot be shared."""
    if plan.rules.clusters is None:
        return
    problems = [*check_split(plan), *check_left_dependents(plan)]
    if problems:
        raise StoppedError(
            f"{problems[0].subject} of the {source.name} cluster came to be shared meanwhile: {problems[0].what}",
            problems[0].remedy,
        )


def _require_same(appeared: Sequence[Object], vanished: Sequence[Object], source: Cluster) -> None:
    if appeared or vanished:
        names = ", ".join(str(obj.key) for obj in (*appeared, *vanished))
        raise StoppedError(
            f"Objects appeared or vanished on the {source.name} cluster while it was paused: {names}",
            "Find out who creates or deletes them, then move again",
        )


def _require_copies(copier: Copier, originals: Mapping[str, Object], used: Collection[str], source: Cluster) -> None:
    """The last look before anything is deleted: every original has a copy, that was made and read back."""
    lost = [obj for uid, obj in originals.items() if uid not in copier.new_uids or uid in used]
    if lost:
        raise BlockedError(
            f"{lost[0].key} of the {source.name} cluster has no copy; nothing more is deleted",
            "This is an error of capi-mover: please report it, with the output of: capi-mover status",
        )
