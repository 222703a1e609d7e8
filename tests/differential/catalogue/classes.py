"""ClusterClasses: in the moved namespace, in another one, used from another one."""

from __future__ import annotations

from typing import Any

from graph import rules
from tests.differential.kinds import GADGET
from tests.differential.parts import cluster_class, reference_to, template, topology
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import HERE, THERE, Ends, Owner, Thing, World
from tests.testbed.fleet.model import CLUSTER_CLASS

_CLASS = Owner(CLUSTER_CLASS, "k")
_TEMPLATES = ("infra", "control", "machines", "md-infra", "md-boot", "mp-infra", "mp-boot")


def _class(namespace: str = HERE, *, ends: Ends = Ends.MOVED, owned: bool = True, **rest: Any) -> tuple[Thing, ...]:
    """Returns a ClusterClass that refers to templates in every way there is, and the templates."""
    workers = {
        "machineDeployments": [{"class": "a", **_worker("md")}],
        "machinePools": [{"class": "b", **_worker("mp")}],
    }
    control_plane = {
        "templateRef": reference_to(GADGET, "control"),
        "machineInfrastructure": {"templateRef": reference_to(GADGET, "machines")},
    }
    spec = {"controlPlane": control_plane, "workers": workers}
    names = {"infrastructure": "infra", "control_plane": "control"}
    found = cluster_class("k", **names, spec=spec, namespace=namespace, ends=ends, **rest)
    owners = (_CLASS,) if owned else ()
    fate = ends if owned else Ends.LEFT
    return (found, *(template(name, *owners, namespace=namespace, ends=fate) for name in _TEMPLATES))


def _worker(prefix: str) -> dict[str, object]:
    parts = {"infrastructure": "infra", "bootstrap": "boot"}
    return {part: {"templateRef": reference_to(GADGET, f"{prefix}-{name}")} for part, name in parts.items()}


@scenario()
def a_cluster_class_moves_with_its_templates_and_clusters() -> World:
    return World((*_class(), topology("c", "k"), topology("d", "k")))


@scenario()
def a_cluster_class_that_no_cluster_uses_moves_too() -> World:
    return World(_class())


@scenario(verdict=Verdict.WE_REFUSE, check="references")
def templates_that_the_class_does_not_own_stay() -> World:
    return World((*_class(owned=False), topology("c", "k")))


@scenario()
def a_cluster_class_of_another_namespace_is_copied_with_its_templates() -> World:
    return World((*_class(THERE, ends=Ends.KEPT), topology("c", "k", "@there")))


@scenario(verdict=Verdict.WE_REFUSE, check="references")
def templates_that_a_class_of_another_namespace_does_not_own_are_not_copied() -> World:
    return World((*_class(THERE, ends=Ends.KEPT, owned=False), topology("c", "k", "@there")))


@scenario()
def a_cluster_class_that_another_namespace_uses_is_copied_and_stays() -> World:
    elsewhere = topology("other", "k", "@here", namespace=THERE, ends=Ends.LEFT)
    return World((*_class(ends=Ends.KEPT), topology("c", "k"), elsewhere))


@scenario()
def classes_of_the_same_name_in_two_namespaces_are_told_apart() -> World:
    return World((*_class(), *_class(THERE, ends=Ends.KEPT), topology("c", "k"), topology("d", "k", "@there")))


@scenario()
def a_class_of_another_namespace_may_be_on_the_target_already() -> World:
    return World((*_class(THERE, ends=Ends.KEPT), topology("c", "k", "@there")), _class(THERE))


@scenario(verdict=Verdict.WE_REFUSE, check="collisions")
def a_class_of_another_namespace_with_other_content_is_overwritten_on_the_target() -> World:
    other = _class(THERE, labels={"edited": "on-the-target"})
    return World((*_class(THERE, ends=Ends.KEPT), topology("c", "k", "@there")), other)


@scenario(verdict=Verdict.REFUSED, check="paused", oracle_says="ClusterClasses are paused")
def a_paused_cluster_class_stops_the_move() -> World:
    return World(_class(annotations={rules.PAUSED_ANNOTATION: ""}))
