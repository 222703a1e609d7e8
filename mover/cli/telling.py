"""How a command tells what it does: from the flags to the listener of the library, and what is written at its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mover.cli.logs import set_up_logging
from mover.cli.options import HiddenWarnings, LogFormat, OutputFormat
from mover.cli.terminal import STOPPED, new_console, new_view, print_all, print_line
from mover.errors import MoverError, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table

    from mover.events import Event, Listener
    from mover.report import Keeper, View

log = logging.getLogger("capi-mover.cli")


@dataclass(frozen=True, slots=True)
class Telling:
    """What the flags of a command say on how it tells what it does.

    Attributes:
        verbosity: How much to tell: 1 each object, 3 retries, 5 everything.
        hidden: Which warnings of the API servers are not shown.
        output: Text for people, or JSON lines for programs.
        log_format: How the log on stderr is written.
        metrics_file: Where OpenMetrics are written at the end; None for nowhere.
        report_file: Where a page that tells of the move is written at the end; None for nowhere.
        dry_run: Whether nothing is done: no file may tell of it then.
    """

    verbosity: int = 0
    hidden: HiddenWarnings = HiddenWarnings.DEFAULT
    output: OutputFormat = OutputFormat.TEXT
    log_format: LogFormat = LogFormat.TEXT
    metrics_file: Path | None = None
    report_file: Path | None = None
    dry_run: bool = False

    @contextmanager
    def begun(self) -> Iterator[Teller]:
        """Gives the teller of a command, and tells of its end however the body ends."""
        set_up_logging(self.verbosity, self.hidden, self.log_format)
        teller = Teller(self)
        try:
            teller.keepers += self._keepers()
            yield teller
        except BaseException as error:
            exit_code = _exit_code_of(error)
            teller.end(error, exit_code)
            if teller.is_json and isinstance(error, MoverError | KeyboardInterrupt):
                raise typer.Exit(exit_code) from error
            raise
        teller.end(None, 0)

    def _keepers(self) -> list[Keeper]:
        """Returns those that see all events and write a file at the end.

        Raises:
            UsageError: A file cannot be written where it is wanted, or is to tell of a dry run.
        """
        keepers: list[Keeper] = []
        for flag, file in (("--metrics-file", self.metrics_file), ("--report", self.report_file)):
            if file is not None and self.dry_run:
                raise UsageError(f"Please specify only one of {flag} and --dry-run")
        if self.metrics_file is not None:
            _require_place("--metrics-file", self.metrics_file)
            from mover.report.metrics import Metrics

            keepers.append(Metrics(self.metrics_file))
        if self.report_file is not None:
            _require_place("--report", self.report_file)
            from mover.cli.page import PageKeeper

            keepers.append(PageKeeper(self.report_file))
        return keepers


class Teller:
    """Tells of one command: events while it runs, then what came of it.

    Attributes:
        is_json: Whether programs read what is told.
        keepers: Those that see all events and write a file at the end.
    """

    def __init__(self, telling: Telling) -> None:
        self.is_json = telling.output is OutputFormat.JSON
        self.keepers: list[Keeper] = []
        self._verbosity = telling.verbosity
        self._console = new_console()
        self._reports: list[BaseModel] = []

    @contextmanager
    def watching(self) -> Iterator[Listener]:
        """Gives the listener of one call of the library; bars are on the screen for as long as the body runs."""
        with self._new_view() as view:
            listeners: Sequence[Listener] = (view, *self.keepers)

            def tell(event: Event) -> None:
                for listener in listeners:
                    listener(event)

            yield tell

    def _new_view(self) -> View:
        from mover.report import JsonView

        return JsonView(print_line) if self.is_json else new_view(self._console, self._verbosity)

    def report(self, report: BaseModel, shown: Iterable[str | Table]) -> None:
        """Tells what came of it: `shown` to people, `report` to programs and to those that keep it."""
        from mover.report import report_json

        self._reports.append(report)
        self._write(report_json(report))
        self.show(shown)

    def show(self, parts: Iterable[str | Table]) -> None:
        """Prints lines and tables for people; nothing if programs read."""
        if not self.is_json:
            print_all(self._console, parts)

    def end(self, error: BaseException | None, exit_code: int) -> None:
        """Tells what the command failed with, and lets those that keep something write it."""
        from mover.report import Ending, error_json

        for keeper in self.keepers:
            try:
                keeper.end(Ending(tuple(self._reports), error, exit_code))
            except MoverError as failure:
                # What was done is done, whether that file is there or not.
                log.error("%s", failure)  # noqa: TRY400 - the message says it all
        if error is not None and not isinstance(error, typer.Exit):
            self._write(error_json(error, exit_code))

    def _write(self, value: dict[str, object]) -> None:
        from mover.report import JsonView

        if self.is_json:
            JsonView(print_line).write(value)


def _require_place(flag: str, file: Path) -> None:
    """Raises UsageError if a file cannot be there: that is better known before a move than after it."""
    if file.is_dir():
        why = "it is a directory"
    elif not file.parent.is_dir():
        why = f"there is no directory {file.parent}"
    elif not os.access(file.parent, os.W_OK | os.X_OK):
        why = f"the directory {file.parent} may not be written to"
    else:
        return
    raise UsageError(f"{flag}: {file} cannot be written: {why}", "Name a file in a directory that is there")


def _exit_code_of(error: BaseException) -> int:
    if isinstance(error, typer.Exit | MoverError):
        return error.exit_code
    return STOPPED if isinstance(error, KeyboardInterrupt) else 1
