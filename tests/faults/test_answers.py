"""Servers that answer with 429, 500 and 503: once, in bursts, for good, and to watches."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest

from mover.errors import ApiError, Call, ConnectionFailedError, ServerError, ThrottledError, UnauthorizedError
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.kube.transport import Request, RetryPolicy, Session, Transport
from mover.models import Phase
from tests.faults import wire as wires
from tests.faults.conftest import excuse
from tests.faults.scene import Scene, at, unversioned
from tests.faults.wire import FOR_EVER, Wire, answer


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_a_burst_of_refusals_is_waited_out(scene: Scene, wire: Wire, impatient: RetryPolicy, status: int) -> None:
    wire.add(wires.once_each(wires.every), answer(status, "the server is busy"), times=FOR_EVER)
    report = await scene.move()
    # Each request that met the fault was sent once more, and no request was sent without need.
    assert report.retries == wire.injected
    assert wire.total <= 2 * (wire.total - wire.injected)
    await scene.assert_moved()


async def test_a_server_that_asks_to_wait_is_waited_for(scene: Scene, wire: Wire, impatient: RetryPolicy) -> None:
    wire.add(wires.write("target", "POST"), answer(429, "too many requests", {"Retry-After": "1"}), times=3)
    started = time.monotonic()
    await scene.move()
    assert time.monotonic() - started >= 1
    await scene.assert_moved()


async def test_a_server_that_asks_to_wait_for_ever_is_not_waited_for(
    scene: Scene, wire: Wire, impatient: RetryPolicy
) -> None:
    wire.add(wires.write("target", "POST"), answer(429, "too many requests", {"Retry-After": "3600"}))
    took: list[float] = []
    await scene.move(at(Phase.CREATING, lambda: took.append(time.monotonic())))
    assert time.monotonic() - took[0] < 1800
    await scene.assert_moved()


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_refusals_for_good_after_the_commit_are_bounded_and_gone_on_with(
    scene: Scene, wire: Wire, impatient: RetryPolicy, method: str
) -> None:
    refused = wires.write("source", method, holds="delete-for-move" if method == "PATCH" else "")
    wire.add(refused, answer(500, "storage is gone"), times=FOR_EVER)
    with pytest.raises(InterruptedMoveError, match=rf"source: {method} /\S+: 500: storage is gone"):
        await scene.move()
    assert wire.injected <= impatient.attempts * len(scene.fleet.movable)
    wire.mend()
    await scene.resume()
    await scene.assert_moved()


@pytest.mark.parametrize("status", [403, 503])
async def test_the_source_is_resumed_when_the_target_refuses_everything(
    scene: Scene, wire: Wire, impatient: RetryPolicy, status: int
) -> None:
    """A gateway in front of a dead server answers 503, a revoked user gets 403: as good as down."""
    excuse(scene.namespace)
    refuse = answer(status, "no")
    down = at(Phase.CREATING, lambda: wire.add(wires.to("target"), refuse, times=FOR_EVER))
    with pytest.raises(InterruptedMoveError, match="capi-mover rollback"):
        await scene.move(down)
    source = await scene.on_source()
    wire.mend()
    await scene.rollback()
    await scene.assert_untouched()
    assert unversioned(source) == unversioned(scene.before), "the source had stayed paused"


Stream = Callable[[Transport, Session, Request, float], AsyncIterator[bytes]]


def _failing_watches(monkeypatch: pytest.MonkeyPatch, error: Callable[[Call], ApiError], times: int) -> list[float]:
    """Lets the next watches fail; returns the times at which they were opened."""
    real: Stream = Transport._stream_once
    opened: list[float] = []

    async def stream(self: Transport, session: Session, request: Request, idle_s: float) -> AsyncIterator[bytes]:
        opened.append(time.monotonic())
        if len(opened) <= times:
            raise error(Call(self._cluster, "WATCH", request.path))
        async for line in real(self, session, request, idle_s):
            yield line

    monkeypatch.setattr(Transport, "_stream_once", stream)
    return opened


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(lambda call: ConnectionFailedError(call, "no answer"), id="reset"),
        pytest.param(lambda call: ServerError(call, 503, "", "starting"), id="503"),
        pytest.param(lambda call: ThrottledError(call, 429, "", "too many requests"), id="429"),
        pytest.param(lambda call: UnauthorizedError(call, 401, "", "expired"), id="401"),
    ],
)
async def test_a_watch_that_fails_once_is_opened_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error: Callable[[Call], ApiError]
) -> None:
    opened = _failing_watches(monkeypatch, error, times=1)
    await scene.move()
    assert len(opened) > 1
    await scene.assert_moved()


async def test_watches_that_fail_for_good_are_no_storm(
    scene: Scene, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = {"metadata": {"annotations": {"clusterctl.cluster.x-k8s.io/block-move": ""}}}
    opened = _failing_watches(monkeypatch, lambda call: ConnectionFailedError(call, "no answer"), times=FOR_EVER)
    key = scene.key("Machine")
    with pytest.raises(RolledBackError, match="block-move"):
        await scene.move(
            at(Phase.PAUSING, lambda: scene.edit_source(lambda client: client.patch_merge(scene.path(key), block))),
            pause_timeout_s=1.0,
        )
    # One watch per type for late objects and one for pauses, each opened again ever more rarely.
    assert len(opened) <= 60
    await scene.assert_untouched(but={key})
