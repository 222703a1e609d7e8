"""Tests of the table of what a move may be asked to do."""

from __future__ import annotations

from graph import rules
from mover.discovery import SECRETS
from mover.permissions import Permission, helpful, needed
from tests.unit.mover_builders import typed

CLUSTERS = typed(rules.CLUSTER)
HOSTS = typed(rules.BARE_METAL_HOST)
IDENTITIES = typed(("example.org", "Identity"), namespaced=False, has_status=False)


def verbs(found: tuple[Permission, ...], side: str, resource: str, namespace: str = "") -> set[str]:
    return {
        permission.verb
        for permission in found
        if (permission.side, permission.resource, permission.namespace) == (side, resource, namespace)
    }


def test_what_moves_is_read_stripped_and_deleted_on_the_source_and_never_created_there() -> None:
    found = needed([HOSTS], "ns")
    assert verbs(found, "source", HOSTS.plural, "ns") == {"get", "list", "watch", "patch", "delete"}


def test_what_moves_is_created_with_its_status_on_the_target_and_removed_by_a_rollback() -> None:
    found = needed([HOSTS], "ns", to_namespace="other")
    assert {"create", "update", "patch", "delete"} < verbs(found, "target", HOSTS.plural, "other")
    assert verbs(found, "target", f"{HOSTS.plural}/status", "other") == {"patch"}
    assert not verbs(found, "target", HOSTS.plural, "ns")


def test_a_type_without_status_subresource_needs_no_right_on_it() -> None:
    assert not [found for found in needed([IDENTITIES], "ns") if "/" in found.resource]


def test_cluster_scoped_types_need_their_rights_everywhere() -> None:
    assert verbs(needed([IDENTITIES], "ns"), "source", IDENTITIES.plural)
    assert not verbs(needed([IDENTITIES], "ns"), "source", IDENTITIES.plural, "ns")


def test_clusters_of_all_namespaces_are_listed_for_the_classes_they_use() -> None:
    assert verbs(needed([CLUSTERS], "ns"), "source", CLUSTERS.plural) == {"list"}


def test_secrets_of_the_infrastructure_providers_are_listed() -> None:
    found = needed([SECRETS], "ns", credential_namespaces=["capm3-system", "ns"])
    assert verbs(found, "source", "secrets", "capm3-system") == {"list"}


def test_the_record_and_the_lease_are_kept_on_both_sides() -> None:
    for side in ("source", "target"):
        found = needed([], "ns")
        assert verbs(found, side, "configmaps", "default") == {"create", "get", "list", "patch", "delete"}
        assert verbs(found, side, "leases", "default") == {"create", "get", "list", "watch", "update", "delete"}


def test_each_permission_is_there_once_and_the_order_is_always_the_same() -> None:
    types = [CLUSTERS, HOSTS, SECRETS]
    assert needed(types, "ns") == needed(reversed(types), "ns")
    assert len(set(needed(types, ""))) == len(needed(types, ""))


def test_what_only_helps_is_never_needed() -> None:
    assert not {*helpful([CLUSTERS], "ns")} & {*needed([CLUSTERS], "ns")}
    assert verbs(helpful([CLUSTERS], "ns"), "target", f"{CLUSTERS.plural}/finalizers", "ns") == {"update"}
