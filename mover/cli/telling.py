"""How a command tells what it does: from the flags to the listener of the library, and what is written at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from mover.cli.options import HiddenWarnings
from mover.cli.terminal import STOPPED, new_console, new_view, print_all, set_up_logging
from mover.errors import MoverError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.table import Table

    from mover.events import Event, Listener
    from mover.report import Keeper


@dataclass(frozen=True, slots=True)
class Telling:
    """What the flags of a command say on how it tells what it does.

    Attributes:
        verbosity: How much to tell: 1 each object, 3 retries, 5 everything.
        hidden: Which warnings of the API servers are not shown.
    """

    verbosity: int = 0
    hidden: HiddenWarnings = HiddenWarnings.DEFAULT

    @contextmanager
    def begun(self) -> Iterator[Teller]:
        """Gives the teller of a command, and ends what was told however the body ends."""
        set_up_logging(self.verbosity, self.hidden)
        teller = Teller(self, new_console(), self._keepers())
        try:
            yield teller
        except BaseException as error:
            teller.end(error, _exit_code_of(error))
            raise
        teller.end(None, 0)

    def _keepers(self) -> list[Keeper]:
        """Returns those that see all events and write a file at the end."""
        return []


class Teller:
    """Tells of one command: events while it runs, then what came of it.

    Attributes:
        console: Where people read.
    """

    def __init__(self, telling: Telling, console: Console, keepers: Sequence[Keeper]) -> None:
        self.console = console
        self._telling = telling
        self._keepers = keepers
        self._reports: list[BaseModel] = []

    @contextmanager
    def watching(self) -> Iterator[Listener]:
        """Gives the listener of one call of the library; bars are on the screen for as long as the body runs."""
        with new_view(self.console, self._telling.verbosity) as view:
            listeners: list[Listener] = [view, *self._keepers]

            def tell(event: Event) -> None:
                for listener in listeners:
                    listener(event)

            yield tell

    def report(self, report: BaseModel, shown: Iterable[str | Table]) -> None:
        """Tells what came of it: `shown` to people, `report` to programs and to those that keep it."""
        self._reports.append(report)
        self.show(shown)

    def show(self, parts: Iterable[str | Table]) -> None:
        """Prints lines and tables for people."""
        print_all(self.console, parts)

    def end(self, error: BaseException | None, exit_code: int) -> None:
        """Lets those that keep something write it."""
        from mover.report import Ending

        for keeper in self._keepers:
            keeper.end(Ending(tuple(self._reports), error, exit_code))


def _exit_code_of(error: BaseException) -> int:
    if isinstance(error, typer.Exit | MoverError):
        return error.exit_code
    return STOPPED if isinstance(error, KeyboardInterrupt) else 1
