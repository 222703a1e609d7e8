"""The command line: reads flags, runs the library, prints. The only package that prints.

One module for each group of commands; importing them registers the commands, in the order of the help.
"""

from mover.cli import move, preflight, plan, directories, interrupted, pivot, diff, rbac  # noqa: F401, I001
from mover.cli.app import app


def main() -> None:
    """Runs the command line."""
    app()


__all__ = ["app", "main"]
