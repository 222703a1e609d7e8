"""Waiting for objects with watches: until none of them gives a reason to wait any more. Reads only."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Sequence

from tenacity import AsyncRetrying, retry_if_result
from tenacity.wait import wait_random_exponential

from graph.resource import Object, ObjectKey, ResourceType
from mover.concurrency import all_of
from mover.errors import ExpiredError, PauseTimeoutError, TransientError
from mover.events import Listener, Waiting
from mover.kube import Cluster

_FIRST_REOPENING_S = 0.1
_LONGEST_REOPENING_S = 5.0

Why = Callable[[Object], str | None]
"""Returns why an object is waited for, None if it is not."""


async def wait_until(
    cluster: Cluster, objects: Sequence[Object], why: Why, timeout_s: float, listener: Listener
) -> None:
    """Returns when `why` has no reason left for any of the objects; those that are gone are not waited for.

    Args:
        cluster: Where the objects are.
        objects: Which ones; their state is read anew.
        why: The reason to wait for an object in its current state.
        timeout_s: How long at the most, in seconds.
        listener: Told what is waited for whenever that changes.

    Raises:
        PauseTimeoutError: Time is over; it names what is still waited for.
    """
    board = _Board(listener)
    try:
        async with asyncio.timeout(timeout_s):
            watches = (_Watch(cluster, *space, uids) for space, uids in sorted(by_space(objects).items()))
            await all_of(watch.until_settled(why, board, timeout_s) for watch in watches)
    except TimeoutError as error:
        unread = tuple(f"{obj.key}: its state could not be read in time" for obj in objects)
        raise PauseTimeoutError(board.shown() or unread, timeout_s) from error
    finally:
        listener(Waiting(()))


class _Watch:
    """The objects of one type in one namespace that are waited for."""

    def __init__(self, cluster: Cluster, resource: ResourceType, namespace: str, uids: frozenset[str]) -> None:
        self._cluster = cluster
        self._space = (resource, namespace)
        self._uids = uids

    async def until_settled(self, why: Why, board: _Board, timeout_s: float) -> None:
        """Returns when no object is waited for; a watch that breaks off is begun again, after a while."""
        retrying = AsyncRetrying(
            retry=retry_if_result(operator.not_),
            wait=wait_random_exponential(_FIRST_REOPENING_S, _LONGEST_REOPENING_S),
        )
        await retrying(self._settled_in_one_go, why, board, timeout_s)

    async def _settled_in_one_go(self, why: Why, board: _Board, timeout_s: float) -> bool:
        """Returns True when no object is waited for, False when the watch has ended before that."""
        page = await self._cluster.list(*self._space)
        pending = {obj.uid for obj in page.objects if obj.uid in self._uids and board.put(obj, why(obj))}
        if not pending:
            return True
        try:
            return await self._follow(page.resource_version, pending, (why, board), timeout_s)
        except (ExpiredError, TransientError):
            return False

    async def _follow(self, version: str, pending: set[str], judge: tuple[Why, _Board], timeout_s: float) -> bool:
        """Returns True when nothing is pending any more, False when the server has ended the watch."""
        why, board = judge
        async for event in self._cluster.watch(*self._space, version, timeout_s):
            obj = event.object
            if event.kind == "BOOKMARK" or obj.uid not in self._uids:
                continue
            waited = board.put(obj, None if event.kind == "DELETED" else why(obj))
            pending = pending | {obj.uid} if waited else pending - {obj.uid}
            if not pending:
                return True
        return False


class _Board:
    """Which objects are waited for, and why; tells the listener when that changes."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._why: dict[ObjectKey, str] = {}

    def put(self, obj: Object, why: str | None) -> bool:
        """Notes why an object is waited for; returns whether it is."""
        if why is None:
            changed = self._why.pop(obj.key, None) is not None
        else:
            changed = self._why.get(obj.key) != why
            self._why[obj.key] = why
        if changed:
            self._listener(Waiting(self.shown()))
        return why is not None

    def shown(self) -> tuple[str, ...]:
        """Returns one line per object."""
        return tuple(f"{key}: {why}" for key, why in sorted(self._why.items()))


def by_space(objects: Sequence[Object]) -> dict[tuple[ResourceType, str], frozenset[str]]:
    """Returns the UIDs of the objects by type and namespace."""
    spaces: dict[tuple[ResourceType, str], set[str]] = {}
    for obj in objects:
        spaces.setdefault((obj.type, obj.key.namespace), set()).add(obj.uid)
    return {space: frozenset(uids) for space, uids in spaces.items()}
