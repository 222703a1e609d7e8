"""The pauses that a move relies on, watched from before they are set until the originals are gone.

As long as everything can be undone a pause that is taken off ends the work, which is undone then. After the commit it
is set again at once, and no original is deleted before it is on; what has changed meanwhile is met by the exact
deletes (docs/decisions/0032).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from graph import rules
from graph.resource import Object, ResourceType
from mover.concurrency import all_of, ended
from mover.errors import ConflictError, NotFoundError, StoppedError
from mover.events import Listener, Noted
from mover.kube import Cluster, Reflector, WatchEvent
from mover.kube.cluster import Written
from mover.models import MANAGER, MoveOptions
from mover.pause import PAUSED_FIELD, has_own_pause, is_paused, pause_of, pause_patch
from mover.pause_ownership import (
    FieldOwner,
    Taker,
    entries_of,
    owners_of,
    pausing_fields,
    taker_of,
    was_off,
)
from mover.planning import Plan

T = TypeVar("T")

TIMES = 5
"""How often a pause of one object is set again after the commit; then whoever takes it off has to be stopped."""
_FEW = 10
"""Up to so many objects of a type are read one by one: that asks the server, also where lists come from memory."""


class PauseTakenOffError(StoppedError):
    """Somebody has taken off a pause that the work relies on; `taker` is who, as far as that is known."""

    def __init__(self, obj: Object, cluster: str, taker: Taker, *, what: str = "was taken off") -> None:
        super().__init__(f"The pause of {obj.key} on the {cluster} cluster {what}{taker.told}", taker.remedy)
        self.key = obj.key
        self.taker = taker


@dataclass(slots=True)
class _Relied:
    """A pause that is relied on.

    Attributes:
        fields: By which the object is paused.
        patch: Sets the pause again.
        owners: Who owned the pause when it was looked at last.
        version: Up to which version of the object its pause is known.
        is_off: Whether it is off as far as is known.
        times: How often it was set again.
    """

    fields: tuple[str, ...]
    patch: Mapping[str, Any]
    owners: frozenset[FieldOwner]
    version: int
    is_off: bool = False
    times: int = 0


@dataclass(slots=True)
class _Space:
    """The candidates of one type in one namespace, "" for all: an observer of their changes."""

    watch: PauseWatch
    resource: ResourceType
    namespace: str
    uids: set[str] = field(default_factory=set)

    async def listed(self, objects: Sequence[Object]) -> None:
        """Looks at all that is there after a time in which changes may have been missed."""
        found = {obj.uid: obj for obj in objects if obj.uid in self.uids}
        for obj in found.values():
            await self.watch.look_at(obj, after_gap=True)
        self.watch.forget(self.uids - found.keys())

    async def changed(self, event: WatchEvent) -> None:
        """Looks at an object that has changed."""
        if event.object.uid not in self.uids:
            return
        if event.kind == "DELETED":
            self.watch.forget((event.object.uid,))
        else:
            await self.watch.look_at(event.object)

    async def read(self, cluster: Cluster, wanted: Sequence[Object]) -> list[Object]:
        """Returns those of the wanted objects that are there, as the server has them now."""
        if len(wanted) > _FEW:
            read = cluster.list if self.is_whole else cluster.list_metadata
            uids = {obj.uid for obj in wanted}
            return [obj for obj in (await read(self.resource, self.namespace)).objects if obj.uid in uids]
        found = await all_of(_found(cluster, obj) for obj in wanted)
        return [obj for obj in found if obj is not None]

    @property
    def is_whole(self) -> bool:
        """Returns whether the objects' metadata do not tell that they are paused."""
        return self.resource.group_kind == rules.CLUSTER


class PauseWatch:
    """Watches the pauses of what a plan takes off the source; a context manager around the time it is paused."""

    def __init__(self, source: Cluster, plan: Plan, options: MoveOptions, listener: Listener) -> None:
        self._source = source
        self._listener = listener
        self._timeout_s = options.pause_timeout_s
        self._candidates = {obj.uid: obj for obj in plan.selection.moved if has_own_pause(obj)}
        self._relied: dict[str, _Relied] = {}
        self._off_before: dict[str, Object] = {}
        self._spaces = self._spaces_of(plan)
        self._tasks: list[asyncio.Task[None]] = []
        self._sets_again = False
        self._is_ending = False
        self._error: Exception | None = None
        self._failed = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    def _spaces_of(self, plan: Plan) -> list[_Space]:
        spaces: dict[tuple[ResourceType, str], _Space] = {}
        for obj in self._candidates.values():
            space = obj.type, obj.key.namespace if plan.inventory.namespace else ""
            spaces.setdefault(space, _Space(self, *space)).uids.add(obj.uid)
        return [space for _, space in sorted(spaces.items())]

    async def __aenter__(self) -> Self:
        reflectors = [
            Reflector(self._source, space.resource, space.namespace, space, metadata_only=not space.is_whole)
            for space in self._spaces
        ]
        self._tasks = [asyncio.create_task(self._follow(reflector)) for reflector in reflectors]
        try:
            await all_of(reflector.is_known.wait() for reflector in reflectors)
        except asyncio.CancelledError:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, reflector: Reflector) -> None:
        try:
            await reflector.follow()
        except Exception as error:  # noqa: BLE001 - whatever it is, the work that relies on the watch has to end
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._failed.set()
        self._settled.set()

    def rely_on(self, obj: Object, written: Written | None = None) -> None:
        """Relies on the pause of an object from now on.

        Args:
            obj: The object; what the move does not rely on is left alone.
            written: What the server answered to the patch that has paused it; None if it was paused before.
        """
        if obj.uid not in self._candidates:
            return
        paused = is_paused(obj)
        fields = pausing_fields(obj) if paused and written is None else (_field_of(obj),)
        entries = entries_of(obj) if written is None else written.managed_fields
        version = obj.resource_version if written is None else written.resource_version
        known = int(version) if paused or written is not None else 0
        self._relied[obj.uid] = _Relied(fields, _patch_of(obj, fields), owners_of(entries, fields), known)
        off = self._off_before.pop(obj.uid, None)
        if off is not None and int(off.resource_version) > known and not self._sets_again:
            self._end_with(obj, off)

    async def take_over(self) -> None:
        """Relies on the pause of everything that is left after a commit, and sets those again that are off."""
        self.set_again_from_now_on()
        for obj in self._candidates.values():
            self.rely_on(obj)
        await self.require()

    def set_again_from_now_on(self) -> None:
        """Sets pauses again from now on that are taken off: the work cannot be undone any more."""
        self._sets_again = True

    async def unless_taken_off(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the work to its end and returns its result, unless a pause is taken off for good meanwhile.

        The work is cancelled then, and has ended before this raises.

        Raises:
            PauseTakenOffError: A pause was taken off, or after the commit again and again.
            ApiError: The pauses can no longer be watched, or set again.
        """
        working = asyncio.ensure_future(work)
        failing = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait((working, failing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_ending = True
            self._settled.set()
            await ended(working, failing)
            self._is_ending = False
            self._update()
        if self._error is not None:
            raise self._error from (None if working.cancelled() else working.exception())
        return working.result()

    async def require(self) -> None:
        """Asks the server whether all pauses are on.

        Raises:
            PauseTakenOffError: One is not, or was off meanwhile.
            ApiError: The source cannot be read, or the pauses could not be watched.
        """
        wanted = [[self._candidates[uid] for uid in sorted(space.uids & self._relied.keys())] for space in self._spaces]
        pages = await all_of(
            space.read(self._source, objects) for space, objects in zip(self._spaces, wanted, strict=True)
        )
        for page in pages:
            for obj in page:
                await self.look_at(obj)
        if self._error is not None:
            raise self._error

    async def all_on(self) -> None:
        """Returns when all pauses are on as far as is known: what nothing is deleted without.

        Raises:
            PauseTakenOffError: One could not be set again in time.
            CancelledError: The work has been cancelled.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                while not self._settled.is_set():
                    await self._settled.wait()
        except TimeoutError as error:
            uid = next(uid for uid, relied in self._relied.items() if relied.is_off)
            what = f"could not be set again within {self._timeout_s:g} s"
            raise PauseTakenOffError(self._candidates[uid], self._source.name, Taker(), what=what) from error
        if self._error is not None:
            raise self._error
        if self._is_ending:
            raise asyncio.CancelledError

    async def look_at(self, obj: Object, *, after_gap: bool = False) -> None:
        """Takes note of the state of an object.

        Args:
            obj: The object as it is, or was a moment ago.
            after_gap: Whether changes before this may have been missed.
        """
        paused = is_paused(obj)
        relied = self._relied.get(obj.uid)
        if relied is None:
            if not paused:
                self._off_before[obj.uid] = obj
            return
        version = int(obj.resource_version)
        if version <= relied.version:
            return
        if paused and not was_off(relied.owners, obj, relied.fields, after_gap=after_gap):
            relied.version, relied.is_off = version, False
            self._update()
        elif self._sets_again:
            await self._set_again(relied, obj)
        else:
            relied.is_off = True
            self._end_with(obj, obj)

    def forget(self, uids: Collection[str]) -> None:
        """Relies no more on what is gone."""
        for uid in uids:
            self._relied.pop(uid, None)
        self._update()

    def _end_with(self, obj: Object, seen: Object) -> None:
        relied = self._relied[obj.uid]
        self._fail(PauseTakenOffError(obj, self._source.name, taker_of(seen, relied.owners, relied.fields)))

    async def _set_again(self, relied: _Relied, obj: Object) -> None:
        """Sets a pause again in exactly the state in which it is off; a newer state is looked at when it is seen."""
        taker = taker_of(obj, relied.owners, relied.fields)
        if not relied.is_off:
            relied.is_off = True
            relied.times += 1
            self._update()
        if relied.times > TIMES:
            what = f"was set again {TIMES} times and taken off each time, at last"
            self._fail(PauseTakenOffError(obj, self._source.name, taker, what=what))
            return
        version, entries = obj.resource_version, entries_of(obj)
        if not is_paused(obj):
            metadata = {**relied.patch.get("metadata", {}), "resourceVersion": version}
            try:
                written = await self._source.merge_patch(
                    obj.type, obj.key, {**relied.patch, "metadata": metadata}, manager=MANAGER
                )
            except ConflictError:
                return
            except NotFoundError:
                self.forget((obj.uid,))
                return
            version, entries = written.resource_version, written.managed_fields
        relied.version, relied.is_off = int(version), False
        relied.owners = owners_of(entries, relied.fields)
        self._listener(
            Noted(
                f"The pause of {obj.key} on the {self._source.name} cluster was taken off{taker.told}; it is on again"
            )
        )
        self._update()

    def _update(self) -> None:
        is_off = any(relied.is_off for relied in self._relied.values())
        if is_off and self._error is None and not self._is_ending:
            self._settled.clear()
        else:
            self._settled.set()


async def _found(cluster: Cluster, obj: Object) -> Object | None:
    try:
        found = await cluster.get(obj.type, obj.key.namespace, obj.key.name)
    except NotFoundError:
        return None
    return found if found.uid == obj.uid else None


def _field_of(obj: Object) -> str:
    """Returns the field by which the move pauses an object that nobody else has paused."""
    if obj.type.group_kind == rules.CLUSTER:
        return PAUSED_FIELD
    return rules.HOST_PAUSED_ANNOTATION if obj.type.group_kind == rules.BARE_METAL_HOST else rules.PAUSED_ANNOTATION


def _patch_of(obj: Object, fields: Sequence[str]) -> dict[str, Any]:
    """Returns the merge patch that sets a pause again: with the user's value if the user has paused the object.

    CAPM3 takes its own pause of a host off as soon as it sees the Cluster at work; it leaves that of the move alone.
    """
    pause = pause_of(obj)
    if pause is not None:
        return pause_patch(pause)
    if PAUSED_FIELD in fields:
        return {"spec": {"paused": True}}
    value = obj.annotations[fields[0]]
    return {"metadata": {"annotations": {fields[0]: MANAGER if value == rules.CAPM3_HOST_PAUSED_VALUE else value}}}
