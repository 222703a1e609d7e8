"""Tests of what a move is of, and of the names that follow from it."""

from __future__ import annotations

import pytest

from mover.record import name_of
from mover.scope import clusters_of, described, namespace_of, overlap, scope_of, shard_in, shard_scope


@pytest.mark.parametrize(
    ("scope", "namespace", "clusters", "words"),
    [
        ("", "", (), "all namespaces"),
        ("ns", "ns", (), "namespace ns"),
        ("ns/a", "ns", ("a",), "Cluster a of namespace ns"),
        ("ns/a,b", "ns", ("a", "b"), "Clusters a, b of namespace ns"),
    ],
)
def test_a_scope_says_what_it_is_of(scope: str, namespace: str, clusters: tuple[str, ...], words: str) -> None:
    assert scope_of(namespace, [*reversed(clusters), *clusters]) == scope
    assert (namespace_of(scope), clusters_of(scope), described(scope)) == (namespace, clusters, words)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("", "ns", True),
        ("", "ns/a", True),
        ("ns", "ns", True),
        ("ns", "ns/a", True),
        ("ns/a", "ns/b", True),
        ("ns", "ns2", False),
        ("ns/a", "ns2/a", False),
        (shard_scope(0, 4), "", True),
        (shard_scope(0, 4), "ns", False),
        (shard_scope(0, 4), "ns/a", False),
        (shard_scope(0, 4), shard_scope(0, 4), True),
        (shard_scope(0, 4), shard_scope(1, 4), False),
        (shard_scope(0, 4), shard_scope(1, 5), True),
        (shard_scope(1, 4), shard_scope(11, 12), True),
    ],
)
def test_moves_overlap_in_a_namespace(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is expected


def test_a_shard_is_told_as_such() -> None:
    scope = shard_scope(3, 12)
    assert shard_in(scope) == "3/12"
    assert described(scope) == "shard 3/12"
    assert [shard_in(other) for other in ("", "ns", "ns/a")] == [""] * 3


def test_every_scope_has_a_name_of_its_own_that_kubernetes_accepts() -> None:
    long = "c" * 240
    scopes = ["", "ns", "ns/a", "ns/b", "ns/a,b", "ns/a,c", "ns2/a", f"ns/{long}", f"ns/{long},a"]
    scopes += [shard_scope(1, 12), shard_scope(11, 2), "shard/1.12"]
    names = [name_of(scope) for scope in scopes]
    assert names[:4] == ["capi-mover", "capi-mover.ns", "capi-mover.ns.a", "capi-mover.ns.b"]
    assert len(set(names)) == len(names)
    # A further part of a record adds 13 characters.
    assert max(map(len, names)) < 240
    assert all(name.replace("-", "").replace(".", "").isalnum() for name in names)
