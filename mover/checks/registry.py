"""The checks of a move, by name: what each asks, why that matters, and whether it guards against loss."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from mover.checks import access, clusters, namespaces, operators, pauses, progress, rehearsal, schema, sizes, ties
from mover.checks import target as on_target
from mover.checks.referenced import check_references
from mover.checks.renaming import check_namespace
from mover.checks.scene import Scene
from mover.choices import PausedPolicy
from mover.errors import Problem, UsageError
from mover.models import MoveOptions
from mover.planning import Plan

OfPlan = Callable[[Plan, MoveOptions], list[Problem]]
OfScene = Callable[[Scene], Awaitable[Sequence[Problem]]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: By which it is skipped, and which its problems carry.
        question: What it asks, in a few words.
        why: Why that matters, in a sentence.
        guards: Whether it guards against loss: it is never skipped and its problems are never mere warnings.
        run: The check.
        of_plan: The same, if it needs nothing but the plan.
    """

    name: str
    question: str
    why: str
    run: OfScene
    guards: bool = False
    of_plan: OfPlan | None = None


def _planned(name: str, question: str, why: str, of_plan: OfPlan, *, guards: bool = False) -> Check:
    async def run(scene: Scene) -> Sequence[Problem]:
        return of_plan(scene.plan, scene.options)

    return Check(name, question, why, run, guards, of_plan)


async def _contract(scene: Scene) -> Sequence[Problem]:
    return [*await clusters.check_contract(scene.source), *await clusters.check_contract(scene.target)]


async def _access(scene: Scene) -> Sequence[Problem]:
    creates = any(namespace is None for namespace in scene.namespaces.values())
    return await access.check_access(scene.source, scene.target, scene.plan, scene.options, creates_namespace=creates)


async def _quota(scene: Scene) -> Sequence[Problem]:
    return await namespaces.check_quota(scene.target, scene.plan, scene.namespaces, scene.on_target.objects)


async def _served(scene: Scene) -> Sequence[Problem]:
    return on_target.check_served(scene.plan, scene.on_target)


async def _collisions(scene: Scene) -> Sequence[Problem]:
    return on_target.check_collisions(scene.collisions, scene.options.existing)


async def _outside_owners(scene: Scene) -> Sequence[Problem]:
    return on_target.check_outside_owners(scene.plan, scene.owners)


async def _namespaces(scene: Scene) -> Sequence[Problem]:
    return namespaces.check_namespaces(scene.namespaces)


async def _references(scene: Scene) -> Sequence[Problem]:
    return check_references(scene.missing, scene.plan)


async def _space(scene: Scene) -> Sequence[Problem]:
    return await sizes.check_space(scene.target, scene.plan)


async def _schema(scene: Scene) -> Sequence[Problem]:
    return await schema.check_schema(scene.target, scene.plan, scene.options.restore_status)


async def _operators(scene: Scene) -> Sequence[Problem]:
    return await operators.check_operators(scene.source, scene.target, scene.plan)


async def _identity(scene: Scene) -> Sequence[Problem]:
    return await clusters.check_identity(scene.source, scene.target)


async def _versions(scene: Scene) -> Sequence[Problem]:
    return await clusters.check_versions(scene.source, scene.target)


async def _clocks(scene: Scene) -> Sequence[Problem]:
    return await clusters.check_clocks(scene.source, scene.target)


async def _providers(scene: Scene) -> Sequence[Problem]:
    return await clusters.check_providers(scene.target, scene.plan)


def _paused(plan: Plan, options: MoveOptions) -> list[Problem]:
    return pauses.check_not_paused(plan) if options.paused is PausedPolicy.REFUSE else []


def _blocks(plan: Plan, options: MoveOptions) -> list[Problem]:
    stale = [] if options.ignore_stale_block_move else pauses.check_stale_blocks(plan)
    return [*stale, *pauses.tell_blocks(plan)]


CHECKS: tuple[Check, ...] = (
    Check(
        "identity",
        "Are source and target two clusters?",
        "Originals are deleted once they are copied; in one cluster nothing would be left.",
        _identity,
        guards=True,
    ),
    Check("contract", "Does CAPI serve v1beta2 on both?", "It is the contract this mover knows.", _contract),
    Check("versions", "Is the target's Kubernetes not older?", "A provider may need the newer one.", _versions),
    Check("clocks", "Do the clocks agree?", "Tokens, certificates and timestamps are judged by them.", _clocks),
    Check(
        "permissions",
        "May the users do all that is needed, on both sides?",
        "A right that is missing stops the move in the middle.",
        _access,
    ),
    Check(
        "providers",
        "Does the target have the same providers, not older?",
        "An older controller may not understand the objects.",
        _providers,
    ),
    Check(
        "served",
        "Does the target serve every kind in the version it is sent in?",
        "What cannot be created there would be left behind.",
        _served,
        guards=True,
    ),
    Check(
        "schema",
        "Do the target's CRDs know every field that is used?",
        "A field that a CRD does not know is dropped without a word.",
        _schema,
        guards=True,
    ),
    Check(
        "namespace",
        "Is no namespace of the target being deleted?",
        "Nothing can be created in it, and what is there goes.",
        _namespaces,
    ),
    Check("quota", "Do quotas of the target have room?", "A quota stops the move in the middle.", _quota),
    Check(
        "collisions",
        "Is nothing of these names on the target?",
        "It would be overwritten, or two objects taken for one.",
        _collisions,
        guards=True,
    ),
    Check(
        "creation",
        "Would the target take the copies, and do its webhooks answer? Rehearsed on the server.",
        "Webhooks, policies and schemas refuse objects that the source took long ago.",
        rehearsal.rehearse_creation,
    ),
    Check(
        "removal",
        "Would the source let the originals go, and do its webhooks answer? Rehearsed on the server.",
        "What cannot be deleted stays on both sides.",
        rehearsal.rehearse_removal,
    ),
    Check(
        "outside-owners",
        "Is every owner on the target, or moves?",
        "The garbage collector deletes an object whose owner is not there.",
        _outside_owners,
        guards=True,
    ),
    _planned(
        "left-dependents",
        "Does nothing stay that only what moves owns?",
        "The garbage collector of the source deletes it.",
        lambda plan, _: ties.check_left_dependents(plan),
        guards=True,
    ),
    _planned(
        "one-owner",
        "Is no Cluster and no host to be on both sides?",
        "Two sets of controllers would act on the same machines.",
        lambda plan, _: ties.check_one_owner(plan),
        guards=True,
    ),
    _planned(
        "split",
        "Can what moves be parted from what stays?",
        "A pool on both sides hands the same address out twice.",
        lambda plan, _: ties.check_split(plan),
        guards=True,
    ),
    _planned(
        "cycles",
        "Does nothing own itself in a circle?",
        "The copies of a circle are without one of their owners for a moment.",
        lambda plan, _: ties.tell_cycles(plan),
    ),
    Check(
        "references",
        "Is all on the target that the objects name in their specs?",
        "A host without its credentials, or a template that is missing, is found out much later.",
        _references,
    ),
    _planned(
        "to-namespace",
        "Can every mention of the old namespace be rewritten?",
        "An object that names a namespace that is not there is broken.",
        check_namespace,
        guards=True,
    ),
    _planned(
        "provisioned",
        "Are all Clusters and Machines provisioned?",
        "What is half built would be begun anew.",
        lambda plan, _: progress.check_provisioned(plan),
    ),
    _planned(
        "deleting",
        "Is nothing being deleted?",
        "Its copy would live on, and its deletion be half done.",
        lambda plan, _: progress.check_not_deleting(plan),
        guards=True,
    ),
    _planned(
        "rollout",
        "Is nothing rolled out, scaled or remediated?",
        "Half of the machines would be made by one side, half by the other.",
        lambda plan, _: progress.check_rollout(plan),
    ),
    _planned(
        "hosts",
        "Is every host in a steady state?",
        "The source goes on with what it has begun; the target begins it anew, and may write a disk again.",
        lambda plan, _: progress.check_hosts_steady(plan),
        guards=True,
    ),
    Check("operators", "Do Ironic and its operator run on one side only?", "Two may act on a machine.", _operators),
    _planned(
        "paused",
        "Is no Cluster and no ClusterClass paused by somebody else?",
        "Somebody works on it, or an earlier move was broken off.",
        _paused,
    ),
    _planned(
        "paused-objects",
        "Is anything else paused?",
        "It stays paused on the target, and nobody may remember it.",
        lambda plan, _: pauses.tell_other_pauses(plan),
    ),
    _planned(
        "block-move",
        "Does anything ask the move to wait, and is there anybody to take that back?",
        "The move would wait for nothing until its time is over.",
        _blocks,
    ),
    _planned(
        "sizes",
        "Is no object too large?",
        "etcd refuses it, in the middle of the move.",
        lambda plan, _: sizes.check_sizes(plan),
    ),
    Check("space", "Has the target's etcd room?", "A full etcd takes no writes at all.", _space),
)
"""All checks but those that come before a plan can be made: `connection` and `under-way`."""

BEFORE_ALL: tuple[tuple[str, str, str], ...] = (
    ("connection", "Do both API servers answer?", "Nothing else can be found out without them."),
    ("under-way", "Is no other move of these objects under way?", "Two movers would undo each other's work."),
)
"""(name, question, why) of what is checked first; if one finds something nothing else is asked."""


def check_named(name: str) -> Check | None:
    """Returns the check of that name, None if there is none."""
    return next((check for check in CHECKS if check.name == name), None)


def require_skippable(names: Collection[str]) -> None:
    """Returns if all of these checks may be left out.

    Raises:
        UsageError: One of them does not exist, or guards against loss.
    """
    for name in sorted(names):
        check = check_named(name)
        if check is None:
            known = ", ".join(one.name for one in CHECKS if not one.guards)
            raise UsageError(f"There is no check {name} that could be skipped", f"Those that can: {known}")
        if check.guards:
            raise UsageError(f"The check {name} is never skipped. {check.why.rstrip('.')}", f"Leave out --skip {name}")


def check_plan(plan: Plan, options: MoveOptions) -> list[Problem]:
    """Returns what the objects themselves say against moving them, without warnings."""
    found = [check.of_plan(plan, options) for check in CHECKS if check.of_plan and check.name not in options.skip]
    return [problem for problems in found for problem in problems if not problem.is_warning]
