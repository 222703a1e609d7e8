"""Runs all checks and collects what they find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mover.concurrency import both
from mover.errors import Problem
from mover.kube import Cluster
from mover.models import MoveOptions
from mover.plan import Plan, make_plan
from mover.preflight.clusters import check_clusters
from mover.preflight.plan_checks import check_plan
from mover.preflight.target import (
    check_collisions,
    check_namespaces,
    check_outside_owners,
    check_served,
    find_outside_owners,
    judge_collisions,
    read_target,
    without_owner,
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the preflight found.

    Attributes:
        plan: What is to be moved: the plan that was checked, without what is left behind on request.
        problems: What stands against the move, in the order of the checks.
        used: UID on the source -> UID on the target of what the target has already and is used as it is:
            cluster-scoped objects, what is below them, and owners outside of the move.
        overwritten: The same of objects that are overwritten.
    """

    plan: Plan
    problems: tuple[Problem, ...]
    used: Mapping[str, str]
    overwritten: Mapping[str, str]


async def check_move(source: Cluster, target: Cluster, plan: Plan, options: MoveOptions) -> Findings:
    """Returns all that stands against moving what `plan` selects from `source` to `target`."""
    clusters, owners = await both(check_clusters(source, target, plan), find_outside_owners(target, plan))
    if options.leave_behind:
        homeless = frozenset(obj.key for obj, _ in without_owner(plan, owners))
        plan = make_plan(plan.inventory, replace(plan.rules, left_behind=homeless))
    on_target, namespaces = await both(read_target(target, plan), check_namespaces(target, plan))
    collisions = judge_collisions(plan, on_target, options.existing)
    problems = [
        *clusters,
        *check_plan(plan, options),
        *namespaces,
        *check_served(plan, on_target),
        *check_collisions(collisions, options.existing),
        *check_outside_owners(plan, owners),
    ]
    return Findings(plan, tuple(problems), {**collisions.used, **owners}, collisions.overwritten)
