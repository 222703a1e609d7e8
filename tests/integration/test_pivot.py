"""Pivots between two real API servers; a stand-in reports what the Deployment controller would."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graph import rules
from mover.api import ClusterRef
from mover.errors import RefusedError, UsageError
from mover.events import Event, Listener, Noted, ObjectDone
from mover.kube import connect
from mover.models import MoveOptions
from mover.pivot.choices import Step
from mover.pivot.memory import NAME as MEMORY
from mover.pivot.models import Outcome, PivotOptions, PivotReport
from mover.pivot.run import pivot
from mover.pivot.workloads import DEPLOYMENTS, REPLICAS_ANNOTATION, stop
from tests.integration.deployments import Deployer, deploy, deployment
from tests.testbed.client import AdminClient
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair
from tests.testbed.providers import default_providers, ensure_namespace

BMO = "baremetal-operator-controller-manager"
IRONIC = "ironic"


@dataclass(frozen=True)
class Metal3:
    """A fleet on the source of a pair, and Ironic and an operator on both clusters."""

    pair: Pair
    fleet: Fleet
    namespace: str
    home: str

    def options(self, **more: Any) -> PivotOptions:
        """Returns the options of its pivot; other tests have left hosts in their own namespaces."""
        made = {
            "move": MoveOptions(namespace=self.namespace),
            "ironic": (f"{self.home}/{IRONIC}",),
            "operator": f"{self.home}/{BMO}",
            "leave_hosts": True,
            "stable_s": 0.2,
            "timeout_s": 20.0,
        }
        return PivotOptions(**{**made, **more})

    async def replicas(self, client: AdminClient, name: str) -> tuple[int, str | None]:
        """Returns how many replicas a Deployment has, and how many it is remembered to have had."""
        body = await client.get(deployment(self.home, name))
        return body["spec"]["replicas"], (body["metadata"].get("annotations") or {}).get(REPLICAS_ANNOTATION)

    async def all_replicas(self) -> dict[str, tuple[int, str | None]]:
        """Returns those of both Deployments on both clusters."""
        sides = {"source": self.pair.on_source, "target": self.pair.on_target}
        return {
            f"{side} {name}": await self.replicas(client, name)
            for side, client in sides.items()
            for name in (IRONIC, BMO)
        }

    async def has_memory(self, client: AdminClient) -> bool:
        """Returns whether a pivot has left its memory."""
        listed = await client.list(f"/api/v1/namespaces/{self.namespace}/secrets")
        return MEMORY in [item["metadata"]["name"] for item in listed["items"]]


@pytest.fixture
async def metal3(pair: Pair, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Metal3]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = FleetSpec(
        namespace=namespace,
        workers=0,
        control_planes=1,
        spare_hosts=1,
        paused_conditions=False,
        cluster_name=f"{namespace}-c",
        host_name=f"{namespace}-h",
    )
    fleet = await build(pair.on_source, spec)
    secret = {"data": {"value": base64.b64encode(pair.target.kubeconfig.read_bytes()).decode()}}
    await pair.on_source.patch_merge(_secret(namespace, f"{namespace}-c-1-kubeconfig"), secret)
    home = f"{namespace}-metal3"
    for client in (pair.on_source, pair.on_target):
        for provider in default_providers():
            await deploy(client, provider.namespace, "controller-manager")
        await deploy(client, home, IRONIC)
        await deploy(client, home, BMO, replicas=2)
    async with Deployer(pair.on_source), Deployer(pair.on_target):
        yield Metal3(pair, fleet, namespace, home)
    assert _kubeconfigs(tmp_path) == [], "a kubeconfig was left behind"


def _kubeconfigs(folder: Path) -> list[Path]:
    return list(folder.glob("capi-mover-*"))


def _secret(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"


async def _host_states(client: AdminClient, namespace: str) -> dict[str, str]:
    path = f"/apis/metal3.io/v1alpha1/namespaces/{namespace}/baremetalhosts"
    hosts = (await client.list(path))["items"]
    assert all(rules.HOST_PAUSED_ANNOTATION not in (host["metadata"].get("annotations") or {}) for host in hosts)
    return {host["metadata"]["name"]: host["status"]["provisioning"]["state"] for host in hosts}


def _outcomes(report: PivotReport) -> dict[Step, Outcome]:
    return {found.step: found.outcome for found in report.steps}


async def test_a_pivot_by_the_kubeconfig_secret_and_back_leaves_everything_as_it_was(metal3: Metal3) -> None:
    pair, namespace = metal3.pair, metal3.namespace
    states = await _host_states(pair.on_source, namespace)
    assert set(states.values()) == {"provisioned", "available"}

    there = await pivot(pair.source_ref, None, metal3.options())
    assert list(_outcomes(there)) == list(Step)
    assert _outcomes(there)[Step.START] is Outcome.FOUND_DONE
    assert there.move is not None
    assert await _host_states(pair.on_target, namespace) == states
    assert await _host_states(pair.on_source, namespace) == {}
    running = {"target ironic": (1, None), f"target {BMO}": (2, None)}
    stopped = {"source ironic": (0, "1"), f"source {BMO}": (0, "2")}
    assert await metal3.all_replicas() == stopped | running
    assert not await metal3.has_memory(pair.on_source)

    back = await pivot(pair.target_ref, pair.source_ref, metal3.options(back=True))
    assert _outcomes(back)[Step.START] is Outcome.DONE
    assert await _host_states(pair.on_source, namespace) == states
    assert set(metal3.fleet.movable) <= set(await pair.source_objects(namespace))
    running = {"source ironic": (1, None), f"source {BMO}": (2, None)}
    stopped = {"target ironic": (0, "1"), f"target {BMO}": (0, "2")}
    assert await metal3.all_replicas() == stopped | running


class InterruptionError(BaseException):
    """The pivot was interrupted."""


def _interrupt(at: str) -> Listener:
    """Returns a listener that ends the pivot at an event that says so."""

    def listen(event: Event) -> None:
        if isinstance(event, Noted) and event.text.startswith(at):
            raise InterruptionError(at)
        if isinstance(event, ObjectDone) and f"{event.verb} {event.subject}" == at:
            raise InterruptionError(at)

    return listen


async def test_a_pivot_that_is_interrupted_in_every_step_ends_well(metal3: Metal3) -> None:
    pair, namespace = metal3.pair, metal3.namespace
    states = await _host_states(pair.on_source, namespace)
    points = [f"{step}: " for step in Step]
    points.insert(points.index("start: "), "stop-ironic: done")
    points.insert(points.index("stop-operator: "), f"deleted Secret {namespace}/{namespace}-c-1-kubeconfig")
    points.insert(points.index("verify: "), "stop-operator: done")
    for point in [*points, "verify: done"]:
        with pytest.raises(InterruptionError, match=point):
            await pivot(pair.source_ref, None, metal3.options(), _interrupt(point))
    report = await pivot(pair.source_ref, None, metal3.options())
    found_done = {step for step, outcome in _outcomes(report).items() if outcome is Outcome.FOUND_DONE}
    assert found_done == {Step.STOP_IRONIC, Step.START, Step.MOVE, Step.STOP_OPERATOR}
    assert await _host_states(pair.on_target, namespace) == states
    assert set(metal3.fleet.movable) <= set(await pair.target_objects(namespace))
    replicas = await metal3.all_replicas()
    assert replicas["source ironic"] == (0, "1")
    assert replicas[f"source {BMO}"] == (0, "2")
    assert not await metal3.has_memory(pair.on_source)


async def test_a_provider_that_does_not_run_is_refused_and_nothing_is_changed(metal3: Metal3) -> None:
    pair = metal3.pair
    await pair.on_target.delete(deployment("capm3-system", "controller-manager"))
    await pair.on_target.patch_merge(deployment("metal3-ipam-system", "controller-manager"), {"spec": {"replicas": 0}})
    try:
        with pytest.raises(RefusedError) as caught:
            await pivot(pair.source_ref, None, metal3.options())
    finally:
        await deploy(pair.on_target, "capm3-system", "controller-manager")
        await pair.on_target.patch_merge(
            deployment("metal3-ipam-system", "controller-manager"), {"spec": {"replicas": 1}}
        )
    found = {(problem.check, problem.subject) for problem in caught.value.problems}
    assert found == {
        ("providers-run", "namespace capm3-system"),
        ("available", "Deployment metal3-ipam-system/controller-manager"),
    }
    assert await metal3.replicas(pair.on_source, IRONIC) == (1, None)
    assert not await metal3.has_memory(pair.on_source)


async def test_hosts_of_other_namespaces_would_lose_their_operator(metal3: Metal3) -> None:
    other = f"{metal3.namespace}-other"
    await ensure_namespace(metal3.pair.on_source, other)
    host = {"apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost", "metadata": {"name": "lonely"}, "spec": {}}
    path = f"/apis/metal3.io/v1alpha1/namespaces/{other}/baremetalhosts"
    await metal3.pair.on_source.create(path, host)
    with pytest.raises(RefusedError, match=f"namespace {other}: it has hosts"):
        await pivot(metal3.pair.source_ref, None, metal3.options(leave_hosts=False))


async def test_a_dry_run_tells_every_step_and_changes_nothing(metal3: Metal3) -> None:
    before = await metal3.all_replicas()
    objects = await metal3.pair.source_objects(metal3.namespace)
    told: list[Event] = []
    report = await pivot(metal3.pair.source_ref, None, metal3.options(dry_run=True), told.append)
    assert report.problems == ()
    assert report.move is None
    lines = {found.step: found.lines for found in report.steps}
    assert lines[Step.STOP_IRONIC] == (f"stop Deployment {metal3.home}/{IRONIC} (1 replica(s))",)
    assert lines[Step.MOVE] == (f"move {len(metal3.fleet.movable)} objects",)
    assert await metal3.all_replicas() == before
    now = await metal3.pair.source_objects(metal3.namespace)
    assert {key: obj.resource_version for key, obj in now.items()} == {
        key: obj.resource_version for key, obj in objects.items()
    }


async def test_without_a_kubeconfig_secret_the_target_must_be_given(metal3: Metal3) -> None:
    name = f"{metal3.namespace}-c-1-kubeconfig"
    await metal3.pair.on_source.delete(_secret(metal3.namespace, name))
    with pytest.raises(UsageError, match=f"no Secret {metal3.namespace}/{name}"):
        await pivot(metal3.pair.source_ref, None, metal3.options())
    with pytest.raises(UsageError, match="leads to the cluster itself"):
        await pivot(metal3.pair.source_ref, None, metal3.options(back=True))


async def test_ironic_is_not_taken_for_stopped_while_a_pod_of_it_still_terminates(metal3: Metal3) -> None:
    pair, home = metal3.pair, metal3.home
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "old", "labels": {"name": IRONIC}, "finalizers": ["example.com/linger"]},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }
    await pair.on_source.create(f"/api/v1/namespaces/{home}/pods", pod)
    path = f"/api/v1/namespaces/{home}/pods/old"
    await pair.on_source.delete(path)
    told: asyncio.Queue[Event] = asyncio.Queue()
    async with await connect("source", pair.source.kubeconfig, None) as source:
        ironic = await source.get(DEPLOYMENTS, home, IRONIC)
        stopping = asyncio.create_task(stop(source, ironic, 20, told.put_nowait))
        while "Pod" not in str(await told.get()):
            pass
        assert not stopping.done()
        await pair.on_source.patch_merge(path, {"metadata": {"finalizers": None}})
        await stopping


async def test_a_context_that_is_not_there_is_a_usage_error(pair: Pair) -> None:
    with pytest.raises(UsageError, match="no-such-context"):
        await pivot(ClusterRef(pair.source.kubeconfig, "no-such-context"), None)
