"""The programs of the crash tests, what an undisturbed move makes of the fleet, and the summary."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count

import pytest
import pytest_asyncio

from tests.crash import world
from tests.crash.driver import Command
from tests.crash.drivers import Drivers
from tests.crash.world import State, World
from tests.tallies import TALLIES
from tests.testbed.pair import Pair

TALLY = TALLIES["crash"]
"""What the crash tests have done so far; tests add to it, the summary reads it."""

_numbers = count(1)


def next_namespace() -> str:
    """Returns a namespace that no other point uses; all names are equally long."""
    return f"crash-{next(_numbers):05}"


@dataclass(frozen=True)
class Undisturbed:
    """A move that nobody kills.

    Attributes:
        writes: Those that it makes, as the driver prints them.
        before_commit: How many of them come before its commit point: the first record that says `deleting`.
        end: What is on both clusters afterwards, see `world.end_state`.
    """

    writes: tuple[str, ...]
    before_commit: int
    end: State


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def drivers(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Drivers]:
    pool = Drivers(pair.source.kubeconfig, pair.target.kubeconfig, tmp_path_factory.mktemp("drivers"))
    async with pool.serving() as serving:
        yield serving


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def undisturbed(pair: Pair, drivers: Drivers) -> Undisturbed:
    seeded = await world.seed(pair, next_namespace())
    run = await drivers.run(Command.MOVE, seeded.namespace)
    assert run.status == 0, run.log
    commit = next(number for number, line in enumerate(run.writes) if line.endswith(" deleting"))
    end = await world.end_state(pair, seeded.namespace)
    require_moved(seeded, end)
    TALLY["writes"], TALLY["before commit"] = len(run.writes), commit
    return Undisturbed(run.writes, commit, end)


def require_moved(seeded: World, end: State) -> None:
    """Asserts that an end state is that of a move: all movable objects on the target, the others on the source."""
    movable = {f"target {key}" for key in seeded.movable}
    unrelated = {f"source {key}" for key in seeded.unrelated}
    assert set(end) == {name.replace(seeded.namespace, "NAMESPACE") for name in movable | unrelated}
    owners = [owner for body in end.values() for owner in body["metadata"]["owners"]]
    assert owners
    assert {owner["uid"] for owner in owners} == {"is that object"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TALLY["tried"]:
        return
    terminalreporter.section(f"moves killed by SIGKILL ({os.environ.get('CRASH_POINTS', 'one of each kind of write')})")
    before = TALLY["before commit"]
    terminalreporter.line(f"{TALLY['writes']} writes in a move, {before} of them before its commit point")
    outcome = f"{TALLY['resumed']} resumed, {TALLY['rolled back']} rolled back, objects lost: {TALLY['lost']}"
    terminalreporter.line(f"{TALLY['tried']} kills tried: {outcome}")
