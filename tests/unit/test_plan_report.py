"""Tests of a plan for people and for programs."""

from __future__ import annotations

from mover.discovery import SECRETS
from mover.plan_report import plan_json, table_lines, tree_lines
from tests.unit.graph_builders import resource_type
from tests.unit.mover_builders import CLUSTER, LOOSE, MACHINE, make, plan_of

IDENTITY = make(resource_type(namespaced=False, move_hierarchy=True), "identity")
FAR = make(SECRETS, "far", namespace="elsewhere")
PLAN = plan_of(CLUSTER, MACHINE, IDENTITY, LOOSE, FAR)
COUNTS = [
    "KIND                       MOVE   COPY, KEEP   STAY",
    "Cluster.cluster.x-k8s.io   1      -            -",
    "Machine.cluster.x-k8s.io   1      -            -",
    "Secret                     -      -            1",
    "Widget.example.org         -      1            -",
    "all                        2      1            1",
]


def test_a_tree_is_followed_by_the_counts_and_by_what_stays() -> None:
    assert tree_lines(PLAN) == [
        "Secret loose (namespace ns) [left]\nCluster c (namespace ns)\n└─ Machine m\nWidget identity [kept]",
        "",
        *COUNTS,
        "",
        "What stays:",
        "   Secret ns/loose: It has no owner, and no label moves it.",
    ]


def test_an_empty_plan_has_counts_only() -> None:
    assert tree_lines(plan_of()) == ["KIND   MOVE   COPY, KEEP   STAY", "all    -      -            -"]


def test_a_table_is_in_the_order_of_creation_and_has_the_order_of_deletion() -> None:
    lines = table_lines(PLAN)
    assert [line.split()[:6] for line in lines[:5]] == [
        ["CREATE", "DELETE", "FATE", "KIND", "NAMESPACE", "NAME"],
        ["1", "2", "move", "Cluster.cluster.x-k8s.io", "ns", "c"],
        ["2", "1", "move", "Machine.cluster.x-k8s.io", "ns", "m"],
        ["3", "-", "keep", "Widget.example.org", "-", "identity"],
        ["-", "-", "leave", "Secret", "ns", "loose"],
    ]
    assert lines[5:] == ["", *COUNTS]


def test_the_values_for_programs_have_everything() -> None:
    found = plan_json(PLAN)
    assert found["creation"] == [CLUSTER.uid, MACHINE.uid, IDENTITY.uid]
    assert found["deletion"] == [MACHINE.uid, CLUSTER.uid]
    assert found["counts"]["keep"] == {"Widget.example.org": 1}
    assert found["counts"]["leave"] == {"Secret": 1}
    assert {node["name"]: node["fate"] for node in found["nodes"]}["far"] == "leave"
