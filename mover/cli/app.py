"""The program that the commands belong to."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mover.cli.terminal import errors_shown


class _Commands(TyperGroup):
    """The commands, none of which shows a traceback for an error that was raised on purpose."""

    def invoke(self, ctx: Any) -> Any:
        with errors_shown():
            return super().invoke(ctx)


app = typer.Typer(
    name="capi-mover",
    cls=_Commands,
    help="Moves Cluster API and Metal3 objects between management clusters.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    # Boxes and colours are for people; to load what draws them takes longer than all the rest of a help text.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the flag alone
    if asked:
        import mover

        typer.echo(f"capi-mover {mover.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Moves Cluster API and Metal3 objects between management clusters."""
