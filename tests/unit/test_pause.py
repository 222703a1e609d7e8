"""Tests of pauses: who has set one, which one we set, and when it was seen."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.resource import Object
from graph.rules import GroupKind
from mover.models import MANAGER
from mover.pause import (
    PAUSED_FIELD,
    is_paused,
    lagging,
    pause_of,
    pause_patch,
    resume_patch,
    unpaused_clusters,
    unready,
)
from tests.unit.fake_apiserver import merge
from tests.unit.mover_builders import annotated, make

CONFIRMED = {"type": "Paused", "status": "True"}


def cluster(**spec: Any) -> Object:
    return make(rules.CLUSTER, "c", spec=spec)


@pytest.mark.parametrize("value", ["", "true", "false"])
@pytest.mark.parametrize(
    ("kind", "annotation"),
    [
        (rules.CLUSTER, rules.PAUSED_ANNOTATION),
        (rules.CLUSTER_CLASS, rules.PAUSED_ANNOTATION),
        (rules.IP_POOL, rules.PAUSED_ANNOTATION),
        (rules.BARE_METAL_HOST, rules.HOST_PAUSED_ANNOTATION),
    ],
)
def test_an_annotation_pauses_whatever_its_value_and_is_left_to_its_owner(
    kind: GroupKind, annotation: str, value: str
) -> None:
    obj = annotated(kind, **{annotation: value})
    assert is_paused(obj)
    assert pause_of(obj) is None


def test_a_host_is_not_paused_by_the_annotation_of_cluster_api() -> None:
    host = annotated(rules.BARE_METAL_HOST, **{rules.PAUSED_ANNOTATION: ""})
    assert not is_paused(host)
    assert pause_of(host) is not None


def test_a_cluster_is_paused_by_its_spec() -> None:
    assert is_paused(cluster(paused=True))
    assert pause_of(cluster(paused=True)) is None
    assert not is_paused(cluster(paused=False))


@pytest.mark.parametrize("kind", [rules.MACHINE, rules.SECRET, rules.METAL3_MACHINE, rules.IP_ADDRESS])
def test_other_kinds_need_no_pause_of_their_own(kind: GroupKind) -> None:
    assert pause_of(make(kind)) is None


@pytest.mark.parametrize("spec", [{"a": 1}, {"a": 1, "paused": False}])
def test_resuming_a_cluster_leaves_the_field_as_it_was(spec: dict[str, Any]) -> None:
    obj = cluster(**spec)
    pause = pause_of(obj)
    assert pause is not None
    assert (pause.field, pause.key) == (PAUSED_FIELD, obj.key)
    paused = merge(obj.body(), pause_patch(pause))
    assert paused["spec"] == {**spec, "paused": True}
    assert merge(paused, resume_patch(pause))["spec"] == spec


@pytest.mark.parametrize("kind", [rules.CLUSTER_CLASS, rules.BARE_METAL_HOST, rules.IP_CLAIM])
def test_resuming_by_annotation_takes_off_ours_and_nothing_else(kind: GroupKind) -> None:
    obj = annotated(kind, mine="1")
    pause = pause_of(obj)
    assert pause is not None
    paused = merge(obj.body(), pause_patch(pause))
    assert paused["metadata"]["annotations"] == {"mine": "1", pause.field: MANAGER}
    assert merge(paused, resume_patch(pause))["metadata"]["annotations"] == {"mine": "1"}


def reporting(kind: GroupKind, *conditions: dict[str, Any], where: str = "", generation: int = 3) -> Object:
    status: dict[str, Any] = {"conditions": list(conditions)}
    return make(kind, metadata={"generation": generation}, status={where: status} if where else status)


@pytest.mark.parametrize("kind", [rules.SECRET, rules.MACHINE, rules.BARE_METAL_HOST, rules.METAL3_CLUSTER])
def test_a_blocked_object_is_not_ready_whatever_its_kind(kind: GroupKind) -> None:
    assert "block-move" in str(unready(annotated(kind, **{rules.BLOCK_MOVE_ANNOTATION: ""})))


@pytest.mark.parametrize("where", ["", "v1beta2"])
@pytest.mark.parametrize(
    ("condition", "ready"),
    [
        (CONFIRMED, True),
        ({**CONFIRMED, "observedGeneration": 3}, True),
        ({**CONFIRMED, "observedGeneration": 2}, False),
        ({"type": "Paused", "status": "False", "observedGeneration": 3}, False),
        ({"type": "Paused", "status": "Unknown"}, False),
    ],
)
def test_a_reporting_kind_is_ready_once_its_newest_generation_is_seen_paused(
    condition: dict[str, Any], ready: bool, where: str
) -> None:
    obj = reporting(rules.MACHINE, {"type": "Ready", "status": "False"}, condition, where=where)
    assert (unready(obj) is None) is ready


def test_a_controller_that_has_never_reported_a_pause_is_not_waited_for() -> None:
    assert unready(make(rules.MACHINE)) is None
    assert unready(reporting(rules.MACHINE, {"type": "Ready", "status": "False"})) is None


@pytest.mark.parametrize("kind", [rules.METAL3_CLUSTER, rules.BARE_METAL_HOST, rules.SECRET])
def test_kinds_whose_controllers_do_not_report_are_not_waited_for(kind: GroupKind) -> None:
    assert unready(reporting(kind, {"type": "Paused", "status": "False"})) is None


@pytest.mark.parametrize("kind", sorted(rules.PAUSED_CONDITION_KINDS - rules.PAUSE_NOT_AWAITED_KINDS))
def test_whatever_is_waited_for_is_paused_by_us_or_by_its_cluster(kind: GroupKind) -> None:
    """A ClusterResourceSet is reconciled without a Cluster: only its own annotation can make it report a pause.

    Source: cluster-api clusterresourceset_controller.go, EnsurePausedCondition with a nil Cluster.
    """
    by_their_cluster = {
        rules.MACHINE,
        rules.MACHINE_SET,
        rules.MACHINE_DEPLOYMENT,
        rules.MACHINE_POOL,
        rules.MACHINE_HEALTH_CHECK,
        rules.KUBEADM_CONFIG,
        rules.KUBEADM_CONTROL_PLANE,
        rules.METAL3_MACHINE,
    }
    obj = reporting(kind, {"type": "Paused", "status": "False"})
    assert unready(obj) is None or kind in by_their_cluster or pause_of(obj) is not None


UNPAUSED = frozenset({make(rules.CLUSTER, "c").key})


def of_cluster(kind: GroupKind, *conditions: dict[str, Any], **metadata: Any) -> Object:
    labels = {rules.CLUSTER_NAME_LABEL: "c"}
    return make(kind, metadata={"labels": labels, **metadata}, status={"conditions": list(conditions)})


@pytest.mark.parametrize("kind", [rules.MACHINE, rules.KUBEADM_CONTROL_PLANE, rules.METAL3_MACHINE])
@pytest.mark.parametrize("observed", [{}, {"observedGeneration": 3}, {"observedGeneration": 1}])
def test_an_object_lags_that_reports_a_pause_although_its_cluster_is_not_paused(
    kind: GroupKind, observed: dict[str, Any]
) -> None:
    obj = of_cluster(kind, {**CONFIRMED, **observed}, generation=3)
    assert lagging(obj, UNPAUSED) is not None
    assert lagging(obj, frozenset()) is None


def test_a_restored_condition_counts_only_after_its_controller_has_taken_it_back() -> None:
    """What a move back at once meets: its own pause changes neither the generation nor the condition of a Machine."""
    restored = of_cluster(rules.MACHINE, {**CONFIRMED, "observedGeneration": 1}, generation=1)
    assert unready(restored) is None, "by itself it looks like a confirmation"
    assert lagging(restored, UNPAUSED) is not None
    taken_back = of_cluster(rules.MACHINE, {"type": "Paused", "status": "False", "observedGeneration": 1}, generation=1)
    assert lagging(taken_back, UNPAUSED) is None


def test_an_object_that_somebody_has_paused_does_not_lag() -> None:
    """A pause by its own annotation lasts whatever its Cluster does."""
    obj = of_cluster(rules.MACHINE, CONFIRMED, annotations={rules.PAUSED_ANNOTATION: ""})
    assert lagging(obj, UNPAUSED) is None


@pytest.mark.parametrize("kind", [rules.CLUSTER, rules.CLUSTER_CLASS, rules.CLUSTER_RESOURCE_SET])
def test_kinds_that_are_paused_by_themselves_lag_whatever_the_clusters_are(kind: GroupKind) -> None:
    assert lagging(of_cluster(kind, CONFIRMED), frozenset()) is not None
    assert lagging(of_cluster(kind, CONFIRMED, annotations={rules.PAUSED_ANNOTATION: ""}), UNPAUSED) is None


def test_a_paused_cluster_does_not_lag() -> None:
    obj = make(rules.CLUSTER, "c", spec={"paused": True}, status={"conditions": [CONFIRMED]})
    assert lagging(obj, frozenset()) is None


def test_a_health_check_names_its_cluster_in_its_spec() -> None:
    check = make(rules.MACHINE_HEALTH_CHECK, spec={"clusterName": "c"}, status={"conditions": [CONFIRMED]})
    assert lagging(check, UNPAUSED) is not None


@pytest.mark.parametrize("kind", [rules.METAL3_CLUSTER, rules.BARE_METAL_HOST, rules.SECRET])
def test_kinds_that_are_not_waited_for_do_not_lag(kind: GroupKind) -> None:
    assert lagging(of_cluster(kind, CONFIRMED), UNPAUSED) is None


def test_an_object_without_the_condition_or_without_a_cluster_does_not_lag() -> None:
    assert lagging(of_cluster(rules.MACHINE), UNPAUSED) is None
    assert lagging(make(rules.MACHINE, status={"conditions": [CONFIRMED]}), UNPAUSED) is None


def test_only_clusters_that_nobody_has_paused_are_unpaused() -> None:
    free = cluster(paused=False)
    annotated_one = annotated(rules.CLUSTER, **{rules.PAUSED_ANNOTATION: ""})
    assert unpaused_clusters([free, make(rules.MACHINE), annotated_one]) == {free.key}
    assert unpaused_clusters([cluster(paused=True)]) == frozenset()
