"""What a move tells while it runs: plain values, handed to a function of the caller.

The library never prints. `mover.report` turns events into lines or bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mover.models import Phase, UnitFate


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A phase begins; `total` objects are to be worked on, 0 if that cannot be known."""

    phase: Phase
    total: int = 0


@dataclass(frozen=True, slots=True)
class ObjectDone:
    """One object of the phase is done."""

    phase: Phase
    subject: str
    verb: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the move waits for, one entry per object, and why; empty when the wait is over."""

    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """A phase is over after `seconds`."""

    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True)
class RollingStarted:
    """A rolling move of `total` units begins."""

    total: int


@dataclass(frozen=True, slots=True)
class UnitStarted:
    """A unit of `total` objects begins to move."""

    unit: str
    total: int


@dataclass(frozen=True, slots=True)
class UnitEnded:
    """A unit has ended after `seconds`."""

    unit: str
    fate: UnitFate
    seconds: float


@dataclass(frozen=True, slots=True)
class Noted:
    """Something the operator should know; the move goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was asked of one cluster, told when the connection to it is closed: also when the move has failed.

    Attributes:
        cluster: "source" or "target".
        calls: How many requests were sent to it, by HTTP method; tries again are counted, too.
        retries: How many of them were tries after a transient failure.
    """

    cluster: str
    calls: Mapping[str, int]
    retries: int


Step = PhaseStarted | ObjectDone | Waiting | PhaseEnded
"""What a move goes through, on its own or as a unit."""


@dataclass(frozen=True, slots=True)
class InUnit:
    """A step of one unit of a rolling move; the steps of several come mixed."""

    unit: str
    step: Step


Event = Step | RollingStarted | UnitStarted | InUnit | UnitEnded | Noted | Traffic
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drops an event: the listener of those who do not want any."""
    del event
