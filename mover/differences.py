"""Where two objects of the same key differ, whatever cluster or directory each is on.

What a server assigns (UIDs, versions, times) is not compared; owner references are compared by the owner's key and
by whether their UID leads to that owner; field managers by what they own; observedGeneration by whether it is the
newest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from graph import rules
from graph.resource import Object, ObjectKey
from mover.errors import Difference
from mover.transform import STATUS_PARTS

_SERVER_FIELDS = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "generateName",
)
_OF_THE_CLUSTER = ("owners", "managers", "finalizers")
_SHOWN = 120
_UID_KEY = re.compile(r'^k:\{"uid":"(?P<uid>[^"]+)"\}$')
_UID_IN_FIELDS = re.compile(rb'"k:\{\\"uid\\":\\"([^"\\]+)')
# kubectl's last-applied-configuration, an annotation, holds the data once more.
_SECRET_FIELDS = ("data", "stringData", "metadata.annotations")

Names = Mapping[str, ObjectKey]
"""UID -> key of the object that has it, on one cluster."""


def names_of(objects: Sequence[Object]) -> Names:
    """Returns which UID is which object."""
    return {obj.uid: obj.key for obj in objects}


def uids_in(obj: Object) -> set[str]:
    """Returns the UIDs of other objects that `normalised` looks up for an object."""
    managed = (match.decode() for match in _UID_IN_FIELDS.findall(obj.raw))
    return {*(owner.uid for owner in obj.owners), *managed}


def normalised(obj: Object, names: Names) -> dict[str, Any]:
    """Returns the object as it would be on any cluster.

    Args:
        obj: The object.
        names: The UIDs of the cluster it is on, as far as they are known.
    """
    body = obj.body()
    metadata = body.get("metadata") or {}
    generation = int(metadata.get("generation") or 0)
    managers = _managers(metadata.get("managedFields") or (), names)
    owners = sorted((_owner(reference, names) for reference in metadata.get("ownerReferences") or ()), key=str)
    kept = {name: value for name, value in metadata.items() if name not in _SERVER_FIELDS and value}
    if isinstance(body.get("status"), dict):
        body["status"] = _with_currency(body["status"], generation)
    if not body.get("status"):
        body.pop("status", None)
    return {**body, "metadata": {**kept, "owners": owners, "managers": managers}}


def content(obj: Object) -> Mapping[str, Any]:
    """Returns what a user or a controller has asked for: spec, data, labels and annotations, but no status.

    Owners, field managers and finalizers are left out, too: they belong to the cluster the object is on.
    """
    whole = normalised(obj, {})
    metadata = {name: value for name, value in whole["metadata"].items() if name not in _OF_THE_CLUSTER}
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(rules.DELETE_FOR_MOVE_ANNOTATION, None)
    rest = {name: value for name, value in whole.items() if name != "status"}
    return {**rest, "metadata": {**metadata, "annotations": annotations}}


def _owner(reference: Mapping[str, Any], names: Names) -> dict[str, Any]:
    owner = names.get(reference["uid"])
    found = owner is not None and (owner.kind, owner.name) == (reference["kind"], reference["name"])
    return {**reference, "uid": "is that object" if found else "is no such object"}


def _managers(entries: Sequence[Mapping[str, Any]], names: Names) -> dict[str, Any]:
    return {_manager_name(entry): _named_fields(entry.get("fieldsV1") or {}, names) for entry in entries}


def _manager_name(entry: Mapping[str, Any]) -> str:
    parts = (entry.get(name) or "" for name in ("manager", "operation", "apiVersion", "subresource"))
    return " ".join(map(str, parts)).strip()


def _named_fields(fields: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Returns fieldsV1 with the UIDs in owner reference keys replaced by the owners' keys."""
    metadata = fields.get("f:metadata")
    references = metadata.get("f:ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(references, dict):
        return dict(fields)
    named = {_named_key(key, names): value for key, value in references.items()}
    return {**fields, "f:metadata": {**metadata, "f:ownerReferences": named}}


def _named_key(key: str, names: Names) -> str:
    match = _UID_KEY.match(key)
    return f"k:{names.get(match['uid'], 'unknown')}" if match else key


def _with_currency(status: Any, generation: int) -> Any:
    """Returns the status with each observedGeneration replaced by whether it is the newest; left out if it is not."""
    if isinstance(status, list):
        return [_with_currency(entry, generation) for entry in status]
    if not isinstance(status, dict):
        return status
    result = {
        name: _with_currency(value, generation) if name in STATUS_PARTS else value for name, value in status.items()
    }
    observed = result.pop("observedGeneration", None)
    if isinstance(observed, int) and observed >= generation:
        result["observedGeneration"] = "the newest"
    return result


def differences(key: ObjectKey, source: Mapping[str, Any], target: Mapping[str, Any]) -> list[Difference]:
    """Returns every field in which two normalised objects of that key differ, by path; no Secret's data is shown."""
    is_secret = (key.group, key.kind) == rules.SECRET
    found = []
    for path, one, other in _walk("", source, target):
        shown = (
            ("(hidden)", "(hidden)") if is_secret and path.startswith(_SECRET_FIELDS) else (_show(one), _show(other))
        )
        found.append(Difference(str(key), path, *shown))
    return found


_MISSING = object()


def _walk(path: str, source: Any, target: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(source, dict) and isinstance(target, dict):
        for name in sorted({*source, *target}):
            inner = f"{path}.{name}" if path else name
            yield from _walk(inner, source.get(name, _MISSING), target.get(name, _MISSING))
    elif isinstance(source, list) and isinstance(target, list) and len(source) == len(target):
        for index, (a, b) in enumerate(zip(source, target, strict=True)):
            yield from _walk(f"{path}[{index}]", a, b)
    elif source != target:
        yield path, source, target


def _show(value: Any) -> str:
    if value is _MISSING:
        return ""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def compare(one: Sequence[Object], other: Sequence[Object]) -> list[Difference]:
    """Returns every difference between two sets of objects, in key order; "source" is `one`, "target" is `other`.

    Args:
        one: Objects of one cluster or directory, with all the owners they refer to.
        other: The same of another.
    """
    names = names_of(one), names_of(other)
    left, right = {obj.key: obj for obj in one}, {obj.key: obj for obj in other}
    found: list[Difference] = []
    for key in sorted({*left, *right}):
        if key not in left or key not in right:
            found.append(Difference(str(key), "", "there" if key in left else "", "there" if key in right else ""))
        else:
            found += differences(key, normalised(left[key], names[0]), normalised(right[key], names[1]))
    return found
