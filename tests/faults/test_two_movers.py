"""Two movers of the same objects: one is refused, takes over from a dead one, or loses its lease."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from mover.errors import Call, ConflictError, StoppedError, SupersededError
from mover.execute.lease import Lease, LeaseHeldError
from mover.execute.run import InterruptedMoveError
from mover.kube.transport import Request
from mover.models import Phase
from mover.record import name_of
from tests.faults import wire as wires
from tests.faults.conftest import excuse
from tests.faults.scene import Scene, at_object, stopped
from tests.faults.wire import Wire

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases"
_MOVER = """
import asyncio, sys
from pathlib import Path
from mover.api import ClusterRef, move_async
from mover.events import PhaseStarted
from mover.kube.transport import Transport
from mover.models import MoveOptions, Phase

reached = asyncio.Event()
allowed_s = Transport.allowed_s

def listen(event):
    if isinstance(event, PhaseStarted) and event.phase is Phase(sys.argv[4]):
        print("reached", flush=True)
        reached.set()

async def standing(link, request):
    if reached.is_set() and request.is_write and not request.is_of_lease:
        await asyncio.Event().wait()
    return await allowed_s(link, request)

Transport.allowed_s = standing

source, target = (ClusterRef(Path(file)) for file in sys.argv[1:3])
asyncio.run(move_async(source, target, MoveOptions(namespace=sys.argv[3], quiet_s=0.1), listen))
"""


@asynccontextmanager
async def _first_mover(scene: Scene, phase: Phase) -> AsyncIterator[Process]:
    """Runs a mover in a process of its own that writes nothing more from the start of a phase on, but lives."""
    arguments = (str(scene.source.kubeconfig), str(scene.target.kubeconfig), scene.namespace, phase.value)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _MOVER, *arguments, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"reached\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.DELETING], ids=str)
async def test_a_second_mover_is_refused_and_takes_over_once_the_first_is_killed(scene: Scene, phase: Phase) -> None:
    async with _first_mover(scene, phase) as first:
        with pytest.raises(LeaseHeldError, match=f"/{first.pid}/") as caught:
            await scene.move(skip=())
        assert scene.namespace in str(caught.value)
        first.kill()
        await first.wait()
        await scene.move(skip=())
    await scene.assert_moved()


async def test_two_moves_of_one_program_are_kept_apart(scene: Scene) -> None:
    ends = await asyncio.gather(scene.move(), scene.move(), return_exceptions=True)
    refused = [end for end in ends if isinstance(end, BaseException)]
    assert [type(end) for end in refused] == [LeaseHeldError]
    await scene.assert_moved()


async def test_a_mover_that_lost_its_lease_changes_nothing_more(scene: Scene, wire: Wire) -> None:
    often = scene.with_leases_of(3.0)
    path = f"{_LEASES}/{name_of(scene.namespace)}"
    refused, writes = asyncio.Event(), list[str]()

    async def renewal(call: Call, send: wires.Send) -> bytes:
        del call
        try:
            return await send()
        except ConflictError:
            refused.set()
            raise

    async def take_it_away() -> None:
        spec = {"holderIdentity": "elsewhere/1/1", "renewTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}
        await scene.pair.on_target.patch_merge(path, {"spec": spec})
        wire.add(wires.write("target", "POST"), wires.before(refused.wait), times=wires.FOR_EVER)
        wire.add(_noted(writes), wires.lose_request)

    # From the beginning: the renewal that is refused may be on its way when the lease is taken away.
    wire.add(wires.lease("target", "PUT"), renewal, times=wires.FOR_EVER)
    wire.add(wires.write("target", "POST", path="/machines"), wires.before(take_it_away))
    with pytest.raises(SupersededError, match="elsewhere/1/1"):
        await often.move()
    assert not [method for method in writes if method == "DELETE"], "it went on to delete copies"
    await scene.pair.on_target.delete(path)
    await scene.rollback()
    await scene.assert_untouched()


def _noted(writes: list[str]) -> wires.Matcher:
    def matches(cluster: str, request: Request) -> bool:
        if cluster == "target" and not wires.is_lease(request) and request.method != "GET":
            writes.append(request.method)
        return False

    return matches


@pytest.mark.parametrize(
    "rolls_back",
    [
        pytest.param(False, id="resume"),
        pytest.param(True, id="rollback"),
    ],
)
async def test_a_record_that_has_moved_on_before_the_lease_was_taken_is_read_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, rolls_back: bool
) -> None:
    """One mover reads a record in the phase creating; before it has the lease, another one has begun to delete."""
    assert isinstance(await stopped(scene, (Phase.CREATING, 9), keep=True), InterruptedMoveError)
    excuse(scene.namespace)
    real = Lease.take
    others = ["the other mover"]

    async def take(self: Lease) -> None:
        if others:
            others.pop()
            await _resume_until_deleting(scene)
        await real(self)

    monkeypatch.setattr(Lease, "take", take)
    if rolls_back:
        with pytest.raises(StoppedError, match="can only be completed"):
            await scene.rollback()
    await scene.resume()
    await scene.assert_moved()


async def _resume_until_deleting(scene: Scene) -> None:
    tasks: list[asyncio.Task[object]] = []

    def cancel() -> None:
        tasks[0].cancel()

    tasks.append(asyncio.ensure_future(scene.resume(at_object(Phase.DELETING, cancel, number=5))))
    (end,) = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(end, InterruptedMoveError)
