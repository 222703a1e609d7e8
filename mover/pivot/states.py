"""How hosts, machines and Clusters fared before the pivot, and whether they do so again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey
from mover.concurrency import all_of
from mover.discovery import find_type, movable_types
from mover.errors import StoppedError
from mover.events import Listener
from mover.kube import Cluster
from mover.pivot.workloads import wait_for

States = Mapping[ObjectKey, str]
"""Object -> its state; see `state_of`."""

READY = "ready"

STATEFUL = frozenset({rules.BARE_METAL_HOST, rules.MACHINE, rules.CLUSTER, rules.METAL3_MACHINE})
"""The kinds that have a state; see `state_of`."""


def state_of(obj: Object) -> str | None:
    """Returns the state that a pivot must not change, None if the object has none.

    That of a host is its provisioning state, that of a Machine and a Cluster its phase, that of a Metal3Machine that it
    is ready (metal3-dev-env verify_resources_states.yml, CAPM3 test/e2e/pivoting.go).
    """
    status = obj.body().get("status") or {}
    match obj.type.group_kind:
        case rules.BARE_METAL_HOST:
            return (status.get("provisioning") or {}).get("state") or None
        case rules.MACHINE | rules.CLUSTER:
            return status.get("phase") or None
        case rules.METAL3_MACHINE:
            return READY if _is_ready(status) else None
    return None


def _is_ready(status: Mapping[str, Any]) -> bool:
    """Returns whether a Metal3Machine is ready: by its condition, else by the fields of the older contracts."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            return bool(condition.get("status") == "True")
    return bool(status.get("ready") or (status.get("initialization") or {}).get("provisioned"))


def states_of(objects: Iterable[Object], to_namespace: str | None) -> dict[ObjectKey, str]:
    """Returns the states of the objects under the keys that they will have on the target."""
    states = {obj.key: state for obj in objects if (state := state_of(obj)) is not None}
    return {
        ObjectKey(key.group, key.kind, to_namespace or key.namespace, key.name): state for key, state in states.items()
    }


def why_changed(obj: Object, states: States) -> str | None:
    """Returns how an object's state differs from what it was, None if it does not."""
    wanted, now = states.get(obj.key), state_of(obj)
    if wanted is None or wanted == now:
        return None
    return f"it is {now or 'without a state'}, and was {wanted}"


async def read_stateful(cluster: Cluster, states: States) -> list[Object]:
    """Returns those of the objects that the cluster has, as they are now.

    Raises:
        UsageError: It has no Cluster API.
    """
    types = await movable_types(cluster)
    spaces = sorted({(key.group, key.kind, key.namespace) for key in states})
    known = [(find_type(types, (group, kind)), namespace) for group, kind, namespace in spaces]
    pages = await all_of(cluster.list(kind, namespace) for kind, namespace in known if kind is not None)
    return [obj for page in pages for obj in page.objects if obj.key in states]


async def wait_for_states(target: Cluster, states: States, timeout_s: float, listener: Listener) -> None:
    """Returns when all objects are on the target, in the state they had on the source.

    Raises:
        StoppedError: One is not there.
        NotReadyError: One is in another state when the time is over.
    """
    there = await read_stateful(target, states)
    missing = sorted(set(states) - {obj.key for obj in there})
    if missing:
        names = ", ".join(map(str, missing))
        raise StoppedError(
            f"The {target.name} cluster does not have: {names}", "Find out who deleted them; compare with a backup"
        )
    await wait_for(target, there, lambda obj: why_changed(obj, states), timeout_s, listener)
