"""Telling of several moves, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mover.cli.telling import Teller

if TYPE_CHECKING:
    from mover.events import Listener
    from mover.models import MoveReport, RollingReport

    Reports = Sequence[MoveReport | RollingReport]


def tell_series(teller: Teller, move: Callable[[Listener], Reports]) -> Reports:
    """Moves, and returns the reports; those of what was moved are told though a later one stops."""
    from mover import api
    from mover.report import summary_of

    reports: Reports = ()
    try:
        with teller.watching() as listener:
            reports = move(listener)
    except api.SeriesStoppedError as error:
        reports = error.reports
        raise
    finally:
        for report in reports:
            teller.report(report, summary_of(report))
    return reports
