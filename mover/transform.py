"""Source body -> target body: pure functions on JSON trees."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from graph.resource import Object, OwnerRef

_SERVER_FIELDS = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    # The name is there already; with a generateName the server answers an existing name with a retryable error
    # (kubernetes/kubernetes#32220), which would hide the collision.
    "generateName",
)


def target_body(obj: Object, new_uids: Mapping[str, str]) -> dict[str, Any]:
    """Returns the body to create on the target.

    Owners whose new UID is not known (they are in a cycle and come later) are left out. A type with a status
    subresource gets its status by a call of its own, so the status is taken out here.

    Args:
        obj: The object as it is on the source.
        new_uids: UID on the source -> UID on the target.
    """
    body = obj.body()
    metadata = body["metadata"]
    for name in _SERVER_FIELDS:
        metadata.pop(name, None)
    references = owner_references(obj.owners, new_uids)
    if references:
        metadata["ownerReferences"] = references
    if obj.type.has_status:
        body.pop("status", None)
    return body


def owner_references(owners: Sequence[OwnerRef], new_uids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns the owner references with the target's UIDs, in their order, without owners that have none yet."""
    return [_reference(owner, new_uids[owner.uid]) for owner in owners if owner.uid in new_uids]


def _reference(owner: OwnerRef, uid: str) -> dict[str, Any]:
    optional = {"controller": owner.controller, "blockOwnerDeletion": owner.block_owner_deletion}
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": uid,
        **{name: value for name, value in optional.items() if value is not None},
    }


STATUS_PARTS = ("conditions", "v1beta2", "deprecated", "v1beta1")
"""Where in a status an observedGeneration may be, beside the top: in conditions, of each version of the contract."""


def target_status(status: Any, source_generation: int, target_generation: int) -> Any:
    """Returns the status with every `observedGeneration` made true for the copy.

    A copy's generation starts at 1. What had seen the source's newest generation has seen the copy's; what lagged
    behind has seen none yet, and the field is left out.
    """
    if isinstance(status, list):
        return [target_status(entry, source_generation, target_generation) for entry in status]
    if not isinstance(status, dict):
        return status
    restored = {
        name: target_status(value, source_generation, target_generation) if name in STATUS_PARTS else value
        for name, value in status.items()
    }
    observed = restored.pop("observedGeneration", None)
    if isinstance(observed, int) and observed >= source_generation:
        restored["observedGeneration"] = target_generation
    return restored


def managed_fields(entries: Sequence[Mapping[str, Any]], new_uids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns the source's field managers for the copy.

    Owner references are keyed by UID in fieldsV1 (`k:{"uid":"…"}`), so the keys get the target's UIDs: with the
    source's ones the owner would be lost with the next write of its manager (docs/decisions/0003).
    """
    return [{**entry, "fieldsV1": _renamed(entry.get("fieldsV1") or {}, new_uids)} for entry in entries]


def _renamed(fields: Mapping[str, Any], new_uids: Mapping[str, str]) -> dict[str, Any]:
    metadata = fields.get("f:metadata")
    references = metadata.get("f:ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(references, dict):
        return dict(fields)
    renamed = {_renamed_key(key, new_uids): value for key, value in references.items()}
    return {**fields, "f:metadata": {**metadata, "f:ownerReferences": renamed}}


def _renamed_key(key: str, new_uids: Mapping[str, str]) -> str:
    if not key.startswith("k:"):
        return key
    identity = orjson.loads(key[2:])
    uid = identity.get("uid")
    return f"k:{orjson.dumps({**identity, 'uid': new_uids[uid]}).decode()}" if uid in new_uids else key


def without_owners(body: Mapping[str, Any], uids: Collection[str]) -> dict[str, Any]:
    """Returns the body without the owners of these UIDs, and without what its field managers know of them."""
    metadata = dict(body["metadata"])
    metadata["ownerReferences"] = [one for one in metadata.get("ownerReferences") or () if one["uid"] not in uids]
    metadata["managedFields"] = [
        {**entry, "fieldsV1": _forgetting(entry.get("fieldsV1") or {}, uids)}
        for entry in metadata.get("managedFields") or ()
    ]
    return {**body, "metadata": metadata}


def _forgetting(fields: Mapping[str, Any], uids: Collection[str]) -> dict[str, Any]:
    metadata = fields.get("f:metadata")
    references = metadata.get("f:ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(references, dict):
        return dict(fields)
    kept = {key: value for key, value in references.items() if _uid_of(key) not in uids}
    return {**fields, "f:metadata": {**metadata, "f:ownerReferences": kept}}


def _uid_of(key: str) -> str | None:
    return orjson.loads(key[2:]).get("uid") if key.startswith("k:") else None


def joined_owners(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns all owner references, each owner once; of two controllers, of which there may be one, `ours` has it."""
    known = {reference["uid"] for reference in ours}
    controlled = any(reference.get("controller") for reference in ours)
    others = [reference for reference in theirs if reference["uid"] not in known]
    return [*ours, *(other for other in others if not (controlled and other.get("controller")))]


def same_managers(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether two lists of field managers own the same fields; when they wrote does not matter."""
    return _by_manager(one) == _by_manager(other)


def _by_manager(entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], Any]:
    names = ("manager", "operation", "apiVersion", "subresource")
    return {tuple(str(entry.get(name) or "") for name in names): entry.get("fieldsV1") for entry in entries}


def creating_manager(entries: Sequence[Mapping[str, Any]], fallback: str) -> str:
    """Returns the manager to create the copy as, so that the field managers need no second call.

    That works out if one manager wrote the whole object by updates; otherwise the managers are restored anyway.
    """
    main = [entry for entry in entries if not entry.get("subresource")]
    if len(main) == 1 and main[0].get("operation") == "Update":
        return str(main[0].get("manager") or fallback)
    return fallback


def status_manager(entries: Sequence[Mapping[str, Any]], fallback: str) -> str:
    """Returns the manager to write the status as: the only one that updated it, else `fallback`."""
    writers = [entry for entry in entries if entry.get("subresource") == "status"]
    if len(writers) == 1 and writers[0].get("operation") == "Update":
        return str(writers[0].get("manager") or fallback)
    return fallback
