"""Tests of saved plans: what the file holds, and what counts as a change of the source."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from graph import rules
from graph.resource import Object, parse_object
from mover.api.planning import read_plan
from mover.errors import UsageError
from mover.models import MANAGER, MoveOptions
from mover.record import Identity
from mover.saved_plan import (
    SavedPlan,
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


def forged(path: tuple[str | int, ...], value: Any) -> bytes:
    """Returns a plan with another value somewhere, and a checksum that fits if such a plan can be."""
    whole = json.loads(encode(SAVED))
    place = whole["plan"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with suppress(ValidationError):
        whole["checksum"] = SavedPlan.model_validate_json(json.dumps(whole["plan"])).checksum
    return json.dumps(whole).encode()


def paths(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yields the way to each value that holds no others."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None or not value:
        yield before
        return
    for name, inner in list(inside):
        yield from paths(inner, (*before, name))


PATHS = list(paths(json.loads(encode(SAVED))["plan"]))
FREE = {"selector", "hosts", "context", "uid"}
"""Texts of which any line will do."""


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(PATHS), st.sampled_from([None, 5, 1.5, [], {}, ["x"], "a\x1b[2J", "x" * 5000, "../../x"]))
def test_a_plan_with_any_field_wrong_is_refused_whatever_its_checksum(path: tuple[str | int, ...], value: Any) -> None:
    if value == "../../x" and (path[-1] in FREE or "parts" in path):
        return
    if isinstance(value, list) and not value and path[-1] == "clusters":
        return
    assume(reduce(getitem, path, json.loads(encode(SAVED))["plan"]) != value)
    with pytest.raises(UsageError, match="capi-mover plan --save FILE") as caught:
        decode(forged(path, value), "f")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        encode(SAVED).replace(b'"version": 1,', b'"version": 1, "version": 1,'),
        encode(SAVED).replace(b'"version": 1,', b'"version": true,'),
        encode(SAVED).replace(b'"version": 1,', b'"version": 1, "more": 1,'),
        encode(SAVED).replace(b'"strict_labels": false', b'"strict_labels": "false"'),
        b"a: &a [x]\nb: [*a, *a]\n",
        b"\xff\xfe",
    ],
)
def test_a_bomb_or_a_second_meaning_in_a_plan_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"The plan f is|f is not a saved plan"):
        decode(content, "f")


@pytest.mark.parametrize("make_it", [os.mkfifo, lambda path: Path(path).symlink_to("/dev/zero"), os.mkdir])
async def test_a_plan_is_a_regular_file(tmp_path: Path, make_it: Callable[[Path], object]) -> None:
    make_it(tmp_path / "plan")
    with pytest.raises(UsageError, match=r"The plan .*plan could not be read"):
        await read_plan(tmp_path / "plan")


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
