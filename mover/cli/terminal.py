"""What all commands do with the terminal: print, log, show an error, stop at a signal. Only `mover.cli` prints."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from mover.errors import MoverError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mover.report import View

T = TypeVar("T")

REFUSED = 3
STOPPED = 4
DIFFERENT = 5


def print_text(text: str) -> None:
    """Prints a text as it is, however wide."""
    typer.echo(text)


def print_json(value: Any) -> None:
    """Prints a value for machines."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns what a coroutine returns; SIGTERM stops it as the first Ctrl-C does: at a safe point."""
    from mover.api import blocking

    return blocking.run(coroutine)


def print_all(console: Console, parts: Iterable[str | Table]) -> None:
    """Prints lines and tables for people."""
    for part in parts:
        console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str))


def print_line(text: str) -> None:
    """Prints a line that somebody waits for; if nobody reads any more it is dropped, as all others will be."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        from mover.report.console import drop_output

        drop_output()


def is_interactive() -> bool:
    """Returns whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def new_console() -> Console:
    """Returns the console on stdout."""
    from mover.report.console import LastingConsole

    return LastingConsole()


def new_view(console: Console, verbosity: int) -> View:
    """Returns what shows the progress: bars on a terminal that can move its cursor, lines elsewhere."""
    from mover.report import BarView, LineView

    return BarView(console, verbosity) if has_bars(console) else LineView(console, verbosity)


def has_bars(console: Console) -> bool:
    """Returns whether bars can be drawn: FORCE_COLOR and its like colour what is no terminal, and make it none."""
    return console.is_interactive and console.file.isatty()


@contextmanager
def errors_shown() -> Iterator[None]:
    """Shows every error of ours as one clear paragraph and leaves with its exit code."""
    try:
        yield
    except MoverError as error:
        _leave(error.paragraph(), error.exit_code)
    except KeyboardInterrupt:
        _leave("Stopped by Ctrl-C", STOPPED)


def _leave(text: str, exit_code: int) -> NoReturn:
    typer.echo(f"Error: {text}", err=True)
    raise typer.Exit(exit_code)


def fail(text: str, *, exit_code: int) -> NoReturn:
    """Raises an error of the command line, which is shown as those of the library are."""
    error = UsageError(text)
    error.exit_code = exit_code
    raise error
