"""What the checks look at, read once: the plan, and what is on the target already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graph.resource import Object
from mover.checks.admission import Admission, read_admission
from mover.checks.namespaces import read_namespaces
from mover.checks.referenced import Missing, find_missing
from mover.checks.target import (
    Collisions,
    OnTarget,
    find_outside_owners,
    judge_collisions,
    read_target,
    without_owner,
)
from mover.concurrency import both
from mover.kube import Cluster
from mover.models import MoveOptions
from mover.planning import Plan, make_plan

_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks look at.

    Attributes:
        source: The source.
        target: The target.
        options: What is asked for.
        plan: What is to be moved, without what is left behind and with what is included on request.
        on_target: What the target has and serves of the types that move.
        owners: UID on the source -> UID on the target of owners that do not move but are there.
        collisions: What becomes of objects that the target has already.
        namespaces: The namespaces on the target that copies go to, None for one that is not there.
        missing: What the objects name in their specs and would not find on the target.
        on_source_asked: Who is asked about writes on the source.
        on_target_asked: Who is asked about writes on the target.
    """

    source: Cluster
    target: Cluster
    options: MoveOptions
    plan: Plan
    on_target: OnTarget
    owners: Mapping[str, str]
    collisions: Collisions
    namespaces: Mapping[str, Object | None]
    missing: tuple[Missing, ...]
    on_source_asked: Admission
    on_target_asked: Admission


async def look(source: Cluster, target: Cluster, plan: Plan, options: MoveOptions) -> Scene:
    """Returns the scene of a move; reads only."""
    owners = await find_outside_owners(target, plan)
    if options.leave_behind:
        homeless = frozenset(obj.key for obj, _ in without_owner(plan, owners))
        plan = make_plan(plan.inventory, replace(plan.rules, left_behind=homeless))
    plan, missing = await _with_named(target, plan, include=options.include_referenced)
    on_target, namespaces = await both(read_target(target, plan), read_namespaces(target, plan))
    asked = await both(read_admission(source), read_admission(target))
    collisions = judge_collisions(plan, on_target, options.existing)
    return Scene(source, target, options, plan, on_target, owners, collisions, namespaces, missing, *asked)


async def _with_named(target: Cluster, plan: Plan, *, include: bool) -> tuple[Plan, tuple[Missing, ...]]:
    """Returns the plan with all that its objects name, if that is asked for, and what is still missing then."""
    for _ in range(_ROUNDS):
        missing = await find_missing(target, plan)
        found = frozenset(one.key for one in missing if one.can_be_included)
        if not include or not found:
            break
        plan = make_plan(plan.inventory, replace(plan.rules, included=plan.rules.included | found))
    return plan, missing
