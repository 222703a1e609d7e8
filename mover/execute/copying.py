"""Creating the copies on the target: object, then status, then field managers.

The copies are born paused: their bodies are those of paused objects, and a host or a ClusterClass that is not
paused on the source gets the move's own pause at creation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from graph.resource import Object, ResourceType
from mover import metal3, transform
from mover.discovery import NAMESPACES
from mover.errors import AlreadyExistsError, BlockedError, NotFoundError
from mover.execute.ready import run_ready
from mover.kube import Cluster
from mover.kube.cluster import Written
from mover.models import MANAGER, MoveOptions
from mover.pause import Pause, is_paused
from mover.plan import Plan
from mover.verify import status_is_restored


class Copier:
    """Creates the copies of a plan's objects on the target.

    Attributes:
        new_uids: UID on the source -> UID on the target, of every copy and of owners found there.
        created: UIDs on the source of the objects whose copies this move made.
        pauses: Pauses that only the copies have, not their sources.
    """

    def __init__(
        self,
        target: Cluster,
        plan: Plan,
        options: MoveOptions,
        used: Mapping[str, str],
        overwritten: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Starts with what the target has already, by UID on the source: used as it is, or to be overwritten."""
        self._target = target
        self._plan = plan
        self._options = options
        self._overwritten = overwritten
        self.new_uids: dict[str, str] = {**used, **overwritten}
        self.created: set[str] = set()
        self.pauses: list[Pause] = []

    def follow(self, plan: Plan) -> None:
        """Goes on with a newer plan of the same objects."""
        self._plan = plan

    async def copy_all(self, done: Callable[[Object], None]) -> None:
        """Creates every copy, each after its owners; owners that come later in a cycle are added at the end."""
        order = self._plan.creation

        async def work(uid: str) -> None:
            if uid in self._overwritten:
                await self.renew(self._plan.object(uid))
                self.created.add(uid)
            elif uid not in self.new_uids:
                await self._copy(self._plan.object(uid))
            done(self._plan.object(uid))

        await run_ready(order.sequence, order.waits_for, work)
        for uid in order.late_owners:
            if uid in self.created:
                await self._close_cycle(self._plan.object(uid))

    async def _copy(self, obj: Object) -> None:
        body = transform.target_body(obj, self.new_uids)
        self._pause_copy(obj, body)
        source = obj.body()
        entries = source["metadata"].get("managedFields") or ()
        written = await self._create(obj, body, transform.creating_manager(entries, MANAGER))
        self.new_uids[obj.uid] = written.uid
        self.created.add(obj.uid)
        written = await self._restore_status(obj, source, written)
        wanted = transform.managed_fields(entries, self.new_uids)
        if obj.uid not in self._plan.creation.late_owners and not transform.same_managers(
            wanted, written.managed_fields
        ):
            await self._target.merge_patch(obj.type, obj.key, {"metadata": {"managedFields": wanted}}, manager=MANAGER)

    def _pause_copy(self, obj: Object, body: dict[str, Any]) -> None:
        annotation = metal3.pause_annotation(obj)
        if annotation is None or is_paused(obj):
            return
        annotations = body["metadata"].setdefault("annotations", {})
        annotations[annotation] = MANAGER
        self.pauses.append(Pause(obj.type, obj.key, annotation))

    async def _create(self, obj: Object, body: dict[str, Any], manager: str) -> Written:
        try:
            return await self._target.create(obj.type, body, manager=manager)
        except AlreadyExistsError as error:
            # Either the answer to an earlier try was lost, or somebody else was quicker.
            found = await self._target.get(obj.type, obj.key.namespace, obj.key.name)
            if not _is_copy(found, body):
                raise BlockedError(
                    f"{obj.key} has appeared on the {self._target.name} cluster with other content while the move ran",
                    "Find out what created it, delete it there, and move again",
                ) from error
            metadata = found.body()["metadata"]
            return Written(
                found.uid,
                found.resource_version,
                int(metadata.get("generation") or 0),
                metadata.get("managedFields") or (),
            )

    async def _restore_status(self, obj: Object, source: Mapping[str, Any], written: Written) -> Written:
        status = source.get("status")
        if not status or not obj.type.has_status or not status_is_restored(obj, self._options.restore_status):
            return written
        generation = int(source["metadata"].get("generation") or 0)
        entries = source["metadata"].get("managedFields") or ()
        return await self._target.set_status(
            obj.type,
            obj.key,
            transform.target_status(status, generation, written.generation),
            manager=transform.status_manager(entries, MANAGER),
        )

    async def _close_cycle(self, obj: Object) -> None:
        entries = obj.body()["metadata"].get("managedFields") or ()
        patch = {
            "ownerReferences": transform.owner_references(obj.owners, self.new_uids),
            "managedFields": transform.managed_fields(entries, self.new_uids),
        }
        await self._target.merge_patch(obj.type, obj.key, {"metadata": patch}, manager=MANAGER)

    async def renew(self, obj: Object) -> None:
        """Makes the copy of an object equal to it again: it has changed on the source since it was copied."""
        copy = await self._target.get(obj.type, obj.key.namespace, obj.key.name)
        body = transform.target_body(obj, self.new_uids)
        self._pause_copy(obj, body)
        source = obj.body()
        body["metadata"] |= {"uid": copy.uid, "resourceVersion": copy.resource_version}
        written = await self._target.replace(obj.type, body, manager=MANAGER)
        await self._restore_status(obj, source, written)
        wanted = transform.managed_fields(source["metadata"].get("managedFields") or (), self.new_uids)
        await self._target.merge_patch(obj.type, obj.key, {"metadata": {"managedFields": wanted}}, manager=MANAGER)


def _is_copy(found: Object, body: Mapping[str, Any]) -> bool:
    """Returns whether an object has exactly the labels, annotations, finalizers and content of `body`.

    Its status and its managers may be missing: they are written after it was created.
    """
    have = found.body()
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"):
        have["metadata"].pop(name, None)
    have.pop("status", None)
    return have == {name: value for name, value in body.items() if name != "status"}


async def ensure_namespaces(source: Cluster, target: Cluster, plan: Plan) -> tuple[str, ...]:
    """Creates the namespaces that are missing on the target and returns their names, sorted.

    They get the source namespace's labels and annotations, pod security among them, where clusterctl makes them
    bare (docs/decisions/0004).
    """
    wanted = sorted({obj.key.namespace for obj in plan.selection.selected if obj.key.namespace})
    missing = [name for name in wanted if not await _exists(target, NAMESPACES, name)]
    for name in missing:
        body = (await source.get(NAMESPACES, "", name)).body()
        metadata = {
            "name": name,
            "labels": body["metadata"].get("labels") or {},
            "annotations": body["metadata"].get("annotations") or {},
        }
        await _create_namespace(target, metadata)
    return tuple(missing)


async def _create_namespace(target: Cluster, metadata: Mapping[str, Any]) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    try:
        await target.create(NAMESPACES, body, manager=MANAGER)
    except AlreadyExistsError:
        return


async def _exists(cluster: Cluster, resource: ResourceType, name: str) -> bool:
    try:
        await cluster.get(resource, "", name)
    except NotFoundError:
        return False
    return True
