"""Tests of the manifests that grant what a move asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from mover.known_types import known_types
from mover.permissions import Permission, Side, helpful, needed
from mover.rbac import Move, Subject, manifests, side_manifests

JANE = Subject("jane")


def granted(found: Sequence[Mapping[str, Any]], side: Side) -> Iterator[Permission]:
    """Yields what roles grant."""
    for role in found:
        for rule in role.get("rules", ()):
            for verb in rule["verbs"]:
                for resource in rule["resources"]:
                    (group,) = rule["apiGroups"]
                    yield Permission(side, verb, group, resource, role["metadata"].get("namespace", ""))


@pytest.mark.parametrize("side", ["source", "target"])
def test_roles_grant_exactly_what_is_asked_for_and_each_is_bound(side: Side) -> None:
    asked = [*needed(known_types(), "ns", credential_namespaces=["creds"]), *helpful(known_types(), "ns")]
    found = manifests(asked, side, JANE)
    grants = list(granted(found, side))
    assert sorted(grants) == sorted({permission for permission in asked if permission.side == side})
    for role, binding in zip(found[::2], found[1::2], strict=True):
        assert binding["kind"] == f"{role['kind']}Binding"
        assert binding["metadata"] == role["metadata"]
        assert binding["roleRef"]["kind"] == role["kind"]
        assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]


def test_resources_that_the_same_verbs_are_asked_for_share_a_rule() -> None:
    asked = [Permission("source", verb, "g", name) for verb in ("list", "get") for name in ("b", "a")]
    (role, _) = manifests([*asked, Permission("source", "get", "g", "c")], "source", JANE)
    assert role["kind"] == "ClusterRole"
    assert role["rules"] == [
        {"apiGroups": ["g"], "resources": ["c"], "verbs": ["get"]},
        {"apiGroups": ["g"], "resources": ["a", "b"], "verbs": ["get", "list"]},
    ]


def test_the_namespace_of_a_role_comes_first_and_need_not_be_created_by_the_move() -> None:
    found = side_manifests(Move(known_types(), "here", "there"), "target", Subject("mover", "capi-mover"))
    assert found[0] == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "there"}}
    namespaces = {permission.verb for permission in granted(found, "target") if permission.resource == "namespaces"}
    assert namespaces == {"get"}
    assert {role["metadata"].get("namespace") for role in found[1:]} == {None, "capi-mover", "there"}
    subject = {"kind": "ServiceAccount", "name": "mover", "namespace": "capi-mover"}
    assert all(binding["subjects"] == [subject] for binding in found if "subjects" in binding)


def test_who_moves_all_namespaces_may_create_them_and_needs_no_role_for_credentials() -> None:
    move = Move(known_types(), credential_namespaces=("creds",))
    target = side_manifests(move, "target", JANE)
    assert [manifest["kind"] for manifest in target[:2]] == ["Namespace", "ClusterRole"]
    assert Permission("target", "create", "", "namespaces") in granted(target, "target")
    source = side_manifests(move, "source", JANE)
    assert {role["metadata"].get("namespace") for role in source} == {None, "capi-mover"}
