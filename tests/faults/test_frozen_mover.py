"""A mover is stopped (SIGSTOP) before a write, taken over from, and let go on (SIGCONT): it changes nothing more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mover.models import Phase
from tests.faults.scene import Scene

LEASE_S = 4.0
SOME = ((Phase.CREATING, 7), (Phase.VERIFYING, 0), (Phase.DELETING, 5))
WRITES = {Phase.PAUSING: 9, Phase.CREATING: 16, Phase.VERIFYING: 2, Phase.DELETING: 16, Phase.RESUMING: 4}
"""How many writes of each phase are tried; a phase that has fewer is followed by the next one."""


def points(*phases: Phase) -> list[Any]:
    """Returns the writes before which a mover is stopped: some by default, of the others all with FAULTS=all."""
    return [
        pytest.param(phase, number, marks=() if (phase, number) in SOME else pytest.mark.slow, id=f"{phase}-{number}")
        for phase in phases
        for number in range(WRITES[phase])
    ]


class Frozen:
    """A mover that is stopped."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def thaw(self) -> dict[str, Any]:
        """Lets it go on, and returns how it ended."""
        self._process.send_signal(signal.SIGCONT)
        output, _ = await asyncio.wait_for(asyncio.to_thread(self._process.communicate), 90)
        end: dict[str, Any] = json.loads(output)
        return end


@asynccontextmanager
async def frozen(scene: Scene, phase: Phase, number: int) -> AsyncIterator[Frozen]:
    """Gives a mover that has stopped before a write."""
    files = (str(scene.source.kubeconfig), str(scene.target.kubeconfig))
    arguments = (*files, scene.namespace, str(LEASE_S), phase.value, str(number))
    program = (sys.executable, "-m", "tests.faults.frozen_program")
    # asyncio's own processes are reaped behind our back, and are not seen to stop.
    process = subprocess.Popen((*program, *arguments), stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    try:
        wanted = os.WSTOPPED | os.WEXITED | os.WNOWAIT
        seen = await asyncio.wait_for(asyncio.to_thread(os.waitid, os.P_PID, process.pid, wanted), 90)
        assert seen is not None
        assert seen.si_code == os.CLD_STOPPED, process.communicate()
        yield Frozen(process)
    finally:
        if process.poll() is None:
            process.kill()
        if process.stdout is not None and not process.stdout.closed:
            process.communicate()


def require_superseded(end: dict[str, Any]) -> None:
    assert end["error"] == "SupersededError", end
    assert "taken over" in end["text"]
    assert end["text"].endswith("See what has become of it: capi-mover status")
    assert end["sent_after"] == 0


@pytest.mark.parametrize(("phase", "number"), points(*WRITES))
async def test_a_mover_that_was_stopped_does_no_harm_after_another_one_has_finished(
    scene: Scene, phase: Phase, number: int
) -> None:
    async with frozen(scene, phase, number) as first:
        await scene.resume()
        await scene.assert_moved()
        require_superseded(await first.thaw())
    await scene.assert_moved()


@pytest.mark.parametrize(("phase", "number"), points(Phase.PAUSING, Phase.CREATING, Phase.VERIFYING))
async def test_a_mover_that_was_stopped_does_no_harm_after_another_one_has_undone_the_move(
    scene: Scene, phase: Phase, number: int
) -> None:
    async with frozen(scene, phase, number) as first:
        await scene.rollback()
        await scene.assert_untouched()
        require_superseded(await first.thaw())
    await scene.assert_untouched()


async def test_a_mover_that_was_stopped_goes_on_if_nobody_has_taken_over(scene: Scene) -> None:
    """Its leases had run out; it renews them, and nobody is in its way."""
    async with frozen(scene, Phase.CREATING, 7) as first:
        # Longer than the lease: that nothing happens meanwhile is what is waited for.
        await asyncio.sleep(1.5 * LEASE_S)
        end = await first.thaw()
    assert end["error"] == ""
    await scene.assert_moved()
