"""Tests of the selection: what moves, what is kept, what is left, and why."""

# The docstrings draw the graphs: -> is a hard owner, ~> a soft one, (x) was never seen.

from __future__ import annotations

import pytest

from graph import rules
from graph.resource import Object
from graph.selection import Fate, Rule, Scope
from tests.unit.graph_builders import WIDGET, make, resource_type, select_all, unseen, widgets


def decided(obj: Object, *others: Object, scope: Scope | None = None) -> tuple[Fate, Rule]:
    decision = select_all(obj, *others, scope=scope).decisions[obj.uid]
    return decision.fate, decision.rule


def test_all_below_a_cluster_moves() -> None:
    """
    c -> md -> ms
    c ~> c-ca
    """
    cluster = make(rules.CLUSTER, "c")
    deployment = make(rules.MACHINE_DEPLOYMENT, "md", owners=[cluster])
    machine_set = make(rules.MACHINE_SET, "ms", owners=[deployment])
    secret = make(rules.SECRET, "c-ca")
    selection = select_all(secret, machine_set, deployment, cluster)
    assert set(selection.moved) == {cluster, deployment, machine_set, secret}
    assert selection.decisions[cluster.uid].rule is Rule.HIERARCHY_ROOT
    below = selection.decisions[machine_set.uid]
    assert below.rule is Rule.BELOW_ROOT
    assert below.path == (cluster.key, deployment.key, machine_set.key)
    assert below.reason == "It is below Cluster ns/c, which moves."


def test_the_path_is_the_shortest_and_of_equal_ones_the_first() -> None:
    """
    root -> b -> d -> e
    root -> a -> d
    root -> e
    """
    objects = widgets("root>b root>a b>d a>d d>e root>e")
    selection = select_all(*objects)
    paths = {made.path[-1].name: [step.name for step in made.path] for made in selection.decisions.values()}
    assert paths["d"] == ["root", "a", "d"]
    assert paths["e"] == ["root", "e"]


def test_an_object_outside_of_every_hierarchy_stays() -> None:
    assert decided(make(WIDGET, "a")) == (Fate.LEAVE, Rule.NOT_IN_HIERARCHY)


def test_an_owner_never_seen_moves_nothing() -> None:
    """(ghost) -> a"""
    a = make(WIDGET, "a", owners=[unseen()])
    selection = select_all(a)
    assert selection.left == (a,)
    assert "Ghost ns/ghost" in selection.decisions[a.uid].reason


@pytest.mark.parametrize("value", ["", "true", "false"])
def test_a_move_label_counts_whatever_its_value(value: str) -> None:
    """a (labelled) -> b"""
    a = make(WIDGET, "a", labels={rules.MOVE_LABEL: value})
    below = make(WIDGET, "b", owners=[a])
    assert decided(a) == (Fate.MOVE, Rule.MOVE_LABEL)
    assert decided(below, a) == (Fate.LEAVE, Rule.NOT_IN_HIERARCHY)


def test_a_type_that_moves_takes_its_objects_but_not_what_is_below() -> None:
    """a (of the type) -> b"""
    a = make(resource_type(move=True), "a")
    below = make(rules.CONFIG_MAP, "b", owners=[a])
    assert decided(a) == (Fate.MOVE, Rule.MOVE_TYPE)
    assert decided(below, a) == (Fate.LEAVE, Rule.NOT_IN_HIERARCHY)


@pytest.mark.parametrize("value", ["", "false"])
def test_a_hierarchy_label_on_an_object_takes_all_below(value: str) -> None:
    """a (labelled) -> b"""
    a = make(WIDGET, "a", labels={rules.MOVE_HIERARCHY_LABEL: value})
    below = make(WIDGET, "b", owners=[a])
    assert decided(a) == (Fate.MOVE, Rule.HIERARCHY_ROOT)
    assert decided(below, a) == (Fate.MOVE, Rule.BELOW_ROOT)


def test_a_host_moves_with_its_credentials_and_its_hardware_data_by_itself() -> None:
    """h -> h-bmc"""
    host = make(rules.BARE_METAL_HOST, "h")
    credentials = make(rules.SECRET, "h-bmc", owners=[host])
    hardware = make(rules.HARDWARE_DATA, "h")
    selection = select_all(host, credentials, hardware)
    assert set(selection.moved) == {host, credentials, hardware}
    assert selection.decisions[hardware.uid].rule is Rule.MOVE_TYPE


def test_a_cluster_scoped_object_that_is_not_chosen_stays() -> None:
    assert decided(make(resource_type(namespaced=False), "a")) == (Fate.LEAVE, Rule.NOT_IN_HIERARCHY)


def test_a_cluster_scoped_object_below_a_cluster_is_kept_but_not_what_is_below_it() -> None:
    """c -> global -> s"""
    cluster = make(rules.CLUSTER, "c")
    identity = make(resource_type(namespaced=False), "global", owners=[cluster])
    secret = make(rules.SECRET, "s", owners=[identity])
    assert decided(identity, cluster) == (Fate.KEEP, Rule.CLUSTER_SCOPED)
    assert decided(secret, identity, cluster) == (Fate.MOVE, Rule.BELOW_ROOT)


def test_all_below_a_cluster_scoped_root_is_kept_even_if_it_is_below_another_root() -> None:
    """
    identity (cluster-scoped root) -> s
    c -> s
    """
    identity = make(resource_type(namespaced=False, move_hierarchy=True), "identity")
    cluster = make(rules.CLUSTER, "c")
    secret = make(rules.SECRET, "s", owners=[cluster, identity])
    selection = select_all(secret, identity, cluster)
    assert selection.kept == (secret, identity)
    assert selection.decisions[secret.uid].rule is Rule.BELOW_CLUSTER_SCOPED
    assert selection.decisions[secret.uid].path == (identity.key, secret.key)
    assert selection.moved == (cluster,)


def test_a_class_outside_of_the_namespace_is_kept_with_what_it_owns_hard() -> None:
    """
    k -> t -> u
    k ~> c
    """
    klass = make(rules.CLUSTER_CLASS, "k", namespace="classes")
    template = make(WIDGET, "t", namespace="classes", owners=[klass])
    below = make(WIDGET, "u", namespace="classes", owners=[template])
    cluster = make(rules.CLUSTER, "c", spec={"topology": {"class": "k", "classNamespace": "classes"}})
    objects = (klass, template, below, cluster)
    selection = select_all(*objects, scope=Scope("ns"))
    assert set(selection.kept) == {klass, template, below}
    assert selection.moved == (cluster,)
    assert {selection.decisions[obj.uid].rule for obj in selection.kept} == {Rule.CLASS_OUTSIDE_NAMESPACE}
    assert not select_all(*objects).kept


def test_a_class_that_other_namespaces_use_is_kept() -> None:
    """
    k -> t
    own -> t2
    """
    shared, own = make(rules.CLUSTER_CLASS, "k"), make(rules.CLUSTER_CLASS, "own")
    template, other = make(WIDGET, "t", owners=[shared]), make(WIDGET, "t2", owners=[own])
    scope = Scope("ns", shared_classes=frozenset({shared.key}))
    selection = select_all(shared, own, template, other, scope=scope)
    assert set(selection.kept) == {shared, template}
    assert set(selection.moved) == {own, other}
    assert selection.decisions[template.uid].rule is Rule.CLASS_USED_OUTSIDE_NAMESPACE


def test_what_lies_outside_of_the_namespace_has_a_rule_of_its_own() -> None:
    noise = make(rules.SECRET, "token", namespace="provider-system")
    assert decided(noise, scope=Scope("ns")) == (Fate.LEAVE, Rule.OUTSIDE_NAMESPACE)
    assert decided(noise) == (Fate.LEAVE, Rule.NOT_IN_HIERARCHY)


def test_a_secret_of_a_provider_namespace_below_a_root_is_copied() -> None:
    """identity (cluster-scoped root) -> credentials"""
    root = make(resource_type(namespaced=False, move_hierarchy=True), "identity")
    secret = make(rules.SECRET, "credentials", namespace="provider-system", owners=[root])
    assert decided(secret, root, scope=Scope("ns")) == (Fate.KEEP, Rule.BELOW_CLUSTER_SCOPED)


def test_owners_outside_of_the_move_are_named() -> None:
    """
    c -> a
    (ghost) -> a
    stays -> a
    """
    cluster, stays = make(rules.CLUSTER, "c"), make(WIDGET, "stays")
    a = make(WIDGET, "a", owners=[unseen(), cluster, stays])
    outside = select_all(a, cluster, stays).outside_owners
    assert [(str(obj), reference.name) for obj, reference in outside] == [
        ("Widget ns/a", "ghost"),
        ("Widget ns/a", "stays"),
    ]


def test_objects_are_counted_by_fate_and_type() -> None:
    cluster = make(rules.CLUSTER, "c")
    a, b = make(WIDGET, "a", owners=[cluster]), make(WIDGET, "b", owners=[cluster])
    counts = select_all(cluster, a, b, make(WIDGET, "left")).counts()
    assert counts == {Fate.MOVE: {cluster.type: 1, a.type: 2}, Fate.LEAVE: {a.type: 1}}


def test_an_owner_cycle_below_a_root_moves() -> None:
    """root -> a -> b -> a"""
    assert len(select_all(*widgets("root>a a>b b>a")).moved) == 3


def test_an_owner_cycle_without_a_root_stays() -> None:
    """a -> b -> a"""
    assert len(select_all(*widgets("a>b b>a")).left) == 2
