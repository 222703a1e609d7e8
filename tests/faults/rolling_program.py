"""A `capi-mover` that sends itself a signal in the middle of a rolling move, once two units or more are at work.

    python -m tests.faults.rolling_program SIGNAL PHASE NUMBER UNITS move --rolling ...

The signal is sent as soon as NUMBER objects or more of each of UNITS units have been through the phase, all of which
are still at work.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from types import TracebackType
from typing import Any, Self

from mover import cli
from mover.cli import telling, terminal
from mover.events import Event, InUnit, ObjectDone, UnitEnded, UnitStarted
from mover.models import Phase
from mover.report import View


class Ending:
    """A view that sends the signal, too."""

    def __init__(self, view: View, sent: signal.Signals, phase: Phase, number: int, units: int) -> None:
        self._view = view
        self._sent: signal.Signals | None = sent
        self._phase = phase
        self._number = number
        self._units = units
        self._done: Counter[str] = Counter()
        self._at_work: set[str] = set()

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Shows the event, and ends the program if it is time."""
        self._view(event)
        match event:
            case UnitStarted(unit, _):
                self._at_work.add(unit)
            case UnitEnded(unit, _, _):
                self._at_work.discard(unit)
            case InUnit(unit, ObjectDone(phase, _, _)) if phase is self._phase:
                self._done[unit] += 1
                self._end_if_it_is_time()

    def _end_if_it_is_time(self) -> None:
        reached = [unit for unit in self._at_work if self._done[unit] >= self._number]
        if self._sent is not None and len(reached) >= self._units:
            sent, self._sent = self._sent, None
            os.kill(os.getpid(), sent)


def main(name: str, phase: str, number: str, units: str, *arguments: str) -> None:
    """Runs the program."""

    def new_view(*given: Any) -> Ending:
        return Ending(terminal.new_view(*given), signal.Signals[name], Phase(phase), int(number), int(units))

    setattr(telling, "new_view", new_view)  # noqa: B010
    cli.app(arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
