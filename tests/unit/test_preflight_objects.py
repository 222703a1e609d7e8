"""Tests of what the objects themselves say: rollouts, pauses, what they name, what is taken along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from graph import rules
from graph.resource import Object
from graph.rules import GroupKind
from graph.selection import Fate, Rule
from mover.checks.pauses import check_not_paused, tell_blocks, tell_other_pauses, who_paused
from mover.checks.progress import check_rollout
from mover.checks.referenced import check_references, find_missing
from mover.checks.scene import look
from mover.checks.ties import tell_cycles
from mover.discovery import NAMESPACES
from mover.models import MoveOptions
from mover.planning import make_plan
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, plan_of

CLUSTER = make(rules.CLUSTER, "c")


def condition(name: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": status}]}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "why"),
    [
        (rules.KUBEADM_CONTROL_PLANE, {}, condition("RollingOut"), "rolled out"),
        (rules.KUBEADM_CONTROL_PLANE, {}, condition("RollingOut", "False"), None),
        (rules.MACHINE_DEPLOYMENT, {}, {"v1beta2": condition("ScalingUp")}, "scaled up"),
        (rules.MACHINE_SET, {}, condition("Remediating"), "remediated"),
        (rules.MACHINE_DEPLOYMENT, {"replicas": 3}, {"replicas": 2}, "spec.replicas 3, status.replicas 2"),
        (rules.MACHINE_DEPLOYMENT, {"replicas": 3}, {"replicas": 3}, None),
        (rules.MACHINE_DEPLOYMENT, {"replicas": 0}, {}, None),
        (rules.MACHINE, {}, condition("OwnerRemediated", "False"), "remediated"),
        (rules.MACHINE, {}, condition("RollingOut"), None),
        (rules.METAL3_REMEDIATION, {}, {}, "remediates"),
    ],
)
def test_what_is_rolled_out_scaled_or_remediated_is_told(
    kind: GroupKind, spec: dict[str, Any], status: dict[str, Any], why: str | None
) -> None:
    found = check_rollout(plan_of(CLUSTER, make(kind, "x", owners=[CLUSTER], spec=spec, status=status)))
    assert len(found) == (why is not None)
    assert why is None or why in found[0].what


def managed(obj: Object, manager: str, fields: dict[str, Any]) -> Object:
    entry = {"manager": manager, "operation": "Update", "time": "2026-01-02T03:04:05Z", "fieldsV1": fields}
    body = obj.body()
    kept = {name: value for name, value in body.items() if name in ("spec", "status")}
    annotations = dict(obj.annotations)
    return make(obj.type, obj.key.name, metadata={"managedFields": [entry], "annotations": annotations}, **kept)


@pytest.mark.parametrize(
    "fields",
    [
        {"f:spec": {"f:paused": {}}},
        {"f:metadata": {"f:annotations": {f"f:{rules.PAUSED_ANNOTATION}": {}}}},
        {"f:metadata": {"f:annotations": {f"f:{rules.HOST_PAUSED_ANNOTATION}": {}}}},
    ],
)
def test_field_managers_tell_who_paused_and_when(fields: dict[str, Any]) -> None:
    assert who_paused(managed(CLUSTER, "kubectl-edit", fields)) == "kubectl-edit at 2026-01-02T03:04:05Z"


def test_nobody_is_named_who_did_something_else() -> None:
    assert who_paused(managed(CLUSTER, "kubectl-edit", {"f:spec": {"f:topology": {}}})) == ""


def test_a_paused_cluster_is_told_with_who_paused_it() -> None:
    paused = managed(make(rules.CLUSTER, "c", spec={"paused": True}), "argocd", {"f:spec": {"f:paused": {}}})
    (problem,) = check_not_paused(plan_of(paused))
    assert "by argocd at" in problem.what


def annotated(kind: GroupKind, **annotations: str) -> Object:
    names = {
        "paused": rules.PAUSED_ANNOTATION,
        "host": rules.HOST_PAUSED_ANNOTATION,
        "block": rules.BLOCK_MOVE_ANNOTATION,
    }
    return make(kind, "x", owners=[CLUSTER], metadata={"annotations": {names[n]: v for n, v in annotations.items()}})


@pytest.mark.parametrize(
    ("obj", "is_told"),
    [
        (annotated(rules.MACHINE, paused=""), True),
        (annotated(rules.BARE_METAL_HOST, host="me"), True),
        (annotated(rules.BARE_METAL_HOST, host=rules.CAPM3_HOST_PAUSED_VALUE), False),
        (annotated(rules.MACHINE), False),
    ],
)
def test_other_pauses_are_warnings(obj: Object, is_told: bool) -> None:
    assert [problem.is_warning for problem in tell_other_pauses(plan_of(CLUSTER, obj))] == ([True] if is_told else [])


def test_who_asks_the_move_to_wait_for_a_reason_is_a_warning() -> None:
    (problem,) = tell_blocks(plan_of(CLUSTER, annotated(rules.METAL3_MACHINE, block="")))
    assert problem.is_warning
    assert tell_blocks(plan_of(CLUSTER, annotated(rules.BARE_METAL_HOST, block=""))) == []  # that one is stale


def test_a_circle_of_owners_is_a_warning_that_names_all() -> None:
    later = make(rules.MACHINE, "two")
    one = make(rules.MACHINE, "one", owners=[CLUSTER, later])
    two = make(rules.MACHINE, "two", owners=[one])
    (problem,) = tell_cycles(plan_of(CLUSTER, one, two))
    assert problem.subject == "Machine ns/one, Machine ns/two"
    assert problem.is_warning


TEMPLATE = make(
    rules.KUBEADM_CONTROL_PLANE,
    "kcp",
    owners=[CLUSTER],
    spec={"files": [{"contentFrom": {"secret": {"name": "extra", "key": "a"}}}]},
)
EXTRA = make(rules.SECRET, "extra", data={"a": "eA=="})


async def test_a_secret_that_is_named_and_does_not_move_is_missing_on_the_target() -> None:
    plan, target = plan_of(CLUSTER, TEMPLATE, EXTRA), FakeApiServer("target")
    missing = await find_missing(target.direct(), plan)
    (problem,) = check_references(missing, plan)
    assert (problem.subject, problem.is_warning) == ("Secret ns/extra", False)
    assert "needed by KubeadmControlPlane ns/kcp" in problem.what
    target.put(EXTRA)
    assert await find_missing(target.direct(), plan) == ()


async def test_who_goes_by_the_labels_alone_is_only_warned() -> None:
    plan = make_plan(replace(plan_of(CLUSTER, TEMPLATE, EXTRA).inventory, strict_labels=True))
    (problem,) = check_references(await find_missing(FakeApiServer("target").direct(), plan), plan)
    assert problem.is_warning


async def test_what_is_nowhere_is_a_warning() -> None:
    host = make(rules.BARE_METAL_HOST, "h", spec={"bmc": {"credentialsName": "lost"}})
    plan = plan_of(host)
    (problem,) = check_references(await find_missing(FakeApiServer("target").direct(), plan), plan)
    assert (problem.subject, problem.is_warning) == ("Secret ns/lost", True)
    assert "is on neither cluster" in problem.what


async def test_what_is_named_is_copied_and_kept_on_request() -> None:
    source, target = FakeApiServer("source"), FakeApiServer("target")
    target.put(make(NAMESPACES, "ns"))
    plan = plan_of(CLUSTER, TEMPLATE, EXTRA)
    without = await look(source.direct(), target.direct(), plan, MoveOptions())
    scene = await look(source.direct(), target.direct(), plan, MoveOptions(include_referenced=True))
    assert [one.key.name for one in without.missing] == ["extra"]
    assert scene.missing == ()
    decision = scene.plan.selection.decisions[EXTRA.uid]
    assert (decision.fate, decision.rule) == (Fate.KEEP, Rule.INCLUDED)
    assert scene.plan.rules.included == {EXTRA.key}
