"""Tests of the page of a plan: what it holds, and what it must not hold or load."""

from __future__ import annotations

import json
import re
from typing import Any

from graph import rules
from graph.resource import Object
from graph.unit import units
from mover.page import plan_page
from mover.page.graph import graph_data
from mover.planning import Plan, make_plan
from tests.unit.mover_builders import inventory, make, plan_of

CLUSTER = make(rules.CLUSTER, "c", spec={"n": "spec-of-the-cluster"})
OTHER = make(rules.CLUSTER, "d")
MACHINE = make(rules.MACHINE, "m", owners=[CLUSTER])
CA = make(rules.SECRET, "c-ca", data={"tls.key": "c2VjcmV0"})
LOOSE = make(rules.SECRET, "loose", data={"password": "cGFzc3dvcmQ="})
EVIL = make(rules.MACHINE, "</script><b>", owners=[CLUSTER])


def page_of(*objects: Object) -> str:
    return plan_page(make_plan(inventory(*objects)))


def shown(page: str) -> Any:
    """Returns what the page's own program reads."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def drawn(plan: Plan) -> dict[str, list[Any]]:
    return graph_data(plan.selection, plan.creation, plan.deletion, units(plan.selection))


def test_every_object_is_shown_once_with_its_fate_reason_and_places() -> None:
    (only,) = shown(page_of(CLUSTER, MACHINE, CA, LOOSE))["graphs"]
    objects = only["graph"]["objects"]
    assert sorted(node["name"] for node in objects) == ["c", "c-ca", "loose", "m"]
    by_name = {node["name"]: node for node in objects}
    assert by_name["m"]["fate"] == "move"
    assert by_name["m"]["path"] == ["Cluster ns/c", "Machine ns/m"]
    assert by_name["m"]["created"] > by_name["c"]["created"] > 0
    assert by_name["c"]["deleted"] > by_name["m"]["deleted"] > 0
    assert (by_name["loose"]["fate"], by_name["loose"]["created"], by_name["loose"]["deleted"]) == ("leave", 0, 0)
    assert by_name["loose"]["reason"]


def test_a_dependent_is_drawn_below_and_to_the_right_of_its_owner() -> None:
    data = drawn(plan_of(CLUSTER, MACHINE, CA))
    for owner, dependent, _ in data["edges"]:
        assert data["objects"][dependent]["y"] > data["objects"][owner]["y"]
        assert data["objects"][dependent]["x"] > data["objects"][owner]["x"]
    assert len({node["y"] for node in data["objects"]}) == len(data["objects"])
    assert [hard for _, _, hard in data["edges"]] == [False, True]


def test_a_tall_tree_goes_on_in_columns_that_do_not_overlap() -> None:
    clusters = [make(rules.CLUSTER, f"c{number:03}") for number in range(60)]
    machines = [make(rules.MACHINE, f"m-{one.key.name}-{n}", owners=[one]) for one in clusters for n in range(4)]
    objects = drawn(plan_of(*clusters, *machines))["objects"]
    width, height = (max(node[axis] for node in objects) for axis in "xy")
    assert 0.5 < width / height < 4
    assert len({(node["x"], node["y"]) for node in objects}) == len(objects) == 300
    tops = [node for node in objects if node["y"] == 0]
    assert len(tops) > 1
    assert {node["kind"] for node in tops} == {"Cluster"}, "a column begins in the middle of a Cluster"


def test_an_object_names_the_units_that_it_belongs_to() -> None:
    template = make(rules.METAL3_MACHINE_TEMPLATE, "shared", owners=[CLUSTER, OTHER])
    data = drawn(plan_of(CLUSTER, OTHER, MACHINE, template, LOOSE))
    assert data["units"] == ["ns/c", "ns/d"]
    found = {node["name"]: node.get("units", []) for node in data["objects"]}
    assert found == {"c": [0], "d": [1], "m": [0], "shared": [0, 1], "loose": []}


def test_nothing_of_what_an_object_holds_is_on_the_page() -> None:
    page = page_of(CLUSTER, MACHINE, CA, LOOSE)
    assert not [text for text in ("c2VjcmV0", "cGFzc3dvcmQ", "tls.key", "spec-of-the-cluster") if text in page]


def test_the_page_loads_nothing() -> None:
    page = page_of(CLUSTER)
    assert not re.findall(r"<(?:link|img|iframe|script[^>]+src)[ >]", page)
    assert "default-src 'none'" in page
    assert "{{" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL), (
        "a part of the page was not filled in"
    )


def test_a_name_cannot_end_the_script_that_it_stands_in() -> None:
    page = page_of(CLUSTER, EVIL)
    assert "</script><b>" not in page
    (only,) = shown(page)["graphs"]
    assert "</script><b>" in {node["name"] for node in only["graph"]["objects"]}
