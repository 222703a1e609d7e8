"""Two clusters with a fleet, and one move on them with all that is measured of it."""

from __future__ import annotations

import asyncio
import compileall
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import audit, meter
from benchmarks.audit import AuditLog
from benchmarks.pauses import PauseWatch
from benchmarks.results import CLUSTERCTL, MOVER, Move, Windows
from graph.resource import ObjectKey
from graph.rules import CLUSTER
from tests.testbed import gobuild, inspect
from tests.testbed.client import AdminClient
from tests.testbed.controlplane import ControlPlane, ControlPlaneOptions
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.gobuild import Tool
from tests.testbed.management import start_management_pair
from tests.testbed.toxiproxy import Toxiproxy
from tests.testbed.versions import Versions

_REPOSITORY = Path(__file__).parent.parent
NAMESPACE = "fleet"
CLUSTERS = {100: 1, 800: 5, 3_100: 20, 10_900: 70}
"""Size -> Clusters of ten machines each; the smallest has five machines."""
LOOPBACK_MS, DISTANT_MS = 0, 10


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked of the benchmarks.

    Attributes:
        run: The name of this run: when it began.
        sizes: The sizes to measure; those of each benchmark if None.
        round_trips_ms: What is added to each round trip.
        parallel_units: How many units a rolling move works on at once; each is measured.
    """

    run: str
    sizes: tuple[int, ...] | None = None
    round_trips_ms: tuple[int, ...] = (LOOPBACK_MS, DISTANT_MS)
    parallel_units: tuple[int, ...] = (4,)

    def chosen(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Returns those sizes of a benchmark that are asked for."""
        return tuple(size for size in sizes if self.sizes is None or size in self.sizes)


@dataclass(frozen=True, slots=True)
class Bed:
    """Two clusters.

    Attributes:
        clients: The administrator's clients of source and target.
        kubeconfigs: How the tools reach source and target.
        log: The requests of the tools.
        home: A folder for the tools.
        round_trip_ms: What is added to each round trip of the tools.
    """

    clients: tuple[AdminClient, AdminClient]
    kubeconfigs: tuple[Path, Path]
    log: AuditLog
    home: Path
    round_trip_ms: int

    def turned(self) -> Bed:
        """Returns the same with source and target changed."""
        one, other = self.clients
        near, far = self.kubeconfigs
        return Bed((other, one), (far, near), self.log, self.home, self.round_trip_ms)


@asynccontextmanager
async def open_bed(round_trip_ms: int, *, collector: bool = True) -> AsyncIterator[Bed]:
    """Gives a fresh pair of clusters, without the garbage collector on request.

    Raises:
        ValueError: TESTBED=kind, whose API servers have no audit log.
    """
    directory = Path(tempfile.mkdtemp(prefix="capi-mover-bench-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        options = ControlPlaneOptions(extra_apiserver_args=audit.server_arguments(directory))
        planes = await asyncio.to_thread(start_management_pair, ("source", "target"), directory, None, options)
        for plane in planes:
            stack.callback(plane.stop)
            if not collector and isinstance(plane, ControlPlane) and plane.controller_manager is not None:
                plane.controller_manager.stop()
        urls = ["", ""]
        if round_trip_ms:
            proxy = stack.enter_context(Toxiproxy(directory))
            urls = [_delayed(proxy, plane.name, plane.server, round_trip_ms) for plane in planes]
        group = [audit.ADMINISTRATORS]
        ways = [plane.kubeconfig_for(audit.USER, group, url) for plane, url in zip(planes, urls, strict=True)]
        markers = [
            await stack.enter_async_context(AdminClient(plane.kubeconfig_for(audit.USER, group))) for plane in planes
        ]
        one, other = [await stack.enter_async_context(AdminClient(plane.kubeconfig)) for plane in planes]
        yield Bed((one, other), (ways[0], ways[1]), AuditLog(directory, markers), directory, round_trip_ms)


def _delayed(proxy: Toxiproxy, name: str, server: str, round_trip_ms: int) -> str:
    address = proxy.add(name, server)
    proxy.toxic(name, "latency", "upstream", {"latency": round_trip_ms // 2})
    proxy.toxic(name, "latency", "downstream", {"latency": round_trip_ms // 2})
    return f"https://{address}"


def fleet_spec(size: int) -> FleetSpec:
    """Returns a fleet of about `size` objects."""
    return FleetSpec(
        namespace=NAMESPACE,
        clusters=CLUSTERS[size],
        control_planes=3,
        workers=2 if size <= 100 else 7,
        spare_hosts=2,
        paused_conditions=False,
    )


async def seed(bed: Bed, size: int) -> Fleet:
    """Builds a fleet on the source and returns it."""
    return await build(bed.clients[0], fleet_spec(size))


async def check_moved(bed: Bed, objects: Collection[ObjectKey]) -> None:
    """Returns if all of the objects are on the target, and on the target only.

    Raises:
        RuntimeError: That was no move.
    """
    left, moved = [await inspect.present(client, NAMESPACE, objects) for client in bed.clients]
    if left or len(moved) < len(objects):
        raise RuntimeError(f"that was no move: of {len(objects)} objects {len(moved)} arrived, {len(left)} were left")


async def mover(scope: Scope, bed: Bed, fleet: Fleet, size: int, *flags: str) -> Move:
    """Moves a fleet by capi-mover and returns what it took."""
    source, target = map(str, bed.kubeconfigs)
    command = (mover_program(), "move", "--kubeconfig", source, "--to-kubeconfig", target, "-n", NAMESPACE, *flags)
    measured = await _measured(bed, fleet.movable, command, os.environ)
    return _move(scope, " ".join((MOVER, *flags)), size, bed.round_trip_ms, measured)


async def clusterctl(scope: Scope, bed: Bed, fleet: Fleet, size: int) -> Move:
    """Moves a fleet by the real clusterctl and returns what it took."""
    source, target = map(str, bed.kubeconfigs)
    program = str(gobuild.binary(Tool.CLUSTERCTL, Versions.from_environment()))
    command = (program, "move", "--kubeconfig", source, "--to-kubeconfig", target, "-n", NAMESPACE)
    home = {"HOME": str(bed.home), "XDG_CONFIG_HOME": str(bed.home), "CLUSTERCTL_DISABLE_VERSIONCHECK": "true"}
    seen = set(fleet.movable) - set(fleet.left_by_clusterctl)
    measured = await _measured(bed, seen, command, {**os.environ, **home})
    return _move(scope, CLUSTERCTL, size, bed.round_trip_ms, measured)


@functools.cache
def mover_program() -> str:
    """Returns the path of capi-mover's program; its modules are compiled, as by whatever installs it."""
    for package in ("graph", "mover"):
        compileall.compile_dir(_REPOSITORY / package, quiet=1)
    return str(Path(sys.executable).parent / MOVER)


@dataclass(frozen=True, slots=True)
class _Measured:
    objects: int
    cost: meter.Cost
    servers_cpu_s: float
    calls: audit.Calls
    pauses: Windows


async def _measured(
    bed: Bed, objects: Collection[ObjectKey], command: Sequence[str], environment: Mapping[str, str]
) -> _Measured:
    position, before_s = await bed.log.end(), await meter.servers_cpu_s(bed.clients)
    async with PauseWatch(NAMESPACE).watching(*bed.clients) as watch:
        cost = await meter.run(command, environment)
        servers_cpu_s = await meter.servers_cpu_s(bed.clients) - before_s
        calls = await bed.log.calls_since(position)
    windows = watch.windows()
    clusters = {key.name for key in objects if (key.group, key.kind) == CLUSTER}
    if clusters != set(windows):
        raise RuntimeError(f"of {len(clusters)} Clusters, the pauses of {len(windows)} were seen")
    await check_moved(bed, objects)
    return _Measured(len(objects), cost, servers_cpu_s, calls, Windows.of(windows.values()))


def _move(scope: Scope, tool: str, size: int, round_trip_ms: int, measured: _Measured) -> Move:
    return Move(
        run=scope.run,
        tool=tool,
        size=size,
        objects=measured.objects,
        round_trip_ms=round_trip_ms,
        wall_s=round(measured.cost.wall_s, 3),
        cpu_s=round(measured.cost.cpu_s, 3),
        servers_cpu_s=round(measured.servers_cpu_s, 3),
        peak_mib=round(measured.cost.peak_mib, 1),
        calls=measured.calls.by_verb,
        rehearsed=measured.calls.rehearsed,
        pauses=measured.pauses,
    )
