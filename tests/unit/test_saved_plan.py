"""Tests of saved plans: what the file holds, and what counts as a change of the source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from graph import rules
from graph.resource import Object, parse_object
from mover.errors import UsageError
from mover.models import MANAGER, MoveOptions
from mover.record import Identity
from mover.saved_plan import (
    changes_since,
    decode,
    encode,
    planned_options,
    require_cluster,
    saved_plan,
)
from tests.unit.mover_builders import BMC, CLUSTER, HOST, LOOSE, MACHINE, SMALL, make, plan_of

HERE = Identity(uid="here", context="here-ctx")
SAVED = saved_plan(plan_of(*SMALL, LOOSE), HERE, MoveOptions(namespace="ns"))


def with_fields(obj: Object, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Object:
    body = obj.body()
    return parse_object(obj.type, {**body, **fields, "metadata": {**body["metadata"], **(metadata or {})}})


def told(*changed: Object, without: Object | None = None) -> dict[str, str]:
    """Returns the changes that are found when the objects are as they are given."""
    now = {obj.key: obj for obj in (*SMALL, LOOSE)} | {obj.key: obj for obj in changed}
    problems = changes_since(SAVED, plan_of(*(obj for obj in now.values() if obj is not without)))
    assert all("plan --save" in problem.remedy for problem in problems)
    return {problem.subject: problem.what for problem in problems}


def test_an_unchanged_source_is_as_it_was_planned() -> None:
    assert told() == {}
    assert decode(encode(SAVED), "f") == SAVED


@pytest.mark.parametrize(
    "changed",
    [
        with_fields(MACHINE, status={"nodeRef": {"name": "other"}}),
        with_fields(MACHINE, {"resourceVersion": "2", "generation": 9, "managedFields": []}),
        with_fields(MACHINE, {"finalizers": ["another"]}),
        with_fields(HOST, {"annotations": {rules.HOST_PAUSED_ANNOTATION: MANAGER, rules.HOST_STATUS_ANNOTATION: "{}"}}),
        with_fields(HOST, {"annotations": {rules.BLOCK_MOVE_ANNOTATION: ""}}),
        with_fields(LOOSE, {"resourceVersion": "2", "uid": "another"}, data={"a": "eQ=="}),
        make(rules.CONFIG_MAP, "new"),
    ],
)
def test_what_changes_all_the_time_and_what_stays_refuses_nothing(changed: Object) -> None:
    assert told(changed) == {}


def test_what_stays_may_vanish() -> None:
    assert told(without=LOOSE) == {}


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        (with_fields(MACHINE, spec={"providerID": "y"}), "spec"),
        (with_fields(MACHINE, {"labels": {"a": "c"}}), "labels"),
        (with_fields(MACHINE, {"labels": {}}, spec={}), "labels, spec"),
        (with_fields(MACHINE, {"annotations": {"a": "b"}}), "annotations"),
        (with_fields(HOST, {"annotations": {rules.HOST_PAUSED_ANNOTATION: "an operator"}}), "annotations"),
        (with_fields(MACHINE, {"deletionTimestamp": "2026-01-01T00:00:00Z"}), "deletion"),
        (with_fields(BMC, {"resourceVersion": "2"}), "content"),
        (
            make(rules.MACHINE, "m", owners=[CLUSTER, HOST], metadata={"labels": {"a": "b"}}, spec={"providerID": "x"}),
            "owners",
        ),
    ],
)
def test_what_somebody_asked_for_is_named_when_it_changes(changed: Object, part: str) -> None:
    assert told(changed) == {str(changed.key): f"changed since the plan was saved: {part}"}


def test_what_appeared_vanished_or_was_replaced_is_named() -> None:
    new = make(rules.MACHINE, "new", owners=[CLUSTER])
    assert told(new) == {"Machine ns/new": "it has appeared since the plan was saved, and would move"}
    assert told(without=MACHINE) == {"Machine ns/m": "it has vanished since the plan was saved"}
    assert told(with_fields(MACHINE, {"uid": "another"})) == {
        "Machine ns/m": "it was deleted and created again since the plan was saved"
    }


def test_another_fate_is_named() -> None:
    labelled = with_fields(LOOSE, {"labels": {rules.MOVE_LABEL: ""}})
    assert told(labelled) == {"Secret ns/loose": "it was planned to leave, and would move now"}


def test_an_owner_that_was_replaced_is_a_change_of_what_it_owns() -> None:
    found = told(with_fields(CLUSTER, {"uid": "another"}))
    assert found["Machine ns/m"] == "it was planned to move, and would leave now"


def test_the_file_holds_nothing_of_a_secret() -> None:
    text = encode(SAVED).decode()
    assert "a2V5" not in text
    other = saved_plan(
        plan_of(*SMALL, with_fields(BMC, {"name": "x", "uid": "x"}, data={"password": "eQ=="})), HERE, MoveOptions()
    )
    assert {found.name: found.parts for found in other.objects}["x"] == {"content": "1"}
    assert {found.name: found.parts for found in SAVED.objects}["h-bmc"] == {"content": "1"}


def edited(**fields: Any) -> bytes:
    return json.dumps({**json.loads(encode(SAVED)), **fields}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "f is not a saved plan: it is not JSON"),
        (encode(SAVED)[:-100], "f is not a saved plan: it is not JSON"),
        (b"[]", "f is not a saved plan"),
        (b'{"kind": "Secret"}', "f is not a saved plan"),
        (edited(version=2), "The plan f is of version 2; this capi-mover knows 1"),
        (edited(checksum="0"), "damaged or was edited: its checksum does not fit"),
        (encode(SAVED).replace(b'"name": "m"', b'"name": "n"'), "damaged or was edited: its checksum does not fit"),
        (edited(plan={}), "is damaged: it does not hold what a plan holds"),
        (edited(plan=None), "is damaged: it does not hold what a plan holds"),
    ],
)
def test_a_damaged_foreign_or_newer_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        decode(content, "f")


def test_a_plan_of_another_cluster_is_refused() -> None:
    require_cluster(SAVED, Identity(uid="here", context="by another name"))
    with pytest.raises(UsageError, match=r"another cluster \(context here-ctx\)"):
        require_cluster(SAVED, Identity(uid="there", context="x"))


@pytest.mark.parametrize(
    "options",
    [
        MoveOptions(namespace="other"),
        MoveOptions(strict_labels=True),
        MoveOptions(leave_behind=True),
        MoveOptions(clusters=("c",)),
        MoveOptions(all_hosts=True),
    ],
)
def test_options_that_select_something_else_are_refused(options: MoveOptions) -> None:
    with pytest.raises(UsageError):
        planned_options(SAVED, options)


def test_the_plan_says_what_is_moved() -> None:
    asked = MoveOptions(strict_labels=True, clusters=("c",), hosts="rack=r1")
    saved = saved_plan(plan_of(*SMALL), HERE, asked)
    options = planned_options(saved, MoveOptions(clusters=("c",), timeout_s=5))
    assert options == asked.model_copy(update={"namespace": "ns", "timeout_s": 5, "plan_checksum": saved.checksum})
