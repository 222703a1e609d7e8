"""When what happened, as rows with bars: phases, pause windows, units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mover.chronicle import Chronicle, PhaseSpan, Window, windows
from mover.models import Phase, RollingReport, UnitFate
from mover.page.words import without_values
from mover.scope import clusters_of, described, scope_of

_TICKS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a row.

    Attributes:
        look: The phase, "paused", or one of these with "failed" behind it; the style sheet knows them.
        left: Where it begins, in percent of the whole time.
        width: How wide it is, in percent.
        text: What it is, in words.
    """

    look: str
    left: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the timeline.

    Attributes:
        name: What happened.
        scope: What it happened to.
        state: How it ended.
        is_bad: Whether that is no success.
        objects: How many objects it was about; "" if none.
        began: When, "" if never.
        took: How long.
        paused: For how long the objects were paused; "" if that is no question.
        bars: What is drawn.
        error: Why it was no success.
    """

    name: str
    scope: str
    state: str
    is_bad: bool = False
    objects: str = ""
    began: str = ""
    took: str = ""
    paused: str = ""
    bars: tuple[Bar, ...] = ()
    error: str = ""


def shown(seconds: float) -> str:
    """Returns a duration for people.

    >>> shown(0.31), shown(75.0)
    ('0.31 s', '1 min 15 s')
    """
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def ticks(chronicle: Chronicle) -> tuple[str, ...]:
    """Returns the times below the axis, equally far from each other."""
    return tuple(shown(chronicle.seconds * tick / _TICKS) for tick in range(_TICKS + 1))


def phase_rows(chronicle: Chronicle) -> tuple[Row, ...]:
    """Returns the phases of everything that is no unit, each move's followed by its pause window."""
    spans = [span for span in chronicle.phases if not span.of_unit]
    rows = []
    for scope in dict.fromkeys(span.scope for span in spans):
        of_scope = [span for span in spans if span.scope == scope]
        rows += [_phase_row(span, chronicle.seconds) for span in of_scope]
        rows += [_window_row(window, chronicle.seconds) for window in windows(of_scope).values()]
    return tuple(rows)


def unit_rows(chronicle: Chronicle, planned: Iterable[str], reports: Sequence[RollingReport]) -> tuple[Row, ...]:
    """Returns the units of a rolling move: those that were begun in the order of that, then the others.

    Args:
        chronicle: What happened when.
        planned: The scopes of the units that were to be moved.
        reports: What became of them.
    """
    known = {scope_of(unit.namespace, unit.clusters): unit for report in reports for unit in report.units}
    begun = {span.scope: span for span in chronicle.units}
    phases = [span for span in chronicle.phases if span.of_unit]
    paused = windows(phases)
    rows = []
    for scope in dict.fromkeys((*begun, *known, *planned)):
        fate = known[scope].fate if scope in known else begun[scope].fate if scope in begun else None
        row = Row(
            name=unit_name(scope),
            scope=scope,
            state=_state(fate, was_begun=scope in begun),
            is_bad=fate is not UnitFate.MOVED,
            error=without_values(known[scope].error) if scope in known else "",
        )
        if span := begun.get(scope):
            window = paused.get(scope)
            of_unit = [phase for phase in phases if phase.scope == scope]
            row = replace(
                row,
                objects=str(span.total),
                began=shown(span.started_s),
                took=shown(span.ended_s - span.started_s),
                paused="" if window is None else _length(window),
                bars=tuple(_unit_bars(of_unit, window, chronicle.seconds)),
            )
        rows.append(row)
    return tuple(rows)


def unit_name(scope: str) -> str:
    """Returns what people call a unit."""
    return described(scope) if clusters_of(scope) else f"{described(scope)}: what was left"


def _state(fate: UnitFate | None, *, was_begun: bool) -> str:
    if fate is None:
        return "stopped" if was_begun else "not begun"
    return fate.value.replace("-", " ")


def _phase_row(span: PhaseSpan, total_s: float) -> Row:
    return Row(
        name=_title(span.phase),
        scope=span.scope,
        state="done" if span.has_ended else "not finished",
        is_bad=not span.has_ended,
        objects=_objects(span),
        began=shown(span.started_s),
        took=shown(span.seconds),
        bars=(_phase_bar(span, total_s),),
    )


def _window_row(window: Window, total_s: float) -> Row:
    return Row(
        name="Paused",
        scope=window.scope,
        state="resumed" if window.is_over else "not resumed by this run",
        is_bad=not window.is_over,
        began=shown(window.started_s),
        took=_length(window),
        bars=(_window_bar(window, total_s),),
    )


def _length(window: Window) -> str:
    return shown(window.seconds) + ("" if window.is_over else " so far")


def _window_bar(window: Window, total_s: float) -> Bar:
    return _bar("paused", window.started_s, window.ended_s, total_s, f"Paused for {_length(window)}")


def _unit_bars(phases: Iterable[PhaseSpan], window: Window | None, total_s: float) -> Iterator[Bar]:
    if window is not None:
        yield _window_bar(window, total_s)
    for span in phases:
        yield _phase_bar(span, total_s)


def _phase_bar(span: PhaseSpan, total_s: float) -> Bar:
    look = span.phase.value + ("" if span.has_ended else " failed")
    state = "" if span.has_ended else ", not finished"
    text = f"{_title(span.phase)}: {shown(span.seconds)}{state}"
    return _bar(look, span.started_s, span.ended_s, total_s, text)


def _bar(look: str, started_s: float, ended_s: float, total_s: float, text: str) -> Bar:
    whole = total_s or 1.0
    return Bar(look, round(100 * started_s / whole, 3), round(100 * (ended_s - started_s) / whole, 3), text)


def _title(phase: Phase) -> str:
    return phase.value.replace("-", " ").capitalize()


def _objects(span: PhaseSpan) -> str:
    if span.phase is Phase.PAUSING:
        # Its total is of what moves; what is below a paused owner needs no pause of its own.
        return str(span.done or "")
    if not span.has_ended and span.total:
        return f"{span.done} of {span.total}"
    return str(span.done or span.total or "")
