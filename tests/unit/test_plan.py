"""Tests of the way from an inventory to a plan."""

from __future__ import annotations

import pytest

from graph import rules
from mover.errors import MoverError
from tests.unit.mover_builders import make, plan_of, typed

CLUSTER = make(rules.CLUSTER, "c")
MACHINE = make(rules.MACHINE, "m", owners=[CLUSTER])
LOOSE = make(rules.SECRET, "loose")


def test_a_plan_creates_owners_first_and_deletes_them_last() -> None:
    plan = plan_of(MACHINE, LOOSE, CLUSTER)
    assert plan.creation.sequence == (CLUSTER.uid, MACHINE.uid)
    assert plan.deletion.sequence == (MACHINE.uid, CLUSTER.uid)
    assert [obj.uid for obj in plan.selection.left] == [LOOSE.uid]


def test_a_plan_gives_each_object_by_its_uid() -> None:
    plan = plan_of(CLUSTER, MACHINE)
    assert plan.object(MACHINE.uid) == MACHINE
    with pytest.raises(KeyError):
        plan.object("nobody")


def test_a_cluster_scoped_object_is_kept_and_not_deleted() -> None:
    identity = make(typed(("example.org", "Identity"), namespaced=False, move=True), "i")
    plan = plan_of(CLUSTER, identity)
    assert plan.is_kept(identity)
    assert not plan.is_kept(CLUSTER)
    assert identity.uid in plan.creation.sequence
    assert identity.uid not in plan.deletion.sequence


def test_the_scope_of_a_plan_is_that_of_its_inventory() -> None:
    own = make(rules.CLUSTER_CLASS, "class")
    assert plan_of(own, shared_classes=frozenset({own.key})).is_kept(own)
    assert not plan_of(own).is_kept(own)
    elsewhere = make(rules.CLUSTER_CLASS, "class", namespace="other")
    assert plan_of(elsewhere).is_kept(elsewhere)
    assert not plan_of(elsewhere, namespace="").is_kept(elsewhere)


def test_a_plan_is_the_same_whatever_the_order_of_the_inventory() -> None:
    one, other = plan_of(CLUSTER, MACHINE, LOOSE), plan_of(LOOSE, MACHINE, CLUSTER)
    assert (one.creation, one.deletion) == (other.creation, other.deletion)
    assert dict(one.selection.decisions) == dict(other.selection.decisions)


def test_nothing_is_a_plan_too() -> None:
    assert plan_of().creation.sequence == plan_of().deletion.sequence == ()


def test_an_object_that_was_replaced_while_it_was_read_is_an_error_of_ours() -> None:
    """The command line shows only those without a traceback."""
    with pytest.raises(MoverError, match="was read with different UIDs"):
        plan_of(make(rules.SECRET, "s"), make(rules.SECRET, "s", metadata={"uid": "again"}))
