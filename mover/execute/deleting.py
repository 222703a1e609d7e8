"""Taking the originals off the source, each in exactly the state that was copied.

One patch takes the finalizers off, adds `delete-for-move` and, for hosts, sets the pause again; it leaves every other
annotation in place and carries the resourceVersion that was copied. The delete carries the UID and the version that
came of it, so the object is gone at once: there is no moment at which it has a deletionTimestamp and a finalizer.
clusterctl replaces all annotations, deletes, and empties the finalizers last; a running BMO then deprovisions hosts
(docs/decisions/0001).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph import rules
from graph.resource import Object, parse_object
from mover import metal3
from mover.diff import content
from mover.errors import BlockedError, ConflictError, NotFoundError
from mover.execute.copying import Copier
from mover.execute.ready import run_ready
from mover.kube import Cluster
from mover.models import MANAGER
from mover.plan import Plan

_ATTEMPTS = 6


class Remover:
    """Deletes a plan's moved objects from the source, dependents first."""

    def __init__(self, source: Cluster, plan: Plan, copier: Copier, guarded: frozenset[tuple[str, str]]) -> None:
        """`guarded` are the (group, plural) of types whose deletion passes an admission webhook."""
        self._source = source
        self._plan = plan
        self._copier = copier
        self._guarded = guarded

    async def remove_all(self, done: Callable[[Object], None]) -> None:
        """Deletes every moved object.

        Raises:
            BlockedError: An object kept changing; the move can only go on forward.
        """
        order = self._plan.deletion

        async def work(uid: str) -> None:
            await self._remove(self._plan.object(uid))
            done(self._plan.object(uid))

        await run_ready(order.sequence, order.waits_for, work)

    async def _remove(self, copied: Object) -> None:
        now = copied
        for _ in range(_ATTEMPTS):
            try:
                await self._remove_exactly(now)
            except NotFoundError:
                return
            except ConflictError:
                found = await self._reread(copied)
                if found is None:
                    return
                now = await self._settle(copied, found)
            else:
                return
        raise BlockedError(
            f"{copied.key} on the {self._source.name} cluster changed each time it was to be removed "
            f"({_ATTEMPTS} tries); its copy on the target is complete",
            "Find the controller that keeps writing it, stop it, and run the same move again",
        )

    async def _remove_exactly(self, obj: Object) -> None:
        version = obj.resource_version
        if self._needs_stripping(obj):
            patch = stripping_patch(obj)
            written = await self._source.merge_patch(obj.type, obj.key, patch, manager=MANAGER)
            version = written.resource_version
        await self._source.delete(obj.type, obj.key, uid=obj.uid, resource_version=version)

    def _needs_stripping(self, obj: Object) -> bool:
        if is_stripped(obj):
            return False
        guarded = self._guarded & {(obj.type.group, obj.type.plural), ("*", "*")}
        return bool(obj.finalizers) or bool(guarded) or metal3.is_host(obj)

    async def _reread(self, copied: Object) -> Object | None:
        try:
            found = await self._source.get(copied.type, copied.key.namespace, copied.key.name)
        except NotFoundError:
            return None
        if found.uid != copied.uid:
            raise BlockedError(
                f"{copied.key} on the {self._source.name} cluster was deleted and created anew by somebody else",
                "Compare it with its copy on the target, keep the right one, and run the same move again",
            )
        return found

    async def _settle(self, copied: Object, found: Object) -> Object:
        """Returns the object in the state it may be removed in now, copying first what changed since.

        Status alone is not copied again: a controller may note there what it thinks of the objects that are gone
        already. An object that was stripped for its deletion is no source to copy from, unless somebody changed
        more than its finalizers since.
        """
        if content(found) != content(copied):
            await self._copier.renew(_unstripped(found, copied))
        return found


def stripping_patch(obj: Object) -> dict[str, Any]:
    """Returns the merge patch that lets an object vanish as soon as it is deleted."""
    annotations = {rules.DELETE_FOR_MOVE_ANNOTATION: ""}
    if metal3.is_host(obj):
        annotations[rules.HOST_PAUSED_ANNOTATION] = obj.annotations.get(rules.HOST_PAUSED_ANNOTATION, MANAGER)
    return {
        "metadata": {
            "resourceVersion": obj.resource_version,
            "finalizers": [],
            "annotations": annotations,
        }
    }


def is_stripped(obj: Object) -> bool:
    """Returns whether an object is ready to be deleted: stripped, and nobody has put a finalizer back."""
    return rules.DELETE_FOR_MOVE_ANNOTATION in obj.annotations and not obj.finalizers


def _unstripped(found: Object, copied: Object) -> Object:
    """Returns the changed object as it would be without our stripping patch."""
    body = found.body()
    annotations = body["metadata"].get("annotations") or {}
    annotations.pop(rules.DELETE_FOR_MOVE_ANNOTATION, None)
    body["metadata"]["finalizers"] = sorted({*copied.finalizers, *found.finalizers})
    return parse_object(found.type, body)
