"""What happened when: the events of a move with their times, for pages and metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mover.events import (
    Event,
    InUnit,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    Planned,
    Step,
    Traffic,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.models import Phase, UnitFate

_SHOWN_WAITS = 5
_RESUMES = frozenset({Phase.RESUMING, Phase.ROLLING_BACK, Phase.RELEASING})
_PAUSED_IN = _RESUMES | {Phase.PAUSING, Phase.CREATING, Phase.VERIFYING, Phase.DELETING, Phase.SAVING}
_AFTERWARDS = frozenset({Phase.ROLLING_BACK, Phase.RELEASING})
"""Of these alone nobody knows whether, or since when, anything was paused."""


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase of a move, or of a unit of a rolling one. Times are in seconds since the chronicle began.

    Attributes:
        scope: What was moved.
        of_unit: Whether that is a unit of a rolling move.
        phase: The phase.
        started_s: When it began.
        ended_s: When it ended, or was given up.
        has_ended: Whether it came to its end.
        total: How many objects were to be worked on, 0 if that was not known.
        done: How many were.
    """

    scope: str
    of_unit: bool
    phase: Phase
    started_s: float
    ended_s: float
    has_ended: bool
    total: int
    done: int

    @property
    def seconds(self) -> float:
        """Returns how long it took."""
        return self.ended_s - self.started_s


@dataclass(frozen=True, slots=True)
class UnitSpan:
    """A unit of a rolling move; `fate` is None if it was on its way when the chronicle ended."""

    scope: str
    started_s: float
    ended_s: float
    total: int
    fate: UnitFate | None


@dataclass(frozen=True, slots=True)
class Window:
    """From the first to the last phase in which objects are paused.

    Attributes:
        scope: What was moved.
        of_unit: Whether that is a unit of a rolling move.
        started_s: When the first of these phases began.
        ended_s: When the last of them ended, or was given up.
        is_over: Whether the last one was to resume the objects, and did.
    """

    scope: str
    of_unit: bool
    started_s: float
    ended_s: float
    is_over: bool

    @property
    def seconds(self) -> float:
        """Returns how long it was."""
        return self.ended_s - self.started_s


@dataclass(frozen=True, slots=True)
class Wait:
    """What was waited for: the first objects as they were told last, and how many more there were."""

    started_s: float
    ended_s: float
    subjects: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Note:
    """What the operator was told, and when."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Chronicle:
    """A move from its first event to its end.

    Attributes:
        begun: When it began.
        seconds: How long it took, in seconds.
        phases: In the order in which they ended.
        units: In the order in which they began.
        waits: In the order in which they ended.
        notes: In their order.
        traffic: What was asked of each cluster, summed up.
    """

    begun: datetime
    seconds: float
    phases: tuple[PhaseSpan, ...] = ()
    units: tuple[UnitSpan, ...] = ()
    waits: tuple[Wait, ...] = ()
    notes: tuple[Note, ...] = ()
    traffic: tuple[Traffic, ...] = ()


@dataclass
class _Open:
    """A phase that is under way."""

    phase: Phase
    started_s: float
    total: int
    done: int = 0


@dataclass
class _Line:
    """What is under way of a move of its own, or of a unit."""

    phase: _Open | None = None
    waiting_since_s: float = 0.0
    waits: tuple[str, ...] = field(default=())


class Chronicler:
    """A listener that takes note of what happens when; of the objects themselves it keeps nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns the seconds since some moment."""
        self._begun = datetime.now(UTC)
        self._clock = clock
        self._started = clock()
        self._scope = ""
        self._lines: dict[str | None, _Line] = {}
        self._phases: list[PhaseSpan] = []
        self._units: dict[str, UnitSpan] = {}
        self._waits: list[Wait] = []
        self._notes: list[Note] = []
        self._traffic: dict[str, Traffic] = {}

    def __call__(self, event: Event) -> None:
        """Takes note of an event."""
        match event:
            case InUnit(unit, step):
                self._step(unit, step)
            case Planned(scope):
                self._scope = scope
            case UnitStarted(unit, total):
                now = self._now()
                self._units[unit] = UnitSpan(unit, now, now, total, None)
            case UnitEnded(unit, fate, _):
                self._give_up(unit)
                begun = self._units[unit]
                self._units[unit] = UnitSpan(unit, begun.started_s, self._now(), begun.total, fate)
            case Noted(text):
                self._notes.append(Note(self._now(), text))
            case Traffic(cluster, calls, retries):
                known = self._traffic.get(cluster, Traffic(cluster, {}, 0))
                summed = Counter(known.calls) + Counter(calls)
                self._traffic[cluster] = Traffic(cluster, dict(sorted(summed.items())), known.retries + retries)
            case PhaseStarted() | PhaseEnded() | ObjectDone() | Waiting():
                self._step(None, event)

    def chronicle(self) -> Chronicle:
        """Returns what happened; what is under way now has not come to its end."""
        now = self._now()
        for unit in self._lines:
            self._give_up(unit)
        units = (
            UnitSpan(span.scope, span.started_s, now, span.total, None) if span.fate is None else span
            for span in self._units.values()
        )
        return Chronicle(
            begun=self._begun,
            seconds=now,
            phases=tuple(self._phases),
            units=tuple(units),
            waits=tuple(self._waits),
            notes=tuple(self._notes),
            traffic=tuple(self._traffic[cluster] for cluster in sorted(self._traffic)),
        )

    def _now(self) -> float:
        return self._clock() - self._started

    def _step(self, unit: str | None, step: Step) -> None:
        line = self._lines.setdefault(unit, _Line())
        match step:
            case PhaseStarted(phase, total):
                self._give_up(unit)
                line.phase = _Open(phase, self._now(), total)
            case ObjectDone(phase) if line.phase is not None and line.phase.phase is phase:
                line.phase.done += 1
            case PhaseEnded():
                self._close(unit, line, has_ended=True)
            case Waiting(subjects):
                self._wait(line, subjects)

    def _give_up(self, unit: str | None) -> None:
        """Closes a phase that has not come to its end: it has failed."""
        self._close(unit, self._lines.setdefault(unit, _Line()), has_ended=False)

    def _close(self, unit: str | None, line: _Line, *, has_ended: bool) -> None:
        self._wait(line, ())
        if line.phase is None:
            return
        begun, line.phase = line.phase, None
        self._phases.append(
            PhaseSpan(
                scope=self._scope if unit is None else unit,
                of_unit=unit is not None,
                phase=begun.phase,
                started_s=begun.started_s,
                ended_s=self._now(),
                has_ended=has_ended,
                total=begun.total,
                done=begun.done,
            )
        )

    def _wait(self, line: _Line, subjects: tuple[str, ...]) -> None:
        if line.waits and not subjects:
            shown = line.waits[:_SHOWN_WAITS]
            self._waits.append(Wait(line.waiting_since_s, self._now(), shown, len(line.waits) - len(shown)))
        if subjects and not line.waits:
            line.waiting_since_s = self._now()
        line.waits = subjects


def windows(phases: Iterable[PhaseSpan]) -> Mapping[str, Window]:
    """Returns the pause window of each move or unit that had one, by its scope."""
    paused: dict[str, list[PhaseSpan]] = {}
    for span in phases:
        if span.phase in _PAUSED_IN:
            paused.setdefault(span.scope, []).append(span)
    return {
        scope: Window(
            scope,
            spans[-1].of_unit,
            min(span.started_s for span in spans),
            max(span.ended_s for span in spans),
            spans[-1].phase in _RESUMES and spans[-1].has_ended,
        )
        for scope, spans in paused.items()
        if not _AFTERWARDS.issuperset(span.phase for span in spans)
    }
