"""A double of CAPM3 and of Metal3's IPAM as far as a move meets them.

Rules, as read in CAPM3's code and measured around moves:

- it pauses hosts only for `spec.paused` of their Cluster, and only hosts that a Metal3Machine claims: value
  `metal3.io/capm3`, together with the saved status. It returns early for a host that somebody has paused already,
  without saving its status;
- it takes off only its own value, and only where the host's cluster label fits;
- when the Metal3Cluster is gone it writes "Waiting for Metal3Cluster" into every Metal3Machine that is left;
- Metal3Machines report the condition Paused without observedGeneration.

A Metal3Machine that is being deleted is left alone: CAPM3 does nothing to it while its Cluster is paused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Any

from graph import rules
from graph.rules import GroupKind
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.doubles.controller import Controller, annotations_of
from tests.testbed.doubles.ipam import address_writes, index_writes
from tests.testbed.doubles.journal import Action, Entry, Journal
from tests.testbed.doubles.world import World, Write, has_paused_spec
from tests.testbed.pause_reporter import with_paused
from tests.testbed.witness import Body, collection_path, read

MANAGER = "manager"
WAITING = "Waiting for Metal3Cluster"
KINDS = (
    rules.CLUSTER,
    rules.METAL3_CLUSTER,
    rules.METAL3_MACHINE,
    rules.METAL3_DATA,
    rules.METAL3_DATA_TEMPLATE,
    rules.BARE_METAL_HOST,
    rules.IP_POOL,
    rules.IP_CLAIM,
    rules.IP_ADDRESS,
)
_PASSING = frozenset({404, 409})


def what_to_write(world: World, *, uses_block_move: bool = False) -> tuple[Write, ...]:
    """Returns all that CAPM3 and IPAM write into a namespace in the state it is in.

    Args:
        world: The namespace.
        uses_block_move: Whether claimed hosts carry `block-move` while they are not paused.
    """
    hosts = host_writes(world, uses_block_move=uses_block_move)
    return tuple(chain(hosts, machine_writes(world), address_writes(world), index_writes(world)))


def host_writes(world: World, *, uses_block_move: bool) -> Iterator[Write]:
    """Yields the pauses of claimed hosts that are set or taken off."""
    for name, host in world.of(rules.BARE_METAL_HOST).items():
        cluster = _claiming_cluster(world, host)
        if cluster is None:
            continue
        changes = _pause(host) if has_paused_spec(cluster) else _resume(host, cluster, blocks=uses_block_move)
        if changes:
            yield Write(rules.BARE_METAL_HOST, name, {"metadata": {"annotations": changes}})


def _claiming_cluster(world: World, host: Body) -> Body | None:
    consumer = host["spec"].get("consumerRef") or {}
    machine = world.get(rules.METAL3_MACHINE, consumer.get("name") or "")
    return world.cluster_of(machine) if machine is not None and consumer.get("kind") == "Metal3Machine" else None


def _pause(host: Body) -> dict[str, str | None]:
    if rules.HOST_PAUSED_ANNOTATION in annotations_of(host):
        return {}
    status = {name: value for name, value in (host.get("status") or {}).items() if name != "hardware"}
    return {
        rules.HOST_PAUSED_ANNOTATION: rules.CAPM3_HOST_PAUSED_VALUE,
        rules.HOST_STATUS_ANNOTATION: json.dumps(status),
        rules.BLOCK_MOVE_ANNOTATION: None,
    }


def _resume(host: Body, cluster: Body, *, blocks: bool) -> dict[str, str | None]:
    annotations = annotations_of(host)
    pause = annotations.get(rules.HOST_PAUSED_ANNOTATION)
    label = (host["metadata"].get("labels") or {}).get(rules.CLUSTER_NAME_LABEL)
    if pause == rules.CAPM3_HOST_PAUSED_VALUE and label == cluster["metadata"]["name"]:
        return {rules.HOST_PAUSED_ANNOTATION: None}
    if blocks and pause is None and rules.BLOCK_MOVE_ANNOTATION not in annotations:
        return {rules.BLOCK_MOVE_ANNOTATION: ""}
    return {}


def machine_writes(world: World) -> Iterator[Write]:
    """Yields the conditions of Metal3Machines that are not as they should be."""
    for name, machine in world.of(rules.METAL3_MACHINE).items():
        cluster = world.cluster_of(machine)
        if cluster is None:
            continue
        metal3_cluster = (rules.METAL3_CLUSTER, cluster["spec"]["infrastructureRef"]["name"])
        waits = world.get(*metal3_cluster) is None
        conditions = _conditions(machine, by_cluster=has_paused_spec(cluster), waits=waits)
        if conditions is not None:
            patch = {
                "metadata": {"resourceVersion": machine["metadata"]["resourceVersion"]},
                "status": {"conditions": conditions},
            }
            only_without = metal3_cluster if waits else None
            yield Write(rules.METAL3_MACHINE, name, patch, of_status=True, only_without=only_without)


def _conditions(machine: Body, *, by_cluster: bool, waits: bool) -> list[Any] | None:
    """Returns the conditions as they should be, None if they are so already."""
    has = (machine.get("status") or {}).get("conditions") or []
    wanted = with_paused(machine, by_cluster=by_cluster) or has
    if waits:
        wanted = [_waiting(found) if found["type"] == "Ready" else found for found in wanted]
    return None if wanted == has else wanted


def _waiting(condition: Mapping[str, Any]) -> dict[str, Any]:
    return {**condition, "status": "False", "reason": "WaitingForClusterInfrastructure", "message": WAITING}


class MachineController(Controller):
    """Reconciles what CAPM3 and IPAM reconcile in one cluster, a namespace at a time; see `Controller`.

    A `PauseReporter` can run beside it: both report the same condition by the same function.

    Args:
        client: A client of the cluster; it holds nine connections.
        journal: Where new addresses are noted.
        cluster: The cluster's name in the journal.
        latency_s: How long it waits before it reacts, in seconds.
        namespaces: The namespaces to look at; all if None.
        uses_block_move: Whether claimed hosts carry `block-move` while they are not paused.
    """

    def __init__(
        self,
        client: AdminClient,
        journal: Journal | None = None,
        *,
        cluster: str = "",
        latency_s: float = 0.05,
        namespaces: Collection[str] | None = None,
        uses_block_move: bool = False,
    ) -> None:
        super().__init__(client, KINDS, latency_s=latency_s, namespaces=namespaces)
        self._journal = journal or Journal()
        self._cluster = cluster
        self._uses_block_move = uses_block_move
        self._waiting: set[str] = set()

    def _changed(self, body: Body) -> None:
        namespace = body["metadata"]["namespace"]
        if namespace not in self._waiting:
            self._waiting.add(namespace)
            self._spawn(self._reconcile(namespace))

    async def _reconcile(self, namespace: str) -> None:
        """Brings a namespace into order, one round after the other; never before every type was listed."""
        await self._ready.wait()
        await asyncio.sleep(self.latency_s)
        async with self._locks[namespace]:
            self._waiting.discard(namespace)
            writes = what_to_write(self._world(namespace), uses_block_move=self._uses_block_move)
            await asyncio.gather(*(self._apply(namespace, write) for write in writes))

    def _world(self, namespace: str) -> World:
        return World(
            {
                kind: {name: body for (space, name), body in bodies.items() if space == namespace}
                for kind, bodies in self._objects.items()
            }
        )

    async def _apply(self, namespace: str, write: Write) -> None:
        if write.only_without and await read(self._client, self._path(namespace, *write.only_without)) is not None:
            return
        if write.new_address_for:
            subject = f"{namespace}/{write.new_address_for}"
            self._journal.add(Entry(self._cluster, subject, Action.NEW_ADDRESS, "its claim has no address"))
        try:
            self._remember(write.kind, await self._write(namespace, write))
        except AdminError as error:
            if error.status not in _PASSING:
                raise

    async def _write(self, namespace: str, write: Write) -> Body:
        if write.creates:
            path = collection_path(self._types[write.kind], namespace)
            created: Body = await self._client.create(path, write.patch, manager=MANAGER)
            return created
        patched: Body = await self._client.patch_merge(
            self._path(namespace, write.kind, write.name),
            write.patch,
            manager=MANAGER,
            subresource="status" if write.of_status else "",
        )
        return patched

    def _path(self, namespace: str, kind: GroupKind, name: str) -> str:
        return f"{collection_path(self._types[kind], namespace)}/{name}"
