"""Tests of what can move one after the other, and what is shared."""

# The docstrings draw the graphs: -> is a hard owner, ~> a soft one, => uses, by a reference.

from __future__ import annotations

from typing import Any

from graph import rules
from graph.build import build
from graph.resource import Object
from graph.selection import Fate, Scope, select
from graph.unit import Unit, units
from tests.unit.graph_builders import WIDGET, make, select_all

A, B, C = (make(rules.CLUSTER, name) for name in "abc")


def found(*objects: Object, **scope: Any) -> tuple[Unit, ...]:
    return units(select(build(objects), Scope("ns", **scope)))


def names(unit: Unit) -> set[str]:
    """Returns the names of the shared objects."""
    return {key.name for key in unit.shared}


def test_a_unit_is_a_cluster_with_what_is_below_it() -> None:
    """
    a -> m    a ~> a-ca
    b -> n
    """
    m, n = make(rules.MACHINE, "m", owners=[A]), make(rules.MACHINE, "n", owners=[B])
    ca = make(rules.SECRET, "a-ca")
    one, other = found(A, B, m, n, ca)
    assert (one.names, other.names) == (("a",), ("b",))
    assert one.objects == {A.uid, m.uid, ca.uid}
    assert other.objects == {B.uid, n.uid}
    assert not one.shared
    assert one.namespace == "ns"


def test_a_host_goes_with_the_machine_that_consumes_it_and_a_spare_one_with_nobody() -> None:
    """a -> mm   h   h (hardware)   spare"""
    machine = make(rules.METAL3_MACHINE, "mm", owners=[A])
    consumer = {"kind": "Metal3Machine", "name": "mm", "namespace": "ns"}
    host = make(rules.BARE_METAL_HOST, "h", spec={"consumerRef": consumer})
    hardware, spare = make(rules.HARDWARE_DATA, "h"), make(rules.BARE_METAL_HOST, "spare")
    (unit,) = found(A, machine, host, hardware, spare)
    assert unit.objects == {A.uid, machine.uid, host.uid, hardware.uid}
    assert not unit.hosts


def test_clusters_of_one_pool_are_one_unit() -> None:
    """a, b => pool"""
    pool = make(rules.IP_POOL, "pool", owners=[A], labels={rules.CLUSTER_NAME_LABEL: "b"})
    one, other = found(A, B, C, pool)
    assert (one.names, other.names) == (("a", "b"), ("c",))
    assert pool.uid in one.objects


def test_a_class_is_shared_by_the_units_of_its_clusters() -> None:
    """k ~> a, b"""
    klass = make(rules.CLUSTER_CLASS, "k")
    a, b = (make(rules.CLUSTER, name, spec={"topology": {"classRef": {"name": "k"}}}) for name in "ab")
    one, other = found(klass, a, b)
    assert names(one) == names(other) == {"k"}
    assert not one.lasting
    assert klass.uid in one.objects & other.objects


def test_what_a_spare_host_uses_too_lasts_until_the_end() -> None:
    """a -> mm => h => bmc <= spare"""
    machine = make(rules.METAL3_MACHINE, "mm", owners=[A])
    consumer = {"kind": "Metal3Machine", "name": "mm", "namespace": "ns"}
    bmc = {"bmc": {"credentialsName": "bmc"}}
    host = make(rules.BARE_METAL_HOST, "h", spec={"consumerRef": consumer, **bmc})
    spare, secret = make(rules.BARE_METAL_HOST, "spare", spec=bmc), make(rules.SECRET, "bmc")
    (unit,) = found(A, machine, host, spare, secret)
    assert unit.shared == unit.lasting == {secret.key}


def test_users_of_what_only_one_of_them_owns_are_one_unit() -> None:
    """
    a -> t
    b -> md => t
    """
    template = make(rules.METAL3_MACHINE_TEMPLATE, "t", owners=[A])
    reference = {"apiGroup": rules.INFRA_GROUP, "kind": "Metal3MachineTemplate", "name": "t"}
    deployment = make(
        rules.MACHINE_DEPLOYMENT, "md", owners=[B], spec={"template": {"spec": {"infrastructureRef": reference}}}
    )
    (unit,) = found(A, B, template, deployment)
    assert unit.names == ("a", "b")


def test_owners_of_what_all_its_users_own_are_units_of_their_own() -> None:
    """a, b -> t"""
    template = make(rules.METAL3_MACHINE_TEMPLATE, "t", owners=[A, B])
    one, other = found(A, B, template)
    assert names(one) == names(other) == {"t"}


def test_a_cluster_that_does_not_move_is_no_unit() -> None:
    (unit,) = found(A, B, clusters=frozenset({A.key}))
    assert unit.names == ("a",)


def test_a_cluster_tied_to_what_is_in_one_place_and_of_nobody_is_no_unit() -> None:
    """a -> w <- v"""
    loose = make(WIDGET, "v", labels={rules.MOVE_HIERARCHY_LABEL: ""})
    tied = make(WIDGET, "w", owners=[A, loose])
    assert found(A, loose, tied) == ()


def test_units_of_all_namespaces_are_in_the_order_of_namespace_and_name() -> None:
    far = make(rules.CLUSTER, "a", namespace="far")
    assert [(unit.namespace, unit.names) for unit in units(select_all(A, B, far))] == [
        ("far", ("a",)),
        ("ns", ("a",)),
        ("ns", ("b",)),
    ]


def test_what_others_use_is_kept_though_the_graph_does_not_show_them() -> None:
    """k ~> a"""
    klass = make(rules.CLUSTER_CLASS, "k")
    a = make(rules.CLUSTER, "a", spec={"topology": {"classRef": {"name": "k"}}})
    alone = select(build([klass, a]), Scope("ns", clusters=frozenset({a.key})))
    shared = select(build([klass, a]), Scope("ns", clusters=frozenset({a.key}), shared=frozenset({klass.key})))
    assert alone.decisions[klass.uid].fate is Fate.MOVE
    assert shared.decisions[klass.uid].fate is Fate.KEEP


def test_what_others_use_leaves_with_the_last_of_its_owners() -> None:
    """
    a -> t
    a, b -> u
    """
    own = make(rules.METAL3_MACHINE_TEMPLATE, "t", owners=[A])
    both = make(rules.METAL3_MACHINE_TEMPLATE, "u", owners=[A, B])
    scope = Scope("ns", clusters=frozenset({A.key}), shared=frozenset({own.key, both.key}))
    selection = select(build([A, B, own, both]), scope)
    assert selection.decisions[own.uid].fate is Fate.MOVE
    assert selection.decisions[both.uid].fate is Fate.KEEP
    assert selection.dropped_owners(both.uid) == {B.uid}
