"""How the tests of a run are spread over its processes, and how their counts come together (`make test`)."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from tests import tallies

TOGETHER = frozenset({"tests/differential"})
"""Folders whose files belong in one process: the last of them looks at what the others have left."""

_SENT = "tallies"


def pytest_configure() -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and so would the programs that tests send one to.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
