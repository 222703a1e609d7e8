"""What a pause is: who has set one, which one the move sets, and when a controller has seen it. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from mover import metal3
from mover.models import MANAGER

PAUSED_FIELD: Final = "spec.paused"

_AWAITED_KINDS: Final = rules.PAUSED_CONDITION_KINDS - rules.PAUSE_NOT_AWAITED_KINDS
_PAUSED_BY_THEMSELVES: Final = frozenset({rules.CLUSTER, rules.CLUSTER_CLASS, rules.CLUSTER_RESOURCE_SET})


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause that the move sets, or the saved status that it gives to a host.

    Attributes:
        resource: Type of the paused object.
        key: The paused object.
        field: "spec.paused", or the name of the annotation.
        before: The value that the field had; None if it was not there.
    """

    resource: ResourceType
    key: ObjectKey
    field: str
    before: bool | str | None = None

    @property
    def is_pause(self) -> bool:
        """Returns False for a saved status: it stays on the copy until the host's operator has read it."""
        return self.field != rules.HOST_STATUS_ANNOTATION

    def on(self, key: ObjectKey) -> Pause:
        """Returns the same pause of another object."""
        return replace(self, key=key)


def is_paused(obj: Object) -> bool:
    """Returns whether an object is paused by itself: a Cluster's spec, or the annotation of its kind."""
    if obj.type.group_kind == rules.CLUSTER:
        return obj.body().get("spec", {}).get("paused") is True or rules.PAUSED_ANNOTATION in obj.annotations
    if metal3.is_host(obj):
        return rules.HOST_PAUSED_ANNOTATION in obj.annotations
    return rules.PAUSED_ANNOTATION in obj.annotations


def has_own_pause(obj: Object) -> bool:
    """Returns whether a move relies on the object's own pause, whoever has set it: its Cluster's would not do."""
    return obj.type.group_kind == rules.CLUSTER or metal3.pause_annotation(obj) is not None


def pause_of(obj: Object) -> Pause | None:
    """Returns the pause that the move sets on an object; None if it needs none or somebody else has paused it."""
    if is_paused(obj):
        return None
    if obj.type.group_kind == rules.CLUSTER:
        return Pause(obj.type, obj.key, PAUSED_FIELD, obj.body().get("spec", {}).get("paused"))
    annotation = metal3.pause_annotation(obj)
    return Pause(obj.type, obj.key, annotation) if annotation else None


def may_be_set(pause: Pause) -> bool:
    """Returns whether a pause is one that the move sets on an object of that kind, and was as it says before.

    A record that says otherwise was not written by the mover: `pause_of` and `fences_of` give nothing else.
    """
    kind, before = pause.resource.group_kind, pause.before
    if pause.field == PAUSED_FIELD:
        return kind == rules.CLUSTER and before in (None, False) and not isinstance(before, str)
    if pause.field == rules.HOST_STATUS_ANNOTATION:
        return kind == rules.BARE_METAL_HOST and not isinstance(before, bool)
    return before is None and pause.field == metal3.pause_annotation_of(kind)


def pause_patch(pause: Pause) -> dict[str, Any]:
    """Returns the merge patch that sets a pause."""
    if pause.field == PAUSED_FIELD:
        return {"spec": {"paused": True}}
    return {"metadata": {"annotations": {pause.field: MANAGER}}}


def with_pause(obj: Object, pause: Pause) -> Object:
    """Returns the object with a pause of the move set."""
    body = obj.body()
    if pause.field == PAUSED_FIELD:
        body["spec"] = {**(body.get("spec") or {}), "paused": True}
    else:
        annotations = body["metadata"].get("annotations") or {}
        body["metadata"]["annotations"] = {**annotations, pause.field: MANAGER}
    return parse_object(obj.type, body)


def resume_patch(pause: Pause) -> dict[str, Any]:
    """Returns the merge patch that takes a pause off and leaves the field as it was."""
    if pause.field == PAUSED_FIELD:
        return {"spec": {"paused": pause.before}}
    return {"metadata": {"annotations": {pause.field: pause.before}}}


def fences_of(host: Object) -> tuple[Pause, ...]:
    """Returns what the move sets on a host: a pause if it has none, a saved status if it has no current one."""
    patch = metal3.fence_patch(host)
    names = patch["metadata"]["annotations"] if patch else {}
    return tuple(Pause(host.type, host.key, name, host.annotations.get(name)) for name in sorted(names))


def united(known: Iterable[Pause], new: Iterable[Pause]) -> tuple[Pause, ...]:
    """Returns all pauses in key order, each field once; what is known already knows best how it was before."""
    pauses = {(pause.key, pause.field): pause for pause in (*new, *known)}
    return tuple(pause for _, pause in sorted(pauses.items()))


def unpaused_clusters(objects: Iterable[Object]) -> frozenset[ObjectKey]:
    """Returns the keys of those of the objects that are Clusters and that nobody has paused."""
    return frozenset(obj.key for obj in objects if obj.type.group_kind == rules.CLUSTER and not is_paused(obj))


def lagging(obj: Object, unpaused: Collection[ObjectKey]) -> str | None:
    """Returns why an object may not be paused yet: it still reports a pause that is over; None if it does not.

    Its controller has not looked at it since that pause ended, or since a move has restored the condition. If it
    were paused now, the old `True` could not be told from a confirmation of the new pause: a controller writes no
    condition that is there already (CAPI util/paused/paused.go, EnsurePausedCondition), and the generation of what
    its Cluster pauses does not change. `False` first and `True` afterwards is a confirmation, whatever clocks and
    generations say (docs/decisions/0020).

    Args:
        obj: The object as it is before the move pauses anything.
        unpaused: The Clusters that are not paused.
    """
    if obj.type.group_kind not in _AWAITED_KINDS or is_paused(obj):
        return None
    body = obj.body()
    condition = _paused_condition(body.get("status") or {})
    if condition is None or condition.get("status") != "True":
        return None
    if obj.type.group_kind not in _PAUSED_BY_THEMSELVES and _cluster_of(obj) not in unpaused:
        return None
    return "its controller still reports a pause that is over"


def unready(obj: Object) -> str | None:
    """Returns why an object may not be moved yet, None if it may.

    A `block-move` annotation is its provider's request to wait (clusterctl mover.go, waitReadyForMove). Beyond
    clusterctl, kinds that report the Paused condition must report it as true (CAPI v1beta2 conditions). That is a
    confirmation only if the object was not `lagging` when it was paused.
    """
    if rules.BLOCK_MOVE_ANNOTATION in obj.annotations:
        return "its provider blocks the move (annotation block-move)"
    if obj.type.group_kind not in _AWAITED_KINDS:
        return None
    body = obj.body()
    condition = _paused_condition(body.get("status") or {})
    if condition is None:
        # Its controller has never reported a pause: it is too old for it, or does not run.
        return None
    generation = body["metadata"].get("generation")
    if condition.get("status") != "True" or condition.get("observedGeneration", generation) != generation:
        return "its controller has not confirmed the pause"
    return None


def _paused_condition(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = [*(status.get("conditions") or ()), *((status.get("v1beta2") or {}).get("conditions") or ())]
    return next((found for found in conditions if found.get("type") == "Paused"), None)


def _cluster_of(obj: Object) -> ObjectKey | None:
    """Returns the key of the Cluster whose pause an object follows (CAPI util.go, GetClusterFromMetadata)."""
    name = obj.labels.get(rules.CLUSTER_NAME_LABEL) or (obj.body().get("spec") or {}).get("clusterName")
    return ObjectKey(*rules.CLUSTER, obj.key.namespace, name) if name else None
