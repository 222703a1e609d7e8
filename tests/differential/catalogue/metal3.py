"""Metal3's kinds: moved by labels that are put on by hand, and those that have none."""

from __future__ import annotations

from tests.differential.parts import cluster, secret
from tests.differential.scenario import Verdict, scenario
from tests.differential.world import Ends, Thing, Tree, World
from tests.testbed.fleet import model

_AVAILABLE = {"provisioning": {"state": "available"}, "hardware": {"cpu": {}}}


def _host(name: str, *, status: Tree = _AVAILABLE, spec: Tree | None = None) -> Thing:
    bmc = {"address": "redfish://192.0.2.9", "credentialsName": f"{name}-bmc"}
    body = {"spec": {"online": True, "bmc": bmc, **(spec or {})}}
    return Thing(model.HOST, name, body, finalizers=("baremetalhost.metal3.io",), status=status)


def _settings(host: Thing) -> Thing:
    body = {"spec": {"settings": {"SriovGlobalEnable": "Enabled"}}}
    return Thing(model.FIRMWARE_SETTINGS, host.name, body, owners=(host.owner(controller=True),), ends=Ends.COLLECTED)


@scenario()
def a_host_moves_by_the_labels_of_its_kind_with_everything_below_it() -> World:
    host = _host("n")
    data = Thing(model.HARDWARE_DATA, "n", {"spec": {"hardware": {"hostname": "n"}}})
    return World((host, data, secret("n-bmc", host.owner()), cluster("c")))


@scenario()
def what_has_no_label_is_collected_with_its_host() -> World:
    host = _host("n")
    return World((host, _settings(host)))


@scenario(options={"strict_labels": True})
def going_by_the_labels_alone_is_what_clusterctl_does() -> World:
    host = _host("n", spec={"userData": {"name": "named"}})
    return World((host, _settings(host), secret("named", ends=Ends.LEFT)))


@scenario()
def what_metal3_only_names_stays() -> World:
    host = _host("n", spec={"userData": {"name": "named"}})
    owner = cluster("c")
    pool = Thing(model.IP_POOL, "p", {"spec": {"namePrefix": "p"}}, ends=Ends.LEFT)
    claim = Thing(model.IP_CLAIM, "i", {"spec": {"pool": {"name": "p"}}}, owners=(owner.owner(),))
    return World((host, secret("named", ends=Ends.LEFT), secret("unrelated", ends=Ends.LEFT), owner, pool, claim))


@scenario(verdict=Verdict.WE_REFUSE, check="hosts")
def a_host_in_transition_is_moved_in_the_midst_of_it() -> World:
    return World((_host("n", status={"provisioning": {"state": "provisioning"}}), _host("m")))


@scenario()
def pools_claims_and_addresses_move_below_their_cluster() -> World:
    owner = cluster("c")
    pool = Thing(
        model.IP_POOL, "p", {"spec": {"clusterName": "c"}}, owners=(owner.owner(),), status={"indexes": {"a": "b"}}
    )
    claim = Thing(model.IP_CLAIM, "i", {"spec": {"pool": {"name": "p"}}}, owners=(owner.owner(),))
    address = Thing(model.IP_ADDRESS, "a", {"spec": {"address": "192.0.2.7"}}, owners=(pool.owner(), claim.owner()))
    unbound = Thing(model.IP_POOL, "q", {"spec": {}}, ends=Ends.LEFT)
    return World((owner, pool, claim, address, unbound))
