"""How the tests of a run are spread over its processes, and how their counts come together (`make test`)."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from tests import durations, stacks, tallies
from tests.durations import Durations
from tests.testbed.pair import empty_pair, pair, planes, second_pair, second_planes

__all__ = ["empty_pair", "pair", "planes", "second_pair", "second_planes"]

TOGETHER = frozenset({"tests/differential"})
"""Folders whose files belong in one process: the last of them looks at what the others have left."""

_SENT = "tallies"
_DURATIONS = Durations()


def pytest_configure() -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and so would the programs that tests send one to.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Ends a test that stands still as pytest-timeout does, but shows tasks and programs, too, in its report."""

    def end(number: int, frame: Any) -> None:
        sys.stderr.write(stacks.every_stack())
        pytest.fail(f"{item.nodeid} stands still: no end after {settings.timeout:g} s; see its stderr for all stacks")

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    item.cancel_timeout = cancel  # type: ignore[attr-defined]  # what pytest-timeout calls at the end
    return True


class Spread(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process whole files, or whole folders: what a file has put up is put up once."""

    def _split_scope(self, nodeid: str) -> str:
        return place_of(nodeid)


def place_of(nodeid: str) -> str:
    """Returns the file, or the folder, whose tests run in one process with that one."""
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0]
    return folder if folder in TOGETHER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    return Spread(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_SENT] = tallies.plain()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    # A process that crashed has sent nothing; its tests are reported as failed.
    tallies.add(getattr(node, "workeroutput", {}).get(_SENT, {}))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _DURATIONS.add(report.nodeid, report.duration)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("collectonly"):
        return
    terminalreporter.section("where the time went, of all processes together")
    for line in (*_DURATIONS.lines(), *durations.server_lines(tallies.TALLIES[durations.SERVERS])):
        terminalreporter.line(line)
