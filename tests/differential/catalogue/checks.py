"""What keeps a move from being started."""

from __future__ import annotations

from typing import Any

from graph import rules
from tests.differential.kinds import PROVIDER, ROVER
from tests.differential.parts import INITIALISED, cluster, machine, made
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import THERE, Ends, Thing, World
from tests.testbed.fleet import model

_NO_CONDITION = {"initialization": {"infrastructureProvisioned": True, "controlPlaneInitialized": True}}
_NO_INFRASTRUCTURE = {**INITIALISED, "initialization": {"controlPlaneInitialized": True}}
_NO_CONTROL_PLANE = {**INITIALISED, "initialization": {"infrastructureProvisioned": True}}


def _with_control_plane(name: str = "c", **rest: Any) -> Thing:
    reference = {"apiGroup": model.CONTROL_PLANE_GROUP, "kind": "KubeadmControlPlane", "name": "k"}
    return cluster(name, spec={"controlPlaneRef": reference}, **rest)


def _provider(version: str, **rest: Any) -> Thing:
    body = {"providerName": "made-up", "type": "AddonProvider", "version": version}
    return Thing(PROVIDER, "addon-made-up", body, namespace=THERE, **rest)


@scenario(verdict=Verdict.REFUSED, check="paused", oracle_says="Clusters are paused")
def a_cluster_paused_by_its_spec_stops_the_move() -> World:
    return World((cluster("c", spec={"paused": True}), cluster("d")))


@scenario(verdict=Verdict.REFUSED, check="paused", oracle_says="Clusters are paused")
def a_cluster_paused_by_an_annotation_stops_the_move() -> World:
    return World((cluster("c", annotations={rules.PAUSED_ANNOTATION: "false"}),))


@scenario(verdict=Verdict.REFUSED, check="provisioned", oracle_says="still provisioning the infrastructure")
def a_cluster_without_infrastructure_stops_the_move() -> World:
    return World((cluster("c", status=_NO_INFRASTRUCTURE), cluster("d")))


@scenario(verdict=Verdict.REFUSED, check="provisioned", oracle_says="is not yet initialized")
def a_cluster_whose_control_plane_was_never_initialized_stops_the_move() -> World:
    return World((cluster("c", status=_NO_CONDITION),))


@scenario(verdict=Verdict.REFUSED, check="provisioned", oracle_says="is not yet initialized")
def a_control_plane_object_that_is_not_initialized_stops_the_move() -> World:
    return World((_with_control_plane(status=_NO_CONTROL_PLANE),))


@scenario()
def without_a_control_plane_object_the_condition_is_enough() -> World:
    return World((cluster("c", status=_NO_CONTROL_PLANE), _with_control_plane("d")))


@scenario(verdict=Verdict.REFUSED, check="provisioned", oracle_says="still provisioning the node")
def a_machine_without_node_stops_the_move() -> World:
    owner = cluster("c")
    return World((owner, machine("m", owner), machine("n", owner, has_node=False)))


@scenario(verdict=Verdict.REFUSED, check="providers", oracle_says="not found in the target cluster")
def a_provider_that_the_target_lacks_stops_the_move() -> World:
    return World((cluster("c"), _provider("v1.2.0")))


@scenario(verdict=Verdict.REFUSED, check="providers", oracle_says="older than in the source cluster")
def a_provider_that_is_older_on_the_target_stops_the_move() -> World:
    return World((cluster("c"), _provider("v1.2.0")), (_provider("v1.2.0-rc.1"),))


@scenario()
def a_provider_that_is_newer_on_the_target_does_not_stop_the_move() -> World:
    return World((cluster("c"), _provider("v1.9.0", ends=Ends.KEPT)), (_provider("v1.10.0"),))


@scenario(verdict=Verdict.WE_REFUSE, check="deleting")
def an_object_that_is_being_deleted_lives_on_as_a_copy() -> World:
    return World((made(ROVER, "r", finalizers=("made-up.example.com/hold",), deleted=True), made(ROVER, "s")))
