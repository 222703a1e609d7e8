"""Tests of who holds a pause and who has taken it off, as far as field managers tell."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.resource import Object
from mover.models import MANAGER
from mover.pause import PAUSED_FIELD
from mover.pause_ownership import FieldOwner, Taker, entries_of, owners_of, pausing_fields, taker_of, was_off
from tests.unit.mover_builders import annotated, make

SPEC: Any = {"f:spec": {"f:paused": {}}}
HOST: Any = {"f:metadata": {"f:annotations": {f"f:{rules.HOST_PAUSED_ANNOTATION}": {}}}}
EARLIER, LATER = "2026-01-01T10:00:00Z", "2026-01-01T10:00:07Z"


def entry(manager: str, fields: Any, time: str = EARLIER, operation: str = "Update", sub: str = "") -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "time": time, "subresource": sub, "fieldsV1": fields}


def cluster(*entries: dict[str, Any], paused: bool | None = True) -> Object:
    spec = {} if paused is None else {"paused": paused}
    return make(rules.CLUSTER, "c", metadata={"managedFields": list(entries)}, spec=spec)


def held_by(obj: Object) -> frozenset[FieldOwner]:
    return owners_of(entries_of(obj), [PAUSED_FIELD])


OURS = held_by(cluster(entry(MANAGER, SPEC)))


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        (cluster(), (PAUSED_FIELD,)),
        (cluster(paused=False), ()),
        (annotated(rules.CLUSTER, **{rules.PAUSED_ANNOTATION: ""}), (rules.PAUSED_ANNOTATION,)),
        (annotated(rules.BARE_METAL_HOST, **{rules.HOST_PAUSED_ANNOTATION: "me"}), (rules.HOST_PAUSED_ANNOTATION,)),
        (annotated(rules.IP_POOL, **{rules.PAUSED_ANNOTATION: MANAGER}), (rules.PAUSED_ANNOTATION,)),
        (annotated(rules.IP_POOL, **{rules.HOST_PAUSED_ANNOTATION: MANAGER}), ()),
    ],
)
def test_an_object_is_paused_by_the_fields_of_its_kind(obj: Object, fields: tuple[str, ...]) -> None:
    assert pausing_fields(obj) == fields


def test_who_owns_a_pause_stands_in_the_field_managers() -> None:
    host = make(
        rules.BARE_METAL_HOST,
        metadata={"managedFields": [entry("me", HOST), entry("bmo", {"f:spec": {}}, sub="status")]},
    )
    assert owners_of(entries_of(host), [rules.HOST_PAUSED_ANNOTATION]) == {FieldOwner("me", "Update", EARLIER)}


@pytest.mark.parametrize(
    ("before", "now", "after_gap", "expected"),
    [
        (OURS, cluster(entry(MANAGER, SPEC)), False, False),
        (OURS, cluster(entry("flux", SPEC, LATER)), False, True),
        (OURS, cluster(entry(MANAGER, SPEC), entry("flux", SPEC, LATER, "Apply")), False, False),
        (OURS, cluster(entry(MANAGER, SPEC, LATER)), True, False),
        (OURS, cluster(), True, False),
        (held_by(cluster(entry("me", SPEC))), cluster(entry("me", SPEC, LATER)), False, False),
        (held_by(cluster(entry("me", SPEC))), cluster(entry("me", SPEC, LATER)), True, True),
        (held_by(cluster(entry("me", SPEC))), cluster(entry("me", SPEC)), True, False),
        (frozenset(), cluster(entry("flux", SPEC)), True, False),
    ],
    ids=[
        "nothing happened",
        "taken by somebody else",
        "shared with somebody else",
        "we have written since",
        "field managers cleared",
        "its owner has written, and nothing was missed",
        "its owner has written while nobody watched",
        "its owner has not written while nobody watched",
        "not known who it was",
    ],
)
def test_a_pause_that_is_on_has_been_off_if_who_set_it_has_lost_it(
    before: frozenset[FieldOwner], now: Object, after_gap: bool, expected: bool
) -> None:
    assert was_off(before, now, [PAUSED_FIELD], after_gap=after_gap) is expected


@pytest.mark.parametrize(
    ("obj", "told"),
    [
        (cluster(entry("flux", SPEC, LATER, "Apply"), paused=False), f" by flux (Apply, {LATER})"),
        (
            cluster(entry(MANAGER, {"f:spec": {"f:a": {}}}), entry("kubectl", {"f:spec": {}}, LATER), paused=None),
            f" (its field managers do not tell by whom; last written by kubectl (Update, {LATER}))",
        ),
        (
            cluster(entry("manager", {"f:status": {}}, LATER, sub="status"), paused=None),
            " (its field managers do not tell by whom)",
        ),
        (
            cluster(entry("kubectl", {}, "2026-01-01T09:00:00Z"), paused=None),
            " (its field managers do not tell by whom)",
        ),
        (cluster(paused=None), " (its field managers do not tell by whom)"),
    ],
    ids=["the owner of the value", "the last writer", "a status writer", "who wrote before the pause", "no managers"],
)
def test_who_has_taken_a_pause_off_is_told_as_far_as_it_is_known(obj: Object, told: str) -> None:
    assert taker_of(obj, OURS, [PAUSED_FIELD]).told == told


@pytest.mark.parametrize(
    ("manager", "remedy"),
    [
        ("kustomize-controller", "flux suspend kustomization"),
        ("argocd-controller", "automated sync of the Argo CD Application"),
        ("somebody", "Stop whatever writes as somebody"),
    ],
)
def test_the_remedy_names_the_gitops_tool_if_it_is_known(manager: str, remedy: str) -> None:
    assert remedy in Taker(FieldOwner(manager, "Apply", ""), is_certain=True).remedy


def test_the_remedy_for_an_unknown_taker_is_the_audit_log() -> None:
    assert "audit log" in Taker().remedy
