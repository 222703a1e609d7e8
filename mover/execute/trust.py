"""Whether a record says only what a move of its own scope can say, seen from what is on both clusters.

Asked of every record that was found, before anything is done by it. `mover.record` has seen to it that it is a record
at all; here its objects are looked for in the plan that is made from the source.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType
from mover.discovery import discover, find_type, movable_types
from mover.errors import UsageError
from mover.kube import Cluster
from mover.models import MANAGER, Phase
from mover.planning import Plan, Rules, make_plan
from mover.record import PauseEntry, Record, RecordError, name_of
from mover.verify import read_objects


async def require_trustworthy(source: Cluster, target: Cluster | None, record: Record, plan: Plan) -> None:
    """Returns if a record can be followed.

    Args:
        source: The source; its identity is the record's.
        target: The target; None if it cannot be reached, and a rollback resumes the source alone.
        record: What was found.
        plan: What it moves, made from what is on the source now.

    Raises:
        RecordError: It says what no move of its scope says; what, and of which object, is told.
    """
    strict = record.options.strict_labels
    found = {*plan.inventory.types, *(obj.type for obj in plan.inventory.objects)}
    if not found and target is not None:
        found.update(await movable_types(target, strict_labels=strict))
    trust = _Trust(record, plan, found)
    trust.require_kinds()
    trust.require_target_pauses()
    if record.is_committed:
        trust.require_deletions()
        _require_originals_moving(record, await _as_if_new(source, record, plan))
    else:
        trust.require_pauses()
        trust.require_copies()
    _require_unused(record, plan)
    if target is not None:
        await _require_there(target, record, plan)


async def _as_if_new(source: Cluster, record: Record, plan: Plan) -> Plan:
    """Returns what a move of the scope would take if it began now."""
    of_scope = Rules(mutators=plan.rules.mutators, clusters=plan.rules.clusters, hosts=plan.rules.hosts)
    try:
        inventory = await discover(source, record.namespace, strict_labels=record.options.strict_labels)
    except UsageError:
        # All originals are gone, and their namespace is gone, too.
        return plan
    return make_plan(inventory, of_scope)


@dataclass(frozen=True, slots=True)
class _Trust:
    """A record beside the plan and the types that it can be of."""

    record: Record
    plan: Plan
    types: Collection[ResourceType]

    def require_kinds(self) -> None:
        """What is paused and resumed is of types that discovery finds."""
        for entry in (*self.record.pauses, *self.record.target_pauses):
            kind = find_type(self.types, (entry.group, entry.kind))
            if kind is None or kind.plural != entry.plural:
                raise self._wrong(f"{entry.kind} ({entry.plural}.{entry.group}) is no type that moves")

    def require_pauses(self) -> None:
        """What is resumed on the source is part of the move, or bears its mark, or is gone."""
        moving = {obj.key for obj in self.plan.selection.selected}
        there = {obj.key: obj for obj in self.plan.inventory.objects}
        for key in _keys(self.record.pauses):
            if not self._is_on_source(key) or (key in there and key not in moving and not _is_marked(there[key])):
                raise self._wrong(f"{key} is to be resumed on the source, and is no part of the move")

    def require_target_pauses(self) -> None:
        """What is resumed on the target is a copy."""
        known = {entry.key for entry in self.record.copies} | self._images()
        for key in _keys(self.record.target_pauses):
            if key not in known or not (self._is_on_target(key) or key in self._images()):
                raise self._wrong(f"{key} is to be resumed on the target, and is no copy of the move")

    def require_copies(self) -> None:
        """What a rollback takes off the target can be copies, and the namespaces are those of copies."""
        images = self._images()
        for key in (entry.key for entry in self.record.copies):
            if key not in images and (
                not self._is_on_target(key) or find_type(self.types, (key.group, key.kind)) is None
            ):
                raise self._wrong(f"{key} is to be a copy, and nothing of the move would be copied there")
        spaces = {key.namespace for key in images} | {entry.namespace for entry in self.record.copies}
        for name in self.record.namespaces:
            if name not in spaces:
                raise self._wrong(f"the move has no copies for the namespace {name}")

    def require_deletions(self) -> None:
        """What is deleted from the source is in the namespace that moves, and of no Cluster that stays."""
        names = set(self.record.clusters)
        for obj in self.plan.selection.moved:
            if not self._is_on_source(obj.key):
                raise self._wrong(f"{obj.key} is to be deleted, and is not in the namespace that moves")
            is_cluster = obj.type.group_kind == rules.CLUSTER
            other = obj.key.name if is_cluster else obj.labels.get(rules.CLUSTER_NAME_LABEL)
            if obj.key in self.plan.rules.hosts and not obj.body()["spec"].get("consumerRef"):
                # A spare host that comes along by choice: the label is of a Cluster that it was of once.
                continue
            if names and other is not None and other not in names:
                raise self._wrong(
                    f"{obj.key} is to be deleted, and belongs to the Cluster {other}, which does not move"
                )

    def _images(self) -> frozenset[ObjectKey]:
        return frozenset(image.key for image in self.plan.images())

    def _is_on_source(self, key: ObjectKey) -> bool:
        return not self.record.namespace or key.namespace in ("", self.record.namespace)

    def _is_on_target(self, key: ObjectKey) -> bool:
        to = self.record.options.to_namespace
        goal = self.record.namespace if to is None else to
        if len(self.plan.rules.mutators) > (to is not None):
            # Mutators of the caller's own may put copies elsewhere.
            return True
        return not self.record.namespace or key.namespace in ("", goal)

    def _wrong(self, what: str) -> RecordError:
        return RecordError(name_of(self.record.scope), what)


def _is_marked(obj: Object) -> bool:
    """Returns whether an object bears a pause that only a mover sets: it was of the move, and is no more."""
    return MANAGER in (obj.annotations.get(name) for name in (rules.PAUSED_ANNOTATION, rules.HOST_PAUSED_ANNOTATION))


def _keys(entries: Collection[PauseEntry]) -> list[ObjectKey]:
    return [entry.pause().key for entry in entries]


def _require_originals_moving(record: Record, whole: Plan) -> None:
    """What the target is to work on is not at work on the source: it is to be deleted there, or gone already."""
    resumed = set(_keys(record.target_pauses))
    copied = {entry.key for entry in record.copies}
    for obj in whole.selection.moved:
        key, is_moving = whole.image(obj).key, obj.uid in record.moving
        if record.phase is Phase.RESUMING:
            is_left = is_moving or key in resumed or key in copied or not copied
            what = f"it says that all originals are gone, and {obj.key} is on the source"
        else:
            is_left = key in resumed and not is_moving
            what = f"{key} is to be resumed on the target, and {obj.key} would stay on the source"
        if is_left:
            remedy = "Find out which of the two is to work, and delete the other; nothing was changed"
            raise RecordError(name_of(record.scope), what, remedy)


def _require_unused(record: Record, plan: Plan) -> None:
    """What is said to be used as the target has it is copied and kept: only that never loses its original."""
    for obj in plan.selection.moved:
        if obj.uid in record.used:
            raise RecordError(name_of(record.scope), f"{obj.key} is said to need no copy, and would leave the source")


async def _require_there(target: Cluster, record: Record, plan: Plan) -> None:
    """What the target is said to have had before is there, under the key of the copy and with that UID."""
    said = {**record.used, **record.overwritten}
    selected = [obj for obj in plan.selection.selected if obj.uid in said]
    if not selected:
        return
    images = {obj.uid: plan.image(obj) for obj in selected}
    there = {obj.key: obj for obj in await read_objects(target, tuple(images.values()), metadata_only=True)}
    for uid, image in images.items():
        found = _uid(there.get(image.key))
        if found != said[uid]:
            where = f"on the {target.name} cluster"
            raise RecordError(
                name_of(record.scope),
                f"{image.key} is said to have been {where} before as {said[uid]}, and is {found or 'not'} there",
            )


def _uid(obj: Object | None) -> str:
    return "" if obj is None else obj.uid
