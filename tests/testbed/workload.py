"""The workload clusters of a fleet: one API server with the Nodes of all of its machines.

With it CAPI's controllers reach what they manage: Machines find their Nodes by provider ID. It has neither etcd
members nor static pods to look at, so that KCP reports their health as Unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.testbed.client import AdminClient
from tests.testbed.fleet import FleetSpec
from tests.testbed.fleet.plan import MachinePlan, clusters

NODES = "/api/v1/nodes"
NAMESPACE_ANNOTATION = "cluster.x-k8s.io/cluster-namespace"
_POLL_S = 0.5
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


async def create_nodes(workload: AdminClient, spec: FleetSpec) -> None:
    """Creates the healthy Nodes of all machines of a fleet."""
    machines = [machine for cluster in clusters(spec) for machine in cluster.machines()]
    await asyncio.gather(*(_create_node(workload, machine) for machine in machines))


async def until_reached(workload: AdminClient, namespace: str) -> None:
    """Returns when the Machines of a namespace have found their Nodes: CAPI's controller annotates those."""
    while True:
        if all(NAMESPACE_ANNOTATION in annotations for annotations in await _annotations(workload, namespace)):
            return
        await asyncio.sleep(_POLL_S)  # a watch would be longer than this module


async def _annotations(workload: AdminClient, namespace: str) -> list[Mapping[str, str]]:
    nodes = (await workload.list(NODES))["items"]
    mine = [node for node in nodes if node["spec"]["providerID"].startswith(f"metal3://{namespace}/")]
    return [node["metadata"].get("annotations") or {} for node in mine]


async def _create_node(workload: AdminClient, machine: MachinePlan) -> None:
    await workload.create(NODES, _node(machine))
    healthy = [{"type": "Ready", "status": "True"}, *({"type": kind, "status": "False"} for kind in _PRESSURES)]
    await workload.patch_status(f"{NODES}/{machine.name}", {"conditions": healthy})


def _node(machine: MachinePlan) -> dict[str, Any]:
    labels = {"node-role.kubernetes.io/control-plane": ""} if machine.control_plane else {}
    metadata = {"name": machine.name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"providerID": machine.provider_id}}
