"""The state in which an original is deleted: without finalizers, so that it is gone at once. Pure functions."""

from __future__ import annotations

from typing import Any

from graph import rules
from graph.resource import Object
from mover import metal3
from mover.models import MANAGER


def stripping_patch(obj: Object) -> dict[str, Any]:
    """Returns the merge patch that lets an object vanish as soon as it is deleted."""
    annotations = {rules.DELETE_FOR_MOVE_ANNOTATION: ""}
    if metal3.is_host(obj):
        annotations[rules.HOST_PAUSED_ANNOTATION] = obj.annotations.get(rules.HOST_PAUSED_ANNOTATION, MANAGER)
    return {
        "metadata": {
            "resourceVersion": obj.resource_version,
            "finalizers": [],
            "annotations": annotations,
        }
    }


def is_stripped(obj: Object) -> bool:
    """Returns whether an object is ready to be deleted: stripped, and nobody has put a finalizer back."""
    return rules.DELETE_FOR_MOVE_ANNOTATION in obj.annotations and not obj.finalizers
