"""Events and results as text: plain lines, progress bars, the summary at the end.

Everything is written to the console that the command line hands in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from graph.unit import Unit
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
from mover.models import BackupReport, KindCount, MoveReport, Phase, RestoreReport, RollingReport
from mover.planning import Plan
from mover.record import Record
from mover.report.keeping import Ending, Keeper
from mover.scope import described, scope_of

_TITLES = {
    Phase.PREFLIGHT: "Checking both clusters",
    Phase.PAUSING: "Pausing the source",
    Phase.CREATING: "Creating on the target",
    Phase.VERIFYING: "Verifying the copies",
    Phase.DELETING: "Deleting from the source",
    Phase.RESUMING: "Resuming the target",
    Phase.CLAIMED: "Claiming both clusters",
    Phase.ROLLING_BACK: "Rolling back",
    Phase.DONE: "Done",
    Phase.SAVING: "Saving to the directory",
    Phase.RELEASING: "Resuming the source",
    Phase.LOADING: "Reading the directory",
}
_SHOWN_WAITS = 1
_WAIT_LINE_EVERY_S = 5.0
_OBJECTS_FROM = 1
_SHOWN_LEFT = 10

__all__ = [
    "BarView",
    "Ending",
    "Keeper",
    "LineView",
    "View",
    "rolling_summary",
    "status_lines",
    "summary",
    "unit_lines",
]


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
                return f"{_TITLES[phase]}" + (f" ({total} objects)" if total else "")
            case PhaseEnded(phase, seconds):
                return f"{_TITLES[phase]}: done in {seconds:.1f} s"
            case Waiting(subjects) if subjects and self._is_due():
                return "Waiting for " + _waits(subjects)
            case ObjectDone(_, subject, verb) if self._verbosity >= _OBJECTS_FROM:
                return f"  {verb} {subject}"
            case Noted(text):
                return text
            case InUnit(_, ObjectDone() | Waiting() as step):
                return self._line(step)
        return _unit_line(event)


def _unit_line(event: Event) -> str | None:
    match event:
        case RollingStarted(total):
            return f"Moving {total} units"
        case UnitStarted(unit, total):
            return f"{_capital(described(unit))}: {total} objects"
        case UnitEnded(unit, fate, seconds):
            return f"{_capital(described(unit))}: {fate} after {seconds:.1f} s"
    return None


class BarView:
    """One progress bar per phase, for terminals."""

    def __init__(self, console: Console, verbosity: int) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✔[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}[/]"),
            console=console,
        )
        self._lines = LineView(console, verbosity) if verbosity >= _OBJECTS_FROM else None
        self._tasks: dict[Phase, TaskID] = {}
        self._current = Phase.PREFLIGHT
        self._units: TaskID | None = None
        self._at_work: list[str] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Moves the bars on."""
        match event:
            case PhaseStarted(phase, total):
                self._current = phase
                self._tasks[phase] = self._progress.add_task(_TITLES[phase], total=total or None, note="")
            case PhaseEnded(phase, _):
                self._end(self._tasks[phase])
            case ObjectDone(phase, _, _) if phase in self._tasks:
                self._progress.advance(self._tasks[phase])
                self._print(event)
            case Waiting(subjects) if self._current in self._tasks:
                note = "waiting for " + _waits(subjects) if subjects else ""
                self._progress.update(self._tasks[self._current], note=note)
            case RollingStarted(total):
                self._units = self._progress.add_task("Moving units", total=total, note="")
            case UnitStarted(unit, _):
                self._at_work.append(unit)
                self._tell_units(advance=0)
            case UnitEnded(unit, _, _):
                self._at_work.remove(unit)
                self._tell_units(advance=1)
            case InUnit(_, ObjectDone() as step):
                self._print(step)
            case Noted(text):
                self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _tell_units(self, advance: int) -> None:
        if self._units is not None:
            self._progress.update(self._units, advance=advance, note=", ".join(map(described, self._at_work)))

    def _end(self, task_id: TaskID) -> None:
        task = next(task for task in self._progress.tasks if task.id == task_id)
        total = task.total or task.completed or 1
        self._progress.update(task_id, total=total, completed=total)

    def _print(self, event: Event) -> None:
        if self._lines:
            self._lines(event)


def _waits(subjects: Sequence[str]) -> str:
    shown = "; ".join(subjects[:_SHOWN_WAITS])
    more = len(subjects) - _SHOWN_WAITS
    return f"{shown} (and {more} more)" if more > 0 else shown


def summary(report: MoveReport) -> list[str | Table]:
    """Returns the summary of a finished move, to be printed one after the other."""
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("KIND")
    table.add_column("MOVED", justify="right")
    table.add_column("COPIED, KEPT", justify="right")
    moved, kept = _as_dict(report.moved), _as_dict(report.kept)
    for kind in sorted({*moved, *kept}):
        table.add_row(kind, str(moved.get(kind, "")), str(kept.get(kind, "")))
    what = described(scope_of(report.namespace, report.clusters))
    total = sum(moved.values()) + sum(kept.values())
    calls = sum(report.calls.values())
    took = f"It took {sum(report.seconds.values()):.1f} s; the objects were paused for {report.paused_s:.1f} s."
    used = f"{calls} API calls, {calls / max(1, total):.1f} per object, {report.retries} retried."
    lines: list[str | Table] = [
        "",
        f"Moved {what} from {report.source} to {report.target}: {total} objects, {report.verified} copies verified.",
        "",
        table,
        "",
        f"{took} {used}",
    ]
    return [*lines, *_left(report)]


def rolling_summary(report: RollingReport) -> list[str | Table]:
    """Returns the summary of a rolling move, to be printed one after the other."""
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("UNIT")
    table.add_column("FATE")
    table.add_column("OBJECTS", justify="right")
    table.add_column("PAUSED", justify="right")
    for unit in report.units:
        what = described(scope_of(unit.namespace, unit.clusters)) if unit.clusters else "all that was left"
        table.add_row(what, unit.fate, str(unit.objects or ""), f"{unit.paused_s:.1f} s" if unit.paused_s else "")
    moved = len(report.units) - len(report.failed)
    objects, calls = sum(unit.objects for unit in report.units), sum(report.calls.values())
    errors = [
        f"{_capital(described(scope_of(unit.namespace, unit.clusters)))}: {unit.error}"
        for unit in report.failed
        if unit.error
    ]
    again = ["Give the same command again once that is mended: it goes on with what has not moved."]
    return [
        "",
        f"{moved} of {len(report.units)} units moved from {report.source} to {report.target}: {objects} objects.",
        "",
        table,
        "",
        f"It took {report.seconds:.1f} s. {calls} API calls, {report.retries} retried.",
        *errors,
        *(again if report.failed else []),
    ]


def backup_summary(report: BackupReport) -> list[str | Table]:
    """Returns the summary of a backup."""
    state = "is still paused" if report.still_paused else f"was paused for {report.paused_s:.1f} s"
    return ["", f"Saved {report.objects} objects to {report.directory}; the source {state}."]


def restore_summary(report: RestoreReport) -> list[str | Table]:
    """Returns the summary of a restore."""
    there = f"; {report.used} were there already and were left as they are" if report.used else ""
    return ["", f"Restored {report.created} objects from {report.directory}{there}."]


def unit_lines(found: Sequence[Unit], plan: Plan) -> list[str]:
    """Returns what a dry run of a rolling move prints: the units in their order, and what goes at the end."""
    lines = ["This is a dry run: nothing is changed on any cluster.", f"{len(found)} units, in this order:"]
    for unit in found:
        shared = f", {len(unit.shared)} of them shared with others" if unit.shared else ""
        lines.append(f"  {described(scope_of(unit.namespace, unit.names))}: {len(unit.objects)} objects{shared}")
    own = frozenset[str]().union(*(unit.objects for unit in found))
    rest = sum(obj.uid not in own for obj in plan.selection.selected)
    return [*lines, f"{rest} objects belong to no unit" + ("." if plan.rules.clusters else ": they move at the end.")]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _as_dict(counts: Sequence[KindCount]) -> dict[str, int]:
    return {entry.kind: entry.count for entry in counts}


def _left(report: MoveReport) -> list[str]:
    if not report.left:
        return []
    shown = [f"  {left.object}: {left.reason}" for left in report.left[:_SHOWN_LEFT]]
    more = len(report.left) - len(shown)
    tail = [f"  … and {more} more"] if more else []
    return [f"Stayed on the source ({len(report.left)}):", *shown, *tail]


def status_lines(records: Sequence[Record]) -> list[str]:
    """Returns what `capi-mover status` prints: a paragraph per move, with the command to go on with."""
    if not records:
        return ["No move is under way."]
    lines = []
    for record in records:
        what = described(record.scope)
        lines += [
            f"{_capital(what)}: move {record.id} of {record.objects} objects, phase {record.phase}",
            f"  from {record.source.context} to {record.target.context}, since {record.started}",
            f"  worked on by {record.holder}",
            f"  next: {_next_command(record)}",
        ]
    return lines


def _next_command(record: Record) -> str:
    flags = f"--kubeconfig-context {record.source.context} --to-kubeconfig-context {record.target.context}"
    scope = f" -n {record.namespace}" if record.namespace else " --all-namespaces"
    scope += "".join(f" --cluster {name}" for name in record.clusters)
    if record.is_rolling_back:
        return f"capi-mover rollback {flags}{scope}"
    forward = f"capi-mover resume {flags}{scope}"
    return forward if record.is_committed else f"{forward}, or: capi-mover rollback {flags}{scope}"
