"""The console that the command line prints to."""

from __future__ import annotations

import os
import sys

from rich.console import Console


class LastingConsole(Console):
    """A console whose reader may go away, as in `capi-mover move | head`: the move goes on, unseen."""

    def on_broken_pipe(self) -> None:
        """Drops what is printed from now on; rich would end the program, in the middle of a move."""
        self.quiet = True
        drop_output()


def drop_output() -> None:
    """Sends what is printed from now on nowhere; Python would stumble over the rest of it once more at its end."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
