"""`clusterctl pymove` and `kubectl capi-move`: the `move` command as a plugin of the tools that are there already.

clusterctl runs a program named `clusterctl-NAME` for a command that it does not know, kubectl one named `kubectl-NAME`,
with `_` for the dashes of a name. Flags go behind the name: neither passes on what stands before it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand
from typer.main import get_command

from mover.cli.app import app
from mover.cli.move import move
from mover.cli.terminal import errors_shown

CLUSTERCTL = "clusterctl pymove"
KUBECTL = "kubectl capi-move"

_FILES = 0
_NOTHING_ELSE = 4
"""What a shell does beside the completions that it is given: complete file names, or nothing (cobra's directives)."""


def clusterctl_pymove() -> None:
    """Runs `clusterctl pymove`."""
    plugin(CLUSTERCTL)(prog_name=CLUSTERCTL)


def kubectl_capi_move() -> None:
    """Runs `kubectl capi-move`."""
    plugin(KUBECTL)(prog_name=KUBECTL)


def kubectl_complete_capi_move() -> None:
    """Prints the completions of a command line of `kubectl capi-move`, as kubectl asks its plugins for them."""
    lines, directive = completions(sys.argv[1:])
    typer.echo("\n".join([*lines, f":{directive}"]))


class _Alone(TyperCommand):
    """A command that is a whole program: no traceback for an error that was raised on purpose."""

    def invoke(self, ctx: Any) -> Any:
        with errors_shown():
            return super().invoke(ctx)


def plugin(program: str) -> typer.Typer:
    """Returns the `move` command as a program of its own, whose help calls it as the user does."""
    alone = typer.Typer(
        name=program,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=app.rich_markup_mode,
        context_settings=app.info.context_settings,
    )
    alone.command(cls=_Alone, help=inspect.cleandoc(move.__doc__ or "").replace("capi-mover move", program))(move)
    return alone


def completions(words: Sequence[str]) -> tuple[list[str], int]:
    """Returns what the last of the words may become, with its help behind a tab, and cobra's directive."""
    *before, begun = words or [""]
    options = {flag: option for option in get_command(plugin(KUBECTL)).params for flag in option.opts}
    asking = options.get(before[-1]) if before else None
    if asking is not None and not getattr(asking, "is_flag", False):
        return _values(get_type_hints(move)[asking.name or ""], begun)
    if not begun.startswith("-"):
        return [], _NOTHING_ELSE
    helps = {flag: getattr(option, "help", None) or "" for flag, option in options.items()}
    return [f"{flag}\t{text}" for flag, text in helps.items() if flag.startswith(begun)], _NOTHING_ELSE


def _values(hint: Any, begun: str) -> tuple[list[str], int]:
    """Returns the completions of an option's value, by the type that it has."""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return [value for value in hint if value.startswith(begun)], _NOTHING_ELSE
    return [], _FILES if Path in get_args(hint) else _NOTHING_ELSE
