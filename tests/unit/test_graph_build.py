"""Tests of building the graph: hard and soft owners, owners never seen, duplicates."""

# The docstrings draw the graphs: -> is a hard owner, ~> a soft one, (x) was never seen.

from __future__ import annotations

import dataclasses
from typing import Any

import networkx as nx
import pytest

from graph import rules
from graph.build import DuplicateObjectError, DuplicateUIDError, ObjectGraph, build, topology_class
from graph.resource import Object, ObjectKey
from tests.unit.graph_builders import WIDGET, make, owned_by, unseen, widgets


def edge(graph: ObjectGraph, owner: Object, dependent: Object) -> tuple[bool, str | None] | None:
    if not graph.digraph.has_edge(owner.uid, dependent.uid):
        return None
    data = graph.digraph.edges[owner.uid, dependent.uid]
    return data["hard"], data["soft"]


def test_an_owner_reference_is_a_hard_edge() -> None:
    """cluster -> machine"""
    cluster = make(rules.CLUSTER, "c")
    machine = make(rules.MACHINE, "m", owners=[cluster])
    graph = build([machine, cluster])
    assert edge(graph, cluster, machine) == (True, None)
    assert graph.owners(machine.uid) == (cluster.uid,)
    assert graph.dependents(cluster.uid) == (machine.uid,)
    assert not graph.virtual


def test_owners_and_dependents_come_in_key_order_whatever_the_uids() -> None:
    """
    b -> d
    a -> d
    a -> c
    """
    a, b = make(WIDGET, "a", uid="9"), make(WIDGET, "b", uid="1")
    d, c = make(WIDGET, "d", uid="0", owners=[b, a]), make(WIDGET, "c", uid="5", owners=[a])
    graph = build([d, b, c, a])
    assert graph.owners("0") == ("9", "1")
    assert graph.dependents("9") == ("5", "0")
    assert list(graph.objects) == ["9", "1", "5", "0"]


def test_the_graph_cannot_be_changed() -> None:
    graph = build(widgets("root>a"))
    with pytest.raises(nx.NetworkXError):
        graph.digraph.add_node("other")


def test_an_owner_that_was_never_seen_is_virtual() -> None:
    """(ghost) -> a"""
    a = make(WIDGET, "a", owners=[unseen()])
    graph = build([a])
    ghost = graph.virtual["uid-ghost"]
    assert ghost.key == ObjectKey("example.org", "Ghost", "ns", "ghost")
    assert graph.owners(a.uid) == ("uid-ghost",)
    assert graph.dependents("uid-ghost") == (a.uid,)
    assert "uid-ghost" not in graph.objects


def test_a_virtual_owner_of_dependents_in_two_namespaces_has_none() -> None:
    one = make(WIDGET, "a", namespace="one", owners=[unseen()])
    two = make(WIDGET, "a", namespace="two", owners=[unseen()])
    three = make(WIDGET, "a", namespace="two-more", owners=[unseen()])
    assert build([two, three, one]).virtual["uid-ghost"].namespace == ""


def test_an_object_is_found_by_its_key() -> None:
    a = make(WIDGET, "a")
    graph = build([a])
    assert graph.by_key(a.key) is a
    assert graph.by_key(ObjectKey("", "Secret", "ns", "a")) is None


def test_an_object_that_was_listed_twice_is_one_node_in_its_latest_state() -> None:
    older, newer = (dataclasses.replace(make(rules.SECRET, "s"), resource_version=v) for v in ("99", "100"))
    for order in ([older, newer], [newer, older]):
        assert list(build(order).objects.values()) == [newer]


def test_one_key_with_two_uids_is_refused() -> None:
    with pytest.raises(DuplicateObjectError, match="Widget ns/a") as caught:
        build([make(WIDGET, "a", uid="2"), make(WIDGET, "a", uid="1")])
    assert caught.value.uids == ("1", "2")
    assert caught.value.key.name == "a"


def test_one_uid_with_two_keys_is_refused() -> None:
    with pytest.raises(DuplicateUIDError, match="Widget ns/a and for Widget ns/b") as caught:
        build([make(WIDGET, "b", uid="1"), make(WIDGET, "a", uid="1")])
    assert caught.value.uid == "1"
    assert [key.name for key in caught.value.keys] == ["a", "b"]


def test_a_secret_without_owners_is_soft_owned_by_the_cluster_in_its_name() -> None:
    """c ~> c-ca"""
    cluster = make(rules.CLUSTER, "c")
    secret = make(rules.SECRET, "c-ca")
    assert edge(build([secret, cluster]), cluster, secret) == (False, "cluster-secret-name")


@pytest.mark.parametrize(
    "secret",
    [
        make(rules.SECRET, "c-ca", namespace="other"),
        make(rules.SECRET, "c-token"),
        make(rules.SECRET, "cc-ca"),
        make(rules.SECRET, "c-ca", owners=[unseen()]),
        make(rules.CONFIG_MAP, "c-ca"),
    ],
    ids=["other namespace", "no purpose", "other cluster", "owner never seen", "no Secret"],
)
def test_other_objects_are_not_soft_owned_by_name(secret: Object) -> None:
    cluster = make(rules.CLUSTER, "c")
    assert edge(build([secret, cluster]), cluster, secret) is None


@pytest.mark.parametrize(
    ("topology", "namespace"),
    [
        ({"classRef": {"name": "k"}}, "ns"),
        ({"classRef": {"name": "k", "namespace": "classes"}}, "classes"),
        ({"class": "k"}, "ns"),
        ({"class": "k", "classNamespace": "classes"}, "classes"),
    ],
)
def test_a_cluster_is_soft_owned_by_its_class(topology: dict[str, Any], namespace: str) -> None:
    """k ~> c"""
    cluster = make(rules.CLUSTER, "c", spec={"topology": topology})
    right = make(rules.CLUSTER_CLASS, "k", namespace=namespace)
    wrong = make(rules.CLUSTER_CLASS, "k", namespace="wrong")
    graph = build([cluster, right, wrong])
    assert topology_class(cluster) == right.key
    assert edge(graph, right, cluster) == (False, "cluster-topology-class")
    assert edge(graph, wrong, cluster) is None


@pytest.mark.parametrize("spec", [{}, {"topology": None}, {"topology": {"version": "v1.30.0"}}])
def test_a_cluster_without_a_class_has_none(spec: dict[str, Any]) -> None:
    assert topology_class(make(rules.CLUSTER, "c", spec=spec)) is None


def test_only_clusters_have_a_class() -> None:
    assert topology_class(make(WIDGET, "c", spec={"topology": {"class": "k"}})) is None


def test_a_binding_is_soft_owned_by_its_cluster() -> None:
    """c ~> b"""
    cluster, other = make(rules.CLUSTER, "c"), make(rules.CLUSTER, "c", namespace="other")
    binding = make(rules.CLUSTER_RESOURCE_SET_BINDING, "b", spec={"clusterName": "c"})
    graph = build([binding, cluster, other])
    assert edge(graph, cluster, binding) == (False, "binding-cluster-name")
    assert edge(graph, other, binding) is None


def test_an_owner_both_hard_and_soft_is_one_edge_with_both() -> None:
    """c => b"""
    cluster = make(rules.CLUSTER, "c")
    binding = make(rules.CLUSTER_RESOURCE_SET_BINDING, "b", spec={"clusterName": "c"}, owners=[owned_by(cluster)])
    assert edge(build([binding, cluster]), cluster, binding) == (True, "binding-cluster-name")


def test_bodies_are_not_read_where_no_rule_needs_them() -> None:
    broken = make(WIDGET, "a")
    unread = Object(broken.type, broken.key, broken.uid, "", packed=b"not JSON")
    assert build([unread]).objects[broken.uid] is unread


def test_a_secret_that_nobody_owns_belongs_to_the_host_that_names_it() -> None:
    """h ~> user-data   owner -> owned"""
    host = make(rules.BARE_METAL_HOST, "h", spec={"userData": {"name": "user-data"}, "networkData": {"name": "owned"}})
    owner = make(WIDGET, "owner")
    secret, owned = make(rules.SECRET, "user-data"), make(rules.SECRET, "owned", owners=[owner])
    graph = build([host, owner, secret, owned])
    assert graph.owners(secret.uid) == (host.uid,)
    assert not graph.is_hard(host.uid, secret.uid)
    assert graph.owners(owned.uid) == (owner.uid,)


def test_a_pool_that_nobody_owns_belongs_to_the_claims_that_draw_from_it() -> None:
    """claim ~> pool"""
    claim = make(rules.IP_CLAIM, "claim", spec={"pool": {"name": "pool"}})
    pool = make(rules.IP_POOL, "pool")
    assert build([claim, pool]).owners(pool.uid) == (claim.uid,)


def test_without_metal3_the_graph_is_clusterctls() -> None:
    """claim   pool"""
    claim = make(rules.IP_CLAIM, "claim", spec={"pool": {"name": "pool"}})
    pool = make(rules.IP_POOL, "pool")
    assert build([claim, pool], knows_metal3=False).owners(pool.uid) == ()
