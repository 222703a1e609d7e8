"""Events as bars, for terminals: one for each phase, in a rolling move one for each unit at work."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from mover.events import (
    Event,
    InUnit,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    RollingStarted,
    Step,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.models import Phase
from mover.report.lines import OBJECTS_FROM, LineView, unit_line
from mover.report.titles import TITLES, unit_title, waits

_BAR_WIDTH = 20


class BarView:
    """Bars with the time that has passed and that is left; below them what is waited for, why, and how long already."""

    def __init__(self, console: Console, verbosity: int) -> None:
        self._bars = _Bars(console)
        self._lines = LineView(console, verbosity)
        self._objects_shown = verbosity >= OBJECTS_FROM
        self._phases: dict[Phase, TaskID] = {}
        self._units: dict[str, TaskID] = {}
        self._all_units: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Moves the bars on."""
        match event:
            case PhaseStarted(phase, total):
                self._begin(phase, total)
            case PhaseEnded(phase, _):
                self._fill(self._phases.get(phase))
            case ObjectDone(phase, _, _):
                self._count(self._phases.get(phase), event)
            case Waiting(subjects):
                self._bars.wait_for("", subjects)
            case InUnit(unit, step):
                self._move_unit_on(unit, step)
            case Noted():
                self._lines(event)
            case _:
                self._tell_units(event)

    def _begin(self, phase: Phase, total: int) -> None:
        if phase in self._phases:
            # Another move has begun; the bars of the one before make room.
            for task in self._phases.values():
                self._bars.remove_task(task)
            self._phases.clear()
        self._phases[phase] = self._bars.add_task(TITLES[phase], total=total or None)

    def _fill(self, task: TaskID | None) -> None:
        if task is not None:
            self._bars.fill(task)

    def _count(self, task: TaskID | None, event: ObjectDone) -> None:
        if task is not None:
            self._bars.advance(task)
        if self._objects_shown:
            self._lines(event)

    def _move_unit_on(self, unit: str, step: Step) -> None:
        task = self._units.get(unit)
        match step:
            case PhaseStarted(phase, total) if task is not None:
                title = f"  {unit_title(unit)}: {TITLES[phase]}"
                self._bars.update(task, description=title, total=total or None, completed=0, refresh=True)
            case PhaseEnded():
                self._fill(task)
            case ObjectDone():
                self._count(task, step)
            case Waiting(subjects):
                self._bars.wait_for(unit, subjects)

    def _tell_units(self, event: Event) -> None:
        match event:
            case RollingStarted(total):
                self._all_units = self._bars.add_task("Moving units", total=total)
            case UnitStarted(unit, _):
                self._units[unit] = self._bars.add_task(f"  {unit_title(unit)}", total=None)
            case UnitEnded(unit, _, _):
                self._bars.wait_for(unit, ())
                if unit in self._units:
                    self._bars.remove_task(self._units.pop(unit))
                if self._all_units is not None:
                    self._bars.advance(self._all_units)
                self._bars.console.print(unit_line(event), highlight=False, markup=False, soft_wrap=True)


class _Bars(Progress):
    """Bars, and below them a line for each wait."""

    def __init__(self, console: Console) -> None:
        self._waits: dict[str, tuple[float, str]] = {}
        plain = console.options.ascii_only
        super().__init__(
            SpinnerColumn("line" if plain else "dots", finished_text="+" if plain else "[green]✔[/]"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            MofNCompleteColumn(),
            _Times(),
            console=console,
            # What is logged goes above the bars if both are seen on the same screen, else to where it was sent.
            redirect_stderr=sys.stderr.isatty(),
        )

    def wait_for(self, unit: str, subjects: Sequence[str]) -> None:
        """Shows what a unit ("": the move) waits for, and since when; nothing without subjects."""
        waits_now = dict(self._waits)
        since, _ = waits_now.pop(unit, (self.get_time(), ""))
        if subjects:
            of_unit = f"{unit_title(unit)}: waiting" if unit else "Waiting"
            waits_now[unit] = (since, f"{of_unit} for {waits(subjects)}")
        is_new = waits_now.keys() != self._waits.keys()
        # Another thread draws them.
        self._waits = waits_now
        if is_new:
            self.refresh()

    def fill(self, task_id: TaskID) -> None:
        """Makes a bar full: its phase is over."""
        task = next(task for task in self.tasks if task.id == task_id)
        total = task.total or task.completed or 1
        self.update(task_id, total=total, completed=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yields the bars, then the waits."""
        yield self.make_tasks_table(self.tasks)
        for since, text in self._waits.values():
            line = f"  {_clock(self.get_time() - since)} {text}"
            yield Text(line, style="yellow", no_wrap=True, overflow="ellipsis")


class _Times(ProgressColumn):
    """The time that has passed, and that which is left as far as the pace tells."""

    def render(self, task: Task) -> Text:
        """Returns both as text."""
        passed = task.finished_time if task.finished else task.elapsed
        text = _clock(passed or 0.0)
        left_s = None if task.finished else task.time_remaining
        return Text(text if left_s is None else f"{text}, {_clock(left_s)} left", style="cyan", no_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
