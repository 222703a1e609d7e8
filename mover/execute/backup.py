"""Saving what a namespace holds to a directory: pause, snapshot, save, resume.

The source is paused and waited for as for a move, so that the files are of one moment at which no controller was in
the middle of something. It is resumed in any case, unless it is to stay paused for a hand-over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graph import rules
from mover.checks.registry import check_plan
from mover.concurrency import all_of
from mover.directory import Draft, Manifest, SavedNamespace, begin, file_names, new_manifest, read_manifest
from mover.discovery import NAMESPACES, discover, find_type, movable_types
from mover.errors import (
    ApiError,
    MoverError,
    NotFoundError,
    Problem,
    RefusedError,
    StoppedError,
    SupersededError,
    UsageError,
)
from mover.events import Listener, Noted, ObjectDone
from mover.execute.clock import Clock
from mover.execute.journal import under_way
from mover.execute.lease import LeaseLostError, held
from mover.execute.pause_watch import PauseWatch
from mover.execute.pausing import Pauser
from mover.execute.ready import run_each
from mover.execute.run import identity_of
from mover.kube import Cluster
from mover.models import MANAGER, MoveOptions, Phase
from mover.pause import Pause, resume_patch
from mover.planning import Plan, make_plan
from mover.scope import described
from mover.verify import source_drift

_SETTLING_ROUNDS = 5


class StillPausedError(StoppedError):
    """The source could not be resumed; `pauses` are left on it."""

    def __init__(self, folder: Path, failed: Mapping[Pause, MoverError], cause: BaseException | None = None) -> None:
        names = ", ".join(sorted({str(pause.key) for pause in failed}))
        why = next(iter(failed.values()))
        first = f"{cause}\n" if cause else ""
        super().__init__(
            f"{first}These objects of the source are still paused by the backup: {names}. They could not be resumed: "
            f"{why}",
            f"Once the cluster can be reached, resume it with: capi-mover release {folder}",
        )
        self.pauses = tuple(failed)


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What a backup did.

    Attributes:
        plan: What was saved, as it was on the paused source.
        manifest: What the directory's manifest says.
        seconds: Duration of each phase, in seconds.
        paused_s: How long objects of the source were paused, in seconds; until now if they are left paused.
    """

    plan: Plan
    manifest: Manifest
    seconds: Mapping[Phase, float]
    paused_s: float


async def backup(  # noqa: PLR0913 - what a move is asked for, and the two flags of a backup
    source: Cluster,
    plan: Plan,
    folder: Path,
    options: MoveOptions,
    listener: Listener,
    *,
    keep_paused: bool = False,
    encrypt_to: Sequence[str] = (),
) -> BackupResult:
    """Saves what `plan` selects to a directory that is empty or not there yet.

    If it fails, the source is as it was and nothing is left in the directory. A program that is killed leaves the
    marker of an unfinished backup, with which `release` resumes the source.

    Args:
        source: Where the objects are.
        plan: What to save; it is made again once the source is paused.
        folder: The directory.
        options: What was asked for: all that concerns the source and the pause.
        listener: Told of every step.
        keep_paused: Leave the source paused when all is saved, for a hand-over; `release` resumes it.
        encrypt_to: age recipients; with any, the files are encrypted.

    Raises:
        UsageError: There is nothing to save, the directory is not empty, or a recipient is none.
        RefusedError: The source is in no state to be saved; nothing was changed.
        FileError: A file could not be written: the disk is full, a permission is missing.
        StoppedError: The source did not get quiet, or could not be resumed, or a signal came.
        ApiError: The cluster refused a request.
    """
    clock = Clock(listener)
    scope = plan.inventory.namespace
    with stops_told("backup"):
        async with held(source, scope, listener):
            with clock.phase(Phase.PREFLIGHT):
                plan = await require_savable(source, plan, options)
                uid = (await identity_of(source)).uid
                known = new_manifest(scope, uid, source.context, source_paused=keep_paused)
                draft = await asyncio.to_thread(begin, folder, known, encrypt_to)
            return await _Backup(source, plan, draft, options, listener).run(clock)


async def release(source: Cluster, folder: Path, listener: Listener, *, identity: Path | None = None) -> int:
    """Resumes a source that a backup has left paused, wanted or not, and returns how many fields were put right.

    Args:
        source: The cluster that the backup is of.
        folder: Its directory, finished or not.
        listener: Told of every step.
        identity: A file with age identities, for an encrypted backup.

    Raises:
        UsageError: The directory is no backup, or one of another cluster.
        StillPausedError: Some objects could not be resumed.
    """
    manifest = await asyncio.to_thread(read_manifest, folder, identity)
    if (await identity_of(source)).uid != manifest.source_uid:
        raise UsageError(
            f"The backup {folder} is of another cluster (context {manifest.source_context})",
            "Choose that one with --kubeconfig",
        )
    pauses = await _as_served(source, folder, manifest.set_on_source)
    clock = Clock(listener)
    async with held(source, manifest.namespace, listener):
        with clock.phase(Phase.RELEASING, len(pauses)):
            failed = await _take_off(source, pauses, listener)
    if failed:
        raise StillPausedError(folder, failed)
    return len(pauses)


async def _as_served(source: Cluster, folder: Path, pauses: Sequence[Pause]) -> tuple[Pause, ...]:
    """Returns pauses out of a manifest with the types that the source has: a manifest could lead anywhere.

    Raises:
        UsageError: The source has no such kind.
    """
    types = await movable_types(source) if pauses else ()
    found = [(pause, find_type(types, pause.resource.group_kind)) for pause in pauses]
    for pause, resource in found:
        if resource is None:
            raise UsageError(
                f"The backup {folder} has a pause of {pause.key}, and the source cluster has no such kind",
                "See whether the manifest is that of this cluster",
            )
    return tuple(replace(pause, resource=resource) for pause, resource in found if resource is not None)


@contextmanager
def stops_told(what: str) -> Iterator[None]:
    """Turns a signal and the end of the time limit into an error that says so; `what` was stopped by it."""
    try:
        yield
    except TimeoutError as error:
        raise StoppedError(f"The time limit of the {what} (--timeout) is over", "Try again with more time") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        raise StoppedError(f"The {what} was stopped by a signal", "Try again") from error


async def moves_under_way(cluster: Cluster, scopes: Collection[str]) -> list[Problem]:
    """Returns a problem for each move that `cluster` takes part in and that overlaps with one of the scopes.

    Its pauses are not to be taken off by anybody else.
    """
    what = "the move {} of its objects is under way (phase {})"
    remedy = "Finish it with: capi-mover resume, or undo it with: capi-mover rollback"
    return [
        Problem("under-way", cluster.name, described(found.scope), what.format(found.id, found.phase), remedy)
        for found in await under_way(cluster, scopes)
    ]


async def require_savable(source: Cluster, plan: Plan, options: MoveOptions) -> Plan:
    """Returns the plan without what is left behind on request.

    Raises:
        UsageError: It selects nothing.
        RefusedError: It cannot be saved as it is (clusterctl mover.go, getObjectGraph, toDirectory).
    """
    if options.leave_behind:
        homeless = frozenset(obj.key for obj, _ in plan.selection.outside_owners)
        plan = make_plan(plan.inventory, replace(plan.rules, left_behind=homeless))
    if not plan.selection.selected:
        where = f"the namespace {plan.inventory.namespace}" if plan.inventory.namespace else "any namespace"
        raise UsageError(f"There is nothing to save in {where} of the {source.name} cluster", "See: capi-mover plan")
    under_way = await moves_under_way(source, {plan.inventory.namespace})
    # Nothing leaves the source, so what stays there keeps its owners; and no server takes the objects.
    irrelevant = ("left-dependents", "rollout", "sizes")
    problems = [*under_way, *(found for found in check_plan(plan, options) if found.check not in irrelevant)]
    if problems:
        raise RefusedError(problems)
    return plan


class _Backup:
    """One backup, from the first pause to the last."""

    def __init__(self, source: Cluster, plan: Plan, draft: Draft, options: MoveOptions, listener: Listener) -> None:
        self._source = source
        self._plan = plan
        self._draft = draft
        self._options = options
        self._listener = listener
        self._pauses: tuple[Pause, ...] = ()

    async def run(self, clock: Clock) -> BackupResult:
        started = clock.elapsed()
        try:
            async with asyncio.timeout(self._options.timeout_s or None):
                async with PauseWatch(self._source, self._plan, self._options, self._listener) as watch:
                    manifest = await watch.unless_taken_off(self._pause_and_save(watch, clock))
        except BaseException as error:
            await _to_its_end(self._undo(error))
            raise
        if not manifest.source_paused:
            with clock.phase(Phase.RELEASING, len(self._pauses)):
                await _to_its_end(self._resume())
        return BackupResult(self._plan, manifest, clock.seconds, clock.elapsed() - started)

    async def _pause_and_save(self, watch: PauseWatch, clock: Clock) -> Manifest:
        await self._pause(watch, clock)
        return await self._save(watch, clock)

    async def _pause(self, watch: PauseWatch, clock: Clock) -> None:
        async def note(pauses: tuple[Pause, ...]) -> None:
            await asyncio.to_thread(self._draft.note, set_on_source=pauses)
            self._pauses = pauses

        with clock.phase(Phase.PAUSING, len(self._plan.selection.moved)):
            await Pauser(self._source, self._plan, self._options, watch, self._listener).pause((), note)
            self._plan = await self._snapshot()

    async def _snapshot(self) -> Plan:
        """Returns the plan made from what is on the paused source; nothing changed while it was read."""
        inventory = self._plan.inventory
        for _ in range(_SETTLING_ROUNDS):
            found = await discover(self._source, inventory.namespace, strict_labels=inventory.strict_labels)
            plan = make_plan(found, self._plan.rules)
            drift = await source_drift(self._source, plan)
            if not (drift.changed or drift.appeared or drift.vanished):
                return plan
        names = ", ".join(str(obj.key) for obj in (*drift.changed, *drift.appeared, *drift.vanished))
        raise StoppedError(
            f"Objects of the {self._source.name} cluster kept changing although they are paused: {names}",
            "Find out which controller ignores the pause and stop it",
        )

    async def _save(self, watch: PauseWatch, clock: Clock) -> Manifest:
        images = {image.key: image for image in self._plan.images()}
        by_name = {name: images[key] for key, name in file_names(images).items()}
        done = clock.counter(Phase.SAVING, "saved")

        async def save(name: str) -> None:
            await asyncio.to_thread(self._draft.add, name, by_name[name])
            done(by_name[name])

        with clock.phase(Phase.SAVING, len(images)):
            await run_each(sorted(by_name), save)
            known = {"pauses": self._file_pauses(), "namespaces": await self._namespaces()}
            await watch.require()
            return await asyncio.to_thread(self._draft.finish, **known)

    def _file_pauses(self) -> tuple[Pause, ...]:
        """Returns the pauses in the files that only the backup has set, on the source or in the files alone."""
        set_on_source = [self._plan.image_of_pause(pause) for pause in self._pauses if pause.is_pause]
        return (*set_on_source, *self._plan.copy_pauses())

    async def _namespaces(self) -> tuple[SavedNamespace, ...]:
        """Returns the namespaces of the files with the labels and annotations of those on the source."""
        selected = self._plan.selection.selected
        originals = {self._plan.image(obj).key.namespace: obj.key.namespace for obj in selected if obj.key.namespace}
        found = await all_of(self._source.get(NAMESPACES, "", name) for _, name in sorted(originals.items()))
        return tuple(
            SavedNamespace(name=name, labels=obj.labels, annotations=obj.annotations)
            for name, obj in zip(sorted(originals), found, strict=True)
        )

    async def _undo(self, error: BaseException) -> None:
        """Makes everything as it was; if the source cannot be resumed, the marker stays to tell of its pauses."""
        try:
            await self._resume(error)
        except SupersededError:
            release = f"capi-mover release {self._draft.folder}"
            self._listener(Noted(f"What the backup has paused is left as it is; resume it with: {release}"))
            raise
        await asyncio.to_thread(self._draft.discard)
        self._listener(Noted("The backup was broken off: the source is as it was, and nothing is left of the files"))

    async def _resume(self, cause: BaseException | None = None) -> None:
        failed = await _take_off(self._source, self._pauses, self._listener)
        if failed:
            shown = cause if isinstance(cause, MoverError) else None
            raise StillPausedError(self._draft.folder, failed, shown) from cause


async def _take_off(cluster: Cluster, pauses: Sequence[Pause], listener: Listener) -> Mapping[Pause, MoverError]:
    """Makes every field as it was, Clusters last; returns what could not be done, having tried everything."""
    failed: dict[Pause, MoverError] = {}

    async def one(pause: Pause) -> None:
        try:
            await cluster.merge_patch(pause.resource, pause.key, resume_patch(pause), manager=MANAGER)
        except NotFoundError:
            # Somebody has deleted it meanwhile; there is nothing to resume.
            return
        except (ApiError, LeaseLostError) as error:
            failed[pause] = error
        else:
            listener(ObjectDone(Phase.RELEASING, str(pause.key), "resumed"))

    are_clusters = [pause.resource.group_kind == rules.CLUSTER for pause in pauses]
    for last in (False, True):
        await run_each([pause for pause, is_last in zip(pauses, are_clusters, strict=True) if is_last is last], one)
    return failed


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Does what has to be done even if a signal comes meanwhile; another one ends the program at once."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        this = asyncio.current_task()
        if this is not None:
            this.uncancel()
