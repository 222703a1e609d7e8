"""How long each phase takes, and telling the listener when phases begin and end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graph.resource import Object
from mover.events import Listener, ObjectDone, PhaseEnded, PhaseStarted
from mover.models import Phase


class Clock:
    """Measures phases.

    Attributes:
        seconds: Duration of each phase that has ended, in seconds.
    """

    def __init__(self, listener: Listener) -> None:
        self.seconds: dict[Phase, float] = {}
        self._listener = listener
        self._started = time.monotonic()

    @contextmanager
    def phase(self, phase: Phase, total: int = 0) -> Iterator[None]:
        """Tells the listener that a phase of `total` objects begins, and when its body has ended."""
        self._listener(PhaseStarted(phase, total))
        started = time.monotonic()
        yield
        self.seconds[phase] = time.monotonic() - started
        self._listener(PhaseEnded(phase, self.seconds[phase]))

    def counter(self, phase: Phase, verb: str) -> Callable[[Object], None]:
        """Returns a function that tells the listener of an object that is done."""

        def count(obj: Object) -> None:
            self._listener(ObjectDone(phase, str(obj.key), verb))

        return count

    def elapsed(self) -> float:
        """Returns the seconds since the clock was made."""
        return time.monotonic() - self._started
