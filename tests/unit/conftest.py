"""What the unit tests count, and what none of them leaves to the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.tallies import TALLIES


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Takes back what a command line that a test has run in this process has set for the loggers."""
    ours = [logging.getLogger("capi-mover"), logging.getLogger("capi-mover.api-warnings")]
    before = [(logger, logger.level, list(logger.filters)) for logger in ours]
    yield
    for logger, level, filters in before:
        logger.setLevel(level)
        logger.filters = filters


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints how many movers were frozen, and what became of them."""
    tally = TALLIES["frozen movers"]
    if tally["thawed"]:
        terminalreporter.section("frozen movers")
        counts = f"{tally['superseded']} ended as superseded, objects lost: {tally['lost']}"
        terminalreporter.line(f"{tally['thawed']} frozen at a write and thawed: {counts}")
