"""Tests of the order of the units of a rolling move."""

from __future__ import annotations

import pytest

from graph import rules
from graph.resource import Object
from graph.unit import units
from mover.choices import UnitOrder
from mover.rolling import in_order
from tests.unit.mover_builders import make, plan_of


def cluster(name: str, created: str) -> Object:
    return make(rules.CLUSTER, name, metadata={"creationTimestamp": created})


A, B, C, D = (
    cluster("a", "2026-03-01T00:00:00Z"),
    cluster("b", "2026-01-01T00:00:00Z"),
    cluster("c", "2026-02-01T00:00:00Z"),
    cluster("d", "2026-01-01T00:00:00Z"),
)
MACHINES = [make(rules.MACHINE, f"{owner.key.name}-{n}", owners=[owner]) for owner, n in ((A, 1), (B, 1), (B, 2))]
OLD_MACHINE = make(rules.MACHINE, "old", owners=[A], metadata={"creationTimestamp": "2020-01-01T00:00:00Z"})


@pytest.mark.parametrize(
    ("order", "names"),
    [(UnitOrder.NAME, "abcd"), (UnitOrder.SIZE, "cdab"), (UnitOrder.AGE, "bdca")],
)
def test_units_of_equal_rank_are_in_the_order_of_their_names(order: UnitOrder, names: str) -> None:
    plan = plan_of(A, B, C, D, *MACHINES, OLD_MACHINE)
    found = in_order(units(plan.selection), plan, order)
    assert [unit.names for unit in found] == [(name,) for name in names]


def test_the_oldest_cluster_of_a_unit_counts() -> None:
    pool = make(rules.IP_POOL, "pool", owners=[A], metadata={"labels": {rules.CLUSTER_NAME_LABEL: "b"}})
    plan = plan_of(A, B, C, pool)
    assert [unit.names for unit in in_order(units(plan.selection), plan, UnitOrder.AGE)] == [("a", "b"), ("c",)]
