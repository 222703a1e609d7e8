"""The pure part of the fleet builder: what is to be written, in which order, with which content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.testbed.fleet import FleetSpec, drafts, model
from tests.testbed.fleet.build import LAST_APPLIED, amended, first_body, observed, owner_references, waves
from tests.testbed.fleet.model import Amendment, Draft, Owner
from tests.testbed.fleet.plan import clusters, spare_hosts

BLOCK_MOVE = "clusterctl.cluster.x-k8s.io/block-move"
SPECS = [
    FleetSpec(),
    FleetSpec(clusters=3, workers=0),
    FleetSpec(topology=True, host_owners=True),
    FleetSpec(clusters=0, spare_hosts=3, unrelated_secrets=0),
]


def kinds(spec: FleetSpec) -> Counter[str]:
    return Counter(draft.type.kind for draft in drafts(spec))


def conditions(draft: Draft) -> list[Any]:
    return list((draft.status or {}).get("conditions", ()))


def test_the_default_fleet_has_about_a_hundred_objects() -> None:
    assert kinds(FleetSpec()) == {
        **dict.fromkeys(("Cluster", "Metal3Cluster", "KubeadmControlPlane", "IPPool"), 1),
        **dict.fromkeys(("MachineDeployment", "MachineSet", "MachineHealthCheck"), 1),
        **dict.fromkeys(("KubeadmConfigTemplate", "FirmwareSchema", "ConfigMap"), 1),
        **dict.fromkeys(("Metal3MachineTemplate", "Metal3DataTemplate"), 2),
        **dict.fromkeys(("Machine", "Metal3Machine", "KubeadmConfig", "Metal3Data", "Metal3DataClaim"), 5),
        **dict.fromkeys(("IPClaim", "IPAddress"), 5),
        **dict.fromkeys(("BareMetalHost", "HardwareData", "HostFirmwareSettings"), 7),
        "Secret": 5 + 5 * 3 + 7 + 2,
    }


@pytest.mark.parametrize("spec", SPECS)
def test_no_two_objects_have_the_same_key(spec: FleetSpec) -> None:
    assert max(Counter(draft.key for draft in drafts(spec)).values()) == 1


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_spec_gives_the_same_fleet(spec: FleetSpec) -> None:
    assert list(drafts(spec)) == list(drafts(spec))


def test_names_and_addresses_differ_between_a_thousand_machines() -> None:
    machines = [machine for cluster in clusters(FleetSpec(clusters=2, workers=997)) for machine in cluster.machines()]
    for values in (
        {machine.name for machine in machines},
        {machine.address for machine in machines},
        {machine.host.mac for machine in machines},
    ):
        assert len(values) == len(machines) == 2000


def test_spare_hosts_are_none_of_the_claimed_ones() -> None:
    spec = FleetSpec(clusters=2)
    claimed = {machine.host.name for cluster in clusters(spec) for machine in cluster.machines()}
    assert claimed.isdisjoint({host.name for host in spare_hosts(spec)})
    assert len(claimed) + len(list(spare_hosts(spec))) == spec.hosts


@pytest.mark.parametrize("spec", SPECS)
def test_waves_write_every_owner_before_its_dependents(spec: FleetSpec) -> None:
    written: set[object] = set()
    for wave in waves(drafts(spec)):
        assert all(written.issuperset(draft.owner_keys) for draft in wave)
        written.update(draft.key for draft in wave)
    assert len(written) == sum(kinds(spec).values())


def test_waves_refuse_an_owner_that_is_not_there() -> None:
    orphan = Draft(model.SECRET, "ns", "child", {}, owners=(Owner(model.CLUSTER, "nowhere"),))
    with pytest.raises(ValueError, match="Secret ns/child"):
        list(waves([orphan]))


def test_no_host_blocks_the_move() -> None:
    assert not any(BLOCK_MOVE in str(draft.body) for draft in drafts(FleetSpec()))


def test_the_ca_is_tied_to_its_cluster_by_name_only() -> None:
    secrets = {draft.name: draft for draft in drafts(FleetSpec()) if draft.type == model.SECRET}
    assert secrets["prod-1-ca"].owners == ()
    for purpose in ("etcd", "sa", "proxy", "kubeconfig"):
        (owner,) = secrets[f"prod-1-{purpose}"].owners
        assert (owner.type, owner.controller) == (model.KUBEADM_CONTROL_PLANE, True)


def paused(spec: FleetSpec) -> Iterator[tuple[str, Any]]:
    for draft in drafts(spec):
        for condition in conditions(draft):
            if condition["type"] == "Paused":
                yield draft.type.kind, condition


def test_exactly_the_kinds_that_report_it_have_a_paused_condition() -> None:
    found = list(paused(FleetSpec(topology=True)))
    assert {kind for kind, _ in found} == {
        *("Cluster", "ClusterClass", "Machine", "MachineSet", "MachineDeployment", "MachineHealthCheck"),
        *("KubeadmControlPlane", "KubeadmConfig", "Metal3Cluster", "Metal3Machine"),
    }
    assert {(condition["status"], condition["reason"]) for _, condition in found} == {("False", "NotPaused")}


def test_only_a_metal3_machine_pauses_without_an_observed_generation() -> None:
    without = {kind for kind, condition in paused(FleetSpec()) if "observedGeneration" not in condition}
    assert without == {"Metal3Machine"}


def test_paused_conditions_can_be_left_out() -> None:
    assert list(paused(FleetSpec(paused_conditions=False))) == []


def test_hosts_are_owned_by_their_machines_only_where_the_spec_says_so() -> None:
    def owned(spec: FleetSpec) -> int:
        return sum(bool(draft.owners) for draft in drafts(spec) if draft.type == model.HOST)

    assert owned(FleetSpec()) == 0
    assert owned(FleetSpec(host_owners=True)) == FleetSpec().machines


def test_a_topology_is_applied_by_its_controller_and_controlled_by_its_cluster() -> None:
    by_kind = {draft.type.kind: draft for draft in drafts(FleetSpec(topology=True))}
    control_plane = by_kind["KubeadmControlPlane"]
    assert (control_plane.manager, control_plane.apply) == (model.TOPOLOGY_APPLY, True)
    assert [owner.controller for owner in control_plane.owners] == [True]
    assert by_kind["Cluster"].body["spec"]["topology"]["classRef"] == {"name": "metal3-class"}


def test_observed_fills_in_the_generation_at_every_depth() -> None:
    status = {"observedGeneration": 0, "conditions": [{"observedGeneration": 0, "type": "T"}], "n": 1}
    assert observed(status, 4) == {
        "observedGeneration": 4,
        "conditions": [{"observedGeneration": 4, "type": "T"}],
        "n": 1,
    }


def test_what_kubectl_created_says_what_it_applied() -> None:
    draft = Draft(model.CONFIG_MAP, "ns", "name", {"data": {"a": "b"}}, manager=model.USER_MANAGER)
    body = first_body(draft, [])
    applied = orjson.loads(body["metadata"]["annotations"][LAST_APPLIED])
    assert applied["data"] == {"a": "b"}
    assert "annotations" not in applied["metadata"]


def test_owners_are_set_by_the_amendment_that_adopts() -> None:
    amendment = Amendment(model.CAPI_MANAGER, {"metadata": {"finalizers": ["f"]}}, adopts=True)
    draft = Draft(model.SECRET, "ns", "name", {}, owners=(Owner(model.CLUSTER, "c"),), amendments=(amendment,))
    owners = owner_references(draft, {draft.owner_keys[0]: "uid-1"})
    assert "ownerReferences" not in first_body(draft, owners)["metadata"]
    assert amended(amendment, owners)["metadata"] == {"finalizers": ["f"], "ownerReferences": owners}
    assert owners == [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c", "uid": "uid-1"}]
