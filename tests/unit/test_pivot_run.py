"""A whole pivot between two small API servers, interrupted where it hurts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from mover.api import ClusterRef
from mover.discovery import NAMESPACES, SECRETS
from mover.errors import RefusedError, StoppedError, UsageError
from mover.events import Event, Listener, Noted, ObjectDone, ignore
from mover.kube import Cluster
from mover.models import MoveOptions
from mover.pivot.choices import Step
from mover.pivot.memory import NAME, new_memory, remember
from mover.pivot.models import Outcome, PivotOptions, PivotReport
from mover.pivot.run import PivotStoppedError, pivot
from mover.pivot.workloads import remembered
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import HOST, INLINE_KUBECONFIG, KUBECONFIG, Stage, lets_connect, make
from tests.unit.test_pivot_workloads import deployment

IRONIC, BMO = deployment("ironic"), deployment("baremetal-operator-controller-manager", replicas=2)
SOURCE = ClusterRef(Path("source.kubeconfig"))
OPTIONS = PivotOptions(
    move=MoveOptions(namespace=NAMESPACE, quiet_s=0, pause_timeout_s=5), stable_s=0, timeout_s=5, leave_hosts=True
)
MEMORY = make(SECRETS, NAME)


class InterruptionError(BaseException):
    """The pivot was interrupted."""


def deploys(server: FakeApiServer) -> None:
    """Lets a server report for every Deployment that what is wanted is there."""

    def report(request: Any) -> None:
        for path, body in server.bodies.items():
            if "/deployments/" in path:
                count = body["spec"]["replicas"]
                names = ("replicas", "updatedReplicas", "availableReplicas")
                body["status"] = {"observedGeneration": 99, **dict.fromkeys(names, count)}

    server.before = report


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Returns two clusters, each with Ironic and an operator; the objects are on the source."""
    stage = Stage()
    for server in (stage.source, stage.target):
        server.put(IRONIC, BMO)
        server.bodies["/readyz"] = {}
        deploys(server)

    async def connect(name: str, kubeconfig: Path | None, context: str | None, _most: int | None) -> Cluster:
        return (stage.source if kubeconfig == SOURCE.kubeconfig else stage.target).direct()

    lets_connect(monkeypatch, connect)
    return stage


def interrupt(at: str) -> Listener:
    """Returns a listener that ends the pivot at an event that says so."""

    def listen(event: Event) -> None:
        told = event.text if isinstance(event, Noted) else ""
        if isinstance(event, ObjectDone):
            told = f"{event.verb} {event.subject}"
        if told.startswith(at):
            raise InterruptionError(at)

    return listen


def outcomes(report: PivotReport) -> dict[Step, Outcome]:
    """Returns what became of each step."""
    return {found.step: found.outcome for found in report.steps}


def check_is_done(stage: Stage) -> None:
    """The objects have moved; Ironic and operator are stopped on the source and remembered; no memory is left."""
    assert stage.target.has(HOST)
    assert not stage.source.has(HOST)
    assert [remembered(stage.source.now(obj)) for obj in (IRONIC, BMO)] == [1, 2]
    assert [stage.target.now(obj).body()["spec"]["replicas"] for obj in (IRONIC, BMO)] == [1, 2]
    assert not stage.source.has(MEMORY)


async def test_a_pivot_does_all_steps_in_their_order(stage: Stage) -> None:
    report = await pivot(SOURCE, None, OPTIONS)
    assert list(outcomes(report)) == list(Step)
    check_is_done(stage)
    order = [
        entry.rpartition("/")[2]
        for entry in stage.source.writes()
        if "/deployments/" in entry or HOST.key.name == entry.rpartition("/")[2]
    ]
    assert order[0] == IRONIC.key.name
    assert order[-1] == BMO.key.name


@pytest.mark.parametrize(
    "point",
    [
        *(f"{step}: " for step in Step),
        *(f"{step}: done" for step in Step if step is not Step.START),
        f"deleted {KUBECONFIG.key}",
        f"deleted {HOST.key}",
    ],
)
async def test_a_pivot_that_was_interrupted_is_gone_on_with(stage: Stage, point: str) -> None:
    with pytest.raises(InterruptionError):
        await pivot(SOURCE, None, OPTIONS, interrupt(point))
    await pivot(SOURCE, None, OPTIONS)
    check_is_done(stage)


async def test_the_way_back_starts_what_was_stopped(stage: Stage) -> None:
    await pivot(SOURCE, None, OPTIONS)
    back = OPTIONS.model_copy(update={"back": True})
    report = await pivot(ClusterRef(Path("cluster.kubeconfig")), SOURCE, back, ignore)
    assert outcomes(report)[Step.START] is Outcome.DONE
    stage.source, stage.target = stage.target, stage.source
    check_is_done(stage)


async def test_a_pivot_of_nothing_is_refused(stage: Stage) -> None:
    await pivot(SOURCE, None, OPTIONS)
    with pytest.raises(RefusedError, match="there is nothing to move"):
        await pivot(SOURCE, ClusterRef(Path("target")), OPTIONS)


async def test_a_dry_run_writes_nothing(stage: Stage) -> None:
    report = await pivot(SOURCE, None, OPTIONS.model_copy(update={"dry_run": True}))
    assert report.problems == ()
    assert outcomes(report)[Step.MOVE] is Outcome.PLANNED
    assert stage.source.writes() + stage.target.writes() == []


async def test_a_pivot_that_goes_on_says_so_before_anything_else(stage: Stage) -> None:
    with pytest.raises(InterruptionError):
        await pivot(SOURCE, None, OPTIONS, interrupt("stop-operator: "))
    told: list[Event] = []
    await pivot(SOURCE, None, OPTIONS, told.append)
    notes = [event.text for event in told if isinstance(event, Noted)]
    assert notes[0].startswith("A pivot into the Cluster c (kube-system UID target-cluster) was interrupted")


async def test_a_pivot_between_other_clusters_is_not_gone_on_with(stage: Stage) -> None:
    with pytest.raises(InterruptionError):
        await pivot(SOURCE, None, OPTIONS, interrupt("stop-operator: "))
    stage.target.change(make(NAMESPACES, "kube-system"), metadata={"uid": "another"})
    before = stage.source.writes() + stage.target.writes()
    with pytest.raises(StoppedError, match="The target of that pivot is the cluster target-cluster, and this one is"):
        await pivot(SOURCE, None, OPTIONS)
    assert stage.source.writes() + stage.target.writes() == before


async def test_a_planted_memory_sends_no_pivot_to_another_target(stage: Stage) -> None:
    planted = new_memory(NAMESPACE, "source-cluster", "theirs", OPTIONS).model_copy(
        update={"cluster": "evil", "kubeconfig": INLINE_KUBECONFIG}
    )
    await remember(stage.source.direct(), planted, None)
    before = stage.source.writes() + stage.target.writes()
    with pytest.raises(UsageError, match='no Cluster "evil"'):
        await pivot(SOURCE, None, OPTIONS)
    assert stage.source.writes() + stage.target.writes() == before


async def test_a_kubeconfig_that_starts_a_program_is_refused_before_anything_is_changed(stage: Stage) -> None:
    text = INLINE_KUBECONFIG.replace("{client-certificate-data: Y2VydA==", "{exec: {command: touch}")
    stage.source.change(KUBECONFIG, data={"value": base64.b64encode(text.encode()).decode()})
    before = stage.source.writes() + stage.target.writes()
    with pytest.raises(UsageError, match="Secret ns/c-kubeconfig on the source cluster is not used: the user"):
        await pivot(SOURCE, None, OPTIONS)
    assert stage.source.writes() + stage.target.writes() == before


async def test_a_host_that_has_changed_on_the_target_stops_the_pivot(stage: Stage) -> None:
    with pytest.raises(InterruptionError):
        await pivot(SOURCE, None, OPTIONS, interrupt("stop-operator: "))
    del stage.target.bodies[
        next(path for path in stage.target.bodies if path.endswith(f"/baremetalhosts/{HOST.key.name}"))
    ]
    with pytest.raises(PivotStoppedError, match=f"does not have: {HOST.key}"):
        await pivot(SOURCE, None, OPTIONS)
    assert stage.source.has(MEMORY)
