"""Taking the originals off the source, each in exactly the state that was copied.

One patch takes the finalizers off, adds `delete-for-move` and, for hosts, sets the pause again; it leaves every other
annotation in place and carries the resourceVersion that was copied. The delete carries the UID and the version that
came of it, so the object is gone at once: there is no moment at which it has a deletionTimestamp and a finalizer.
clusterctl replaces all annotations, deletes, and empties the finalizers last; a running BMO then deprovisions hosts
(docs/decisions/0001).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from graph import rules
from graph.order import Order
from graph.resource import Object
from mover import metal3
from mover.differences import content
from mover.discovery import is_guarded
from mover.errors import BlockedError, ConflictError, NotFoundError
from mover.execute.copying import Copier
from mover.execute.ready import run_ready
from mover.kube import Cluster
from mover.models import MANAGER
from mover.stripping import is_stripped, stripping_patch

_ATTEMPTS = 6


Settle = Callable[[Object, Object], Awaitable[None]]
"""Is told that an object is not in the state it was to be removed in: (as it was to be, as it is now)."""


Gate = Callable[[], Awaitable[None]]
"""Returns when an object may be deleted."""


async def open_gate() -> None:
    """Lets everything be deleted at once: for copies, and what has no pause to wait for."""


async def settle_nothing(expected: Object, found: Object) -> None:
    """Accepts every change: for copies whose original is complete."""
    del expected, found


class Remover:
    """Deletes objects from a cluster, each at once and in a known state, dependents first."""

    def __init__(
        self, cluster: Cluster, guarded: frozenset[tuple[str, str]], settle: Settle, gate: Gate = open_gate
    ) -> None:
        """`guarded` are the (group, plural) of types whose deletion passes an admission webhook."""
        self._gate = gate
        self._cluster = cluster
        self._guarded = guarded
        self._settle = settle

    async def remove_all(self, objects: Mapping[str, Object], order: Order, done: Callable[[Object], None]) -> None:
        """Deletes every object of `order`.

        Args:
            objects: By the UIDs of `order`, in the state they are to be removed in.
            order: Dependents before their owners.
            done: Told of each object that is gone.

        Raises:
            BlockedError: An object kept changing.
            StoppedError: The gate does not open any more.
        """

        async def work(uid: str) -> None:
            await self._remove(objects[uid])
            done(objects[uid])

        await run_ready(order.sequence, order.waits_for, work)

    async def _remove(self, expected: Object) -> None:
        now = expected
        for _ in range(_ATTEMPTS):
            try:
                await self._remove_exactly(now)
            except NotFoundError:
                return
            except ConflictError:
                found = await self._reread(expected)
                if found is None:
                    return
                await self._settle(expected, found)
                now = found
            else:
                return
        raise BlockedError(
            f"{expected.key} on the {self._cluster.name} cluster changed each time it was to be removed "
            f"({_ATTEMPTS} tries)",
            "Find the controller that keeps writing it and stop it",
        )

    async def _remove_exactly(self, obj: Object) -> None:
        await self._gate()
        version = obj.resource_version
        if self._needs_stripping(obj):
            patch = stripping_patch(obj)
            written = await self._cluster.merge_patch(obj.type, obj.key, patch, manager=MANAGER)
            version = written.resource_version
        await self._cluster.delete(obj.type, obj.key, uid=obj.uid, resource_version=version)

    def _needs_stripping(self, obj: Object) -> bool:
        if is_stripped(obj) and (not metal3.is_host(obj) or rules.HOST_PAUSED_ANNOTATION in obj.annotations):
            return False
        return bool(obj.finalizers) or is_guarded(obj.type, self._guarded) or metal3.is_host(obj)

    async def _reread(self, expected: Object) -> Object | None:
        try:
            found = await self._cluster.get(expected.type, expected.key.namespace, expected.key.name)
        except NotFoundError:
            return None
        if found.uid != expected.uid:
            raise BlockedError(
                f"{expected.key} on the {self._cluster.name} cluster was deleted and created anew by somebody else",
                "Compare it with its copy on the other cluster and keep the right one",
            )
        return found


class CopyAgain:
    """Copies what changed on an original since it was copied, before it is removed.

    Status alone is not copied again: a controller may note there what it thinks of the objects that are gone already.
    An object that was stripped for its deletion is no source to copy from, unless somebody changed more than its
    finalizers since.
    """

    def __init__(self, copier: Copier) -> None:
        self._copier = copier

    async def __call__(self, expected: Object, found: Object) -> None:
        """Renews the copy if the content of its original has changed."""
        if content(found) != content(expected):
            await self._copier.renew(found, with_status=False)
