"""Tests of what the doubles of Metal3's controllers decide."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from graph import rules
from tests.testbed.doubles import Action, Entry, Journal
from tests.testbed.doubles.bmo import DETACHED_ANNOTATION, FINALIZER, what_to_do
from tests.testbed.doubles.capm3 import WAITING, what_to_write
from tests.testbed.doubles.world import World, Write
from tests.testbed.fleet.content import IMAGE_URL, image

IMAGE = image()
PAUSED = rules.HOST_PAUSED_ANNOTATION
SAVED = rules.HOST_STATUS_ANNOTATION


def status(state: str, **fields: Any) -> dict[str, Any]:
    written = IMAGE if state == "provisioned" else {"url": ""}
    provisioning = {"state": state, "image": written}
    return {"lastUpdated": "2026-01-12T08:00:00Z", "provisioning": provisioning, "poweredOn": True, **fields}


def host(
    *, state: str = "", spec: Any = None, annotations: Any = None, dying: bool = False, **fields: Any
) -> dict[str, Any]:
    metadata = {
        "name": "h",
        "namespace": "n",
        "uid": "host",
        "resourceVersion": "7",
        "finalizers": [FINALIZER],
        "annotations": annotations or {},
        "labels": {rules.CLUSTER_NAME_LABEL: "c"},
        **({"deletionTimestamp": "2026-01-12T09:00:00Z"} if dying else {}),
    }
    found = {"status": status(state, **fields)} if state else {}
    return {"metadata": metadata, "spec": {"online": True, **(spec or {})}, **found}


def actions(body: dict[str, Any], *, is_known: bool = False) -> tuple[Action, ...]:
    step = what_to_do(body, is_known=is_known)
    return step.actions if step else ()


def result(body: dict[str, Any]) -> Any:
    step = what_to_do(body)
    assert step is not None
    return step.body


# --- the baremetal operator -------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "capi-mover", rules.CAPM3_HOST_PAUSED_VALUE])
@pytest.mark.parametrize("dying", [False, True])
def test_a_paused_host_is_left_alone_whatever_the_value_of_its_pause(value: str, dying: bool) -> None:
    body = host(annotations={PAUSED: value, SAVED: "{}"}, spec={"image": IMAGE}, dying=dying)
    assert what_to_do(body) is None


def test_a_saved_status_is_taken_over_by_a_host_without_status() -> None:
    body = host(annotations={SAVED: json.dumps({"poweredOn": True})})
    assert actions(body) == ()
    assert result(body)["status"] == {"poweredOn": True}


def test_a_saved_status_is_deleted_from_a_host_that_has_one() -> None:
    body = host(state="available", annotations={SAVED: "{}", "other": "x"})
    assert actions(body) == ()
    assert result(body)["metadata"]["annotations"] == {"other": "x"}
    assert result(body)["status"] == body["status"]


def test_a_missing_finalizer_is_added_before_anything_else() -> None:
    body = host()
    body["metadata"]["finalizers"] = ["other"]
    assert actions(body) == ()
    assert result(body)["metadata"]["finalizers"] == ["other", FINALIZER]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (host(dying=True, state="provisioned"), (Action.DEPROVISION, Action.DELETE)),
        (host(dying=True, state="available"), (Action.POWER_OFF, Action.DELETE)),
        (host(dying=True, state="provisioned", annotations={DETACHED_ANNOTATION: ""}), (Action.DELETE,)),
        (host(dying=True, spec={"externallyProvisioned": True}), (Action.DELETE,)),
    ],
)
def test_a_dying_host_is_deprovisioned_or_powered_off_and_let_go(
    body: dict[str, Any], expected: tuple[Action, ...]
) -> None:
    assert actions(body) == expected
    assert result(body)["metadata"]["finalizers"] == []


def test_a_dying_host_without_the_finalizer_is_left_alone() -> None:
    body = host(dying=True, state="provisioned")
    body["metadata"]["finalizers"] = ["other"]
    assert what_to_do(body) is None


def test_a_host_without_status_is_registered_then_inspected_then_available() -> None:
    registered = result(host())
    assert actions(host()) == (Action.REGISTER,)
    assert actions(registered) == (Action.INSPECT,)
    assert result(registered)["status"]["provisioning"]["state"] == "available"
    assert what_to_do(result(registered), is_known=True) is None


def test_a_host_with_an_image_that_it_does_not_have_is_written() -> None:
    body = host(state="available", spec={"image": IMAGE})
    assert actions(body) == (Action.PROVISION,)
    assert result(body)["status"]["provisioning"] == {"state": "provisioned", "image": IMAGE}


@pytest.mark.parametrize("spec", [{}, {"image": {"url": "http://other"}}])
def test_a_provisioned_host_whose_image_is_no_longer_wanted_is_deprovisioned(spec: Any) -> None:
    assert actions(host(state="provisioned", spec=spec)) == (Action.DEPROVISION,)


def test_a_provisioned_host_with_its_image_is_only_registered_and_adopted_and_that_once() -> None:
    body = host(state="provisioned", spec={"image": {"url": IMAGE_URL}})
    assert actions(body) == (Action.REGISTER, Action.ADOPT)
    assert what_to_do(body, is_known=True) is None


def test_a_host_that_shall_be_off_is_powered_off() -> None:
    body = host(state="available", spec={"online": False})
    assert actions(body, is_known=True) == (Action.POWER_OFF,)
    assert not result_known(body)["status"]["poweredOn"]


def result_known(body: dict[str, Any]) -> Any:
    step = what_to_do(body, is_known=True)
    assert step is not None
    return step.body


def test_nothing_is_done_to_the_machine_of_a_detached_host() -> None:
    annotations = {DETACHED_ANNOTATION: ""}
    assert what_to_do(host(annotations=annotations, spec={"image": IMAGE})) is None


def test_an_externally_provisioned_host_is_only_adopted() -> None:
    body = host(spec={"externallyProvisioned": True, "image": IMAGE})
    assert actions(body) == (Action.ADOPT,)
    assert result(body)["status"]["provisioning"]["state"] == "externally provisioned"
    assert what_to_do(result(body), is_known=True) is None


def test_a_host_in_error_is_only_registered_again() -> None:
    body = host(state="provisioned", operationalStatus="error")
    assert actions(body) == (Action.REGISTER,)
    assert what_to_do(body, is_known=True) is None


def test_registration_and_adoption_are_no_harm_everything_else_is() -> None:
    journal = Journal()
    for action in Action:
        journal.add(Entry("source", "n/h", action, "test"))
    assert {*Action} - {entry.action for entry in journal.harm()} == {Action.REGISTER, Action.ADOPT}
    assert len(journal.entries) == len(Action)


# --- CAPM3 and IPAM ---------------------------------------------------------------------------------


def named(name: str, *, annotations: Any = None, **body: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "n",
        "uid": name,
        "resourceVersion": "7",
        "generation": 1,
        "labels": {rules.CLUSTER_NAME_LABEL: "c"},
        "annotations": annotations or {},
    }
    return {"metadata": metadata, **body}


def cluster(*, paused: bool) -> dict[str, Any]:
    return named("c", kind="Cluster", spec={"paused": paused, "infrastructureRef": {"name": "c"}})


def machine(**fields: Any) -> dict[str, Any]:
    group = rules.METAL3_MACHINE[0]
    return named("m", apiVersion=f"{group}/v1beta2", kind="Metal3Machine", spec={}, **fields)


CLAIM = {"consumerRef": {"kind": "Metal3Machine", "name": "m"}}


def claimed(paused: bool, **fields: Any) -> World:
    return World(
        {
            rules.CLUSTER: {"c": cluster(paused=paused)},
            rules.METAL3_CLUSTER: {"c": named("c")},
            rules.METAL3_MACHINE: {"m": machine()},
            rules.BARE_METAL_HOST: {"h": host(state="provisioned", spec=CLAIM, **fields)},
        }
    )


def host_annotations(world: World, *, uses_block_move: bool = False) -> Any:
    writes = what_to_write(world, uses_block_move=uses_block_move)
    found = [write for write in writes if write.kind == rules.BARE_METAL_HOST]
    return found[0].patch["metadata"]["annotations"] if found else {}


def test_a_claimed_host_is_paused_with_its_status_saved_and_no_longer_blocks() -> None:
    changes = host_annotations(claimed(True, hardware={"cpu": 1}), uses_block_move=True)
    assert changes[PAUSED] == rules.CAPM3_HOST_PAUSED_VALUE
    assert json.loads(changes[SAVED]) == status("provisioned")
    assert changes[rules.BLOCK_MOVE_ANNOTATION] is None


def test_a_host_that_somebody_has_paused_gets_no_saved_status() -> None:
    assert host_annotations(claimed(True, annotations={PAUSED: "somebody"})) == {}


def test_only_the_own_pause_is_taken_off_and_only_in_the_own_cluster() -> None:
    own = claimed(False, annotations={PAUSED: rules.CAPM3_HOST_PAUSED_VALUE})
    assert host_annotations(own) == {PAUSED: None}
    assert host_annotations(claimed(False, annotations={PAUSED: "somebody"})) == {}
    own.of(rules.BARE_METAL_HOST)["h"]["metadata"]["labels"][rules.CLUSTER_NAME_LABEL] = "other"
    assert host_annotations(own) == {}


def test_a_claimed_host_blocks_the_move_while_it_is_not_paused() -> None:
    assert host_annotations(claimed(False), uses_block_move=True) == {rules.BLOCK_MOVE_ANNOTATION: ""}
    assert host_annotations(claimed(False)) == {}


def test_a_host_that_nobody_claims_is_left_alone() -> None:
    world = claimed(True)
    world.of(rules.BARE_METAL_HOST)["h"]["spec"].pop("consumerRef")
    assert host_annotations(world, uses_block_move=True) == {}


def conditions(world: World) -> dict[str, Any]:
    writes = [write for write in what_to_write(world) if write.kind == rules.METAL3_MACHINE]
    found = writes[0].patch["status"]["conditions"] if writes else []
    return {condition["type"]: condition for condition in found}


@pytest.mark.parametrize("paused", [False, True])
def test_machines_report_the_pause_of_their_cluster_without_an_observed_generation(paused: bool) -> None:
    condition = conditions(claimed(paused))["Paused"]
    assert condition["status"] == str(paused)
    assert "observedGeneration" not in condition


def test_machines_wait_for_a_metal3_cluster_that_is_gone() -> None:
    world = claimed(True)
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
    left = machine(status={"conditions": [ready]})
    gone = World({**world.objects, rules.METAL3_CLUSTER: {}, rules.METAL3_MACHINE: {"m": left}})
    assert conditions(gone)["Ready"]["message"] == WAITING
    write = next(write for write in what_to_write(gone) if write.kind == rules.METAL3_MACHINE)
    assert write.only_without == (rules.METAL3_CLUSTER, "c")


def pool_world(*, claim: Any = None, pool: Any = None, addresses: Any = None, paused: bool = False) -> World:
    spec = {"clusterName": "c", "namePrefix": "p", "prefix": 16, "pools": [{"start": "10.0.0.1"}]}
    return World(
        {
            rules.CLUSTER: {"c": cluster(paused=paused)},
            rules.IP_POOL: {"p": named("p", apiVersion="ipam.metal3.io/v1alpha1", **{"spec": spec, **(pool or {})})},
            rules.IP_CLAIM: {"i": named("i", **{"spec": {"pool": {"name": "p"}}, **(claim or {})})},
            rules.IP_ADDRESS: addresses or {},
        }
    )


def address(value: str, claim: str) -> dict[str, Any]:
    return named(value, spec={"address": value, "claim": {"name": claim}, "pool": {"name": "p"}})


def new_addresses(world: World) -> list[Write]:
    return [write for write in what_to_write(world) if write.new_address_for]


def test_a_claim_whose_address_is_not_there_gets_the_first_free_one() -> None:
    made = new_addresses(pool_world(addresses={"a": address("10.0.0.1", "other")}))
    assert [write.patch["spec"]["address"] for write in made] == ["10.0.0.2"]


def test_a_claim_without_status_keeps_the_address_that_names_it() -> None:
    world = pool_world(addresses={"a": address("10.0.0.9", "i")})
    assert not new_addresses(world)
    claims = [write.patch["status"] for write in what_to_write(world) if write.kind == rules.IP_CLAIM]
    assert claims == [{"address": {"name": "p-10-0-0-9", "namespace": "n"}}]


PAUSE = {rules.PAUSED_ANNOTATION: ""}


@pytest.mark.parametrize(
    "world",
    [
        pool_world(paused=True),
        pool_world(claim={"annotations": PAUSE}),
        pool_world(pool={"annotations": PAUSE}),
        pool_world(claim={"status": {"address": {"name": "a"}}}),
    ],
    ids=["its Cluster is paused", "it is paused", "its pool is paused", "it has one"],
)
def test_a_claim_gets_no_new_address_while(world: World) -> None:
    assert not new_addresses(world)


def test_a_pool_makes_its_allocations_anew_from_the_addresses_that_are_there() -> None:
    pool = {"status": {"indexes": {"gone": "10.0.0.4"}}}
    world = pool_world(pool=pool, addresses={"a": address("10.0.0.9", "i")})
    written = [write.patch["status"] for write in what_to_write(world) if write.kind == rules.IP_POOL]
    assert written == [{"indexes": {"gone": None, "i": "10.0.0.9"}}]


@pytest.mark.parametrize(("annotations", "expected"), [({}, [{"indexes": [{"index": 3, "name": "m"}]}]), (PAUSE, [])])
def test_a_data_template_that_is_not_paused_makes_its_indexes_anew(annotations: Any, expected: Any) -> None:
    spec = {"index": 3, "template": {"name": "t"}, "claim": {"name": "m"}}
    world = World(
        {
            rules.METAL3_DATA_TEMPLATE: {"t": named("t", spec={"clusterName": "c"}, annotations=annotations)},
            rules.METAL3_DATA: {"d": named("d", spec=spec)},
        }
    )
    assert [write.patch["status"] for write in what_to_write(world)] == expected


async def test_a_journal_takes_entries_of_many_threads() -> None:
    journal = Journal()
    entry = Entry("source", "n/h", Action.ADOPT, "test")
    await asyncio.gather(*(asyncio.to_thread(journal.add, entry) for _ in range(50)))
    assert journal.entries == (entry,) * 50
