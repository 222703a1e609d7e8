"""Events as plain lines, for everything that is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

from mover.events import (
    Event,
    InUnit,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    RollingStarted,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.report.titles import TITLES, unit_title, waits

OBJECTS_FROM = 1
"""The verbosity from which on each object is told."""

_WAIT_LINE_EVERY_S = 5.0


class View(Protocol):
    """Shows events while a move runs; a context manager around the move."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __call__(self, event: Event) -> None:
        """Shows an event."""


class LineView:
    """Plain lines, one per phase; with verbosity 1 and above one per object."""

    def __init__(self, console: Console, verbosity: int) -> None:
        self._console = console
        self._verbosity = verbosity
        self._next_wait_line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Prints the line of an event, if it has one."""
        text = self._line(event)
        if text:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _is_due(self) -> bool:
        """Returns whether a line on waiting may be printed: at once, then every few seconds."""
        now = time.monotonic()
        due = now >= self._next_wait_line
        if due:
            self._next_wait_line = now + _WAIT_LINE_EVERY_S
        return due

    def _line(self, event: Event) -> str | None:
        match event:
            case PhaseStarted(phase, total):
                return f"{TITLES[phase]}" + (f" ({total} objects)" if total else "")
            case PhaseEnded(phase, seconds):
                return f"{TITLES[phase]}: done in {seconds:.1f} s"
            case Waiting(subjects) if subjects and self._is_due():
                return "Waiting for " + waits(subjects)
            case ObjectDone(_, subject, verb) if self._verbosity >= OBJECTS_FROM:
                return f"  {verb} {subject}"
            case Noted(text):
                return text
            case InUnit(_, ObjectDone() | Waiting() as step):
                return self._line(step)
            case InUnit(unit, step) if self._verbosity >= OBJECTS_FROM:
                return f"{unit_title(unit)}: {self._line(step)}"
        return unit_line(event)


def unit_line(event: Event) -> str | None:
    """Returns the line of an event that is of a unit as a whole, None for all others."""
    match event:
        case RollingStarted(total):
            return f"Moving {total} units"
        case UnitStarted(unit, total):
            return f"{unit_title(unit)}: {total} objects"
        case UnitEnded(unit, fate, seconds):
            return f"{unit_title(unit)}: {fate} after {seconds:.1f} s"
    return None
