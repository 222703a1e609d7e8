"""Pausing the source, and waiting until its controllers have really seen it.

Order: first wait until controllers have seen the end of any earlier pause; then set what makes them stop by
themselves (Clusters, ClusterClasses, and the Metal3 kinds that ignore their Cluster's pause); wait again; hosts
last, because CAPM3 fences the claimed ones itself on a Cluster's pause, and leaves alone those that somebody else
has paused (docs/metal3.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from graph import rules
from graph.resource import Object, ResourceType
from mover import metal3
from mover.concurrency import all_of
from mover.errors import ExpiredError, NotFoundError, PauseTimeoutError, TransientError
from mover.events import Listener, ObjectDone
from mover.execute.pause_watch import PauseWatch
from mover.execute.ready import run_each
from mover.kube import Cluster
from mover.models import MANAGER, MoveOptions, Phase
from mover.pause import Pause, fences_of, is_paused, lagging, pause_of, pause_patch, united, unpaused_clusters, unready
from mover.planning import Plan
from mover.waiting import by_space, wait_until

Note = Callable[[tuple[Pause, ...]], Awaitable[None]]
"""Is told of all pauses before the newest of them are set, so that they can be taken off whatever happens."""


async def note_nothing(pauses: tuple[Pause, ...]) -> None:
    """Forgets the pauses: for those who keep no record."""
    del pauses


class Pauser:
    """Pauses what a plan moves on the source."""

    def __init__(
        self, source: Cluster, plan: Plan, options: MoveOptions, watch: PauseWatch, listener: Listener
    ) -> None:
        """`watch` is told of each pause that is relied on: those that are set, and those that were there."""
        self._source = source
        self._plan = plan
        self._watch = watch
        self._options = options
        self._listener = listener

    async def pause(self, known: Sequence[Pause] = (), note: Note = note_nothing) -> tuple[Pause, ...]:
        """Pauses everything and returns the pauses that were set, in key order.

        Args:
            known: Pauses that an earlier run of the same move has set or was about to set.
            note: Told of all pauses before the newest of them are set.

        Raises:
            PauseTimeoutError: A controller has not seen the end of an earlier pause, did not confirm this one, or
                an object stayed blocked, within pause_timeout_s each.
        """
        moved = self._plan.selection.moved
        new = [pause for obj in moved if not metal3.is_host(obj) and (pause := pause_of(obj))]
        await self._wait_for_controllers(moved)
        pauses = united(known, new)
        await note(pauses)
        of_others = [pause for pause in pauses if not _is_of_host(pause)]
        set_here = {pause.key for pause in of_others}
        for obj in moved:
            if not metal3.is_host(obj) and obj.key not in set_here:
                self._watch.rely_on(obj)
        await run_each(of_others, self._set)
        await self._wait(moved)
        hosts = await self._hosts([obj for obj in moved if metal3.is_host(obj)])
        pauses = united(pauses, [pause for host in hosts for pause in fences_of(host)])
        await note(pauses)
        await run_each(hosts, self._fence)
        await self._wait_quiet(moved)
        return pauses

    async def _wait_for_controllers(self, moved: Sequence[Object]) -> None:
        """Waits until no object reports a pause that is over: only then can it confirm a new one."""
        unpaused = unpaused_clusters(moved)
        behind = [obj for obj in moved if lagging(obj, unpaused)]
        why = partial(lagging, unpaused=unpaused)
        await wait_until(self._source, behind, why, self._options.pause_timeout_s, self._listener)

    async def _set(self, pause: Pause) -> None:
        try:
            written = await self._source.merge_patch(pause.resource, pause.key, pause_patch(pause), manager=MANAGER)
        except NotFoundError:
            if pause.resource.group_kind == rules.CLUSTER:
                raise  # without it there is nothing to move; another program may have done so
            # Deleted since it was planned, or since an earlier run has paused it.
            return
        obj = self._plan.selection.graph.by_key(pause.key)
        if obj is not None:
            self._watch.rely_on(obj, written)
        self._listener(ObjectDone(Phase.PAUSING, str(pause.key), "paused"))

    async def _hosts(self, planned: Sequence[Object]) -> list[Object]:
        """Returns the hosts in the state they are in now: CAPM3 may just have fenced the claimed ones."""
        spaces = sorted({(obj.type, obj.key.namespace) for obj in planned})
        pages = await all_of(self._source.list(*space) for space in spaces)
        uids = {obj.uid for obj in planned}
        return [host for page in pages for host in page.objects if host.uid in uids]

    async def _fence(self, host: Object) -> None:
        patch = metal3.fence_patch(host)
        written = None
        if patch is not None:
            written = await self._source.merge_patch(host.type, host.key, patch, manager=MANAGER)
        self._watch.rely_on(host, None if is_paused(host) else written)
        self._listener(ObjectDone(Phase.PAUSING, str(host.key), "fenced"))

    async def _wait(self, moved: Sequence[Object]) -> None:
        ignored = self._options.ignore_stale_block_move

        def why(obj: Object) -> str | None:
            return None if ignored and metal3.has_stale_block(obj) else unready(obj)

        await wait_until(self._source, moved, why, self._options.pause_timeout_s, self._listener)

    async def _wait_quiet(self, moved: Sequence[Object]) -> None:
        """Waits until objects whose controllers report no pause have not changed for quiet_s seconds."""
        silent = by_space([obj for obj in moved if metal3.reports_no_pause(obj)])
        if not silent or not self._options.quiet_s:
            return
        try:
            async with asyncio.timeout(self._options.pause_timeout_s):
                await all_of(self._until_quiet(*space, uids) for space, uids in sorted(silent.items()))
        except TimeoutError as error:
            kinds = sorted({resource.kind for resource, _ in silent})
            waiting = [f"{kind} objects still change although they are paused" for kind in kinds]
            raise PauseTimeoutError(waiting, self._options.pause_timeout_s) from error

    async def _until_quiet(self, resource: ResourceType, namespace: str, uids: frozenset[str]) -> None:
        version = (await self._source.list_metadata(resource, namespace)).resource_version
        while True:
            try:
                async with asyncio.timeout(self._options.quiet_s):
                    version = await self._next_change(resource, namespace, version, uids)
            except TimeoutError:
                return
            except (ExpiredError, TransientError):
                version = (await self._source.list_metadata(resource, namespace)).resource_version

    async def _next_change(self, resource: ResourceType, namespace: str, version: str, uids: frozenset[str]) -> str:
        while True:
            async for event in self._source.watch(resource, namespace, version, self._options.pause_timeout_s):
                version = event.object.resource_version
                if event.kind != "BOOKMARK" and event.object.uid in uids:
                    return version


def _is_of_host(pause: Pause) -> bool:
    return pause.resource.group_kind == rules.BARE_METAL_HOST
