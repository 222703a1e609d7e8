"""Tests of the page of a plan: what it holds, and what it must not hold or load."""

from __future__ import annotations

import json
import re
from typing import Any

from graph import rules
from graph.resource import Object
from mover.page import plan_page
from mover.page.plan import page_data
from mover.planning import make_plan
from tests.unit.mover_builders import inventory, make

CLUSTER = make(rules.CLUSTER, "c", spec={"n": "spec-of-the-cluster"})
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


def test_every_object_is_shown_once_with_its_fate_reason_and_places() -> None:
    objects = shown(page_of(CLUSTER, MACHINE, CA, LOOSE))["objects"]
    assert sorted(node["name"] for node in objects) == ["c", "c-ca", "loose", "m"]
    by_name = {node["name"]: node for node in objects}
    assert by_name["m"]["fate"] == "move"
    assert by_name["m"]["path"] == ["Cluster ns/c", "Machine ns/m"]
    assert by_name["m"]["created"] > by_name["c"]["created"] > 0
    assert by_name["c"]["deleted"] > by_name["m"]["deleted"] > 0
    assert (by_name["loose"]["fate"], by_name["loose"]["created"], by_name["loose"]["deleted"]) == ("leave", 0, 0)
    assert by_name["loose"]["reason"]


def test_a_dependent_is_drawn_below_and_to_the_right_of_its_owner() -> None:
    data = page_data(make_plan(inventory(CLUSTER, MACHINE, CA)))
    for owner, dependent, _ in data["edges"]:
        assert data["objects"][dependent]["y"] > data["objects"][owner]["y"]
        assert data["objects"][dependent]["x"] > data["objects"][owner]["x"]
    assert len({node["y"] for node in data["objects"]}) == len(data["objects"])
    assert [hard for _, _, hard in data["edges"]] == [False, True]


def test_nothing_of_what_an_object_holds_is_on_the_page() -> None:
    page = page_of(CLUSTER, MACHINE, CA, LOOSE)
    assert not [text for text in ("c2VjcmV0", "cGFzc3dvcmQ", "tls.key", "spec-of-the-cluster") if text in page]


def test_the_page_loads_nothing() -> None:
    page = page_of(CLUSTER)
    assert not re.findall(r"<(?:link|img|iframe|script[^>]+src)[ >]", page)
    assert "default-src 'none'" in page
    assert not re.findall(r"<!--[A-Z]+-->", page), "a part of the page was not filled in"


def test_a_name_cannot_end_the_script_that_it_stands_in() -> None:
    page = page_of(CLUSTER, EVIL)
    assert "</script><b>" not in page
    assert "</script><b>" in {node["name"] for node in shown(page)["objects"]}
