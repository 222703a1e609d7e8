"""`make demo`: a Metal3 cluster is moved between two real control planes, with the command line a user has.

Shows the plan as a tree, the move with its progress, what is on both sides afterwards, and the time it took.
KEEP=1 leaves the control planes up until Ctrl-C and says how to look around.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from graph.resource import ObjectKey
from tests.testbed.client import AdminClient
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.inspect import present
from tests.testbed.kind import ManagementCluster
from tests.testbed.management import start_management_pair
from tests.testbed.pause_reporter import PauseReporter

SPEC = FleetSpec(clusters=1, control_planes=3, workers=2, spare_hosts=2)


def main() -> int:
    """Runs the demo and returns its exit code."""
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="capi-mover-demo-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        _say("Starting two control planes (API server, etcd, garbage collector)")
        source, target = start_management_pair(("bootstrap", "management"), directory)
        stack.callback(source.stop)
        stack.callback(target.stop)
        code = asyncio.run(_demo(source, target))
        _say(f"The whole demo took {time.monotonic() - started:.0f} s")
        if code == 0 and os.environ.get("KEEP"):
            _keep(source, target)
    return code


async def _demo(source: ManagementCluster, target: ManagementCluster) -> int:
    async with AdminClient(source.kubeconfig) as client:
        fleet = await build(client, SPEC)
        total = len(fleet.movable)
        _say(f"The source has a cluster of {SPEC.machines} machines on {SPEC.hosts} hosts: {total} objects to move")
        async with PauseReporter(client):
            code = await _capi_mover("move", "--kubeconfig", source.kubeconfig, "-n", SPEC.namespace, "--dry-run")
            code = code or await _capi_mover(
                "move", "--kubeconfig", source.kubeconfig, "--to-kubeconfig", target.kubeconfig, "-n", SPEC.namespace
            )
    return code or await _check(source, target, fleet)


async def _capi_mover(*arguments: str | Path) -> int:
    """Runs the installed command as a user would, and returns its exit code."""
    command = [str(Path(sys.executable).parent / "capi-mover"), *map(str, arguments)]
    _say("$ " + shlex.join(["capi-mover", *command[1:]]))
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait()


async def _check(source: ManagementCluster, target: ManagementCluster, fleet: Fleet) -> int:
    keys = (*fleet.movable, *fleet.unrelated)
    async with AdminClient(source.kubeconfig) as one, AdminClient(target.kubeconfig) as other:
        left, arrived = await asyncio.gather(present(one, SPEC.namespace, keys), present(other, SPEC.namespace, keys))
    movable, unrelated = set(fleet.movable), set(fleet.unrelated)
    _say(f"On the target: {len(arrived & movable)} of {len(movable)} objects")
    _say(f"On the source: {len(left & movable)} of them; {len(left & unrelated)} of {len(unrelated)} unrelated ones")
    wrong = (movable - arrived) | (left & movable) | (unrelated - left)
    return _failed(wrong) if wrong else 0


def _failed(wrong: set[ObjectKey]) -> int:
    _say("These are not where they belong: " + ", ".join(map(str, sorted(wrong))))
    return 1


def _keep(source: ManagementCluster, target: ManagementCluster) -> None:
    for plane in (source, target):
        _say(f"export KUBECONFIG={plane.kubeconfig}  # {plane.name}; then: kubectl get baremetalhosts,machines -A")
    _say("Press Ctrl-C to stop both control planes")
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _say(line: str) -> None:
    sys.stdout.write(f"\n--- {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
