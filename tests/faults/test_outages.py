"""API servers and etcd that are really restarted, or stay down, while a move runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mover.execute.lease import LeaseLostError
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.kube import transport
from mover.kube.transport import RetryPolicy
from mover.models import Phase
from tests.faults.scene import AFTER_COMMIT, BEFORE_COMMIT, Scene, at, at_object, unversioned
from tests.testbed.kind import ManagementCluster

PATIENT = RetryPolicy(attempts=200, total_s=120, first_wait_s=0.1, longest_wait_s=1.0)
OUTAGE_S = 20


def _in_background(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the mover try until a server is back, however slow the machine."""
    monkeypatch.setattr(transport, "RetryPolicy", lambda: PATIENT)


def _plane(scene: Scene, side: str) -> ManagementCluster:
    return scene.pair.source if side == "source" else scene.pair.target


async def _through(scene: Scene, phase: Phase, fault: Callable[[], None]) -> None:
    """Moves while a fault comes and goes in the background; goes on with what it interrupts."""
    threads: list[threading.Thread] = []
    try:
        await scene.move(at(phase, lambda: threads.append(_in_background(fault))))
    except RolledBackError:
        threads[0].join()
        await scene.assert_untouched()
        await scene.move()
    except (InterruptedMoveError, LeaseLostError):
        threads[0].join()
        await scene.move()
    finally:
        for thread in threads:
            thread.join()
    await scene.assert_moved()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("side", "phase"), [("target", Phase.CREATING), ("source", Phase.DELETING)])
async def test_an_api_server_that_is_restarted_is_waited_for(fragile: Scene, side: str, phase: Phase) -> None:
    plane = _plane(fragile, side)
    await _through(fragile, phase, plane.restart_apiserver)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("side", "phase"), [("target", Phase.CREATING), ("source", Phase.DELETING)])
async def test_an_etcd_that_crashes_is_waited_for(fragile: Scene, side: str, phase: Phase) -> None:
    plane = _plane(fragile, side)
    await _through(fragile, phase, plane.restart_etcd)


async def test_a_target_that_is_down_for_good_before_the_commit_leaves_the_source_as_it_was(
    fragile: Scene, impatient: RetryPolicy
) -> None:
    target = fragile.pair.target
    with pytest.raises(InterruptedMoveError, match="once that is mended: capi-mover rollback") as caught:
        await fragile.move(at_object(Phase.CREATING, target.stop_apiserver, number=5))
    assert "target: " in str(caught.value)
    assert unversioned(await fragile.on_source()) == unversioned(fragile.before)
    target.start_apiserver()
    assert {record.phase for record in await fragile.records()} >= {Phase.ROLLING_BACK}
    await fragile.rollback()
    await fragile.assert_untouched()


@pytest.mark.slow
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("phase", [*BEFORE_COMMIT, *AFTER_COMMIT], ids=str)
async def test_an_outage_of_twenty_seconds_in_any_phase_ends_safely(fragile: Scene, phase: Phase, side: str) -> None:
    """With the retries as they are: the outage may be longer than they last."""
    plane = _plane(fragile, side)

    def outage() -> None:
        plane.stop_apiserver()
        threading.Event().wait(OUTAGE_S)
        plane.start_apiserver()

    await _through(fragile, phase, outage)
