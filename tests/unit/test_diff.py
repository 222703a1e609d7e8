"""Tests of comparing objects of two clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from graph import rules
from graph.resource import Object
from mover.differences import compare, content, differences, names_of, normalised, uids_in
from tests.unit.mover_builders import make, typed


def paths(source: Object, target: Object) -> list[str]:
    return [found.path for found in differences(source.key, normalised(source, {}), normalised(target, {}))]


def widget(**body: Any) -> Object:
    return make(typed(), "w", **body)


def test_what_a_server_assigns_is_not_compared() -> None:
    other = {
        "uid": "u2",
        "resourceVersion": "9",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 4,
        "selfLink": "/x",
        "generateName": "w-",
    }
    assert paths(widget(spec={"a": 1}), widget(spec={"a": 1}, metadata=other)) == []


@pytest.mark.parametrize(
    ("source", "target", "path"),
    [
        ({"spec": {"a": 1}}, {"spec": {"a": 2}}, "spec.a"),
        ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}}, "spec.b"),
        ({"spec": {"a": [1, 2]}}, {"spec": {"a": [1, 3]}}, "spec.a[1]"),
        ({"spec": {"a": [1]}}, {"spec": {"a": [1, 3]}}, "spec.a"),
        ({"status": {"a": 1}}, {}, "status"),
        ({"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"a": "2"}}}, "metadata.labels.a"),
        ({"metadata": {"annotations": {"a": "1"}}}, {}, "metadata.annotations"),
        ({"metadata": {"finalizers": ["f"]}}, {}, "metadata.finalizers"),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, {}, "metadata.deletionTimestamp"),
    ],
)
def test_a_difference_is_named_by_its_path_in_both_directions(
    source: dict[str, Any], target: dict[str, Any], path: str
) -> None:
    assert paths(widget(**source), widget(**target)) == [path]
    assert paths(widget(**target), widget(**source)) == [path]


def test_a_difference_shows_both_sides_as_json_and_shortens_what_is_long() -> None:
    (found,) = differences(
        widget().key, normalised(widget(spec={"a": {"b": "x" * 500}}), {}), normalised(widget(spec={"a": 1}), {})
    )
    assert found.subject == "Widget ns/w"
    assert found.target == "1"
    assert found.source.startswith('{"b":"xxx')
    assert (len(found.source), found.source[-1]) == (120, "…")


def test_an_empty_status_is_as_good_as_none() -> None:
    raw = {**widget().body(), "status": {}}
    assert "status" not in normalised(make(typed(), "w", status=raw["status"]), {})


def owned_by(owner: Object, **more: Any) -> Object:
    return make(typed(), "w", owners=[owner], metadata=more)


def test_owners_are_the_same_if_each_uid_leads_to_the_same_object_on_its_own_cluster() -> None:
    here, there = make(rules.CLUSTER, "c"), make(rules.CLUSTER, "c", metadata={"uid": "elsewhere"})
    source, target = normalised(owned_by(here), names_of([here])), normalised(owned_by(there), names_of([there]))
    assert source == target
    assert source["metadata"]["owners"][0]["uid"] == "is that object"


@pytest.mark.parametrize(
    "wrong",
    [make(rules.CLUSTER, "other", metadata={"uid": "u"}), make(rules.MACHINE, "c", metadata={"uid": "u"}), None],
)
def test_an_owner_whose_uid_leads_to_another_object_or_to_none_is_a_difference(wrong: Object | None) -> None:
    owner = make(rules.CLUSTER, "c", metadata={"uid": "u"})
    names = names_of([wrong] if wrong else [])
    found = differences(owner.key, normalised(owned_by(owner), names_of([owner])), normalised(owned_by(owner), names))
    assert [(one.path, one.target) for one in found] == [("metadata.owners[0].uid", '"is no such object"')]


def test_a_missing_owner_is_a_difference() -> None:
    owner = make(rules.CLUSTER, "c")
    assert paths(owned_by(owner), make(typed(), "w")) == ["metadata.owners"]


def managed(fields: dict[str, Any], **entry: str) -> Object:
    return widget(metadata={"managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": fields, **entry}]})


def test_field_managers_are_compared_by_what_they_own_and_not_by_when_they_wrote() -> None:
    assert paths(managed({"f:spec": {}}), managed({"f:spec": {}}, time="2026-01-01T00:00:00Z")) == []
    assert paths(managed({"f:spec": {}}), managed({"f:data": {}})) == [
        "metadata.managers.m Update.f:data",
        "metadata.managers.m Update.f:spec",
    ]
    assert paths(managed({}, manager="a"), managed({}, manager="b")) == [
        "metadata.managers.a Update",
        "metadata.managers.b Update",
    ]


def test_owned_owner_references_are_compared_by_the_owners_key() -> None:
    here, there = make(rules.CLUSTER, "c", metadata={"uid": "h"}), make(rules.CLUSTER, "c", metadata={"uid": "t"})

    def owning(owner: Object) -> dict[str, Any]:
        fields: dict[str, Any] = {"f:metadata": {"f:ownerReferences": {".": {}, f'k:{{"uid":"{owner.uid}"}}': {}}}}
        return normalised(managed(fields), names_of([owner]))

    assert owning(here) == owning(there)
    assert owning(here) != owning(make(rules.CLUSTER, "d"))


@pytest.mark.parametrize(("one", "other", "same"), [(5, 1, True), (4, 1, False), (4, 0, True)])
def test_observed_generations_are_compared_by_whether_they_are_the_newest(one: int, other: int, same: bool) -> None:
    def at(observed: int, generation: int) -> dict[str, Any]:
        status = {"a": 1, "observedGeneration": observed, "conditions": [{"observedGeneration": observed}, "odd"]}
        return normalised(widget(status=status, metadata={"generation": generation}), {})

    assert (at(one, 5) == at(other, 1)) is same


def secret(**body: Any) -> Object:
    return make(rules.SECRET, "s", **body)


def test_a_secrets_data_is_never_shown() -> None:
    found = differences(
        secret().key,
        normalised(secret(data={"key": "aHVzaA=="}), {}),
        normalised(secret(data={"key": "b3RoZXI="}), {}),
    )
    assert [(one.path, one.source, one.target) for one in found] == [("data.key", "(hidden)", "(hidden)")]
    (gone,) = differences(secret().key, normalised(secret(data={"key": "aHVzaA=="}), {}), normalised(secret(), {}))
    assert "aHVzaA" not in str(gone)


def test_a_secrets_data_is_not_shown_either_where_kubectl_has_noted_it() -> None:
    """`kubectl apply` keeps the whole manifest, data included, in an annotation."""
    noted = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"key":"aHVzaA=="}}'}
    found = differences(secret().key, normalised(secret(metadata={"annotations": noted}), {}), normalised(secret(), {}))
    assert found
    assert "aHVzaA" not in str(found)


def test_another_kinds_data_is_shown() -> None:
    maps = [make(rules.CONFIG_MAP, "c", data={"key": value}) for value in ("one", "two")]
    (found,) = differences(maps[0].key, normalised(maps[0], {}), normalised(maps[1], {}))
    assert (found.source, found.target) == ('"one"', '"two"')
    own = make(("example.org", "Secret"), "c", data={"key": "one"})
    (found,) = differences(own.key, normalised(own, {}), {**normalised(own, {}), "data": {"key": "two"}})
    assert found.source == '"one"'


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"finalizers": ["f"]}},
        {"metadata": {"annotations": {rules.DELETE_FOR_MOVE_ANNOTATION: ""}}},
        {"metadata": {"resourceVersion": "2", "generation": 2}},
        {"metadata": {"managedFields": [{"manager": "m"}]}},
        {"status": {"phase": "late"}},
    ],
)
def test_what_stripping_and_controllers_of_a_paused_object_change_is_no_content(change: dict[str, Any]) -> None:
    obj = make(typed(), spec={"a": 1})
    assert content(make(typed(), spec={"a": 1}, **change)) == content(obj)


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"a": 2}},
        {"data": {"a": "b"}},
        {"metadata": {"labels": {"a": ""}}},
        {"metadata": {"annotations": {"a": ""}}},
    ],
)
def test_spec_data_labels_and_annotations_are_content(change: dict[str, Any]) -> None:
    assert content(make(typed(), **{"spec": {"a": 1}, **change})) != content(make(typed(), spec={"a": 1}))


def test_two_sets_are_compared_object_by_object_with_the_owners_of_each() -> None:
    here, there = make(rules.CLUSTER, "c", metadata={"uid": "h"}), make(rules.CLUSTER, "c", metadata={"uid": "t"})
    left = [here, make(typed(), "same", owners=[here]), make(typed(), "gone"), make(typed(), "other", spec={"a": 1})]
    right = [there, make(typed(), "same", owners=[there]), make(typed(), "new"), make(typed(), "other", spec={"a": 2})]
    assert [(one.subject, one.path, one.source, one.target) for one in compare(left, right)] == [
        ("Widget ns/gone", "", "there", ""),
        ("Widget ns/new", "", "", "there"),
        ("Widget ns/other", "spec.a", "1", "2"),
    ]


def test_the_uids_that_an_object_names_are_those_of_its_owners_and_of_the_owners_in_its_managed_fields() -> None:
    owner = make(rules.CLUSTER, "c", metadata={"uid": "owner"})
    fields: Mapping[str, Any] = {"f:metadata": {"f:ownerReferences": {".": {}, 'k:{"uid":"former"}': {}}}, "f:spec": {}}
    entries = [{"manager": "m", "operation": "Update", "fieldsV1": fields}]
    obj = make(rules.MACHINE, "m", owners=[owner], metadata={"managedFields": entries})
    assert uids_in(obj) == {"owner", "former"}
