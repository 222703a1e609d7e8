"""capi-mover against the real clusterctl and the floor: the same fleets on the same clusters, in turn.

    python -m benchmarks.moves [--sizes 100,800] [--round-trips-ms 0,10] [--output FILE]

For each size and round trip: a fleet is moved there by capi-mover and back by clusterctl (which does not mind what
capi-mover leaves, while capi-mover refuses what clusterctl leaves: Clusters without status). Prints a line for each run
and writes all results as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks import floor, meter
from benchmarks.pauses import PauseWatch, percentile
from mover.models import MoveOptions
from tests.testbed import gobuild
from tests.testbed.client import AdminClient
from tests.testbed.controlplane import ControlPlane
from tests.testbed.fleet import FleetSpec, build
from tests.testbed.gobuild import Tool
from tests.testbed.kind import ManagementCluster
from tests.testbed.management import start_management_pair
from tests.testbed.toxiproxy import Toxiproxy
from tests.testbed.versions import Versions

NAMESPACE = "fleet"
CLUSTERS = {100: 1, 800: 5, 3_100: 20, 10_900: 70}
"""Size -> Clusters of ten machines each; the smallest has five machines."""
FLOOR_SIZES = frozenset({100, 800, 3_100})


@dataclass(frozen=True, slots=True)
class Result:
    """One run.

    Attributes:
        tool: capi-mover, capi-mover --restore-status=none, clusterctl, or floor.
        objects: How many objects moved.
        round_trip_ms: What toxiproxy adds to each round trip.
        wall_s: How long it took, in seconds.
        cpu_s: Processor time of the tool itself, in seconds.
        servers_cpu_s: Processor time of both API servers, in seconds.
        peak_mib: Largest memory of the tool, in MiB.
        calls: Requests by verb, counted by the API servers.
        pause_p95_s: The pause of a Cluster at the 95th percentile, in seconds.
    """

    tool: str
    objects: int
    round_trip_ms: int
    wall_s: float
    cpu_s: float = 0.0
    servers_cpu_s: float = 0.0
    peak_mib: float = 0.0
    calls: Mapping[str, int] | None = None
    pause_p95_s: float = 0.0

    @property
    def calls_per_object(self) -> float:
        """Returns the requests per object."""
        return sum((self.calls or {}).values()) / self.objects


@dataclass(frozen=True, slots=True)
class Bed:
    """Two clusters, and the kubeconfigs by which the tools reach them."""

    source: ManagementCluster
    target: ManagementCluster
    clients: tuple[AdminClient, AdminClient]
    kubeconfigs: tuple[Path, Path]
    directory: Path


def fleet_spec(size: int) -> FleetSpec:
    """Returns a fleet of about `size` objects."""
    machines = (3, 2) if size <= 100 else (3, 7)
    return FleetSpec(
        namespace=NAMESPACE,
        clusters=CLUSTERS[size],
        control_planes=machines[0],
        workers=machines[1],
        spare_hosts=2,
        paused_conditions=False,
    )


async def measure(size: int, round_trip_ms: int) -> AsyncIterator[Result]:
    """Yields the results of one size and round trip."""
    async with _bed(round_trip_ms) as bed:
        count = await _seed(bed, size)
        yield await _run_mover(bed, count, round_trip_ms)
        yield await _run_clusterctl(bed, count, round_trip_ms)
    async with _bed(round_trip_ms) as bed:
        count = await _seed(bed, size)
        yield await _run_mover(bed, count, round_trip_ms, "--restore-status=none")
    if size in FLOOR_SIZES:
        async with _bed(round_trip_ms) as bed:
            await _seed(bed, size)
            writes = await floor.record(*bed.kubeconfigs, MoveOptions(namespace=NAMESPACE))
        async with _bed(round_trip_ms, collector=False) as bed:
            count = await _seed(bed, size)
            await bed.clients[1].create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            writes = tuple(write for write in writes if not write.request.path.endswith("/namespaces"))
            yield Result("floor", count, round_trip_ms, await floor.replay(writes, *bed.kubeconfigs))


async def _seed(bed: Bed, size: int) -> int:
    return len((await build(bed.clients[0], fleet_spec(size))).movable)


async def _run_mover(bed: Bed, count: int, round_trip_ms: int, *flags: str) -> Result:
    source, target = map(str, bed.kubeconfigs)
    program = str(Path(sys.executable).parent / "capi-mover")
    command = (program, "move", "--kubeconfig", source, "--to-kubeconfig", target, "-n", NAMESPACE, *flags)
    async with PauseWatch(NAMESPACE).watching(*bed.clients) as watch:
        cost = await meter.run(command, bed.clients, os.environ)
    return _result(" ".join(("capi-mover", *flags)), count, round_trip_ms, cost, watch)


async def _run_clusterctl(bed: Bed, count: int, round_trip_ms: int) -> Result:
    """Moves everything back; the other way round, so that source and target change places."""
    target, source = map(str, bed.kubeconfigs)
    program = str(gobuild.binary(Tool.CLUSTERCTL, Versions.from_environment()))
    command = (program, "move", "--kubeconfig", source, "--to-kubeconfig", target, "-n", NAMESPACE)
    home = {
        "HOME": str(bed.directory),
        "XDG_CONFIG_HOME": str(bed.directory),
        "CLUSTERCTL_DISABLE_VERSIONCHECK": "true",
    }
    async with PauseWatch(NAMESPACE).watching(*reversed(bed.clients)) as watch:
        cost = await meter.run(command, bed.clients, {**os.environ, **home})
    return _result("clusterctl", count, round_trip_ms, cost, watch)


def _result(tool: str, count: int, round_trip_ms: int, cost: meter.Cost, watch: PauseWatch) -> Result:
    return Result(
        tool=tool,
        objects=count,
        round_trip_ms=round_trip_ms,
        wall_s=round(cost.wall_s, 2),
        cpu_s=round(cost.cpu_s, 2),
        servers_cpu_s=round(cost.servers.cpu_s, 2),
        peak_mib=round(cost.peak_mib, 1),
        calls=cost.servers.calls,
        pause_p95_s=round(percentile(watch.windows(), 0.95), 2),
    )


@asynccontextmanager
async def _bed(round_trip_ms: int, *, collector: bool = True) -> AsyncIterator[Bed]:
    """Gives a fresh pair of clusters, without the garbage collector on request."""
    directory = Path(tempfile.mkdtemp(prefix="capi-mover-bench-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        planes = await asyncio.to_thread(start_management_pair, ("source", "target"), directory)
        for plane in planes:
            stack.callback(plane.stop)
            if not collector and isinstance(plane, ControlPlane) and plane.controller_manager is not None:
                plane.controller_manager.stop()
        clients = [await stack.enter_async_context(AdminClient(plane.kubeconfig)) for plane in planes]
        kubeconfigs = [plane.kubeconfig for plane in planes]
        if round_trip_ms:
            proxy = stack.enter_context(Toxiproxy(directory))
            kubeconfigs = [_delayed(proxy, plane, round_trip_ms) for plane in planes]
        yield Bed(*planes, (clients[0], clients[1]), (kubeconfigs[0], kubeconfigs[1]), directory)


def _delayed(proxy: Toxiproxy, plane: ManagementCluster, round_trip_ms: int) -> Path:
    address = proxy.add(plane.name, plane.server)
    for stream in ("upstream", "downstream"):
        proxy.toxic(plane.name, "latency", stream, {"latency": round_trip_ms // 2})
    return plane.kubeconfig_via(f"https://{address}")


def _machine() -> Mapping[str, Any]:
    return {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}


async def _measure_all(sizes: Sequence[int], round_trips_ms: Sequence[int]) -> list[Result]:
    results = []
    for size in sizes:
        for round_trip_ms in round_trips_ms:
            async for result in measure(size, round_trip_ms):
                results.append(result)
                print(_line(result), flush=True)
    return results


def _line(result: Result) -> str:
    calls = f"{result.calls_per_object:.2f} calls per object" if result.calls else ""
    return (
        f"{result.tool:35} {result.objects:6} objects {result.round_trip_ms:3} ms: {result.wall_s:7.2f} s, "
        f"cpu {result.cpu_s:6.2f} s, servers {result.servers_cpu_s:6.2f} s, {result.peak_mib:6.1f} MiB, "
        f"pause {result.pause_p95_s:6.2f} s, {calls}"
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(arguments: Sequence[str]) -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moves", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=_numbers, default=list(CLUSTERS), help="of " + ", ".join(map(str, CLUSTERS)))
    parser.add_argument("--round-trips-ms", type=_numbers, default=[0, 10])
    parser.add_argument("--output", type=Path, help="a file for the results, as JSON")
    given = parser.parse_args(arguments)
    results = asyncio.run(_measure_all(given.sizes, given.round_trips_ms))
    if given.output is not None:
        found = [{**asdict(result), "calls_per_object": round(result.calls_per_object, 2)} for result in results]
        given.output.write_bytes(orjson.dumps({"machine": _machine(), "runs": found}, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main(sys.argv[1:])
