"""What is special about Metal3 objects in a move, and nothing else. Pure functions.

Sources: Metal3's BareMetalHost controller returns before anything else when `baremetalhost.metal3.io/paused` is
there, whatever its value; it uses `baremetalhost.metal3.io/status` while `.status` is empty. CAPM3 pauses only hosts
that a Metal3Machine claims, with the value `metal3.io/capm3`, and takes off only that value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from graph import rules
from graph.resource import Object, parse_object
from graph.rules import GroupKind
from mover.models import MANAGER


def is_host(obj: Object) -> bool:
    """Returns whether the object is a BareMetalHost."""
    return obj.type.group_kind == rules.BARE_METAL_HOST


def fence_patch(host: Object) -> dict[str, Any] | None:
    """Returns the merge patch that fences a host, None if it is fenced already.

    A fenced host has a pause, ours only if nobody else has paused it, and a saved status that is the current one:
    without a saved status a host that the user had paused is inspected and written once it is unpaused.
    """
    annotations: dict[str, str] = {}
    if rules.HOST_PAUSED_ANNOTATION not in host.annotations:
        annotations[rules.HOST_PAUSED_ANNOTATION] = MANAGER
    status = saved_status(host.body())
    if status is not None and not _is_saved(host.annotations, status):
        annotations[rules.HOST_STATUS_ANNOTATION] = orjson.dumps(status).decode()
    return {"metadata": {"annotations": annotations}} if annotations else None


def fenced(host: Object) -> Object:
    """Returns the host with a pause and a saved status, whoever has set them."""
    patch = fence_patch(host)
    if patch is None:
        return host
    body = host.body()
    body["metadata"]["annotations"] = {**host.annotations, **patch["metadata"]["annotations"]}
    return parse_object(host.type, body)


def saved_status(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns `.status` without `hardware`, as BMO wants it in the annotation; None for a host without status."""
    status = body.get("status")
    if not status:
        return None
    return {name: value for name, value in status.items() if name != "hardware"}


def _is_saved(annotations: Mapping[str, str], status: Mapping[str, Any]) -> bool:
    try:
        saved = orjson.loads(annotations.get(rules.HOST_STATUS_ANNOTATION, ""))
    except orjson.JSONDecodeError:
        return False
    return isinstance(saved, dict) and {**saved, "hardware": None} == {**status, "hardware": None}


def pause_annotation(obj: Object) -> str | None:
    """Returns the annotation by which the mover pauses an object of this kind, None if it does not.

    Metal3DataTemplates, IPPools and IPClaims are paused one by one: an IPPool without a clusterName ignores its
    Cluster's pause, and a DataTemplate would empty its restored `status.indexes`.
    """
    return pause_annotation_of(obj.type.group_kind)


def pause_annotation_of(kind: GroupKind) -> str | None:
    """Returns the same of a kind."""
    if kind == rules.BARE_METAL_HOST:
        return rules.HOST_PAUSED_ANNOTATION
    if kind == rules.CLUSTER_CLASS or kind in rules.OWN_PAUSE_KINDS:
        return rules.PAUSED_ANNOTATION
    return None


def is_metal3(obj: Object) -> bool:
    """Returns whether the kind belongs to Metal3 (hosts, CAPM3, IPAM)."""
    return obj.type.group_kind in rules.METAL3_KINDS


def reports_no_pause(obj: Object) -> bool:
    """Returns whether the kind's controller does not tell when it has seen a pause (hosts, data, addresses)."""
    return is_metal3(obj) and obj.type.group_kind not in rules.PAUSED_CONDITION_KINDS


def has_stale_block(obj: Object) -> bool:
    """Returns whether a host asks to wait although nobody will ever take the request back.

    CAPM3 leaves `block-move` on a host that it has released; with no consumer there is nobody to remove it.
    """
    if not is_host(obj) or rules.BLOCK_MOVE_ANNOTATION not in obj.annotations:
        return False
    return not (obj.body().get("spec") or {}).get("consumerRef")


_STEADY_STATES = frozenset({"", "unmanaged", "available", "ready", "provisioned", "externally provisioned"})


def transition(host: Object) -> str | None:
    """Returns why a host is about to change, None if it is steady.

    Moved in between, the source goes on with what it has begun and the target begins anew. A host that is paused is
    not acted upon, whatever its spec says.
    """
    body = host.body()
    spec, status = body.get("spec") or {}, body.get("status") or {}
    state = str((status.get("provisioning") or {}).get("state") or "")
    if state not in _STEADY_STATES:
        return f"it is {state}"
    if rules.HOST_PAUSED_ANNOTATION in host.annotations or spec.get("externallyProvisioned"):
        return None
    wanted = str((spec.get("image") or {}).get("url") or "")
    has = str(((status.get("provisioning") or {}).get("image") or {}).get("url") or "")
    if state in ("available", "ready") and wanted:
        return "it is about to be provisioned (spec.image is set)"
    if state == "provisioned" and wanted != has:
        return "it is about to be deprovisioned (spec.image is not the image it has)"
    if not status and not spec.get("externallyProvisioned"):
        return "it has no status yet: its operator has not seen it"
    return None
