"""Tests of making a copy's body out of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from graph import rules
from graph.resource import OwnerRef
from mover import transform
from tests.unit.mover_builders import make, typed

OWNER = OwnerRef("example.org/v1", "Widget", "w", "old")


def entry(
    manager: str = "m", operation: str = "Update", sub: str = "", *, owns: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "subresource": sub, "fieldsV1": dict(owns or {})}


def owned_fields(*uids: str) -> dict[str, Any]:
    keys: dict[str, Any] = {f'k:{{"uid":"{uid}"}}': {} for uid in uids}
    return {"f:metadata": {"f:ownerReferences": {".": {}, **keys}, "f:labels": {}}, "f:spec": {}}


def test_a_body_leaves_behind_what_a_server_assigns() -> None:
    assigned = {
        "uid": "u",
        "resourceVersion": "5",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 3,
        "selfLink": "/x",
        "managedFields": [{}],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 1,
        "generateName": "x-",
    }
    kept = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["f"]}
    body = transform.target_body(make(typed(), "x", metadata={**assigned, **kept}, spec={"n": 1}), {})
    assert body["metadata"] == {"name": "x", "namespace": "ns", **kept}
    assert body["spec"] == {"n": 1}
    assert (body["apiVersion"], body["kind"]) == ("example.org/v1", "Widget")


@pytest.mark.parametrize("has_status", [True, False])
def test_a_status_travels_in_the_body_only_of_a_type_without_the_subresource(has_status: bool) -> None:
    body = transform.target_body(make(typed(has_status=has_status), status={"ready": True}), {})
    assert ("status" in body) is not has_status


def test_a_body_has_the_owners_whose_copies_are_there_and_no_others() -> None:
    owner, late = make(rules.CLUSTER, "c"), make(rules.CLUSTER, "late")
    body = transform.target_body(make(typed(), owners=[owner, late]), {owner.uid: "new"})
    assert [(ref["name"], ref["uid"]) for ref in body["metadata"]["ownerReferences"]] == [("c", "new")]
    assert "ownerReferences" not in transform.target_body(make(typed(), owners=[late]), {})["metadata"]


def test_making_a_body_leaves_the_object_as_it_was() -> None:
    obj = make(typed(), metadata={"labels": {"a": "b"}})
    transform.target_body(obj, {})["metadata"]["labels"]["a"] = "changed"
    assert obj.body()["metadata"]["labels"] == {"a": "b"}


def test_owner_references_keep_their_order_and_what_else_they_say() -> None:
    bare = OwnerRef("v1", "ConfigMap", "b", "o2")
    full = OwnerRef("example.org/v1", "Widget", "a", "o1", controller=True, block_owner_deletion=False)
    assert transform.owner_references([bare, full], {"o1": "n1", "o2": "n2"}) == [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": "n2"},
        {
            "apiVersion": "example.org/v1",
            "kind": "Widget",
            "name": "a",
            "uid": "n1",
            "controller": True,
            "blockOwnerDeletion": False,
        },
    ]


@pytest.mark.parametrize(("observed", "restored"), [(7, 1), (8, 1), (6, None), (None, None), ("7", None)])
def test_an_observed_generation_is_the_copys_one_or_left_out(observed: object, restored: int | None) -> None:
    status = {"a": 1} if observed is None else {"a": 1, "observedGeneration": observed}
    assert transform.target_status(status, 7, 1) == {
        "a": 1,
        **({} if restored is None else {"observedGeneration": restored}),
    }


def test_a_conditions_observed_generation_is_made_true_too() -> None:
    conditions = [{"type": "A", "observedGeneration": 7}, {"type": "B", "observedGeneration": 3}, "odd"]
    assert transform.target_status({"conditions": conditions}, 7, 1) == {
        "conditions": [{"type": "A", "observedGeneration": 1}, {"type": "B"}, "odd"]
    }


def test_conditions_below_v1beta2_are_made_true_too() -> None:
    """CAPM3's v1beta1 kinds keep the conditions that a pause is read from there (see mover.pause)."""
    status = {"v1beta2": {"conditions": [{"type": "Paused", "observedGeneration": 7}]}}
    assert transform.target_status(status, 7, 1) == {
        "v1beta2": {"conditions": [{"type": "Paused", "observedGeneration": 1}]}
    }


@pytest.mark.parametrize("status", [None, "text", ["a"]])
def test_a_status_that_is_no_mapping_is_passed_on(status: object) -> None:
    assert transform.target_status(status, 1, 1) == status


def test_making_a_status_leaves_the_sources_one_as_it_was() -> None:
    status = {"observedGeneration": 7, "conditions": [{"observedGeneration": 7}]}
    transform.target_status(status, 7, 1)
    assert status == {"observedGeneration": 7, "conditions": [{"observedGeneration": 7}]}


def test_field_managers_own_owner_references_by_the_targets_uids() -> None:
    renamed = transform.managed_fields([entry(owns=owned_fields("old", "unknown"))], {"old": "new"})
    assert renamed == [entry(owns=owned_fields("new", "unknown"))]


def test_field_managers_without_owner_references_stay_as_they_are() -> None:
    entries = [
        entry(owns={"f:spec": {}}),
        entry(owns={"f:metadata": {"f:labels": {}}}),
        {"manager": "m", "fieldsV1": None},
    ]
    assert transform.managed_fields(entries, {"old": "new"}) == [*entries[:2], {"manager": "m", "fieldsV1": {}}]


def test_managers_are_the_same_if_they_own_the_same_whenever_they_wrote_and_in_any_order() -> None:
    one, other = entry("a", owns={"f:spec": {}}), entry("b", owns={"f:data": {}})
    assert transform.same_managers([one, other], [other, {**one, "time": "2026-01-01T00:00:00Z"}])


@pytest.mark.parametrize(
    "other",
    [
        entry("b", owns={"f:spec": {}}),
        entry("a", "Apply", owns={"f:spec": {}}),
        entry("a", sub="status", owns={"f:spec": {}}),
        entry("a", owns={"f:data": {}}),
        {**entry("a", owns={"f:spec": {}}), "apiVersion": "v2"},
    ],
)
def test_managers_differ_by_name_operation_subresource_version_and_fields(other: dict[str, Any]) -> None:
    assert not transform.same_managers([entry("a", owns={"f:spec": {}})], [other])


def test_one_more_manager_is_a_difference() -> None:
    assert not transform.same_managers([entry("a")], [entry("a"), entry("b")])


def test_a_copy_is_created_as_the_only_manager_that_updated_the_whole() -> None:
    assert transform.creating_manager([entry("kubectl"), entry("bmo", sub="status")], "me") == "kubectl"


@pytest.mark.parametrize("entries", [[], [entry("a"), entry("b")], [entry("a", "Apply")], [entry("")]])
def test_a_copy_is_created_as_ourselves_otherwise(entries: list[dict[str, Any]]) -> None:
    assert transform.creating_manager(entries, "me") == "me"


def test_a_status_is_written_as_its_only_manager() -> None:
    assert transform.status_manager([entry("kubectl"), entry("bmo", sub="status")], "me") == "bmo"


@pytest.mark.parametrize(
    "entries",
    [[entry("a")], [entry("a", sub="status"), entry("b", sub="status")], [entry("a", "Apply", sub="status")]],
)
def test_a_status_is_written_as_ourselves_otherwise(entries: list[dict[str, Any]]) -> None:
    assert transform.status_manager(entries, "me") == "me"
