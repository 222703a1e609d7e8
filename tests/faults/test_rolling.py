"""Rolling moves through faults: a unit that fails does so alone, and the same command goes on after a stop."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from graph.resource import ObjectKey
from mover.api import roll_async
from mover.events import Event, InUnit, Listener, ObjectDone, UnitEnded, UnitStarted, ignore
from mover.models import MoveOptions, Phase, RollingOptions, RollingReport, UnitFate
from mover.pause import is_paused
from tests.faults import policies
from tests.faults.scene import Objects, Scene, unversioned
from tests.faults.test_links import Links, links, patient
from tests.testbed.witness import collection_path

__all__ = ["links", "patient"]

REPOSITORY = Path(__file__).parents[2]
_TIMEOUT_S = 120.0
_DOWN_S = 3.0


@pytest.fixture
def shape() -> Mapping[str, Any]:
    """Returns the shape of three Clusters that share nothing but what spare hosts use as well."""
    return {"clusters": 3, "workers": 1, "control_planes": 1, "spare_hosts": 1, "paused_conditions": False}


async def roll(scene: Scene, listener: Listener = ignore, **rolling: Any) -> RollingReport:
    """Moves the fleet unit by unit; what the preflight would tell of the target's admission is left out."""
    options = MoveOptions(namespace=scene.namespace, quiet_s=0.1, skip=("creation",))
    return await roll_async(scene.source, scene.target, options, RollingOptions(**rolling), listener)


def fates(report: RollingReport) -> dict[str, UnitFate]:
    """Returns what became of each unit, by the number of its Cluster; "" for the rest."""
    return {"".join(unit.clusters)[-1:]: unit.fate for unit in report.units}


def of_cluster(scene: Scene, number: int) -> set[ObjectKey]:
    """Returns what is named after a Cluster of the fleet or after one of its two hosts."""
    space = scene.namespace
    names = [f"{space}-c-{number}", *(f"{space}-h-{host:04d}" for host in (2 * number - 1, 2 * number))]
    return {key for key in scene.fleet.movable if any(f"{key.name}-".startswith(f"{name}-") for name in names)}


@asynccontextmanager
async def refusing_machine_of(scene: Scene, number: int) -> AsyncIterator[None]:
    """Lets the target refuse one Machine of a Cluster."""
    target = scene.pair.on_target
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}}
    await target.create("/api/v1/namespaces", space)
    key = min(key for key in of_cluster(scene, number) if key.kind == "Machine")
    async with policies.refusing(target, scene.namespace, "cluster.x-k8s.io/machines", key.name):
        body = {**scene.before[key].body(), "status": {}}
        body["metadata"] = {"name": key.name, "namespace": key.namespace}
        path = collection_path(scene.before[key].type, key.namespace)
        await policies.until(lambda: policies.refuses(target, path, body))
        yield
    await policies.until(lambda: _is_taken(scene, path, body))


async def _is_taken(scene: Scene, path: str, body: Mapping[str, Any]) -> bool:
    return not await policies.refuses(scene.pair.on_target, path, body)


def only(objects: Objects, keys: set[ObjectKey]) -> Objects:
    return {key: obj for key, obj in objects.items() if key in keys}


async def assert_moved(scene: Scene) -> None:
    """Asserts that all has moved.

    The schema that all hosts share has on the target the owners that the first unit and the last one have brought;
    its operator makes the others its owners again (docs/decisions/0021).
    """
    await scene.assert_moved(but={scene.key("FirmwareSchema")})


async def test_a_unit_that_the_target_refuses_is_undone_alone_and_moves_when_it_is_mended(scene: Scene) -> None:
    async with refusing_machine_of(scene, 2):
        report = await roll(scene)
        assert fates(report) == {"1": UnitFate.MOVED, "2": UnitFate.ROLLED_BACK, "3": UnitFate.MOVED}
        (failed,) = report.failed
        assert "not here" in failed.error
        assert "The move was rolled back" in failed.error
        source, target = await scene.on_source(), await scene.on_target()
        left, moved = of_cluster(scene, 2), of_cluster(scene, 1) | of_cluster(scene, 3)
        assert unversioned(only(source, left)) == unversioned(only(scene.before, left))
        assert not any(map(is_paused, source.values()))
        assert not left & set(target)
        assert moved <= set(target)
        assert not moved & set(source)
        assert not any(map(is_paused, target.values()))
        assert not await scene.records()
    report = await roll(scene)
    assert fates(report) == {"2": UnitFate.MOVED, "": UnitFate.MOVED}
    await assert_moved(scene)


async def test_no_unit_is_begun_after_a_failure_if_that_is_asked_for(scene: Scene) -> None:
    async with refusing_machine_of(scene, 1):
        report = await roll(scene, parallel=1, fail_fast=True)
    assert fates(report) == {"1": UnitFate.ROLLED_BACK, "2": UnitFate.NOT_BEGUN, "3": UnitFate.NOT_BEGUN}
    await scene.assert_untouched()


async def _program(scene: Scene, *sent: str, flags: Sequence[str] = ()) -> tuple[int, str, str]:
    """Returns how `capi-mover move --rolling` ended, which may send itself a signal, and what it printed and said."""
    run = ("-m", "tests.faults.rolling_program", *sent) if sent else ("-c", "from mover.cli import app; app()")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *run, "move", "--rolling", "-n", scene.namespace, *flags),
        *("--kubeconfig", str(scene.source.kubeconfig), "--to-kubeconfig", str(scene.target.kubeconfig)),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        printed, said = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, printed.decode(), said.decode()


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.DELETING], ids=str)
async def test_units_at_work_when_the_program_was_killed_are_finished_by_the_same_command(
    scene: Scene, phase: Phase
) -> None:
    code, *_ = await _program(scene, "SIGKILL", phase.value, "1", "2")
    assert code == -9
    assert len({record.scope for record in await scene.records()}) == 2
    code, printed, said = await _program(scene)
    assert code == 0, said
    assert printed.count("it is finished first") == 2
    await assert_moved(scene)


@pytest.mark.parametrize(
    ("parallel", "ended"),
    [
        (1, "0 moved, 1 rolled-back, 0 stopped, 2 not begun"),
        (2, "1 moved, 2 rolled-back, 0 stopped, 0 not begun"),
    ],
)
async def test_a_terminated_program_undoes_the_units_at_work_and_begins_no_other(
    scene: Scene, parallel: int, ended: str
) -> None:
    flags = ("--parallel-units", str(parallel))
    code, _, said = await _program(scene, "SIGTERM", Phase.CREATING.value, "1", str(parallel), flags=flags)
    assert code == 4
    assert f"Stopped by a signal. Units: {ended}. Give the same command again to go on" in said
    source, target = await scene.on_source(), await scene.on_target()
    left = of_cluster(scene, 2) | of_cluster(scene, 3)
    assert unversioned(only(source, left)) == unversioned(only(scene.before, left))
    assert not left & set(target)
    assert not await scene.records()
    code, *_ = await _program(scene)
    assert code == 0
    await assert_moved(scene)


def _when_two_create(action: Callable[[], None]) -> Listener:
    """Returns a listener that acts once, when two units are at work and something of theirs was created."""
    at_work: set[str] = set()
    pending = [action]

    def listen(event: Event) -> None:
        match event:
            case UnitStarted(unit, _):
                at_work.add(unit)
            case UnitEnded(unit, _, _):
                at_work.discard(unit)
            case InUnit(_, ObjectDone(Phase.CREATING, _, _)) if len(at_work) > 1 and pending:
                pending.pop()()

    return listen


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_connection_that_is_cut_for_some_seconds_is_waited_for(links: Links, side: str) -> None:
    report = await roll(links.scene, _when_two_create(lambda: links.go_down(side, _DOWN_S)))
    assert fates(report) == dict.fromkeys(("1", "2", "3", ""), UnitFate.MOVED)
    assert report.retries > 0
    await assert_moved(links.scene)
