"""Moves that are stopped: by Ctrl-C in each phase, by a second one, and by their time limit."""

from __future__ import annotations

import asyncio

import pytest

from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import Phase
from tests.faults.scene import AFTER_COMMIT, BEFORE_COMMIT, Scene, at, stopped

LIMIT_S = 12345.0


async def test_a_ctrl_c_in_the_preflight_changes_nothing(scene: Scene) -> None:
    assert isinstance(await stopped(scene, (Phase.PREFLIGHT, 0)), asyncio.CancelledError)
    await scene.assert_untouched()


@pytest.mark.parametrize("phase", BEFORE_COMMIT, ids=str)
async def test_a_ctrl_c_before_the_commit_undoes_the_move(scene: Scene, phase: Phase) -> None:
    end = await stopped(scene, (phase, 0))
    assert isinstance(end, RolledBackError)
    assert "Stopped by a signal" in str(end)
    await scene.assert_untouched()


async def test_a_ctrl_c_between_two_copies_undoes_the_move(scene: Scene) -> None:
    assert isinstance(await stopped(scene, (Phase.CREATING, 5)), RolledBackError)
    await scene.assert_untouched()


@pytest.mark.parametrize(("phase", "number"), [(phase, n) for phase in AFTER_COMMIT for n in (0, 1)])
async def test_a_ctrl_c_after_the_commit_is_gone_on_with(scene: Scene, phase: Phase, number: int) -> None:
    end = await stopped(scene, (phase, number))
    assert isinstance(end, InterruptedMoveError)
    assert "capi-mover resume" in end.remedy
    await scene.resume()
    await scene.assert_moved()


@pytest.mark.parametrize("phase", BEFORE_COMMIT, ids=str)
async def test_a_move_that_is_kept_is_gone_on_with(scene: Scene, phase: Phase) -> None:
    end = await stopped(scene, (phase, 0), keep=True)
    assert isinstance(end, InterruptedMoveError)
    assert "capi-mover rollback" in end.remedy
    await scene.resume()
    await scene.assert_moved()


async def test_a_move_that_is_kept_can_be_undone(scene: Scene) -> None:
    assert isinstance(await stopped(scene, (Phase.CREATING, 9), keep=True), InterruptedMoveError)
    await scene.rollback()
    await scene.assert_untouched()


async def test_a_second_ctrl_c_leaves_a_rollback_that_the_next_one_finishes(scene: Scene) -> None:
    end = await stopped(scene, (Phase.VERIFYING, 0), (Phase.ROLLING_BACK, 3))
    assert isinstance(end, asyncio.CancelledError)
    assert {record.phase for record in await scene.records()} == {Phase.ROLLING_BACK}
    await scene.rollback()
    await scene.assert_untouched()


async def test_a_move_after_a_broken_rollback_finishes_it_first(scene: Scene) -> None:
    await stopped(scene, (Phase.VERIFYING, 0), (Phase.ROLLING_BACK, 3))
    await scene.move()
    await scene.assert_moved()


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Timeout]:
    """Collects the time limits that moves set, so that a test can let one be over at once."""
    real, made = asyncio.timeout, list[asyncio.Timeout]()

    def timeout(delay: float | None) -> asyncio.Timeout:
        limit = real(delay)
        if delay == LIMIT_S:
            made.append(limit)
        return limit

    monkeypatch.setattr(asyncio, "timeout", timeout)
    return made


@pytest.mark.parametrize("phase", BEFORE_COMMIT, ids=str)
async def test_a_time_limit_before_the_commit_undoes_the_move(
    scene: Scene, deadlines: list[asyncio.Timeout], phase: Phase
) -> None:
    with pytest.raises(RolledBackError, match="time limit"):
        await scene.move(at(phase, lambda: deadlines[0].reschedule(0)), timeout_s=LIMIT_S)
    await scene.assert_untouched()


@pytest.mark.parametrize("phase", AFTER_COMMIT, ids=str)
async def test_a_time_limit_after_the_commit_is_gone_on_with(
    scene: Scene, deadlines: list[asyncio.Timeout], phase: Phase
) -> None:
    with pytest.raises(InterruptedMoveError, match="time limit"):
        await scene.move(at(phase, lambda: deadlines[0].reschedule(0)), timeout_s=LIMIT_S)
    await scene.resume()
    await scene.assert_moved()
