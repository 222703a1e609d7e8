"""The twin pairs of the suite, and the summary at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
import pytest_asyncio

from tests.differential import run
from tests.differential.kinds import MADE_UP
from tests.differential.run import Arena, Cluster, Report
from tests.tallies import TALLIES
from tests.testbed.crds import CRDS_PATH, install
from tests.testbed.pair import Pair

_COUNTS = TALLIES["differential"]
_DEPARTURES = TALLIES["departures"]


@dataclass
class Tally:
    """What the suite has done so far; a test adds to it, the summary reads it."""

    scenarios: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def add(self, report: Report) -> None:
        """Counts what a report allowed."""
        _DEPARTURES.update(departure.name for departure, _ in report.allowed)
        _COUNTS["oracle ms"] += round(1000 * report.oracle.seconds)
        _COUNTS["ours ms"] += round(1000 * report.ours.seconds)

    def add_graph(self, report: Report) -> None:
        """Counts a random world."""
        self.add(report)
        _COUNTS["graphs"] += 1
        _COUNTS["refused graphs"] += report.ours.refused

    def passed(self, scenario: str) -> None:
        """Counts a scenario that ended as it must."""
        self.scenarios.add(scenario)
        _COUNTS["scenarios"] += 1

    @property
    def departures(self) -> frozenset[str]:
        """Returns the names of the departures that were needed."""
        return frozenset(_DEPARTURES)

    def prefix(self) -> str:
        """Returns a name for the namespaces of the next run."""
        return f"twin-{next(self._numbers)}"


_TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    return _TALLY


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def arena(second_pair: Pair, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """Gives clusterctl the second pair and capi-mover the first, both with the kinds that only this suite has."""
    sides = [(plane, client) for each in (second_pair, pair) for plane, client in each.sides]
    crds = [kind.crd() for kind in MADE_UP]
    await asyncio.gather(*(install(client, crds) for _, client in sides))
    for plane, _ in sides:
        plane.restart_controller_manager()  # it looks for new kinds every 30 seconds only
    oracle_source, oracle_target, source, target = (Cluster(plane.kubeconfig, client) for plane, client in sides)
    twins = run.Pair(oracle_source, oracle_target), run.Pair(source, target)
    yield Arena(*twins, tmp_path_factory.mktemp("home"))
    for crd in crds:
        path = f"{CRDS_PATH}/{crd['metadata']['name']}"
        await asyncio.gather(*(client.delete(path) for _, client in sides))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _COUNTS["scenarios"] and not _COUNTS["graphs"]:
        return
    graphs = f"{_COUNTS['graphs']} random graphs ({_COUNTS['refused graphs']} of them refused by capi-mover)"
    terminalreporter.section("capi-mover and clusterctl move, side by side")
    terminalreporter.line(f"{_COUNTS['scenarios']} scenarios, {graphs}")
    oracle_s, ours_s = (_COUNTS[name] / 1000 for name in ("oracle ms", "ours ms"))
    terminalreporter.line(f"clusterctl took {oracle_s:.1f} s, capi-mover {ours_s:.1f} s")
    for name, number in sorted(_DEPARTURES.items()):
        terminalreporter.line(f"{number:6} differences allowed: {name}")
