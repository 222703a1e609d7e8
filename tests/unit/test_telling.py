"""Tests of how a command tells what it does, and of what is told to those that write a file at its end."""

from __future__ import annotations

import pytest
import typer

from mover.cli.telling import Telling
from mover.errors import RefusedError, StoppedError
from mover.events import Event, Noted
from mover.models import MoveReport
from mover.report import Ending

REPORT = MoveReport(source="here", target="there", namespace="ns")


class Kept:
    """A keeper that keeps what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Event] = []
        self.endings: list[Ending] = []
        monkeypatch.setattr(Telling, "_keepers", lambda _: [self])

    def __call__(self, event: Event) -> None:
        """Keeps an event."""
        self.events.append(event)

    def end(self, ending: Ending) -> None:
        """Keeps the end."""
        self.endings.append(ending)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(monkeypatch)


def test_a_keeper_sees_all_events_and_the_reports_at_the_end(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    with Telling().begun() as teller:
        with teller.watching() as listener:
            listener(Noted("one"))
        teller.report(REPORT, ["for people"])
        assert kept.endings == []
    assert kept.events == [Noted("one")]
    assert kept.endings == [Ending((REPORT,), None, 0)]
    assert capsys.readouterr().out == "one\nfor people\n"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (StoppedError("It stopped", "Go on"), 4),
        (RefusedError([]), 3),
        (typer.Exit(4), 4),
        (KeyboardInterrupt(), 4),
        (ZeroDivisionError(), 1),
    ],
)
def test_a_keeper_is_told_of_the_end_however_it_comes(kept: Kept, error: BaseException, exit_code: int) -> None:
    with pytest.raises(type(error)), Telling().begun():
        raise error
    assert kept.endings == [Ending((), error, exit_code)]
