"""What is paused, by whom, and what asks the move to wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graph import rules
from graph.resource import Object
from mover import metal3
from mover.errors import Problem
from mover.pause import is_paused
from mover.planning import Plan

_PAUSING_FIELDS = (
    ("f:spec", "f:paused"),
    ("f:metadata", "f:annotations", f"f:{rules.PAUSED_ANNOTATION}"),
    ("f:metadata", "f:annotations", f"f:{rules.HOST_PAUSED_ANNOTATION}"),
)


def who_paused(obj: Object) -> str:
    """Returns who has set an object's pause and when, as its field managers say; "" if they do not say."""
    entries = obj.body()["metadata"].get("managedFields") or ()
    found = [entry for entry in entries if any(_has(entry.get("fieldsV1") or {}, path) for path in _PAUSING_FIELDS)]
    if not found:
        return ""
    return " and ".join(sorted(f"{entry.get('manager')} at {entry.get('time', 'a time unknown')}" for entry in found))


def _has(fields: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    value: Any = fields
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _by_whom(obj: Object) -> str:
    who = who_paused(obj)
    return f"it is paused (by {who})" if who else "it is paused"


def check_not_paused(plan: Plan) -> list[Problem]:
    """No Cluster and no ClusterClass is paused (checkClustersNotPaused, checkClusterClassesNotPaused)."""
    remedy = (
        "Find out who paused it, resume it (spec.paused, annotation cluster.x-k8s.io/paused), then move again; or move "
        "it as it is with --paused keep"
    )
    why = "somebody works on it, or an earlier move was broken off"
    return [
        Problem("paused", "source", str(obj.key), f"{_by_whom(obj)}: {why}", remedy)
        for obj in plan.selection.selected
        if _is_root(obj) and is_paused(obj)
    ]


def tell_other_pauses(plan: Plan) -> list[Problem]:
    """Returns what else is paused, as warnings: it stays so on the target."""
    remedy = "Nothing, if that is meant; its controllers leave it alone on the target, too"
    return [
        Problem("paused-objects", "source", str(obj.key), f"{_by_whom(obj)}, and stays so", remedy, is_warning=True)
        for obj in plan.selection.selected
        if not _is_root(obj) and _has_a_pause(obj)
    ]


def _is_root(obj: Object) -> bool:
    return obj.type.group_kind in (rules.CLUSTER, rules.CLUSTER_CLASS)


def _has_a_pause(obj: Object) -> bool:
    """Returns whether a user's pause is on the object: CAPM3 sets one on each host of a paused Cluster."""
    host_pause = obj.annotations.get(rules.HOST_PAUSED_ANNOTATION, rules.CAPM3_HOST_PAUSED_VALUE)
    return rules.PAUSED_ANNOTATION in obj.annotations or host_pause != rules.CAPM3_HOST_PAUSED_VALUE


def check_stale_blocks(plan: Plan) -> list[Problem]:
    """No host asks to wait without anybody who would take the request back."""
    what = f"it blocks the move (annotation {rules.BLOCK_MOVE_ANNOTATION}), and has no consumer that would unblock it"
    return [
        Problem("block-move", "source", str(host.key), what, _unblock(host))
        for host in plan.selection.moved
        if metal3.has_stale_block(host)
    ]


def _unblock(host: Object) -> str:
    place = f"kubectl -n {host.key.namespace} annotate bmh {host.key.name} {rules.BLOCK_MOVE_ANNOTATION}-"
    return f"Take the annotation off ({place}), or go on with --ignore-stale-block-move"


def tell_blocks(plan: Plan) -> list[Problem]:
    """Returns what asks the move to wait now, as warnings: it may do so until it is paused."""
    what = f"it blocks the move for now (annotation {rules.BLOCK_MOVE_ANNOTATION}); the move waits for --pause-timeout"
    remedy = "See that its provider's controller runs and takes the annotation off once the Cluster is paused"
    return [Problem("block-move", "source", str(obj.key), what, remedy, is_warning=True) for obj in _blocking(plan)]


def _blocking(plan: Plan) -> Iterator[Object]:
    for obj in plan.selection.moved:
        if rules.BLOCK_MOVE_ANNOTATION in obj.annotations and not metal3.has_stale_block(obj):
            yield obj
