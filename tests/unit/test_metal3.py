"""Tests of what is special about Metal3 objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graph import rules
from graph.resource import Object
from graph.rules import GroupKind
from mover import metal3
from mover.models import MANAGER
from tests.unit.mover_builders import make, typed

STATUS = {"provisioning": {"state": "provisioned"}, "poweredOn": True}
HARDWARE = {"hardware": {"cpu": {"count": 8}}}


def host(status: Any = None, **annotations: str) -> Object:
    body = {} if status is None else {"status": status}
    return make(rules.BARE_METAL_HOST, "h", metadata={"annotations": annotations}, **body)


def patched(obj: Object) -> dict[str, str]:
    patch = metal3.fence_patch(obj)
    annotations: dict[str, str] = patch["metadata"]["annotations"] if patch else {}
    return annotations


def test_only_a_bare_metal_host_is_a_host() -> None:
    assert metal3.is_host(host())
    assert not metal3.is_host(make(rules.METAL3_MACHINE))
    assert not metal3.is_host(make(("example.org", "BareMetalHost")))


def test_an_unpaused_host_gets_our_pause_and_its_status_without_the_hardware() -> None:
    annotations = patched(host({**STATUS, **HARDWARE}))
    assert annotations[rules.HOST_PAUSED_ANNOTATION] == MANAGER
    assert json.loads(annotations[rules.HOST_STATUS_ANNOTATION]) == STATUS


@pytest.mark.parametrize("value", ["", "metal3.io/capm3", "somebody"])
def test_a_pause_of_somebody_else_stays_but_the_status_is_saved(value: str) -> None:
    annotations = patched(host(STATUS, **{rules.HOST_PAUSED_ANNOTATION: value}))
    assert list(annotations) == [rules.HOST_STATUS_ANNOTATION]


@pytest.mark.parametrize("saved", [STATUS, {**STATUS, **HARDWARE}])
def test_a_host_with_a_pause_and_its_current_status_saved_is_fenced_already(saved: dict[str, Any]) -> None:
    annotations = {rules.HOST_PAUSED_ANNOTATION: "x", rules.HOST_STATUS_ANNOTATION: json.dumps(saved, indent=1)}
    assert metal3.fence_patch(host({**STATUS, **HARDWARE}, **annotations)) is None


@pytest.mark.parametrize("saved", ["", "{", "[]", '{"poweredOn": false}'])
def test_a_saved_status_that_is_old_or_broken_is_saved_anew(saved: str) -> None:
    annotations = {rules.HOST_PAUSED_ANNOTATION: "x", rules.HOST_STATUS_ANNOTATION: saved}
    assert json.loads(patched(host(STATUS, **annotations))[rules.HOST_STATUS_ANNOTATION]) == STATUS


@pytest.mark.parametrize("status", [None, {}])
def test_a_host_without_a_status_is_only_paused(status: Any) -> None:
    assert patched(host(status)) == {rules.HOST_PAUSED_ANNOTATION: MANAGER}


@pytest.mark.parametrize(
    ("kind", "annotation"),
    [
        (rules.BARE_METAL_HOST, rules.HOST_PAUSED_ANNOTATION),
        (rules.CLUSTER_CLASS, rules.PAUSED_ANNOTATION),
        (rules.METAL3_DATA_TEMPLATE, rules.PAUSED_ANNOTATION),
        (rules.IP_POOL, rules.PAUSED_ANNOTATION),
        (rules.IP_CLAIM, rules.PAUSED_ANNOTATION),
        (rules.CLUSTER, None),
        (rules.MACHINE, None),
        (rules.METAL3_MACHINE, None),
        (rules.SECRET, None),
    ],
)
def test_each_kind_is_paused_by_its_own_annotation_or_by_none(kind: GroupKind, annotation: str | None) -> None:
    assert metal3.pause_annotation(make(kind)) == annotation


@pytest.mark.parametrize(
    ("kind", "silent"),
    [
        (rules.BARE_METAL_HOST, True),
        (rules.METAL3_DATA, True),
        (rules.IP_ADDRESS, True),
        (rules.METAL3_MACHINE, False),
        (rules.CLUSTER, False),
        (rules.SECRET, False),
    ],
)
def test_metal3_kinds_without_the_paused_condition_report_no_pause(kind: GroupKind, silent: bool) -> None:
    assert metal3.reports_no_pause(make(kind)) is silent


def test_metal3s_kinds_are_known_by_group_and_kind() -> None:
    assert metal3.is_metal3(make(rules.IP_POOL))
    assert not metal3.is_metal3(make(typed()))
