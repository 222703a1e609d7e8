"""Tests of the rules: what is named how, and which kinds a rule holds for."""

from __future__ import annotations

import pytest

from graph import rules


@pytest.mark.parametrize(
    ("name", "cluster"),
    [
        ("prod-ca", "prod"),
        ("prod-etcd", "prod"),
        ("prod-sa", "prod"),
        ("prod-proxy", "prod"),
        ("prod-kubeconfig", "prod"),
        ("prod-apiserver-etcd-client", "prod"),
        ("a-b-ca", "a-b"),
        ("prod-ca-ca", "prod-ca"),
    ],
)
def test_a_secret_name_with_a_purpose_names_its_cluster(name: str, cluster: str) -> None:
    assert rules.parse_cluster_secret_name(name) == cluster


@pytest.mark.parametrize("name", ["", "ca", "-ca", "prod", "prodca", "prod-token", "prod-ca-1", "prod-CA"])
def test_other_secret_names_name_no_cluster(name: str) -> None:
    assert rules.parse_cluster_secret_name(name) is None


@pytest.mark.parametrize("kind", [rules.CLUSTER, rules.CLUSTER_CLASS, rules.CLUSTER_RESOURCE_SET])
def test_the_three_heads_are_hierarchy_kinds(kind: rules.GroupKind) -> None:
    assert rules.is_hierarchy_kind(*kind)


@pytest.mark.parametrize("kind", [rules.MACHINE, ("example.org", "Cluster"), rules.BARE_METAL_HOST])
def test_no_other_kind_is_a_hierarchy_kind_by_itself(kind: rules.GroupKind) -> None:
    assert not rules.is_hierarchy_kind(*kind)


def test_hosts_move_with_all_below_them_and_hardware_data_by_itself() -> None:
    assert rules.METAL3_KINDS[rules.BARE_METAL_HOST] == rules.MoveFlags(move=True, move_hierarchy=True)
    assert rules.METAL3_KINDS[rules.HARDWARE_DATA] == rules.MoveFlags(move=True)


def test_what_is_not_waited_for_reports_the_condition_all_the_same() -> None:
    assert rules.METAL3_CLUSTER in rules.PAUSE_NOT_AWAITED_KINDS
    assert rules.PAUSE_NOT_AWAITED_KINDS < rules.PAUSED_CONDITION_KINDS


def test_of_the_kinds_with_a_pause_of_their_own_only_the_resource_set_reports_it() -> None:
    both = rules.OWN_PAUSE_KINDS & rules.PAUSED_CONDITION_KINDS
    assert both == {rules.CLUSTER_RESOURCE_SET}
    assert set(rules.METAL3_KINDS) >= rules.OWN_PAUSE_KINDS - {rules.CLUSTER_RESOURCE_SET}
