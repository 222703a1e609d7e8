"""Tests of the fields that a target's CRD would drop."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.resource import parse_object
from mover.checks.schema import check_schema, dropped
from mover.choices import RestoreStatus
from mover.discovery import CRDS
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import crd, make, plan_of

TEXT = {"type": "string"}


def known(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("value", "schema", "lost"),
    [
        ({"a": "x"}, known(a=TEXT), []),
        ({"a": "x", "b": "y"}, known(a=TEXT), ["spec.b"]),
        ({"a": {"b": 1, "c": 2}}, known(a=known(b=TEXT)), ["spec.a.c"]),
        ({"a": [{"b": 1}, {"c": 2}]}, known(a={"items": known(b=TEXT)}), ["spec.a[].c"]),
        ({"a": {"any": {"thing": 1}}}, known(a={"additionalProperties": known(thing=TEXT)}), []),
        ({"a": {"any": {"other": 1}}}, known(a={"additionalProperties": known(thing=TEXT)}), ["spec.a.any.other"]),
        ({"a": {"any": "x"}}, known(a={"additionalProperties": True}), []),
        ({"a": {"any": "x"}}, known(a={"x-kubernetes-preserve-unknown-fields": True}), []),
        ({"a": {"any": "x"}}, known(a={"type": "object"}), ["spec.a.any"]),
        ({"a": ["x"]}, known(a={"type": "array"}), []),
        (
            {"a": {"apiVersion": "v1", "metadata": {"name": "x"}, "more": 1}},
            known(a={"x-kubernetes-embedded-resource": True, "type": "object"}),
            ["spec.a.more"],
        ),
        (
            {"a": {"b": 1, "c": {"d": 1}}},
            known(a={"x-kubernetes-preserve-unknown-fields": True, "properties": {"c": known(e=TEXT)}}),
            ["spec.a.c.d"],
        ),
    ],
)
def test_what_a_schema_does_not_know_is_dropped(value: Any, schema: Any, lost: list[str]) -> None:
    body = {"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": value}
    assert sorted(set(dropped(body, known(spec=schema)))) == lost


async def told(restore_status: RestoreStatus = RestoreStatus.ALL, **schema: Any) -> list[str]:
    machines = [
        make(rules.MACHINE, name, spec={"known": 1, "new": 2}, status={"old": 1, "phase": "x"}) for name in ("a", "b")
    ]
    body = crd(rules.MACHINE).body()
    if schema:
        body["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": schema}
    server = FakeApiServer("target")
    server.put(parse_object(CRDS, body))
    cluster = make(rules.CLUSTER, "c")
    owned = [make(rules.MACHINE, m.key.name, owners=[cluster], **parts_of(m.body())) for m in machines]
    return [str(problem) for problem in await check_schema(server.direct(), plan_of(cluster, *owned), restore_status)]


def parts_of(body: dict[str, Any]) -> dict[str, Any]:
    return {"spec": body["spec"], "status": body["status"]}


async def test_each_field_is_told_once_with_the_number_of_objects_that_would_lose_it() -> None:
    told_of = await told(**known(spec=known(known={}), status=known(old={})))
    assert len(told_of) == 2
    assert "spec.new: 2 objects" in told_of[0]
    assert "(the first: Machine ns/a)" in told_of[0]
    assert "status.phase" in told_of[1]


async def test_a_status_that_is_not_restored_loses_nothing() -> None:
    (only,) = await told(RestoreStatus.NONE, **known(spec=known(known={}), status=known(old={})))
    assert "spec.new" in only


async def test_a_crd_without_a_schema_keeps_everything() -> None:
    assert await told() == []
