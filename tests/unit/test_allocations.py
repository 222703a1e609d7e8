"""Tests of who holds which address and index."""

from __future__ import annotations

from graph import rules
from graph.resource import Object
from mover.allocations import allocations, compare_allocations
from tests.unit.graph_builders import make


def address(name: str, claim: str, ip: str) -> Object:
    spec = {"claim": {"name": claim}, "pool": {"name": "p"}, "address": ip}
    return make(rules.IP_ADDRESS, name, spec=spec)


def data(name: str, claim: str, index: int) -> Object:
    spec = {"claim": {"name": claim}, "template": {"name": "t"}, "index": index}
    return make(rules.METAL3_DATA, name, spec=spec)


def test_claims_hold_addresses_and_indexes() -> None:
    held = allocations([address("a", "one", "192.0.2.4"), data("d", "two", 3), make(rules.IP_POOL, "p")])
    assert {str(claim): what for claim, what in held.items()} == {
        "IPClaim ns/one": ("IPPool p: 192.0.2.4",),
        "Metal3DataClaim ns/two": ("Metal3DataTemplate t: 3",),
    }


def test_the_same_maps_are_no_difference_whatever_else_the_target_has() -> None:
    mine = [address("a", "one", "192.0.2.4"), data("d", "two", 0)]
    assert compare_allocations(mine, [*mine, address("b", "of another", "192.0.2.5")]) == {}


def test_another_address_is_told_by_its_claim() -> None:
    mine = address("a", "one", "192.0.2.4")
    (found,) = compare_allocations([mine], [address("a", "one", "192.0.2.5")]).items()
    assert found[0] == mine.uid
    assert str(found[1]) == (
        "IPClaim ns/one: what it was given: source IPPool p: 192.0.2.4, target IPPool p: 192.0.2.5"
    )


def test_a_claim_that_was_served_twice_is_a_difference() -> None:
    mine = address("a", "one", "192.0.2.4")
    found = compare_allocations([mine], [mine, address("b", "one", "192.0.2.5")])
    assert "target IPPool p: 192.0.2.4, IPPool p: 192.0.2.5" in str(found[mine.uid])


def test_a_claim_that_holds_nothing_any_more_is_a_difference() -> None:
    mine = data("d", "two", 0)
    assert "source Metal3DataTemplate t: 0, target nothing" in str(compare_allocations([mine], [])[mine.uid])
