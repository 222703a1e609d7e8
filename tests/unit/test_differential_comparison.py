"""Comparing end states, and what the departures allow of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from graph.resource import ObjectKey, parse_object
from tests.differential.comparison import MISSING, Difference, Side, State, at, compare
from tests.differential.departures import Evidence, allowed_by
from tests.differential.kinds import GADGET, ROVER
from tests.differential.tools import Outcome

A = ObjectKey(GADGET.group, "Gadget", "ns", "a")
B = ObjectKey(GADGET.group, "Gadget", "ns", "b")
CLUSTER = ObjectKey("cluster.x-k8s.io", "Cluster", "ns", "c")
CLASS = ObjectKey("cluster.x-k8s.io", "ClusterClass", "ns", "k")
TREE = {"metadata": {"name": "a"}, "spec": {"x": 1}}


def _state(name: str, uid: str, *, owner: str = "", **metadata: Any) -> State:
    references = [{"apiVersion": "v1", "kind": "Gadget", "name": "o", "uid": owner}] if owner else []
    fields: dict[str, Any] = {"f:metadata": {"f:ownerReferences": {f'k:{{"uid":"{owner}"}}': {}}}}
    managers = [{"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsV1": fields}] if owner else []
    body = {"name": name, "namespace": "ns", "uid": uid, "ownerReferences": references, "managedFields": managers}
    obj = parse_object(GADGET, {"metadata": {**body, **metadata}, "spec": {}})
    return State({obj.key: obj})


def _name(departure: object) -> str:
    return getattr(departure, "name", "none")


def test_equal_states_do_not_differ_whatever_their_uids() -> None:
    one, other = _state("a", "1", resourceVersion="5"), _state("a", "2", resourceVersion="9")
    assert compare(Side.TARGET, one.normal(), other.normal()) == []


def test_generate_name_and_a_deletion_are_compared() -> None:
    plain = _state("a", "1").normal()
    for metadata in ({"generateName": "a-"}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}):
        (found,) = compare(Side.SOURCE, plain, _state("a", "1", **metadata).normal())
        assert found.path == ("metadata", next(iter(metadata)))


def test_an_object_on_one_side_only_is_one_difference() -> None:
    (found,) = compare(Side.SOURCE, _state("a", "1").normal(), {})
    assert (found.path, found.ours) == ((), MISSING)
    assert "capi-mover nothing" in str(found)


def test_a_manager_with_the_sources_uid_is_told_from_one_with_the_copys() -> None:
    source = _state("o", "old")
    oracle = _state("a", "1", owner="old").normal(source.uids())
    ours = State({**_state("o", "new").objects, **_state("a", "2", owner="new").objects}).normal()
    found = compare(Side.TARGET, {A: oracle[A]}, {A: ours[A]})
    managers = [difference for difference in found if "managers" in difference.path]
    assert {_name(allowed_by(difference, Evidence())) for difference in managers} == {
        "field managers own the copy's owners"
    }
    dead = next(difference for difference in found if difference.path[1] == "owners")
    assert allowed_by(dead, Evidence()) is None


def test_a_path_leads_into_objects_and_lists() -> None:
    assert at({"a": [{"b": 1}]}, ("a", "0", "b")) == 1
    assert at({"a": []}, ("a", "0")) is MISSING
    assert at({"a": 1}, ("a", "b")) is MISSING


@pytest.mark.parametrize(
    ("restored", "expected"), [({"phase": "Ready"}, "status is restored"), ({"phase": "Lost"}, "none")]
)
def test_only_the_status_of_the_original_may_be_restored(restored: dict[str, str], expected: str) -> None:
    evidence = Evidence(before={A: {**TREE, "status": {"phase": "Ready"}}})
    difference = Difference(Side.TARGET, A, ("status",), MISSING, restored)
    assert _name(allowed_by(difference, evidence)) == expected


def test_a_clusters_observed_generation_may_be_gone() -> None:
    status = {"phase": "x", "observedGeneration": "the newest"}
    difference = Difference(Side.TARGET, CLUSTER, ("status",), MISSING, {"phase": "x"})
    assert allowed_by(difference, Evidence(before={CLUSTER: {"status": status}})) is not None
    elsewhere = replace(difference, key=A)
    assert allowed_by(elsewhere, Evidence(before={A: {"status": status}})) is None


def test_what_is_in_or_below_a_circle_may_move() -> None:
    below = ObjectKey(ROVER.group, "Rover", "ns", "r")
    owners = {A: frozenset({B}), B: frozenset({A}), below: frozenset({A})}
    evidence = Evidence(before=dict.fromkeys((A, B, below), TREE), owners=owners)
    for key in (A, below):
        assert _name(allowed_by(Difference(Side.TARGET, key, (), MISSING, TREE), evidence)) == "owner cycles move"
        assert _name(allowed_by(Difference(Side.SOURCE, key, (), TREE, MISSING), evidence)) == "owner cycles move"
    changed = {**TREE, "spec": {"x": 2}}
    assert allowed_by(Difference(Side.TARGET, A, (), MISSING, changed), evidence) is None
    assert allowed_by(Difference(Side.TARGET, A, (), TREE, MISSING), evidence) is None


def test_an_object_that_is_in_no_circle_must_not_move_alone() -> None:
    evidence = Evidence(before={A: TREE, B: TREE}, owners={A: frozenset({B})})
    assert allowed_by(Difference(Side.TARGET, A, (), MISSING, TREE), evidence) is None


def test_a_refusal_explains_everything_but_only_when_clusterctl_went_on() -> None:
    difference = Difference(Side.TARGET, A, (), TREE, MISSING)
    refused = Outcome(False, refused=True, checks=frozenset({"collisions"}))
    assert allowed_by(difference, Evidence(ours=refused)) is not None
    assert allowed_by(difference, Evidence(ours=refused, oracle=Outcome(False))) is None
    wrong = replace(refused, checks=frozenset({"collisions", "paused"}))
    assert allowed_by(difference, Evidence(ours=wrong)) is None


def test_only_clusterctls_pause_of_a_class_on_the_source_may_be_missing() -> None:
    paused = Difference(Side.SOURCE, CLASS, ("metadata", "annotations"), {"cluster.x-k8s.io/paused": ""}, MISSING)
    assert allowed_by(paused, Evidence()) is not None
    assert allowed_by(replace(paused, side=Side.TARGET), Evidence()) is None
    assert allowed_by(replace(paused, oracle={"other": ""}), Evidence()) is None
    assert allowed_by(replace(paused, key=CLUSTER), Evidence()) is None
