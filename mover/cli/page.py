"""`--report`: a page that tells of a move, written at its end."""

from __future__ import annotations

from pathlib import Path

import typer

from mover.chronicle import Chronicler
from mover.directory.files import write_file
from mover.errors import UsageError
from mover.events import Event
from mover.models import MoveReport, RollingReport
from mover.page import Drawer, report_page
from mover.report import Ending


class PageKeeper:
    """Keeps what a page tells of, and writes the page when the command ends, also when it fails."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._chronicler = Chronicler()
        self._drawer = Drawer()
        self._has_begun = False

    def __call__(self, event: Event) -> None:
        """Takes note of an event."""
        self._has_begun = True
        self._chronicler(event)
        self._drawer(event)

    def end(self, ending: Ending) -> None:
        """Writes the page; not if the command was refused for its flags.

        Raises:
            FileError: It cannot be written; a page of an earlier move is as it was.
        """
        if isinstance(ending.error, UsageError) and not self._has_begun:
            return
        # Units that did not move are in the report; the exit code alone tells nothing more.
        error = None if isinstance(ending.error, typer.Exit) else ending.error
        reports = [report for report in ending.reports if isinstance(report, MoveReport | RollingReport)]
        page = report_page(self._chronicler.chronicle(), self._drawer.graphs(), reports, error)
        write_file(self._file, page.encode())
