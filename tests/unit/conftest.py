"""What the unit tests count."""

from __future__ import annotations

import pytest

from tests.tallies import TALLIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints how many movers were frozen, and what became of them."""
    tally = TALLIES["frozen movers"]
    if tally["thawed"]:
        terminalreporter.section("frozen movers")
        counts = f"{tally['superseded']} ended as superseded, objects lost: {tally['lost']}"
        terminalreporter.line(f"{tally['thawed']} frozen at a write and thawed: {counts}")
