"""Who holds a pause and who has taken it off, as far as an object's field managers tell. Pure functions.

A manager that changes a field takes it from all others; one that only removes it leaves no name behind (Kubernetes,
structured-merge-diff).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from graph import rules
from graph.resource import Object
from mover import metal3
from mover.models import MANAGER
from mover.pause import PAUSED_FIELD, is_paused

Entries = Sequence[Mapping[str, Any]]
"""The managedFields of an object."""

_GITOPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "kustomize-controller": "Suspend the Flux Kustomization that holds it (flux suspend kustomization)",
        "helm-controller": "Suspend the Flux HelmRelease that holds it (flux suspend helmrelease)",
        "argocd-controller": "Switch off the automated sync of the Argo CD Application that holds it",
        "argocd-application-controller": "Switch off the automated sync of the Argo CD Application that holds it",
        "fleetagent": "Pause the Fleet GitRepo that holds it",
        "configsync": "Stop the syncing of the Config Sync RootSync or RepoSync that holds it",
    }
)
"""Field manager -> how its reconciliation is suspended."""


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """One entry of managedFields.

    Attributes:
        manager: Who writes.
        operation: "Apply" or "Update".
        time: When the manager last changed what it owns (RFC 3339), "" if that is not told.
    """

    manager: str
    operation: str
    time: str

    @property
    def identity(self) -> tuple[str, str]:
        """Returns what stays the same when the manager writes again."""
        return self.manager, self.operation

    def __str__(self) -> str:
        return f"{self.manager} ({', '.join(filter(None, (self.operation, self.time)))})"


@dataclass(frozen=True, slots=True)
class Taker:
    """Who has taken a pause off.

    Attributes:
        owner: The field manager; None if none comes into question.
        is_certain: Whether it owns the field now; else it is only the last one that has written the object.
    """

    owner: FieldOwner | None = None
    is_certain: bool = False

    @property
    def told(self) -> str:
        """Returns the end of a sentence that begins with "the pause was taken off"."""
        if self.owner is None:
            return " (its field managers do not tell by whom)"
        if self.is_certain:
            return f" by {self.owner}"
        return f" (its field managers do not tell by whom; last written by {self.owner})"

    @property
    def remedy(self) -> str:
        """Returns how to keep it from doing so again."""
        if self.owner is None:
            return "Find out who writes the object (the API server's audit log tells) and stop it"
        return _GITOPS.get(self.owner.manager, f"Stop whatever writes as {self.owner.manager}")


def pausing_fields(obj: Object) -> tuple[str, ...]:
    """Returns the fields by which an object is paused now: `spec.paused`, names of annotations."""
    if not is_paused(obj):
        return ()
    if metal3.is_host(obj):
        return (rules.HOST_PAUSED_ANNOTATION,)
    annotation = (rules.PAUSED_ANNOTATION,) if rules.PAUSED_ANNOTATION in obj.annotations else ()
    is_by_spec = obj.type.group_kind == rules.CLUSTER and obj.body().get("spec", {}).get("paused") is True
    return (PAUSED_FIELD, *annotation) if is_by_spec else annotation


def entries_of(obj: Object) -> Entries:
    """Returns the managedFields of an object."""
    entries: Entries = obj.body()["metadata"].get("managedFields") or ()
    return entries


def owners_of(entries: Entries, fields: Iterable[str]) -> frozenset[FieldOwner]:
    """Returns who owns any of the fields."""
    paths = [_path(field) for field in fields]
    return frozenset(_owner(entry) for entry in entries if any(_owns(entry, path) for path in paths))


def was_off(before: Collection[FieldOwner], now: Object, fields: Collection[str], *, after_gap: bool) -> bool:
    """Returns whether a pause that is on has been off since `before`.

    Whoever set it has lost the field to somebody else. After a time in which changes may have been missed it counts,
    too, that its only owner has written since: it may have taken the pause off and set it again itself.

    Args:
        before: Who owned the pause.
        now: The paused object as it is now.
        fields: By which the object was paused.
        after_gap: Whether changes to the object may have been missed.
    """
    entries = entries_of(now)
    if not before or not entries:
        return False
    owners = owners_of(entries, fields)
    left = {owner.identity for owner in owners} & {owner.identity for owner in before}
    if not left:
        return True
    return after_gap and (MANAGER, "Update") not in left and not owners & set(before)


def taker_of(obj: Object, before: Collection[FieldOwner], fields: Collection[str]) -> Taker:
    """Returns who has taken off the pause of an object, as it is now.

    Args:
        obj: The object, its pause off, or on again.
        before: Who owned the pause.
        fields: By which the object was paused.
    """
    known = {owner.identity for owner in before}
    owners = [owner for owner in owners_of(entries_of(obj), fields) if owner.identity[0] != MANAGER]
    new = [owner for owner in owners if owner.identity not in known] or owners
    if new:
        return Taker(max(new, key=_when), is_certain=True)
    since = max((owner.time for owner in before), default="")
    written = [_owner(entry) for entry in entries_of(obj) if not entry.get("subresource")]
    others = [owner for owner in written if owner.manager != MANAGER and owner.time and owner.time >= since]
    return Taker(max(others, key=_when, default=None))


def _when(owner: FieldOwner) -> tuple[str, str]:
    return owner.time, owner.manager


def _owner(entry: Mapping[str, Any]) -> FieldOwner:
    return FieldOwner(entry.get("manager") or "", entry.get("operation") or "", entry.get("time") or "")


def _path(field: str) -> tuple[str, ...]:
    if field == PAUSED_FIELD:
        return "f:spec", "f:paused"
    return "f:metadata", "f:annotations", f"f:{field}"


def _owns(entry: Mapping[str, Any], path: Iterable[str]) -> bool:
    fields = entry.get("fieldsV1") or {}
    for name in path:
        if not isinstance(fields, Mapping) or name not in fields:
            return False
        fields = fields[name]
    return True
