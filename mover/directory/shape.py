"""Whether a file holds an object as an API server would hold it, as far as the mover reads it. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph.resource import ObjectKey
from mover.names import is_label
from mover.untrusted import is_kind, is_name, is_uid, is_version

_OWNER_TEXTS = ("apiVersion", "kind", "name", "uid")


def misshapen(body: Mapping[str, Any], key: ObjectKey) -> list[str]:
    """Returns the paths of fields that no object has so.

    Args:
        body: An object with an apiVersion, a kind, a name and a UID.
        key: What these say.
    """
    metadata = body["metadata"]
    space = metadata.get("namespace")
    managed, owners = metadata.get("managedFields"), metadata.get("ownerReferences")
    wrong = {
        "apiVersion": not is_version(body["apiVersion"].rpartition("/")[2]) or not is_kind(key.group, "Any"),
        "kind": not is_kind("", key.kind),
        "metadata.name": not is_name(key.name),
        "metadata.namespace": space not in (None, "") and not (isinstance(space, str) and is_label(space)),
        "metadata.uid": not is_uid(metadata["uid"]),
        "metadata.labels": not _are_texts(metadata.get("labels")),
        "metadata.annotations": not _are_texts(metadata.get("annotations")),
        "metadata.finalizers": not _is_list_of(metadata.get("finalizers"), str),
        "metadata.managedFields": not _is_list_of(managed, dict),
        "metadata.ownerReferences": not _is_list_of(owners, dict) or not all(map(_is_owner, owners or ())),
        "metadata.deletionTimestamp": not isinstance(metadata.get("deletionTimestamp"), str | None),
        "spec": not isinstance(body.get("spec"), dict | None),
        "status": not isinstance(body.get("status"), dict | None),
    }
    return [path for path, is_wrong in wrong.items() if is_wrong]


def _are_texts(value: object) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(text, str) for text in value.values()))


def _is_list_of(value: object, kind: type) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(one, kind) for one in value))


def _is_owner(value: Mapping[str, Any]) -> bool:
    texts = [value.get(name) for name in _OWNER_TEXTS]
    if not all(isinstance(text, str) for text in texts):
        return False
    group = value["apiVersion"].rpartition("/")[0]
    return is_kind(group, value["kind"]) and is_name(value["name"]) and is_uid(value["uid"])
