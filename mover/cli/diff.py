"""`capi-mover diff`: where two clusters or directories differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mover.cli.app import app
from mover.cli.options import Namespace, Output, OutputFormat
from mover.cli.terminal import DIFFERENT, errors_shown, new_console, print_all, print_json, run


@app.command()
def diff(
    one: Annotated[str, typer.Argument(help="A kubeconfig, KUBECONFIG@CONTEXT, or a directory.", metavar="A")],
    other: Annotated[str, typer.Argument(help="Another one.", metavar="B")],
    namespace: Namespace = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Shows where the movable objects of two clusters or directories differ; exit code 0 if they are equal, 5 if not.

    What a server assigns (UIDs, versions, times) is not compared.

    Example: capi-mover diff source.kubeconfig target.kubeconfig@admin -n metal3
    """
    console = new_console()
    with errors_shown():
        from mover import api

        found = run(api.diff_async(api.place_of(one), api.place_of(other), namespace))
        if output is OutputFormat.JSON:
            print_json([asdict(difference) for difference in found])
        else:
            print_all(console, [str(difference) for difference in found] or ["No differences"])
        if found:
            raise typer.Exit(DIFFERENT)
