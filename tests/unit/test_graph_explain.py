"""Tests of why an object moves or not."""

# The docstrings draw the graphs: -> is a hard owner, ~> a soft one, (x) was never seen.

from __future__ import annotations

import json

from graph import rules
from graph.explain import Explanation, explain, explanation_json, explanation_lines
from graph.order import creation_order, deletion_order
from graph.resource import Object
from graph.selection import Fate
from tests.unit.graph_builders import NAMESPACE, WIDGET, make, resource_type, select_all, unseen, widgets


def why(objects: list[Object], name: str) -> Explanation:
    selection = select_all(*objects)
    (uid,) = (uid for uid, obj in selection.graph.objects.items() if obj.key.name == name)
    return explain(selection, creation_order(selection), deletion_order(selection), uid)


def test_the_way_from_the_root_down_marks_hard_and_soft_owners() -> None:
    """
    class ~> c -> m
    """
    blueprint = make(rules.CLUSTER_CLASS, "class")
    cluster = make(rules.CLUSTER, "c", spec={"topology": {"classRef": {"name": "class"}}})
    found = why([blueprint, cluster, make(rules.MACHINE, "m", owners=[cluster])], "m")
    assert [(tie.key.name, tie.fate, tie.hard, tie.soft) for tie in found.path] == [
        ("c", Fate.MOVE, True, None),
    ]
    found = why([blueprint, cluster], "c")
    assert explanation_lines(found) == [
        "Cluster ns/c (clusters.cluster.x-k8s.io) moves.",
        "  Cluster ns/c is the root of a hierarchy: it moves with everything below it.",
        "  Rule: hierarchy-root",
        "",
        "Further owners:",
        "  ClusterClass ns/class (soft: cluster-topology-class, moves)",
        "",
        "Order:",
        "  created on the target as number 2 of 2, after ClusterClass ns/class",
        "  deleted from the source as number 1 of 2",
    ]


def test_what_is_below_a_root_is_drawn_below_it() -> None:
    """
    c -> m -> i
    c ~> c-ca
    """
    cluster = make(rules.CLUSTER, "c")
    machine = make(rules.MACHINE, "m", owners=[cluster])
    lines = explanation_lines(why([cluster, machine, make(WIDGET, "i", owners=[machine])], "i"))
    assert lines[4:8] == [
        "Owners, from the root down:",
        "  Cluster ns/c (moves)",
        "  └─ Machine ns/m (owner reference, moves)",
        "     └─ Widget ns/i (owner reference, moves)",
    ]
    secret = explanation_lines(why([cluster, make(rules.SECRET, "c-ca")], "c-ca"))
    assert "  └─ Secret ns/c-ca (soft: cluster-secret-name, moves)" in secret


def test_what_stays_has_its_topmost_owner_and_no_place_in_the_orders() -> None:
    """
    (ghost) -> a -> b
    """
    a = make(WIDGET, "a", owners=[unseen()])
    found = why([a, make(WIDGET, "b", owners=[a])], "b")
    assert [(tie.key.name, tie.fate) for tie in found.path] == [("ghost", None), ("a", Fate.LEAVE)]
    assert found.creation is found.deletion is None
    assert "  Ghost ns/ghost (not found)" in explanation_lines(found)


def test_owners_in_a_circle_have_no_top() -> None:
    """
    a -> b -> a
    """
    found = why(widgets("a>b b>a"), "a")
    assert found.path == ()
    assert [tie.key.name for tie in found.owners] == ["b"]


def test_the_shortest_way_to_a_top_is_taken_and_the_other_owners_are_listed() -> None:
    """
    top -> a -> x
    other -> x
    """
    found = why(widgets("top>a a>x other>x"), "x")
    assert [tie.key.name for tie in found.path] == ["other"]
    assert [tie.key.name for tie in found.owners] == ["a"]


def test_what_a_spec_names_and_whose_spec_names_it_is_told() -> None:
    reference = {"apiVersion": f"{rules.INFRA_GROUP}/v1", "kind": "Metal3Machine", "name": "m", "namespace": NAMESPACE}
    host = make(rules.BARE_METAL_HOST, "h", spec={"consumerRef": reference, "bmc": {"credentialsName": "gone"}})
    machine = make(rules.METAL3_MACHINE, "m")
    found = why([host, machine], "h")
    assert [(named.field, named.key.name, named.fate) for named in found.names] == [
        ("spec.consumerRef", "m", Fate.LEAVE),
        ("spec.bmc.credentialsName", "gone", None),
    ]
    assert "  BareMetalHost ns/h (spec.consumerRef, moves)" in explanation_lines(why([host, machine], "m"))


def test_what_is_kept_is_created_and_not_deleted() -> None:
    found = why([make(resource_type(namespaced=False, move_hierarchy=True), "identity")], "identity")
    assert found.decision.fate is Fate.KEEP
    assert found.creation is not None
    assert found.deletion is None


def test_the_json_form_says_the_same() -> None:
    """
    root -> a
    """
    found = explanation_json(why(widgets("root>a"), "a"))
    key = {"group": "example.org", "kind": "Widget", "namespace": "ns", "name": "root"}
    assert json.loads(json.dumps(found)) == {
        **key,
        "name": "a",
        "uid": "uid-Widget-ns-a",
        "resource": "widgets.example.org",
        "fate": "move",
        "rule": "below-root",
        "reason": "It is below Widget ns/root, which moves.",
        "path": [{**key, "fate": "move", "hard": True, "soft": None}],
        "furtherOwners": [],
        "dependents": [],
        "names": [],
        "namedBy": [],
        "creation": {"number": 2, "total": 2, "waitsFor": [key]},
        "deletion": {"number": 1, "total": 2, "waitsFor": []},
    }
