"""Who looks after the hosts: Ironic and the baremetal-operator, on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mover import metal3
from mover.concurrency import both
from mover.errors import Problem
from mover.kube import Cluster
from mover.planning import Plan

OPERATOR = "baremetal-operator"
IRONIC = "ironic"
_DEPLOYMENTS = "/apis/apps/v1/deployments"


async def check_operators(source: Cluster, target: Cluster, plan: Plan) -> list[Problem]:
    """Not both sides have a running operator or Ironic, and the target has one if the source has.

    Every host is fenced while it moves, so two operators do no harm by themselves; two Ironics may answer the same
    machines in one provisioning network.
    """
    if not any(metal3.is_host(obj) for obj in plan.selection.moved):
        return []
    ours, theirs = await both(source.list_names(_DEPLOYMENTS), target.list_names(_DEPLOYMENTS))
    found = []
    for part in (OPERATOR, IRONIC):
        here, there = _running(ours, part), _running(theirs, part)
        if here and there:
            found.append(_both(part, here[0], there[0]))
    if _running(ours, OPERATOR) and not _running(theirs, OPERATOR):
        what = "it does not run there: nobody looks after the hosts once they have moved"
        remedy = "Install it there, or start it after the move"
        found.append(Problem("operators", "target", OPERATOR, what, remedy, is_warning=True))
    return found


def _both(part: str, here: str, there: str) -> Problem:
    what = f"it runs on both sides (source {here}, target {there})"
    space, _, name = here.partition("/")
    if part == IRONIC:
        what += ": in one provisioning network both answer the same machines"
    remedy = f"Stop the source's for the move: kubectl -n {space} scale deployment {name} --replicas=0"
    return Problem("operators", "source", part, what, remedy, is_warning=True)


def _running(deployments: Iterable[Mapping[str, Any]], part: str) -> list[str]:
    """Returns the Deployments that want to run a program, as NAMESPACE/NAME, sorted; Ironic's operator is no Ironic."""
    return sorted(
        f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        for item in deployments
        if (item.get("spec") or {}).get("replicas", 1) != 0
        and any(_is_image_of(part, image) for image in _images(item))
    )


def _images(deployment: Mapping[str, Any]) -> Iterable[str]:
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    return (str(container.get("image") or "") for container in pod.get("containers") or ())


def _is_image_of(part: str, image: str) -> bool:
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return name == part
