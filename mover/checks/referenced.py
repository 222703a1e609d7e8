"""What the objects that move name in their specs, and would not find on the target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from graph import rules
from graph.mentions import Directory
from graph.references import references
from graph.resource import Object, ObjectKey
from mover.concurrency import all_of
from mover.discovery import find_type
from mover.errors import NotFoundError, Problem
from mover.kube import Cluster
from mover.planning import Plan

_NEEDED = frozenset({rules.SECRET, rules.METAL3_DATA_TEMPLATE, rules.IP_POOL})
"""Kinds whose absence matters: a consumer, a claim or a HardwareData comes and goes."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An object that is named by others and would not be on the target.

    Attributes:
        key: The object on the source.
        named_by: The objects that move and name it, in key order.
        is_on_source: Whether it is there and was read.
    """

    key: ObjectKey
    named_by: tuple[ObjectKey, ...]
    is_on_source: bool

    @property
    def can_be_included(self) -> bool:
        """Returns whether it can be copied and kept: two copies of a pool would hand out the same addresses."""
        return self.is_on_source and rules.is_shareable((self.key.group, self.key.kind))


async def find_missing(target: Cluster, plan: Plan) -> tuple[Missing, ...]:
    """Returns what the selected objects name that neither moves nor is on the target, by key."""
    graph = plan.selection.graph
    named = _named(plan)
    there = await all_of(_is_on_target(target, plan, key) for key in sorted(named))
    return tuple(
        Missing(key, tuple(sorted(named[key])), graph.by_key(key) is not None)
        for key, found in zip(sorted(named), there, strict=True)
        if not found
    )


def _named(plan: Plan) -> dict[ObjectKey, set[ObjectKey]]:
    """Returns by whom each object is named that does not move.

    Of objects that were read on the source every mention counts; of others only what Metal3's own fields name.
    """
    selection = plan.selection
    left = Directory(selection.left)
    named: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)
    for obj in selection.selected:
        for found in left.mentioned(obj):
            named[found.key].add(obj.key)
        for key in _needed_by(obj):
            known = selection.graph.by_key(key)
            if known is None or not selection.is_selected(known.uid):
                named[key].add(obj.key)
    return dict(named)


def _needed_by(obj: Object) -> Iterable[ObjectKey]:
    return (found.key for found in references(obj) if (found.key.group, found.key.kind) in _NEEDED)


async def _is_on_target(target: Cluster, plan: Plan, key: ObjectKey) -> bool:
    resource = find_type(plan.inventory.types, (key.group, key.kind))
    known = plan.selection.graph.by_key(key)
    namespace = key.namespace if known is None else plan.image(known).key.namespace
    if resource is None:
        return False
    try:
        await target.get(resource, namespace, key.name)
    except NotFoundError:
        return False
    return True


def check_references(missing: Iterable[Missing], plan: Plan) -> list[Problem]:
    """Everything that the objects name in their specs will be on the target."""
    return [_problem(one, plan) for one in missing]


def _problem(one: Missing, plan: Plan) -> Problem:
    users = str(one.named_by[0]) + (f" and {len(one.named_by) - 1} more" if len(one.named_by) > 1 else "")
    if one.is_on_source:
        what = f"it is needed by {users}, but neither moves nor is on the target"
        remedy = (
            "Take it along with --include-referenced, or create it on the target first"
            if one.can_be_included
            else f"Label it {rules.MOVE_LABEL} to take it along: it may not be on both sides"
        )
        # Who goes by the labels alone has asked for what clusterctl does, which leaves such objects behind.
        return Problem("references", "source", str(one.key), what, remedy, is_warning=plan.inventory.strict_labels)
    what = f"it is named by {users}, but is on neither cluster"
    if one.key.namespace not in ("", plan.inventory.namespace) and plan.inventory.namespace:
        what = f"it is named by {users}, but is in another namespace and not on the target"
    remedy = "Create it, or take the reference off"
    return Problem("references", "source", str(one.key), what, remedy, is_warning=True)
