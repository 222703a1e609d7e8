"""Tests of the orders: creation, deletion, cycles and units."""

# The docstrings draw the graphs: -> is a hard owner, ~> a soft one, (x) was never seen.

from __future__ import annotations

from graph import rules
from graph.order import creation_order, cycles, deletion_order
from graph.resource import Object
from graph.selection import Selection
from tests.unit.graph_builders import WIDGET, make, names, resource_type, select_all, unseen, widgets


def created(selection: Selection) -> list[str]:
    return names(selection, creation_order(selection).sequence)


def deleted(selection: Selection) -> list[str]:
    return names(selection, deletion_order(selection).sequence)


def late(selection: Selection) -> dict[str, list[str]]:
    owners = creation_order(selection).late_owners
    return {names(selection, [uid])[0]: names(selection, found) for uid, found in owners.items()}


def test_owners_are_created_first_and_deleted_last() -> None:
    """root -> z -> a"""
    selection = select_all(*widgets("root>z z>a"))
    assert created(selection) == ["root", "z", "a"]
    assert deleted(selection) == ["a", "z", "root"]


def test_of_those_that_are_ready_the_first_key_comes_first() -> None:
    """
    root -> d -> a
    root -> b, c
    """
    selection = select_all(*widgets("root>d d>a root>c root>b"))
    assert created(selection) == ["root", "b", "c", "d", "a"]
    assert deleted(selection) == ["a", "b", "c", "d", "root"]


def test_each_object_waits_for_its_owners_hard_and_soft() -> None:
    """
    k ~> c -> m
    c ~> c-ca
    """
    klass = make(rules.CLUSTER_CLASS, "k")
    cluster = make(rules.CLUSTER, "c", spec={"topology": {"class": "k"}})
    secret, machine = make(rules.SECRET, "c-ca"), make(rules.MACHINE, "m", owners=[cluster])
    selection = select_all(secret, machine, cluster, klass)
    waits = creation_order(selection).waits_for
    assert waits[cluster.uid] == (klass.uid,)
    assert waits[secret.uid] == (cluster.uid,)
    assert waits[klass.uid] == ()
    assert deletion_order(selection).waits_for[cluster.uid] == (secret.uid, machine.uid)


def test_an_owner_outside_of_the_move_holds_nothing_up() -> None:
    """
    root -> a
    (ghost) -> a
    """
    root = make(WIDGET, "root", labels={rules.MOVE_HIERARCHY_LABEL: ""})
    a = make(WIDGET, "a", owners=[root, unseen()])
    selection = select_all(root, a)
    assert creation_order(selection).waits_for[a.uid] == (root.uid,)


def test_what_is_kept_is_created_but_not_deleted() -> None:
    """identity (cluster-scoped root) -> s"""
    identity = make(resource_type(namespaced=False, move_hierarchy=True), "identity")
    selection = select_all(identity, make(rules.SECRET, "s", owners=[identity]), *widgets("root>a"))
    assert created(selection) == ["identity", "s", "root", "a"]
    assert deleted(selection) == ["a", "root"]


def test_what_is_left_is_in_no_order() -> None:
    selection = select_all(make(WIDGET, "stays"), *widgets("root>a"))
    assert created(selection) == ["root", "a"]


def test_a_cycle_is_broken_at_one_edge() -> None:
    """
    root -> a -> b -> c -> a
    c -> d
    """
    selection = select_all(*widgets("root>a a>b b>c c>a c>d"))
    assert created(selection) == ["root", "a", "b", "c", "d"]
    assert late(selection) == {"a": ["c"]}
    assert deleted(selection) == ["d", "c", "b", "a", "root"]


def test_a_cycle_is_broken_where_it_costs_least() -> None:
    """
    root -> a -> b -> c -> a
    c -> b
    """
    selection = select_all(*widgets("root>a a>b b>c c>a c>b"))
    assert created(selection) == ["c", "root", "a", "b"]
    assert late(selection) == {"c": ["b"]}


def test_an_object_that_owns_itself_is_late_for_itself() -> None:
    """root -> a -> a"""
    selection = select_all(*widgets("root>a a>a"))
    assert created(selection) == ["root", "a"]
    assert late(selection) == {"a": ["a"]}
    assert [names(selection, found) for found in cycles(selection)] == [["a"]]


def test_what_hangs_below_a_cycle_still_waits_for_it() -> None:
    """root -> b -> c -> b, c -> a"""
    selection = select_all(*widgets("root>b b>c c>b c>a"))
    assert created(selection) == ["root", "b", "c", "a"]
    assert late(selection) == {"b": ["c"]}


def test_a_soft_edge_in_a_cycle_is_dropped() -> None:
    """
    c ~> b
    b -> c
    """
    bare = make(rules.CLUSTER, "c")
    binding = make(rules.CLUSTER_RESOURCE_SET_BINDING, "b", spec={"clusterName": "c"})
    cluster = make(rules.CLUSTER, "c", owners=[binding])
    selection = select_all(binding, cluster)
    assert bare.uid == cluster.uid
    assert created(selection) == ["b", "c"]
    assert late(selection) == {}
    assert cycles(selection) == ()


def test_soft_edges_of_a_cycle_are_dropped_before_any_hard_one() -> None:
    """
    k ~> c1 -> x -> k
    k ~> c2 -> x
    """
    spec = {"topology": {"class": "k"}}
    clusters = [make(rules.CLUSTER, name, spec=spec) for name in ("c1", "c2")]
    x = make(WIDGET, "x", owners=clusters)
    selection = select_all(*clusters, x, make(rules.CLUSTER_CLASS, "k", owners=[x]))
    assert created(selection) == ["c1", "c2", "x", "k"]
    assert late(selection) == {}


def test_a_soft_edge_of_a_cycle_that_the_order_obeys_anyway_is_waited_for() -> None:
    """
    k ~> c -> k
    k -> t -> c
    k -> u -> c
    """
    klass = make(rules.CLUSTER_CLASS, "k", owners=[make(rules.CLUSTER, "c")])
    t, u = make(WIDGET, "t", owners=[klass]), make(WIDGET, "u", owners=[klass])
    cluster = make(rules.CLUSTER, "c", spec={"topology": {"class": "k"}}, owners=[t, u])
    selection = select_all(cluster, klass, t, u)
    assert created(selection) == ["k", "t", "u", "c"]
    assert late(selection) == {"k": ["c"]}
    assert klass.uid in creation_order(selection).waits_for[cluster.uid]


def test_cycles_are_in_key_order() -> None:
    """
    root -> d -> c -> d
    root -> b -> a -> b
    """
    selection = select_all(*widgets("root>d d>c c>d root>b b>a a>b"))
    assert [names(selection, found) for found in cycles(selection)] == [["a", "b"], ["c", "d"]]


def metal3_cluster(name: str, *, labelled: bool) -> list[Object]:
    """
    c -> metal3cluster
    c -> m -> metal3machine
    """
    labels = {rules.CLUSTER_NAME_LABEL: name} if labelled else {}
    cluster = make(rules.CLUSTER, name)
    machine = make(rules.MACHINE, name, owners=[cluster])
    return [
        cluster,
        machine,
        make(rules.METAL3_CLUSTER, name, owners=[cluster], labels=labels),
        make(rules.METAL3_MACHINE, name, owners=[machine], labels=labels),
    ]


def test_a_metal3_cluster_is_deleted_after_its_machines_by_label_or_by_owner() -> None:
    one, two = metal3_cluster("one", labelled=True), metal3_cluster("two", labelled=False)
    waits = deletion_order(select_all(*one, *two)).waits_for
    assert waits[one[2].uid] == (one[3].uid,)
    assert waits[two[2].uid] == (two[3].uid,)


def test_a_metal3_cluster_does_not_wait_for_machines_on_creation() -> None:
    objects = metal3_cluster("one", labelled=True)
    waits = creation_order(select_all(*objects)).waits_for
    assert waits[objects[2].uid] == (objects[0].uid,)
    assert waits[objects[3].uid] == (objects[1].uid,)


def test_a_metal3_cluster_does_not_wait_for_machines_of_its_name_in_another_namespace() -> None:
    labels = {rules.CLUSTER_NAME_LABEL: "c"}
    cluster = make(rules.CLUSTER, "c")
    infra = make(rules.METAL3_CLUSTER, "c", owners=[cluster], labels=labels)
    far = make(rules.CLUSTER, "c", namespace="far")
    machine = make(rules.METAL3_MACHINE, "m", namespace="far", owners=[far], labels=labels)
    assert deletion_order(select_all(cluster, infra, far, machine)).waits_for[infra.uid] == ()
