"""A plan in a file, and what has changed on its cluster since: what an approval is given for, and whether it holds.

Pure: encoding, decoding and comparing only. A saved plan holds names and digests, never what an object holds; of a
Secret not even a digest, for a short password can be found by trying: its resourceVersion stands for its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from graph import rules
from graph.resource import Object, ObjectKey
from graph.selection import Fate
from mover.differences import Names, names_of, normalised
from mover.errors import Problem, UsageError
from mover.models import MANAGER, MoveOptions
from mover.names import is_label, is_shown, shown
from mover.planning import Plan
from mover.record import Identity
from mover.untrusted import UntrustedError, is_kind, is_name, is_time, is_uid, parse_json

FORMAT: Final = "capi-mover-plan"
VERSION: Final = 1
_SELECTING: Final = ("strict_labels", "clusters", "selector", "hosts", "all_hosts")
"""Options that decide what moves, beside the namespace."""
_FIELDS: Final = frozenset({"format", "version", "checksum", "plan"})
_DIGEST_CHARACTERS = 16
LONGEST: Final = 256 * 1024 * 1024
"""A plan of a hundred thousand objects takes a quarter of that (bytes)."""
_REMEDY = "Save a new plan with: capi-mover plan --save FILE, and look at it before you move"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PlannedObject(_Frozen):
    """One object as it was when the plan was saved.

    Attributes:
        group: Its API group.
        kind: Its kind.
        namespace: Its namespace, "" for cluster-scoped ones.
        name: Its name.
        uid: Its UID.
        fate: What is to become of it.
        parts: Part of the object ("spec", "labels" and so on) -> its digest; empty for an object that stays.
    """

    group: str
    kind: str
    namespace: str
    name: str
    uid: str
    fate: Fate
    parts: Mapping[str, str]

    @property
    def key(self) -> ObjectKey:
        """Returns the object's key."""
        return ObjectKey(self.group, self.kind, self.namespace, self.name)


class SavedPlan(_Frozen):
    """What was looked at when the plan was saved.

    Attributes:
        cluster: The source.
        namespace: What was to be moved; "" for all namespaces.
        strict_labels: Whether Metal3's kinds were not known by themselves.
        clusters: The single Clusters that were asked for by name.
        selector: The label selector they were asked for by.
        hosts: The label selector of the spare hosts that come along.
        all_hosts: Whether all spare hosts do.
        saved: When (RFC 3339, the clock of who saved it).
        objects: All objects of the inventory, in key order.
    """

    cluster: Identity
    namespace: str
    strict_labels: bool
    clusters: tuple[str, ...]
    selector: str
    hosts: str
    all_hosts: bool
    saved: str
    objects: tuple[PlannedObject, ...]

    @property
    def checksum(self) -> str:
        """Returns what tells this plan from every other one."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def saved_plan(plan: Plan, cluster: Identity, options: MoveOptions) -> SavedPlan:
    """Returns what is to be saved of a plan of that cluster, made by these options."""
    return SavedPlan(
        cluster=cluster,
        namespace=plan.inventory.namespace,
        **{name: getattr(options, name) for name in _SELECTING},
        saved=datetime.now(UTC).isoformat(timespec="seconds"),
        objects=tuple(_planned_objects(plan)),
    )


def encode(saved: SavedPlan) -> bytes:
    """Returns the content of a plan's file: JSON."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "checksum": saved.checksum,
        "plan": saved.model_dump(mode="json"),
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode(content: bytes, name: str) -> SavedPlan:
    """Returns the plan of a file.

    Args:
        content: What is in the file.
        name: The file's name, for errors.

    Raises:
        UsageError: It is no plan, it is damaged, or it was saved by a newer version.
    """
    try:
        whole = parse_json(content)
    except UntrustedError as error:
        raise UsageError(f"{name} is not a saved plan: {error}", _REMEDY) from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise UsageError(f"{name} is not a saved plan", _REMEDY)
    if whole.get("version") != VERSION or isinstance(whole["version"], bool):
        raise UsageError(
            f"The plan {name} is of version {shown(str(whole.get('version')), 60)}; this capi-mover knows {VERSION}",
            "Use the capi-mover that has saved it, or save it anew",
        )
    try:
        saved = SavedPlan.model_validate_json(orjson.dumps(whole.get("plan")))
    except ValidationError as error:
        fields = ", ".join(sorted({shown(".".join(map(str, one["loc"][:3]))) for one in error.errors()})[:5])
        what = f"The plan {name} is damaged: it does not hold what a plan holds ({fields or 'nothing'})"
        raise UsageError(what, _REMEDY) from error
    if set(whole) != _FIELDS or whole.get("checksum") != saved.checksum:
        raise UsageError(f"The plan {name} is damaged or was edited: its checksum does not fit", _REMEDY)
    if wrong := _implausible(saved):
        raise UsageError(f"The plan {name} is none that was saved: {', '.join(wrong)} cannot be so", _REMEDY)
    return saved


def _implausible(saved: SavedPlan) -> list[str]:
    """Returns the fields that no plan has so, whatever its checksum: anybody can write one that fits."""
    keys = [entry.key for entry in saved.objects]
    texts = (saved.selector, saved.hosts, *saved.clusters)
    there = {entry.name for entry in saved.objects if (entry.group, entry.kind) == rules.CLUSTER}
    wrong = {
        "cluster": not (is_uid(saved.cluster.uid) and is_shown(saved.cluster.context, 1000)),
        "namespace": saved.namespace != "" and not is_label(saved.namespace),
        "clusters, selector or hosts": not (
            all(is_shown(text, 4000) for text in texts) and there.issuperset(saved.clusters)
        ),
        "saved": not is_time(saved.saved),
        "the order of objects": keys != sorted(set(keys)),
        "objects": not all(map(_is_plausible, saved.objects)),
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def _is_plausible(entry: PlannedObject) -> bool:
    namespace, parts = entry.namespace, entry.parts
    named = is_kind(entry.group, entry.kind) and is_name(entry.name) and (not namespace or is_label(namespace))
    return named and is_uid(entry.uid) and all(is_shown(text, 300) for part in parts.items() for text in part)


def planned_options(saved: SavedPlan, options: MoveOptions) -> MoveOptions:
    """Returns the options of a move by that plan: what decides the selection is the plan's.

    Raises:
        UsageError: Something else is asked for than what was planned.
    """
    if options.namespace not in (None, saved.namespace):
        raise UsageError(
            f'The plan is of the namespace "{saved.namespace}", not of "{options.namespace}"',
            "Leave --namespace out, or save a plan of that namespace",
        )
    unasked = MoveOptions()
    for name in _SELECTING:
        if getattr(options, name) not in (getattr(unasked, name), getattr(saved, name)):
            flag = f"--{name.removesuffix('s') if name == 'clusters' else name.replace('_', '-')}"
            raise UsageError(f"The plan was not saved with this {flag}", f"Leave {flag} out, or save a plan with it")
    if options.leave_behind:
        raise UsageError(
            "--leave-behind goes by the target, which a plan does not know", "Leave --leave-behind or --plan out"
        )
    if options.include_referenced:
        raise UsageError(
            "--include-referenced goes by the target, which a plan does not know",
            "Leave --include-referenced or --plan out",
        )
    planned = {name: getattr(saved, name) for name in ("namespace", *_SELECTING)}
    return options.model_copy(update={**planned, "plan_checksum": saved.checksum})


def require_cluster(saved: SavedPlan, cluster: Identity) -> None:
    """Raises UsageError if the plan was made of another cluster."""
    if saved.cluster.uid != cluster.uid:
        raise UsageError(
            f"The plan was made of another cluster (context {saved.cluster.context}) than the source "
            f"(context {cluster.context})",
            "Choose the source with --kubeconfig and --kubeconfig-context, or save a plan of this one",
        )


def changes_since(saved: SavedPlan, plan: Plan) -> list[Problem]:
    """Returns what is not as it was when the plan was saved, in key order; empty if the plan still holds.

    What counts is that the same objects have the same fates, and of those that are copied everything but the status
    and the finalizers, which change all the time on a live cluster. Of those that stay nothing counts but that they
    stay: what others are owned by is part of these others.
    """
    before = {entry.key: entry for entry in saved.objects}
    now = {entry.key: entry for entry in _planned_objects(plan)}
    found = ((key, _change(before.get(key), now.get(key))) for key in sorted({*before, *now}))
    return [Problem("plan", "source", str(key), what, _REMEDY) for key, what in found if what]


def _change(before: PlannedObject | None, now: PlannedObject | None) -> str | None:
    was, is_now = (Fate.LEAVE if entry is None else entry.fate for entry in (before, now))
    if was is Fate.LEAVE and is_now is Fate.LEAVE:
        return None
    if before is None:
        return f"it has appeared since the plan was saved, and would {is_now}"
    if now is None:
        return "it has vanished since the plan was saved"
    if was is not is_now:
        return f"it was planned to {was}, and would {is_now} now"
    if before.uid != now.uid:
        return "it was deleted and created again since the plan was saved"
    changed = [part for part in sorted({*before.parts, *now.parts}) if before.parts.get(part) != now.parts.get(part)]
    return f"changed since the plan was saved: {', '.join(changed)}" if changed else None


def _planned_objects(plan: Plan) -> Iterator[PlannedObject]:
    objects = plan.selection.graph.objects
    names = names_of(tuple(objects.values()))
    for uid, decision in plan.selection.decisions.items():
        obj, key = objects[uid], objects[uid].key
        yield PlannedObject(
            group=key.group,
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            uid=uid,
            fate=decision.fate,
            parts={} if decision.fate is Fate.LEAVE else _parts(obj, names),
        )


def _parts(obj: Object, names: Names) -> dict[str, str]:
    if obj.type.group_kind == rules.SECRET:
        return {"content": obj.resource_version}
    body = normalised(obj, names)
    parts = {name: value for name, value in body.items() if name not in ("kind", "metadata", "status")}
    parts |= {"labels": obj.labels, "owners": body["metadata"]["owners"], "deletion": obj.deleting}
    parts["annotations"] = {name: value for name, value in obj.annotations.items() if not _is_of_a_move(name, value)}
    return {name: _digest(value) for name, value in sorted(parts.items()) if value}


_HANDSHAKE = frozenset({rules.BLOCK_MOVE_ANNOTATION, rules.DELETE_FOR_MOVE_ANNOTATION, rules.HOST_STATUS_ANNOTATION})
"""Annotations by which movers and providers talk to each other; a saved status changes as the status does."""

_PAUSES = frozenset({rules.PAUSED_ANNOTATION, rules.HOST_PAUSED_ANNOTATION})


def _is_of_a_move(name: str, value: str) -> bool:
    return name in _HANDSHAKE or (name in _PAUSES and value == MANAGER)


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:_DIGEST_CHARACTERS]
