"""What stands against a pivot, found before anything is changed. Reads only.

The move makes its own checks once more, and some further ones; those that can only pass when the target's operators
run are left to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graph import rules
from graph.resource import Object
from mover.checks.clusters import check_clusters
from mover.checks.registry import check_plan
from mover.checks.target import check_collisions, check_served, judge_collisions, read_target
from mover.discovery import find_type
from mover.errors import Problem
from mover.pivot.choices import IRONIC_PLACES, Step
from mover.pivot.places import Workloads, find_workloads, provider_deployments
from mover.pivot.scene import Scene
from mover.pivot.workloads import start_patch, why_unavailable


async def find_problems(scene: Scene) -> list[Problem]:
    """Returns all that stands against the pivot, in the order of its steps."""
    source = await find_workloads(scene.source, scene.options)
    target = await find_workloads(scene.target, scene.options)
    return [
        *await check_clusters(scene.source, scene.target, scene.plan),
        *check_providers_run(await provider_deployments(scene.target)),
        *await _check_objects(scene, source),
        *_check_source(scene, source),
        *(() if scene.options.skips(Step.START) else check_target(target, scene.options.operator)),
        *await _check_hosts_elsewhere(scene),
    ]


def check_providers_run(deployments: Mapping[str, Iterable[Object]]) -> list[Problem]:
    """Every provider of the target has a Deployment in its namespace, and all of them are available.

    What a pivot has stopped there is not a provider's: Ironic may share a namespace with one.
    """
    problems = []
    for namespace, found in deployments.items():
        workloads = tuple(found)
        if not workloads:
            what = "no Deployment of the provider is in its namespace"
            remedy = "Install it on the target with: clusterctl init"
            problems.append(Problem("providers-run", "target", f"namespace {namespace}", what, remedy))
        settled = [obj for obj in workloads if start_patch(obj) is None]
        problems += [problem for obj in settled if (problem := _unavailable(obj, "target"))]
    return problems


def check_target(workloads: Workloads, operator: str) -> list[Problem]:
    """Ironic and the baremetal-operator are on the target, and run or can be started."""
    problems = []
    if not workloads.ironic:
        what = "Ironic is not installed (neither a Deployment nor a DaemonSet has one of its names)"
        remedy = "Install it there, name it with --ironic NAMESPACE/NAME, or leave the step out with --skip start"
        problems.append(Problem("ironic", "target", "Ironic", what, remedy))
    if workloads.operator is None:
        problems.append(_no_operator("target", operator, Step.START))
    settled = [obj for obj in workloads.all_parts if start_patch(obj) is None]
    return [*problems, *(problem for obj in settled if (problem := _unavailable(obj, "target")))]


def _check_source(scene: Scene, workloads: Workloads) -> list[Problem]:
    problems = []
    if not scene.options.skips(Step.STOP_IRONIC):
        problems += check_ironic_stoppable(workloads, scene.options.ironic_operator)
    if workloads.operator is None and not scene.options.skips(Step.STOP_OPERATOR):
        problems.append(_no_operator("source", scene.options.operator, Step.STOP_OPERATOR))
    return problems


def check_ironic_stoppable(workloads: Workloads, ironic_operator: str) -> list[Problem]:
    """Ironic was found on the source, and so was the operator that would start it again."""
    remedy = "Name it with --ironic NAMESPACE/NAME; if it runs elsewhere, stop it there and use --skip stop-ironic"
    problems = [
        Problem("ironic", "source", place, "no such Deployment or DaemonSet", remedy) for place in workloads.missing
    ]
    if not workloads.ironic and not workloads.missing:
        what = f"none of these was found: {', '.join(IRONIC_PLACES)}"
        problems.append(Problem("ironic", "source", "Ironic", what, remedy))
    if workloads.needs_ironic_operator and workloads.ironic_operator is None:
        what = "Ironic belongs to an Ironic resource, and the operator that would start it again was not found"
        remedy = "Name it with --ironic-operator NAMESPACE/NAME"
        problems.append(Problem("ironic", "source", ironic_operator, what, remedy))
    return problems


async def _check_objects(scene: Scene, workloads: Workloads) -> list[Problem]:
    """What is to be moved can be moved; a move that has begun already is past these checks."""
    if scene.is_move_begun or scene.options.skips(Step.MOVE):
        return []
    if not scene.plan.selection.moved:
        if scene.memory is not None:
            return []
        where = f"namespace {scene.scope}" if scene.scope else "all namespaces"
        remedy = "Choose another namespace with --namespace; is this the cluster that has the objects?"
        return [Problem("objects", "source", where, "there is nothing to move", remedy)]
    move = scene.options.move
    on_target = await read_target(scene.target, scene.plan)
    collisions = judge_collisions(scene.plan, on_target, move.existing)
    return [
        *check_plan(scene.plan, move),
        *check_served(scene.plan, on_target),
        *check_collisions(collisions, move.existing),
        *_check_operator_answers(scene, workloads),
    ]


def _check_operator_answers(scene: Scene, workloads: Workloads) -> list[Problem]:
    """The source's operator runs: its webhook has to answer when hosts are paused."""
    if workloads.operator is None or scene.options.skips(Step.STOP_OPERATOR):
        return []
    problem = _unavailable(workloads.operator, "source")
    return [problem] if problem else []


async def _check_hosts_elsewhere(scene: Scene) -> list[Problem]:
    """No host of another namespace loses its Ironic and its operator."""
    kind = find_type(scene.plan.inventory.types, rules.BARE_METAL_HOST)
    stops = not (scene.options.skips(Step.STOP_IRONIC) and scene.options.skips(Step.STOP_OPERATOR))
    if kind is None or not scene.scope or not stops or scene.options.leave_hosts:
        return []
    hosts = (await scene.source.list_metadata(kind)).objects
    spaces = sorted({obj.key.namespace for obj in hosts} - {scene.scope})
    what = "it has hosts, which stay here without Ironic and their operator"
    remedy = "Move all namespaces, skip the steps stop-ironic and stop-operator, or accept it with --leave-hosts"
    return [Problem("hosts-elsewhere", "source", f"namespace {space}", what, remedy) for space in spaces]


def _no_operator(cluster: str, place: str, step: Step) -> Problem:
    remedy = f"Name it with --operator NAMESPACE/NAME, or leave the step out with --skip {step}"
    return Problem("operator", cluster, place, "the baremetal-operator is not there", remedy)


def _unavailable(workload: Object, cluster: str) -> Problem | None:
    why = why_unavailable(workload)
    if why is None:
        return None
    key = workload.key
    remedy = f"See: kubectl -n {key.namespace} describe {key.kind.lower()} {key.name}"
    return Problem("available", cluster, str(key), why, remedy)
