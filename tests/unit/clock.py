"""The clock that leases are judged by, in the hands of a test."""

from __future__ import annotations

import pytest

from mover.execute import lease_object
from mover.moment import sleepless_s


class Clock:
    """Goes on as the real one does, and jumps when it is told to: the machine was asleep."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def __call__(self) -> float:
        """Returns the seconds."""
        return sleepless_s() + self.slept_s

    def sleep(self, seconds: float) -> None:
        """Lets the machine have slept: no timer of the event loop knows of it."""
        self.slept_s += seconds


def install(patcher: pytest.MonkeyPatch) -> Clock:
    """Returns the clock of all movers of a test until the patcher is undone."""
    clock = Clock()
    patcher.setattr(lease_object, "sleepless_s", clock)
    return clock
