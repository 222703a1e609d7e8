"""Tests of the drawings."""

# The docstrings draw the graphs: -> is a hard owner, ~> a soft one, (x) was never seen.

from __future__ import annotations

import json

from graph import rules
from graph.render import dot, mermaid, to_json, tree
from graph.selection import Scope, Selection
from tests.unit.graph_builders import WIDGET, make, owned_by, resource_type, select_all, unseen, widgets


def test_a_tree_has_a_line_for_each_object_below_its_owner() -> None:
    """
    root -> a -> b
    root -> c
    """
    assert tree(select_all(*widgets("root>a a>b root>c"))).splitlines() == [
        "Widget root (namespace ns)",
        "├─ Widget a",
        "│  └─ Widget b",
        "└─ Widget c",
    ]


def test_nothing_is_drawn_as_nothing() -> None:
    assert tree(select_all()) == ""


def test_the_tree_marks_soft_owners_what_is_kept_and_what_is_left() -> None:
    """
    c ~> c-ca
    identity (cluster-scoped root)
    """
    objects = [
        make(rules.CLUSTER, "c"),
        make(rules.SECRET, "c-ca"),
        make(resource_type(namespaced=False, move_hierarchy=True), "identity"),
        make(rules.CONFIG_MAP, "stays", owners=[unseen()]),
    ]
    assert tree(select_all(*objects)).splitlines() == [
        "ConfigMap stays (namespace ns) [left] [owner not found: Ghost ghost]",
        "Cluster c (namespace ns)",
        "└─ Secret c-ca [soft: cluster-secret-name]",
        "Widget identity [kept]",
    ]


def test_an_object_with_two_owners_is_shown_whole_under_its_controller() -> None:
    """
    a -> x -> y
    b => x
    """
    a, b = (make(WIDGET, name, labels={rules.MOVE_HIERARCHY_LABEL: ""}) for name in "ab")
    x = make(WIDGET, "x", owners=[a, owned_by(b, controller=True)])
    y = make(WIDGET, "y", owners=[x])
    assert tree(select_all(a, b, x, y)).splitlines() == [
        "Widget a (namespace ns)",
        "└─ Widget x [shown elsewhere]",
        "Widget b (namespace ns)",
        "└─ Widget x",
        "   └─ Widget y",
    ]


def test_an_object_with_two_owners_and_no_controller_is_shown_whole_under_the_first() -> None:
    """
    root -> b -> x
    root -> a -> x
    """
    assert tree(select_all(*widgets("root>b root>a b>x a>x"))).splitlines() == [
        "Widget root (namespace ns)",
        "├─ Widget a",
        "│  └─ Widget x",
        "└─ Widget b",
        "   └─ Widget x [shown elsewhere]",
    ]


def test_a_cycle_ends() -> None:
    """a -> b -> a"""
    assert tree(select_all(*widgets("a>b b>a"))).splitlines() == [
        "Widget a (namespace ns) [left]",
        "└─ Widget b [left]",
        "   └─ Widget a [left] [shown elsewhere]",
    ]


def test_the_namespace_is_given_where_it_changes() -> None:
    klass = make(rules.CLUSTER_CLASS, "k", namespace="classes")
    cluster = make(rules.CLUSTER, "c", spec={"topology": {"class": "k", "classNamespace": "classes"}})
    lines = tree(select_all(klass, cluster)).splitlines()
    assert lines[1] == "└─ Cluster c (namespace ns) [soft: cluster-topology-class]"


def test_a_deep_chain_is_drawn() -> None:
    chain = " ".join(f"w{number:05}>w{number + 1:05}" for number in range(2000))
    assert len(tree(select_all(*widgets(chain))).splitlines()) == 2001


def test_noise_of_other_namespaces_is_not_drawn() -> None:
    noise = make(rules.SECRET, "noise", namespace="provider-system")
    selection = select_all(noise, *widgets("root>a"), scope=Scope("ns"))
    for drawing in (tree(selection), mermaid(selection), dot(selection)):
        assert "noise" not in drawing
    assert "noise" in json.dumps(to_json(selection))


def drawn_secret() -> Selection:
    secret = make(rules.SECRET, "c-ca", data={"tls.key": "c2VjcmV0"}, labels={"token": "hidden"})
    return select_all(make(rules.CLUSTER, "c"), secret)


def test_the_contents_of_secrets_are_never_shown() -> None:
    selection = drawn_secret()
    for drawing in (tree(selection), mermaid(selection), dot(selection), json.dumps(to_json(selection))):
        assert "c-ca" in drawing
        assert not any(word in drawing for word in ("c2VjcmV0", "tls.key", "hidden"))


def test_mermaid_draws_soft_edges_dotted() -> None:
    assert mermaid(drawn_secret()).splitlines()[:4] == [
        "flowchart TD",
        '  n0["Secret<br/>ns/c-ca"]',
        '  n1["Cluster<br/>ns/c"]',
        "  n1 -.-> n0",
    ]


def test_mermaid_draws_hard_edges_and_classes() -> None:
    """(a -> b) left"""
    text = mermaid(select_all(*widgets("a>b")))
    assert '  n1["Widget<br/>ns/b"]:::left' in text
    assert "  n0 --> n1" in text


def test_dot_draws_soft_edges_dashed() -> None:
    assert dot(drawn_secret()).splitlines() == [
        "digraph objects {",
        "  node [shape=box];",
        '  n0 [label="Secret\\nns/c-ca"];',
        '  n1 [label="Cluster\\nns/c"];',
        '  n1 -> n0 [style=dashed, label="cluster-secret-name"];',
        "}",
    ]


def test_names_cannot_break_out_of_a_label() -> None:
    selection = select_all(make(WIDGET, 'a"]; b\\\n`<x>#'))
    assert "a#34;#93;#59; b#92;#10;#96;#60;x#62;#35;" in mermaid(selection)
    assert 'label="Widget\\nns/a\\"]; b\\\\\\n`<x>#"' in dot(selection)
    assert len(tree(selection).splitlines()) == 1


def test_json_has_nodes_with_decisions_edges_and_virtual_owners() -> None:
    """
    c -> a
    (ghost) -> a
    """
    cluster = make(rules.CLUSTER, "c")
    a = make(WIDGET, "a", owners=[cluster, unseen()])
    assert to_json(select_all(cluster, a, scope=Scope("ns"))) == {
        "scope": {"namespace": "ns", "sharedClasses": [], "clusters": None},
        "nodes": [
            {
                "group": "cluster.x-k8s.io",
                "kind": "Cluster",
                "namespace": "ns",
                "name": "c",
                "uid": cluster.uid,
                "fate": "move",
                "rule": "hierarchy-root",
                "reason": "Cluster ns/c is the root of a hierarchy: it moves with everything below it.",
                "path": ["Cluster ns/c"],
            },
            {
                "group": "example.org",
                "kind": "Widget",
                "namespace": "ns",
                "name": "a",
                "uid": a.uid,
                "fate": "move",
                "rule": "below-root",
                "reason": "It is below Cluster ns/c, which moves.",
                "path": ["Cluster ns/c", "Widget ns/a"],
            },
        ],
        "edges": [
            {"owner": cluster.uid, "dependent": a.uid, "hard": True, "soft": None},
            {"owner": "uid-ghost", "dependent": a.uid, "hard": True, "soft": None},
        ],
        "virtualOwners": [
            {"group": "example.org", "kind": "Ghost", "namespace": "ns", "name": "ghost", "uid": "uid-ghost"}
        ],
    }
