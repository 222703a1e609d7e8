"""Runs all checks and collects what they find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mover.checks.access import check_access
from mover.checks.clusters import check_connection
from mover.checks.registry import BEFORE_ALL, CHECKS, Check, check_named, check_plan, require_skippable
from mover.checks.scene import Scene, look
from mover.checks.target import (
    check_collisions,
    check_outside_owners,
    find_outside_owners,
    judge_collisions,
    read_target,
)
from mover.concurrency import all_of, both
from mover.errors import ApiError, ForbiddenError, Problem
from mover.kube import Cluster
from mover.models import MoveOptions
from mover.planning import Plan


@dataclass(frozen=True, slots=True)
class Findings:
    """What the preflight found.

    Attributes:
        plan: What is to be moved: the plan that was checked, without what is left behind on request.
        problems: What stands against the move, in the order of the checks.
        warnings: What the operator should know; the move goes on.
        used: UID on the source -> UID on the target of what the target has already and is used as it is:
            cluster-scoped objects, what is below them, and owners outside of the move.
        overwritten: The same of objects that are overwritten.
        checked: Names of the checks that were made.
        skipped: Names of those that were left out.
    """

    plan: Plan
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    used: Mapping[str, str]
    overwritten: Mapping[str, str]
    checked: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


async def check_connections(source: Cluster, target: Cluster) -> list[Problem]:
    """Returns which of the clusters does not answer: nothing else can be found out then."""
    return [problem for found in await all_of(map(check_connection, (source, target))) for problem in found]


async def check_move(source: Cluster, target: Cluster, plan: Plan, options: MoveOptions) -> Findings:
    """Returns all that stands against moving what `plan` selects from `source` to `target`; changes nothing.

    Raises:
        UsageError: A check is to be skipped that does not exist or guards against loss.
        ApiError: A cluster refused a read without which there is no preflight.
    """
    require_skippable(options.skip)
    try:
        scene = await look(source, target, plan, options)
    except ForbiddenError:
        # Without that look nothing else can be checked; but all rights that are missing can be told at once.
        missing = await check_access(source, target, plan, options, creates_namespace=True)
        if not missing:
            raise
        return Findings(plan, tuple(missing), (), {}, {})
    run = [check for check in CHECKS if check.name not in options.skip]
    found = await all_of(_run(check, scene) for check in run)
    judged = [_judged(problem, options) for problems in found for problem in problems]
    return Findings(
        scene.plan,
        tuple(problem for problem in judged if not problem.is_warning),
        tuple(problem for problem in judged if problem.is_warning),
        {**scene.collisions.used, **scene.owners},
        scene.collisions.overwritten,
        tuple(check.name for check in run),
        tuple(sorted(options.skip)),
    )


def check_source(plan: Plan, options: MoveOptions) -> Findings:
    """Returns what the objects of the source say by themselves: all that is known where no target is given.

    Raises:
        UsageError: A check is to be skipped that does not exist or guards against loss.
    """
    require_skippable(options.skip)
    run = [check for check in CHECKS if check.of_plan and check.name not in options.skip]
    found = [check.of_plan(plan, options) for check in run if check.of_plan]
    judged = [_judged(problem, options) for problems in found for problem in problems]
    return Findings(
        plan,
        tuple(problem for problem in judged if not problem.is_warning),
        tuple(problem for problem in judged if problem.is_warning),
        {},
        {},
        tuple(check.name for check in run),
        tuple(sorted(options.skip)),
    )


async def check_unit(target: Cluster, plan: Plan, options: MoveOptions) -> Findings:
    """Returns what stands against moving one unit of a move that was checked as a whole.

    What may have changed since is checked again: the objects themselves, and what is on the target.
    """
    owners, on_target = await both(find_outside_owners(target, plan), read_target(target, plan))
    collisions = judge_collisions(plan, on_target, options.existing)
    found = [
        *check_plan(plan, options),
        *check_collisions(collisions, options.existing),
        *check_outside_owners(plan, owners),
    ]
    judged = [_judged(problem, options) for problem in found]
    return Findings(
        plan,
        tuple(problem for problem in judged if not problem.is_warning),
        (),
        {**collisions.used, **owners},
        collisions.overwritten,
    )


async def _run(check: Check, scene: Scene) -> Sequence[Problem]:
    """Returns what a check finds; one that may not look says so."""
    try:
        return await check.run(scene)
    except ForbiddenError as error:
        return [_not_looked(check, error)]


def _not_looked(check: Check, error: ApiError) -> Problem:
    what = f"this could not be checked: {error.message}"
    remedy = "Grant it: capi-mover rbac" + ("" if check.guards else f"; or leave the check out: --skip {check.name}")
    return Problem(check.name, error.call.cluster, check.question, what, remedy, is_warning=not check.guards)


def _judged(problem: Problem, options: MoveOptions) -> Problem:
    """Returns the problem as a warning, if that is asked for and nothing can be lost by it."""
    check = check_named(problem.check)
    is_guard = check is not None and check.guards
    return replace(problem, is_warning=True) if options.warn_only and not is_guard else problem


def described(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Returns the problems for machines."""
    return [
        {
            "check": problem.check,
            "severity": "warning" if problem.is_warning else "error",
            "cluster": problem.cluster,
            "object": problem.subject,
            "what": problem.what,
            "why": why_of(problem.check),
            "remedy": problem.remedy,
        }
        for problem in problems
    ]


def question_of(name: str) -> str:
    """Returns what a check asks; "" for what is not of the registry: changes since a plan was saved."""
    questions = {check.name: check.question for check in CHECKS} | {first: asks for first, asks, _ in BEFORE_ALL}
    return questions.get(name, "")


def why_of(name: str) -> str:
    """Returns why what a check asks matters."""
    whys = {check.name: check.why for check in CHECKS} | {first: why for first, _, why in BEFORE_ALL}
    return whys.get(name, "The cluster has changed since the plan was made.")
