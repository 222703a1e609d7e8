"""A move as a page: what came of it, when what happened, and the graph with the fate of every object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import orjson

from mover.chronicle import Chronicle, windows
from mover.errors import Difference, MoverError, Problem, RefusedError, StoppedError, UsageError, VerificationError
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import KindCount, MoveReport, Phase, RollingReport
from mover.page.drawing import Drawn
from mover.page.template import filled
from mover.page.timeline import Row, phase_rows, shown, ticks, unit_rows
from mover.page.words import Tense, without_values
from mover.scope import described, scope_of

_SHOWN_DIFFERENCES = 200

Reports = Sequence[MoveReport | RollingReport]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, without a value of any field.

    Attributes:
        text: What happened.
        remedy: What to do, if possible as a command.
        problems: What the preflight found.
        differences: Fields that were not the same on both sides.
        more: How many differences there were beside these.
    """

    text: str
    remedy: str = ""
    problems: tuple[Problem, ...] = ()
    differences: tuple[Difference, ...] = ()
    more: int = 0


def report_page(
    chronicle: Chronicle, graphs: Sequence[Drawn], reports: Reports, error: BaseException | None = None
) -> str:
    """Returns the HTML of a page that tells of a move; it loads nothing, and holds no content of any object.

    Args:
        chronicle: What happened when.
        graphs: What was to be moved.
        reports: What was done; none if the move failed before its end, several for several namespaces.
        error: What it failed with, None if it did not.
    """
    moves = [report for report in reports if isinstance(report, MoveReport)]
    rolling = [report for report in reports if isinstance(report, RollingReport)]
    units = unit_rows(chronicle, [scope for graph in graphs for scope in graph.units], rolling)
    is_good, result = _result(chronicle, units, error)
    return filled(
        "report.html",
        {"graphs": _graphs(graphs, moves), "units": _units(units)},
        title=f"Move of {_what(graphs, reports)}",
        is_good=is_good,
        result=result,
        failure=None if error is None else failure_of(error),
        facts=_facts(chronicle, [*reports, *graphs], units),
        ticks=ticks(chronicle),
        phases=phase_rows(chronicle),
        units=units,
        looks=[phase for phase in Phase if phase in {span.phase for span in chronicle.phases if span.of_unit}],
        several=len(graphs) > 1,
        kinds=_kinds(moves),
        verified=sum(report.verified for report in moves),
        traffic=chronicle.traffic,
        verbs=sorted({verb for asked in chronicle.traffic for verb in asked.calls}),
        waits=[(wait, shown(wait.started_s), shown(wait.ended_s - wait.started_s)) for wait in chronicle.waits],
        notes=[(shown(note.at_s), without_values(note.text)) for note in chronicle.notes],
    )


def failure_of(error: BaseException) -> Failure:
    """Returns what is told of an error."""
    remedy = error.remedy if isinstance(error, MoverError) else ""
    if isinstance(error, RefusedError):
        found = "The preflight found problems; nothing was changed on either cluster."
        return Failure(found, remedy, tuple(error.problems))
    text = error.what if isinstance(error, UsageError | StoppedError) else str(error) or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        text = "Stopped by Ctrl-C"
    unequal = [one for cause in _causes(error) if isinstance(cause, VerificationError) for one in cause.differences]
    return Failure(
        without_values(text),
        remedy,
        differences=tuple(unequal[:_SHOWN_DIFFERENCES]),
        more=len(unequal[_SHOWN_DIFFERENCES:]),
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    """Returns the error and what it came of, the last first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__
    return found


def _what(graphs: Sequence[Drawn], reports: Reports) -> str:
    """Returns what was moved, in words."""
    told = [scope_of(report.namespace, getattr(report, "clusters", ())) for report in reports]
    scopes = told or [graph.scope for graph in graphs]
    return "; ".join(map(described, dict.fromkeys(scopes))) or "what could not be found out"


def _result(chronicle: Chronicle, units: Sequence[Row], error: BaseException | None) -> tuple[bool, str]:
    """Returns whether it went well, and what came of it in one line."""
    bad = sum(unit.is_bad for unit in units)
    if error is None and not bad:
        return True, f"Moved in {shown(chronicle.seconds)}"
    if error is None:
        return False, f"{len(units) - bad} of {len(units)} units moved"
    names = {
        RefusedError: "Refused: nothing was changed",
        RolledBackError: "Rolled back: the source is as it was",
        InterruptedMoveError: "Stopped on its way",
    }
    found = (name for cause in _causes(error) for kind, name in names.items() if isinstance(cause, kind))
    return False, next(found, "Failed")


def _facts(
    chronicle: Chronicle, told: Sequence[MoveReport | RollingReport | Drawn], units: Sequence[Row]
) -> list[tuple[str, str]]:
    """Returns what is to be known first, as names and values; `told` is all that names both clusters."""
    moves = [report for report in told if isinstance(report, MoveReport)]
    of_units = windows(span for span in chronicle.phases if span.of_unit).values()
    facts = {
        "From": told[0].source if told else "not known",
        "To": told[0].target if told else "not known",
        "Begun": chronicle.begun.isoformat(sep=" ", timespec="seconds"),
        "Took": shown(chronicle.seconds),
        "Paused": ", ".join(shown(report.paused_s) for report in moves),
        "Longest pause": shown(max(one.seconds for one in of_units)) if of_units else "",
        "Units": f"{sum(not unit.is_bad for unit in units)} of {len(units)} moved" if units else "",
        "Program": f"capi-mover {version('capi-mover')}",
    }
    return [(name, value) for name, value in facts.items() if value]


def _kinds(moves: Sequence[MoveReport]) -> list[tuple[str, int, int]]:
    """Returns how many objects of each kind moved, and were copied and kept; the last line is the sum."""
    moved, kept = _sums(_counts(one.moved) for one in moves), _sums(_counts(one.kept) for one in moves)
    rows = [(kind, moved[kind], kept[kind]) for kind in sorted({*moved, *kept})]
    return [*rows, ("all", moved.total(), kept.total())] if rows else []


def _counts(entries: Iterable[KindCount]) -> dict[str, int]:
    return {entry.kind: entry.count for entry in entries}


def _sums(counts: Iterable[dict[str, int]]) -> Counter[str]:
    found = Counter[str]()
    for one in counts:
        found.update(one)
    return found


def _graphs(graphs: Sequence[Drawn], moves: Sequence[MoveReport]) -> list[dict[str, Any]]:
    done = {scope_of(report.namespace, report.clusters) for report in moves}
    return [
        {
            "scope": graph.scope,
            "tense": Tense.DONE if graph.scope in done else Tense.NOT_DONE,
            "graph": orjson.Fragment(graph.data),
        }
        for graph in graphs
    ]


def _units(units: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns what the program has to know of units; objects that belong to none have the tense of their graph."""
    return [
        {
            "scope": unit.scope,
            "name": unit.name,
            "state": unit.state,
            "tense": Tense.NOT_DONE if unit.is_bad else Tense.DONE,
        }
        for unit in units
    ]
