"""Tests of what the operator reads: lines, bars, the summary."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

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
from mover.models import KindCount, LeftObject, MoveReport, Phase, UnitFate
from mover.report import BarView, LineView, View, summary


def plain() -> Console:
    return Console(file=io.StringIO(), width=200)


def terminal() -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def lines(*events: Event, verbosity: int = 0) -> list[str]:
    console = plain()
    with LineView(console, verbosity) as view:
        for event in events:
            view(event)
    return text(console).splitlines()


def bars(*events: Event, verbosity: int = 0) -> str:
    console = terminal()
    with BarView(console, verbosity) as view:
        for event in events:
            view(event)
    return text(console)


def last_frame(*events: Event) -> list[str]:
    """Returns the lines that are on the screen in the end."""
    console = terminal()
    with BarView(console, 0) as view:
        for event in events:
            view(event)
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().rpartition("\x1b[2K")[2]
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).splitlines()


CREATED = ObjectDone(Phase.CREATING, "Machine ns/m", "created")


def test_each_phase_is_a_line_when_it_starts_and_one_when_it_ends() -> None:
    assert lines(PhaseStarted(Phase.CREATING, 3), PhaseEnded(Phase.CREATING, 1.26)) == [
        "Creating on the target (3 objects)",
        "Creating on the target: done in 1.3 s",
    ]
    assert lines(PhaseStarted(Phase.PREFLIGHT)) == ["Checking both clusters"]


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_a_title(phase: Phase) -> None:
    assert lines(PhaseStarted(phase))[0]
    assert bars(PhaseStarted(phase), PhaseEnded(phase, 0.0))


def test_objects_are_lines_only_if_they_were_asked_for() -> None:
    assert lines(CREATED) == []
    assert lines(CREATED, verbosity=1) == ["  created Machine ns/m"]


def test_a_note_is_always_a_line() -> None:
    assert lines(Noted("mind this")) == ["mind this"]


def test_a_wait_is_told_at_once_with_the_first_object_and_the_number_of_others() -> None:
    assert lines(Waiting(("Host ns/a: blocked",))) == ["Waiting for Host ns/a: blocked"]
    assert lines(Waiting(("a", "b", "c"))) == ["Waiting for a (and 2 more)"]
    assert lines(Waiting(())) == []


def test_a_wait_that_goes_on_is_told_every_few_seconds_and_not_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[float] = iter([100.0, 101.0, 104.9, 105.0])
    monkeypatch.setattr("mover.report.lines.time.monotonic", lambda: next(clock))
    assert lines(*(Waiting((name,)) for name in "abcd")) == ["Waiting for a", "Waiting for d"]


def test_what_looks_like_markup_is_printed_as_it_is_and_long_lines_are_not_broken() -> None:
    note = "[red]x[/red] " + "y" * 300
    assert lines(Noted(note)) == [note]


def test_a_bar_counts_the_objects_of_its_phase() -> None:
    shown = bars(PhaseStarted(Phase.CREATING, 3), CREATED, CREATED)
    assert "Creating on the target" in shown
    assert "2/3" in shown


def test_a_bar_is_full_when_its_phase_has_ended() -> None:
    assert "3/3" in bars(PhaseStarted(Phase.CREATING, 3), CREATED, PhaseEnded(Phase.CREATING, 1.0))
    assert "1/1" in bars(PhaseStarted(Phase.PREFLIGHT), PhaseEnded(Phase.PREFLIGHT, 1.0))


def test_a_bar_shows_what_is_waited_for_until_the_wait_is_over() -> None:
    started = PhaseStarted(Phase.PAUSING, 1)
    assert "0:00 Waiting for a (and 1 more)" in bars(started, Waiting(("a", "b")))
    assert len(last_frame(started, Waiting(("a", "b")))) == 2
    assert len(last_frame(started, Waiting(("a", "b")), Waiting(()))) == 1


def test_an_object_of_a_phase_without_a_bar_is_no_failure() -> None:
    assert "Pausing" in bars(PhaseStarted(Phase.PAUSING), CREATED)


def test_bars_print_objects_only_if_they_were_asked_for() -> None:
    started = PhaseStarted(Phase.CREATING, 3)
    assert "created Machine ns/m" not in bars(started, CREATED)
    assert "created Machine ns/m" in bars(started, CREATED, verbosity=1)


UNITS = (
    RollingStarted(2),
    UnitStarted("ns/a", 3),
    UnitStarted("ns/b", 3),
    InUnit("ns/a", PhaseStarted(Phase.CREATING, 3)),
    InUnit("ns/a", CREATED),
)


def test_a_unit_at_work_has_a_bar_with_its_phase() -> None:
    all_units, first, second = last_frame(*UNITS, InUnit("ns/b", PhaseStarted(Phase.VERIFYING)))
    assert "Moving units" in all_units
    assert "Cluster a of namespace ns: Creating on the target" in first
    assert "1/3" in first
    assert "Cluster b of namespace ns: Verifying the copies" in second
    assert "0/?" in second


def test_the_bar_of_a_unit_begins_anew_with_each_phase_and_goes_when_it_has_ended() -> None:
    next_phase = (InUnit("ns/a", PhaseEnded(Phase.CREATING, 1.0)), InUnit("ns/a", PhaseStarted(Phase.DELETING, 5)))
    _, first, _ = last_frame(*UNITS, *next_phase)
    assert "Cluster a of namespace ns: Deleting from the source" in first
    assert "0/5" in first
    ended = UnitEnded("ns/a", UnitFate.MOVED, 2.0)
    assert "Cluster a of namespace ns: moved after 2.0 s" in bars(*UNITS, ended)
    all_units, second = last_frame(*UNITS, ended)
    assert "1/2" in all_units
    assert "Cluster b" in second


def test_what_two_units_wait_for_is_shown_for_each_until_its_wait_is_over() -> None:
    waiting = (InUnit("ns/a", Waiting(("x",))), InUnit("ns/b", Waiting(("y",))))
    both = ["  0:00 Cluster a of namespace ns: waiting for x", "  0:00 Cluster b of namespace ns: waiting for y"]
    assert last_frame(*UNITS, *waiting)[3:] == both
    assert last_frame(*UNITS, *waiting, InUnit("ns/a", Waiting(())))[3:] == both[1:]
    assert last_frame(*UNITS, *waiting, UnitEnded("ns/b", UnitFate.STOPPED, 1.0))[2:] == both[:1]


def test_a_step_of_a_unit_that_nobody_has_begun_is_no_failure() -> None:
    step = InUnit("ns/x", PhaseStarted(Phase.CREATING, 3))
    assert bars(step, InUnit("ns/x", CREATED), UnitEnded("ns/x", UnitFate.MOVED, 1.0))


def test_the_bars_of_the_next_move_of_a_series_take_the_place_of_those_before() -> None:
    one = (PhaseStarted(Phase.PREFLIGHT), PhaseEnded(Phase.PREFLIGHT, 1.0), PhaseStarted(Phase.PAUSING, 7))
    assert len(last_frame(*one)) == 2
    (again,) = last_frame(*one, PhaseStarted(Phase.PREFLIGHT))
    assert "Checking both clusters" in again


def test_the_phases_of_units_are_lines_only_if_they_were_asked_for() -> None:
    told = InUnit("ns/a", PhaseStarted(Phase.CREATING, 3))
    assert lines(told) == []
    assert lines(told, verbosity=1) == ["Cluster a of namespace ns: Creating on the target (3 objects)"]


@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_note_is_shown_on_a_terminal_too(verbosity: int) -> None:
    assert "mind this" in bars(PhaseStarted(Phase.PAUSING), Noted("mind this"), verbosity=verbosity)


@pytest.mark.parametrize("kind", [LineView, BarView])
def test_a_view_lets_errors_through(kind: type[Any]) -> None:
    view: View = kind(plain(), 0)
    with pytest.raises(RuntimeError, match="broken"), view:
        raise RuntimeError("broken")


REPORT = MoveReport(
    source="here",
    target="there",
    namespace="ns",
    moved=(KindCount(kind="Machine", count=3), KindCount(kind="Cluster", count=1)),
    kept=(KindCount(kind="ClusterClass", count=1), KindCount(kind="Machine", count=1)),
    seconds={Phase.PREFLIGHT: 0.5, Phase.CREATING: 1.5},
    paused_s=1.25,
    calls={"GET": 10, "POST": 5},
    retries=2,
    verified=6,
)


def printed(found: MoveReport) -> list[str]:
    console = plain()
    for part in summary(found):
        console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str))
    return [line.rstrip() for line in text(console).splitlines()]


def test_the_summary_says_what_moved_from_where_to_where() -> None:
    assert "Moved namespace ns from here to there: 6 objects, 6 copies verified." in printed(REPORT)
    everything = REPORT.model_copy(update={"namespace": ""})
    assert any(line.startswith("Moved all namespaces from here") for line in printed(everything))


def test_the_summary_counts_by_kind_sorted() -> None:
    (table,) = [part for part in summary(REPORT) if isinstance(part, Table)]
    rows = list(zip(*(list(column.cells) for column in table.columns), strict=True))
    assert rows == [("Cluster", "1", ""), ("ClusterClass", "", "1"), ("Machine", "3", "1")]


def test_the_summary_says_what_it_took() -> None:
    assert "It took 2.0 s; the objects were paused for 1.2 s. 15 API calls, 2.5 per object, 2 retried." in printed(
        REPORT
    )


def test_the_summary_of_a_move_of_nothing_divides_by_nothing() -> None:
    empty = MoveReport(source="a", target="b", namespace="ns", calls={"GET": 3})
    assert any("3 API calls, 3.0 per object" in line for line in printed(empty))


def test_the_summary_shows_ten_objects_that_stayed_and_counts_the_rest() -> None:
    left = tuple(LeftObject(object=f"Secret ns/s{number:02}", reason="why") for number in range(12))
    shown = printed(REPORT.model_copy(update={"left": left}))
    assert "Stayed on the source (12):" in shown
    assert "  Secret ns/s09: why" in shown
    assert "  Secret ns/s10: why" not in shown
    assert shown[-1] == "  … and 2 more"
    assert not any("Stayed" in line for line in printed(REPORT))
