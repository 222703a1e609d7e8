"""Machines, pools, health checks and control planes as CAPI makes them."""

from __future__ import annotations

from graph import rules
from tests.differential.kinds import GADGET, MACHINE_POOL, ROVER
from tests.differential.parts import cluster, gadget, machine, made, secret
from tests.differential.scenario import scenario
from tests.differential.world import Thing, World
from tests.testbed.fleet import model

_INFRASTRUCTURE = {"apiGroup": GADGET.group, "kind": GADGET.kind, "name": "g"}
_BOOTSTRAP = {"dataSecretName": "boot"}


def _machine_spec(of: Thing) -> dict[str, object]:
    return {"spec": {"clusterName": of.name, "bootstrap": _BOOTSTRAP, "infrastructureRef": _INFRASTRUCTURE}}


@scenario()
def a_machine_moves_with_its_infrastructure_and_bootstrap() -> World:
    owner = cluster("c")
    found = machine("m", owner, finalizers=("machine.cluster.x-k8s.io",))
    infrastructure = gadget("m", found.owner(controller=True, block=True), status={"ready": True})
    config = Thing(
        model.KUBEADM_CONFIG, "m", {"spec": {"format": "cloud-config"}}, owners=(found.owner(controller=True),)
    )
    return World((owner, found, infrastructure, config, secret("m", config.owner(controller=True))))


@scenario()
def a_machine_pool_moves_with_its_infrastructure() -> World:
    owner = cluster("c")
    spec = {"clusterName": "c", "template": _machine_spec(owner)}
    pool = Thing(MACHINE_POOL, "p", {"spec": spec}, owners=(owner.owner(controller=True, block=True),))
    return World((owner, pool, gadget("g", pool.owner(controller=True))))


@scenario()
def a_machine_health_check_moves_with_its_cluster() -> World:
    owner = cluster("c")
    spec = {"clusterName": "c", "selector": {"matchLabels": {"a": "b"}}}
    return World((owner, Thing(model.MACHINE_HEALTH_CHECK, "h", {"spec": spec}, owners=(owner.owner(),))))


@scenario()
def a_control_plane_moves_with_its_machines_and_secrets() -> World:
    owner = cluster("c")
    template = {"spec": {"infrastructureRef": _INFRASTRUCTURE}}
    spec = {"version": "v1.36.3", "machineTemplate": template, "kubeadmConfigSpec": {"format": "cloud-config"}}
    plane = Thing(model.KUBEADM_CONTROL_PLANE, "k", {"spec": spec}, owners=(owner.owner(controller=True),))
    secrets = [secret(f"c-{purpose}", plane.owner(controller=True)) for purpose in ("ca", "etcd", "kubeconfig")]
    return World((owner, plane, *secrets, gadget("g", owner.owner())))


@scenario(unblock_after_s=1.0)
def a_move_waits_until_a_provider_no_longer_blocks_it() -> World:
    owner = cluster("c")
    blocked = gadget("g", owner.owner(), annotations={rules.BLOCK_MOVE_ANNOTATION: "", "other": "stays"})
    return World((owner, blocked, made(ROVER, "r")))


@scenario(fleet={"control_planes": 1, "workers": 1, "spare_hosts": 1, "paused_conditions": False})
def a_fleet_of_metal3_moves() -> World:
    return World()


@scenario(
    fleet={
        "topology": True,
        "clusters": 2,
        "control_planes": 1,
        "workers": 1,
        "spare_hosts": 0,
        "paused_conditions": False,
    }
)
def a_fleet_of_clusters_of_one_class_moves() -> World:
    return World()
