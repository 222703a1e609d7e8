"""What all commands do with the terminal: print, log, show an error, stop at a signal. Only `mover.cli` prints."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from mover.cli.options import HiddenWarnings
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


def new_console() -> Console:
    """Returns the console on stdout."""
    from rich.console import Console

    return Console()


def new_view(console: Console, verbosity: int) -> View:
    """Returns what shows the progress: bars on a terminal, lines elsewhere."""
    from mover.report import BarView, LineView

    return BarView(console, verbosity) if console.is_terminal else LineView(console, verbosity)


def set_up_logging(verbosity: int, hidden: HiddenWarnings) -> None:
    """Sends our own log to stderr: retries from verbosity 3, everything from 5, API warnings as asked for."""
    level = logging.DEBUG if verbosity >= 5 else logging.INFO if verbosity >= 3 else logging.WARNING
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("capi-mover").setLevel(level)
    api_warnings = logging.getLogger("capi-mover.api-warnings")
    if hidden is not HiddenWarnings.NONE:
        api_warnings.addFilter(lambda record: hidden is not HiddenWarnings.ALL and not _is_usual(record.getMessage()))


_FINALIZER_WARNING = re.compile(r"metadata\.finalizers:.*prefer a domain-qualified finalizer name")


def _is_usual(warning: str) -> bool:
    """Returns whether a warning is in clusterctl's default set (util/apiwarnings): finalizers without a domain."""
    return bool(_FINALIZER_WARNING.search(warning))


@contextmanager
def errors_shown() -> Iterator[None]:
    """Shows every error of ours as one clear paragraph and leaves with its exit code."""
    try:
        yield
    except MoverError as error:
        _leave(str(error), error.exit_code)
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
