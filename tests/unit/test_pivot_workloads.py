"""Stopping and starting Deployments and DaemonSets, and telling whether they have."""

from __future__ import annotations

from typing import Any

import pytest

from graph.resource import Object
from mover.events import Event, ignore
from mover.pivot.models import PivotOptions
from mover.pivot.places import find_workloads
from mover.pivot.workloads import (
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    REPLICAS_ANNOTATION,
    STOPPED_SELECTOR,
    NotReadyError,
    pods_of,
    remembered,
    start_patch,
    stop,
    stop_patch,
    wait_for,
    why_running,
    why_unavailable,
)
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make
from tests.unit.scripted_server import failure

HOME = "baremetal-operator-system"
IRONIC_OWNER = {"apiVersion": "ironic.metal3.io/v1alpha1", "kind": "Ironic", "name": "ironic", "uid": "i"}


def deployment(name: str = "ironic", replicas: int | None = 1, namespace: str = HOME, **more: Any) -> Object:
    """Returns a Deployment whose controller has seen all, and whose replicas are all available."""
    count = 1 if replicas is None else replicas
    status = {"observedGeneration": 9, "replicas": count, "updatedReplicas": count, "availableReplicas": count}
    spec = {"selector": {"matchLabels": {"name": name}}, **({} if replicas is None else {"replicas": replicas})}
    return make(
        DEPLOYMENTS,
        name,
        namespace=namespace,
        owners=more.pop("owners", ()),
        metadata={"generation": 9, "annotations": more.pop("annotations", {})},
        spec=spec,
        status={**status, **more},
    )


def daemon_set(selector: dict[str, str] | None = None, **status: int) -> Object:
    """Returns a DaemonSet with that node selector."""
    template = {"spec": {"nodeSelector": selector} if selector else {}}
    spec = {"selector": {"matchLabels": {"name": "ironic"}}, "template": template}
    seen = {"observedGeneration": 9, **status}
    return make(DAEMON_SETS, "ironic", namespace=HOME, metadata={"generation": 9}, spec=spec, status=seen)


def pod(name: str, labels: dict[str, str], phase: str = "Running") -> Object:
    """Returns a pod."""
    return make(PODS, name, namespace=HOME, metadata={"labels": labels}, status={"phase": phase}, spec={"n": 1})


def patched(workload: Object, patch: dict[str, Any] | None) -> Object:
    """Returns the workload after a merge patch."""
    server = FakeApiServer()
    server.put(workload)
    server.change(workload, **(patch or {}))
    return server.now(workload)


@pytest.mark.parametrize(("replicas", "count"), [(3, "3"), (None, "1")])
def test_a_stopped_deployment_remembers_its_replicas(replicas: int | None, count: str) -> None:
    patch = stop_patch(deployment(replicas=replicas))
    assert patch == {"metadata": {"annotations": {REPLICAS_ANNOTATION: count}}, "spec": {"replicas": 0}}


def test_what_is_stopped_and_started_again_is_as_it_was() -> None:
    for before in (deployment(replicas=3), daemon_set({"disk": "ssd"})):
        stopped = patched(before, stop_patch(before))
        assert stop_patch(stopped) is None
        after = patched(stopped, start_patch(stopped))
        assert start_patch(after) is None
        assert after.body()["spec"] == before.body()["spec"]
        assert after.annotations == before.annotations


def test_what_somebody_else_has_stopped_is_not_started() -> None:
    assert stop_patch(deployment(replicas=0)) is None
    assert start_patch(deployment(replicas=0)) is None


def test_what_was_started_by_hand_keeps_its_replicas_and_loses_the_memory() -> None:
    patch = start_patch(deployment(replicas=2, annotations={REPLICAS_ANNOTATION: "5"}))
    assert patch == {"metadata": {"annotations": {REPLICAS_ANNOTATION: None}}}


def test_what_was_started_by_hand_is_stopped_with_the_replicas_of_now() -> None:
    stopped = patched(before := deployment(replicas=2, annotations={REPLICAS_ANNOTATION: "5"}), stop_patch(before))
    assert remembered(stopped) == 2


def test_a_daemon_set_is_stopped_by_a_selector_beside_its_own() -> None:
    before = daemon_set({"disk": "ssd"})
    selector = patched(before, stop_patch(before)).body()["spec"]["template"]["spec"]["nodeSelector"]
    assert selector == {"disk": "ssd", STOPPED_SELECTOR: "true"}


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (deployment(replicas=0), None),
        (deployment(replicas=0, replicas_left=1), None),
        (deployment(replicas=1), "1 of its pods are left"),
        (deployment(replicas=0, observedGeneration=8), "its controller has not seen yet that it is to stop"),
        (daemon_set(desiredNumberScheduled=0), None),
        (daemon_set(desiredNumberScheduled=0, numberMisscheduled=2), "2 of its pods are left"),
    ],
)
def test_a_workload_has_stopped_when_its_controller_counts_no_pod(workload: Object, why: str | None) -> None:
    assert why_running(workload) == why


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (deployment(), None),
        (deployment(replicas=None), None),
        (deployment(observedGeneration=8), "its controller has not seen its newest state yet"),
        (deployment(replicas=2, availableReplicas=1), "1 of 2 replicas are available"),
        (deployment(replicas=2, updatedReplicas=1), "2 of 2 replicas are available"),
        (deployment(replicas=0), "it is scaled to 0, and not by a pivot"),
        (deployment(replicas=0, annotations={REPLICAS_ANNOTATION: "1"}), "it is scaled to 0"),
        (
            deployment(replicas=0, annotations={REPLICAS_ANNOTATION: "x"}),
            f'it is scaled to 0, and its annotation {REPLICAS_ANNOTATION} is no count: "x"',
        ),
        (daemon_set(desiredNumberScheduled=2, numberAvailable=2, updatedNumberScheduled=2), None),
        (daemon_set(desiredNumberScheduled=2, numberAvailable=1), "1 of 2 replicas are available"),
        (daemon_set(), "no node is chosen for it"),
    ],
)
def test_a_workload_is_available_when_all_its_replicas_are(workload: Object, why: str | None) -> None:
    assert why_unavailable(workload) == why


def test_the_pods_of_a_workload_are_those_with_its_labels_that_have_not_ended() -> None:
    pods = [
        pod("mine", {"name": "ironic", "other": "x"}),
        pod("ended", {"name": "ironic"}, "Succeeded"),
        pod("foreign", {"name": "bmo"}),
    ]
    assert [found.key.name for found in pods_of(deployment(), pods)] == ["mine"]


def test_a_workload_without_match_labels_claims_no_pod() -> None:
    loose = make(DEPLOYMENTS, "ironic", spec={"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}})
    assert pods_of(loose, [pod("p", {"name": "ironic"})]) == []


async def test_the_operator_of_ironic_is_stopped_before_ironic() -> None:
    server = FakeApiServer()
    operator = deployment(
        "ironic-standalone-operator-controller-manager", namespace="ironic-standalone-operator-system"
    )
    # Owned, so that it counts whatever it is called.
    ironic = deployment("other-service", owners=[IRONIC_OWNER])
    settled = {"replicas": 0, "observedGeneration": 99}
    for obj in (operator, ironic):
        server.put(obj)
        server.change(obj, status=settled)
    cluster = server.direct()
    found = await find_workloads(cluster, PivotOptions())
    assert found.needs_ironic_operator
    for part in found.ironic_parts:
        await stop(cluster, part, 5, ignore)
    stopped = [entry.rpartition("/")[2] for entry in server.writes()]
    assert stopped == [operator.key.name, ironic.key.name]
    assert remembered(server.now(ironic)) == 1


async def test_ironic_of_its_own_needs_no_operator() -> None:
    server = FakeApiServer()
    operator = deployment(
        "ironic-standalone-operator-controller-manager", namespace="ironic-standalone-operator-system"
    )
    server.put(operator, deployment("baremetal-operator-ironic"), deployment("unrelated"))
    found = await find_workloads(server.direct(), PivotOptions())
    assert [obj.key.name for obj in found.ironic_parts] == ["baremetal-operator-ironic"]


async def test_ironic_that_was_named_and_is_not_there_is_told() -> None:
    server = FakeApiServer()
    server.put(deployment("one"))
    found = await find_workloads(server.direct(), PivotOptions(ironic=(f"{HOME}/one", f"{HOME}/two")))
    assert found.missing == (f"{HOME}/two",)


async def test_a_wait_that_takes_too_long_names_what_is_waited_for() -> None:
    server = FakeApiServer()
    slow = deployment(availableReplicas=0)
    server.put(slow)
    # The server's watches end at once, so that the state is listed again.
    server.before = lambda request: failure(410, "Expired") if "watch" in request.query else None
    told: list[Event] = []
    async with server.cluster() as cluster:
        with pytest.raises(NotReadyError, match=r"on the source cluster: Deployment .*: 0 of 1 replicas are available"):
            await wait_for(cluster, [slow], why_unavailable, 0.2, told.append)
    assert [str(event) for event in told] == [f"Noted(text='waiting for {slow.key}: 0 of 1 replicas are available')"]
