"""What a move tells while it runs: values, handed to a function of the caller.

The library never prints. `mover.report` turns events into lines or bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graph.order import Order
from graph.selection import Selection
from graph.unit import Unit
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
class Planned:
    """What is to be moved was decided; told again when a move ends, with what has come to it on the way.

    The objects themselves are in it: who keeps it keeps all of them in memory.

    Attributes:
        scope: What is moved, as `mover.scope` writes it.
        source: Context name of the source.
        target: Context name of the target.
        selection: Every object's fate with its reason.
        creation: The order of creation on the target.
        deletion: The order of deletion on the source.
        units: The units of a rolling move.
    """

    scope: str
    source: str
    target: str
    selection: Selection
    creation: Order
    deletion: Order
    units: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True)
class Noted:
    """Something the operator should know; the move goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class MoveFound(Noted):
    """A move that was interrupted is about to be finished or undone; told before anything is done about it.

    Attributes:
        command: What is done: "resume" or "rollback".
        id: Names the move.
        scope: What it moves, as `mover.scope` writes it.
        phase: The phase it is in.
        holder: Who has last worked on it.
        started: Since when (RFC 3339, the clock of the mover that began it).
        will: What is about to be done, in words.
    """

    command: str
    id: str
    scope: str
    phase: Phase
    holder: str
    started: str
    will: str


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


Event = Step | Planned | RollingStarted | UnitStarted | InUnit | UnitEnded | Noted | Traffic
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drops an event: the listener of those who do not want any."""
    del event
