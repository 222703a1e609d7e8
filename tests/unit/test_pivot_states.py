"""How hosts, machines and Clusters fare, and what a pivot remembers of it."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.resource import ObjectKey
from graph.rules import GroupKind
from mover.errors import StoppedError
from mover.events import ignore
from mover.pivot.states import state_of, states_of, wait_for_states, why_changed
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import crd, make

HOST = make(rules.BARE_METAL_HOST, "h", status={"provisioning": {"state": "provisioned"}})
STATES = {HOST.key: "provisioned"}


def ready(status: str) -> dict[str, Any]:
    """Returns a status with the condition Ready."""
    return {"conditions": [{"type": "Ready", "status": status}], "initialization": {"provisioned": True}}


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        (rules.BARE_METAL_HOST, {"provisioning": {"state": "available"}}, "available"),
        (rules.BARE_METAL_HOST, {"provisioning": {"state": ""}}, None),
        (rules.BARE_METAL_HOST, {}, None),
        (rules.MACHINE, {"phase": "Running"}, "Running"),
        (rules.CLUSTER, {"phase": "Provisioned"}, "Provisioned"),
        (rules.METAL3_MACHINE, ready("True"), "ready"),
        (rules.METAL3_MACHINE, ready("False"), None),
        (rules.METAL3_MACHINE, {"ready": True}, "ready"),
        (rules.METAL3_MACHINE, {"initialization": {"provisioned": True}}, "ready"),
        (rules.METAL3_MACHINE, {}, None),
        (rules.METAL3_DATA, {"ready": True}, None),
    ],
)
def test_the_state_of_an_object_is_what_metal3_waits_for(
    kind: GroupKind, status: dict[str, Any], state: str | None
) -> None:
    assert state_of(make(kind, status=status)) == state


def test_states_are_known_by_the_keys_on_the_target() -> None:
    key = HOST.key
    assert states_of([HOST], "other") == {ObjectKey(key.group, key.kind, "other", key.name): "provisioned"}


def test_a_changed_state_is_told() -> None:
    now = make(rules.BARE_METAL_HOST, "h", status={"provisioning": {"state": "inspecting"}})
    assert why_changed(HOST, STATES) is None
    assert why_changed(now, STATES) == "it is inspecting, and was provisioned"
    assert why_changed(make(rules.BARE_METAL_HOST, "new"), STATES) is None


async def test_an_object_that_is_not_on_the_target_is_told_at_once() -> None:
    target = FakeApiServer("target")
    target.put(crd(rules.BARE_METAL_HOST))
    with pytest.raises(StoppedError, match=f"target cluster does not have: {HOST.key}"):
        await wait_for_states(target.direct(), STATES, 5, ignore)


async def test_equal_states_are_not_waited_for() -> None:
    target = FakeApiServer("target")
    target.put(crd(rules.BARE_METAL_HOST), HOST)
    await wait_for_states(target.direct(), STATES, 5, ignore)
