"""Creating the copies on the target: object, then status, then field managers.

The copies are born paused: their bodies are those of paused objects, and a host or a ClusterClass that is not
paused on the source gets the move's own pause at creation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from mover import transform
from mover.choices import ExistingPolicy
from mover.discovery import NAMESPACES
from mover.errors import AlreadyExistsError, BlockedError, ConflictError, NotFoundError
from mover.execute.ready import run_ready
from mover.kube import Cluster
from mover.kube.cluster import Written
from mover.models import MANAGER, MoveOptions
from mover.planning import Plan
from mover.verify import Made, read_objects, status_is_restored

_REPLACES = 5
_OF_THE_PAUSE = (rules.HOST_PAUSED_ANNOTATION, rules.HOST_STATUS_ANNOTATION, rules.PAUSED_ANNOTATION)


class ForeignObjectError(BlockedError):
    """Somebody else created an object that the move was about to create."""

    def __init__(self, keys: Sequence[ObjectKey], cluster: str) -> None:
        names = ", ".join(map(str, keys))
        super().__init__(
            f"{names} appeared on the {cluster} cluster with other content while the move ran",
            "Find out what created it, delete it there, and move again",
        )
        self.keys = tuple(keys)


class Copier:
    """Creates the copies of a plan's objects on the target.

    Attributes:
        new_uids: UID on the source -> UID on the target, of every copy and of owners found there.
        created: UIDs on the source of the objects whose copies this move made.
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

    def take_over(self, made: Mapping[str, str]) -> None:
        """Goes on from copies that an earlier run of the same move has made: UID on the source -> on the target."""
        self.new_uids.update(made)
        self.created.update(made)

    def made(self) -> Made:
        """Returns what is known of the copies by now."""
        there = self._plan.selection.graph.objects
        adopted = [uid for uid in self._overwritten if uid in there and self._is_adopted(uid)]
        return Made(frozenset(self.created), dict(self.new_uids), frozenset(adopted))

    def _is_adopted(self, uid: str) -> bool:
        """Returns whether an object that is written over was equal: those that own it on the target use it."""
        is_brought = self._plan.object(uid).key in self._plan.rules.brought
        return is_brought or self._options.existing is not ExistingPolicy.OVERWRITE

    def follow(self, plan: Plan) -> None:
        """Goes on with a newer plan of the same objects."""
        self._plan = plan

    async def copy_all(self, done: Callable[[Object], None], *, ahead: bool = False) -> None:
        """Creates every copy, each after its owners; owners that come later in a cycle are added at the end.

        Args:
            done: Told of each original that has a copy.
            ahead: Whether the source is at work yet: what is to be overwritten is left as it is.
        """
        order = self._plan.creation

        async def work(uid: str) -> None:
            obj = self._plan.object(uid)
            if uid in self._overwritten:
                if ahead:
                    return
                await self.renew(obj)
                self.created.add(uid)
            elif uid not in self.new_uids:
                await self._copy(self._plan.image(obj))
            done(obj)

        await run_ready(order.sequence, order.waits_for, work)
        for uid in order.late_owners:
            if uid in self.created:
                await self._close_cycle(self._plan.image(self._plan.object(uid)))

    async def copy_more(self, uids: Collection[str]) -> None:
        """Creates the copies of these objects of the plan, owners first, one after the other."""
        for uid in self._plan.creation.sequence:
            if uid in uids:
                await self._copy(self._plan.image(self._plan.object(uid)))

    async def _copy(self, obj: Object) -> None:
        body = transform.target_body(obj, self.new_uids)
        source = obj.body()
        entries = source["metadata"].get("managedFields") or ()
        written = await self._create(obj, body, transform.creating_manager(entries, MANAGER))
        self.new_uids[obj.uid] = written.uid
        self.created.add(obj.uid)
        written = await self._restore_status(obj, source, written)
        wanted = transform.managed_fields(entries, self.new_uids)
        is_late = obj.uid in self._plan.creation.late_owners
        if wanted and not is_late and not transform.same_managers(wanted, written.managed_fields):
            await self._target.merge_patch(obj.type, obj.key, {"metadata": {"managedFields": wanted}}, manager=MANAGER)

    async def _create(self, obj: Object, body: dict[str, Any], manager: str) -> Written:
        try:
            return await self._target.create(obj.type, body, manager=manager)
        except AlreadyExistsError as error:
            # Either the answer to an earlier try was lost, or somebody else was quicker.
            found = await self._target.get(obj.type, obj.key.namespace, obj.key.name)
            if not _is_copy(found, body):
                raise ForeignObjectError((obj.key,), self._target.name) from error
            return _as_written(found)

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
        owners = {"ownerReferences": transform.owner_references(obj.owners, self.new_uids)}
        await self._target.merge_patch(obj.type, obj.key, {"metadata": owners}, manager=MANAGER)
        # In a patch of its own: the server makes whoever changes a field its manager, whatever the patch says of them.
        entries = obj.body()["metadata"].get("managedFields") or ()
        wanted = {"managedFields": transform.managed_fields(entries, self.new_uids)}
        await self._target.merge_patch(obj.type, obj.key, {"metadata": wanted}, manager=MANAGER)

    async def renew(self, original: Object, *, with_status: bool = True) -> None:
        """Makes the copy of an object equal to it again: it has changed on the source since it was copied.

        Args:
            original: The object as it is now.
            with_status: Whether its status is copied, too; not once originals are stripped for their deletion.
        """
        obj, written = await self._replace(original, with_status=with_status)
        source = obj.body()
        if with_status:
            await self._restore_status(obj, source, written)
        wanted = transform.managed_fields(source["metadata"].get("managedFields") or (), self.new_uids)
        await self._target.merge_patch(obj.type, obj.key, {"metadata": {"managedFields": wanted}}, manager=MANAGER)

    async def refresh(self, original: Object) -> None:
        """Makes status and field managers of a copy equal to its original's again; all else of it is equal."""
        obj = self._plan.image(original)
        source = obj.body()
        copy = await self._target.get(obj.type, obj.key.namespace, obj.key.name)
        written = await self._restore_status(obj, source, _as_written(copy))
        wanted = transform.managed_fields(source["metadata"].get("managedFields") or (), self.new_uids)
        if not transform.same_managers(wanted, written.managed_fields):
            await self._target.merge_patch(obj.type, obj.key, {"metadata": {"managedFields": wanted}}, manager=MANAGER)

    async def _replace(self, original: Object, *, with_status: bool) -> tuple[Object, Written]:
        """Replaces the copy and returns what it was replaced by.

        A conflict with the copy that is read again may be our own write, its answer lost.
        """
        image = self._plan.image(original)
        for attempt in range(_REPLACES):
            copy = await self._target.get(image.type, image.key.namespace, image.key.name)
            obj = image if with_status else self._plan.image(unstripped(original, copy))
            body = transform.target_body(obj, self.new_uids)
            body["metadata"] |= {"uid": copy.uid, "resourceVersion": copy.resource_version}
            if any(owner.uid not in self.new_uids for owner in obj.owners):
                # Some owners have left the source already: the copy's references are those that were verified.
                body["metadata"]["ownerReferences"] = copy.body()["metadata"].get("ownerReferences") or []
            elif image.uid in self.made().adopted:
                # Those that own it there use it: an earlier move of another Cluster may have brought it.
                ours = body["metadata"].get("ownerReferences") or []
                theirs = copy.body()["metadata"].get("ownerReferences") or []
                body["metadata"]["ownerReferences"] = transform.joined_owners(ours, theirs)
            try:
                return obj, await self._target.replace(obj.type, body, manager=MANAGER)
            except ConflictError:
                if attempt == _REPLACES - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")


def _as_written(found: Object) -> Written:
    """Returns what the write would have answered after which the object is as it was found."""
    metadata = found.body()["metadata"]
    return Written(
        found.uid,
        found.resource_version,
        int(metadata.get("generation") or 0),
        metadata.get("managedFields") or (),
    )


def unstripped(original: Object, copy: Object) -> Object:
    """Returns an original that is about to be deleted as it would be without what was stripped from it.

    Its finalizers may be gone and `delete-for-move` be there by our own patch; a host whose pause somebody has taken
    off loses its saved status to its operator. What the copy has of these was verified, and counts.
    """
    body = original.body()
    annotations = dict(original.annotations) | {
        name: value for name, value in copy.annotations.items() if name in _OF_THE_PAUSE
    }
    annotations.pop(rules.DELETE_FOR_MOVE_ANNOTATION, None)
    body["metadata"]["annotations"] = annotations
    body["metadata"]["finalizers"] = sorted({*copy.finalizers, *original.finalizers})
    return parse_object(original.type, body)


def _is_copy(found: Object, body: Mapping[str, Any]) -> bool:
    """Returns whether an object has exactly the labels, annotations, finalizers and content of `body`.

    Its status and its managers may be missing: they are written after it was created.
    """
    have = found.body()
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"):
        have["metadata"].pop(name, None)
    have.pop("status", None)
    return have == {name: value for name, value in body.items() if name != "status"}


async def copies_made(target: Cluster, plan: Plan, used: Mapping[str, str]) -> dict[str, str]:
    """Returns UID on the source -> UID on the target of the copies that are there, without what is `used` as it is."""
    images = {image.key: image.uid for image in plan.images()}
    there = await read_objects(target, plan.images(), metadata_only=True)
    return {images[obj.key]: obj.uid for obj in there if obj.key in images and images[obj.key] not in used}


async def missing_namespaces(target: Cluster, plan: Plan) -> tuple[str, ...]:
    """Returns the namespaces that copies need and the target has not, sorted."""
    wanted = sorted({image.key.namespace for image in plan.images()} - {""})
    return tuple([name for name in wanted if not await _exists(target, NAMESPACES, name)])


async def create_namespaces(source: Cluster, target: Cluster, plan: Plan, names: Sequence[str]) -> frozenset[str]:
    """Creates namespaces on the target and returns those that somebody else has created meanwhile.

    They get the labels and annotations of the source's namespace, pod security among them, where clusterctl makes
    them bare (docs/decisions/0004).
    """
    originals = {plan.image(obj).key.namespace: obj.key.namespace for obj in plan.selection.selected}
    others = set()
    for name in names:
        body = (await source.get(NAMESPACES, "", originals[name])).body()
        metadata = {
            "name": name,
            # The API server sets the name's label by itself, and refuses another value.
            "labels": _without(body["metadata"].get("labels") or {}, "kubernetes.io/metadata.name"),
            "annotations": body["metadata"].get("annotations") or {},
        }
        if not await _create_namespace(target, metadata):
            others.add(name)
    return frozenset(others)


async def _create_namespace(target: Cluster, metadata: Mapping[str, Any]) -> bool:
    """Returns whether the namespace is ours: created now, or by a try whose answer was lost."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    try:
        await target.create(NAMESPACES, body, manager=MANAGER)
    except AlreadyExistsError:
        entries = (await target.get(NAMESPACES, "", metadata["name"])).body()["metadata"].get("managedFields") or ()
        return any(entry.get("manager") == MANAGER for entry in entries)
    return True


def _without(values: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if key != name}


async def _exists(cluster: Cluster, resource: ResourceType, name: str) -> bool:
    try:
        await cluster.get(resource, "", name)
    except NotFoundError:
        return False
    return True
