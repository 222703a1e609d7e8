"""Tests of what the move of one unit sees of the two clusters."""

from __future__ import annotations

from dataclasses import replace

from graph import rules
from graph.build import build
from graph.resource import Object
from graph.selection import Scope, select
from graph.unit import units
from mover.rolling.world import World
from tests.unit.graph_builders import make

CLASS = make(rules.CLUSTER_CLASS, "k")
A, B = (make(rules.CLUSTER, name, spec={"topology": {"classRef": {"name": "k"}}}) for name in "ab")
M, N = make(rules.MACHINE, "m", owners=[A]), make(rules.MACHINE, "n", owners=[B])
HOST_A, HOST_B = (
    make(rules.BARE_METAL_HOST, f"host-{owner.key.name}", owners=[owner], spec={"bmc": {"credentialsName": "bmc"}})
    for owner in (M, N)
)
BMC = make(rules.SECRET, "bmc", owners=[HOST_A, HOST_B])
LOOSE = make(rules.SECRET, "loose")


def world() -> World:
    """Returns what the move of the Cluster `a` sees."""
    graph = build([CLASS, A, B, M, N, HOST_A, HOST_B, BMC, LOOSE])
    first, _ = units(select(graph, Scope("ns")))
    assert first.names == ("a",)
    assert BMC.key in first.shared
    return World(first, graph)


def renamed(obj: Object, namespace: str) -> Object:
    return make(obj.type, obj.key.name, namespace=namespace, uid="of-the-copy")


def test_a_unit_sees_what_belongs_to_it_and_what_it_shares() -> None:
    seen = world()
    assert all(seen.on_source(obj) for obj in (A, M, HOST_A, BMC, CLASS))


def test_a_unit_does_not_see_what_belongs_to_others_or_to_nobody() -> None:
    seen = world()
    assert not any(seen.on_source(obj) for obj in (B, N, LOOSE))


def test_owners_of_what_is_shared_are_seen_though_they_are_of_others() -> None:
    assert world().on_source(HOST_B)


def test_what_appears_with_the_label_of_the_cluster_is_seen() -> None:
    seen = world()
    assert seen.on_source(make(rules.MACHINE, "new", labels={rules.CLUSTER_NAME_LABEL: "a"}))
    assert not seen.on_source(make(rules.MACHINE, "other", labels={rules.CLUSTER_NAME_LABEL: "b"}))


def test_what_gets_the_label_or_an_owner_later_is_seen_from_then_on() -> None:
    seen = world()
    assert not any(seen.on_source(make(rules.MACHINE, name)) for name in ("labelled", "owned"))
    labelled = make(rules.MACHINE, "labelled", labels={rules.CLUSTER_NAME_LABEL: "a"})
    owned = make(rules.MACHINE, "owned", owners=[M])
    assert all(seen.on_source(replace(later, resource_version="2")) for later in (labelled, owned))


def test_the_label_counts_in_the_namespace_of_the_cluster_only() -> None:
    far = make(rules.MACHINE, "far", namespace="far", labels={rules.CLUSTER_NAME_LABEL: "a"})
    assert not world().on_source(far)


def test_what_appears_below_an_object_of_the_unit_is_seen_and_so_is_what_is_below_that() -> None:
    seen = world()
    new = make(rules.MACHINE, "new", owners=[M])
    below = make(rules.METAL3_MACHINE, "below", owners=[new])
    assert not seen.on_source(below)
    assert seen.on_source(new)
    assert seen.on_source(below)


def test_what_appears_below_something_shared_or_below_an_owner_of_others_is_not_seen() -> None:
    seen = world()
    assert not seen.on_source(make(rules.METAL3_MACHINE_TEMPLATE, "new", owners=[CLASS]))
    assert not seen.on_source(make(rules.HARDWARE_DATA, "new", owners=[HOST_B]))


def test_copies_are_seen_by_their_names_in_whatever_namespace() -> None:
    seen = world()
    assert all(seen.on_target(renamed(obj, space)) for obj in (A, M, BMC, CLASS) for space in ("ns", "elsewhere"))
    assert not any(seen.on_target(renamed(obj, "ns")) for obj in (B, N, HOST_B, LOOSE))


def test_a_name_counts_for_its_kind_only() -> None:
    assert not world().on_target(make(rules.MACHINE_DEPLOYMENT, "m"))


def test_the_copy_of_what_has_appeared_is_seen_once_the_original_was() -> None:
    seen = world()
    new = make(rules.MACHINE, "new", owners=[M])
    assert not seen.on_target(renamed(new, "ns"))
    seen.on_source(new)
    assert seen.on_target(renamed(new, "ns"))


def test_an_object_that_was_deleted_and_made_anew_is_seen_if_it_is_of_the_cluster() -> None:
    seen = world()
    assert seen.on_source(make(rules.MACHINE, "m", owners=[A], uid="another"))
