"""Tests of how a command tells what it does, and of what is told to those that write a file at its end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from mover.cli.options import OutputFormat
from mover.cli.telling import Telling
from mover.directory.files import FileError
from mover.errors import RefusedError, StoppedError, UsageError
from mover.events import Event, Noted
from mover.models import MoveReport
from mover.report import Ending

REPORT = MoveReport(source="here", target="there", namespace="ns")


@pytest.fixture(autouse=True)
def no_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the settings of the log as they are."""
    monkeypatch.setattr("mover.cli.telling.set_up_logging", lambda *_: None)


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


JSON = Telling(output=OutputFormat.JSON)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert all(line.pop("time").endswith("Z") for line in lines)
    return lines


def test_programs_are_told_events_and_then_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    with JSON.begun() as teller:
        with teller.watching() as listener:
            listener(Noted("one"))
        teller.report(REPORT, ["for people"])
        teller.show(["for people"])
    first, last = told(capsys)
    assert first == {"type": "note", "text": "one"}
    assert (last["type"], last["kind"], last["report"]["source"]) == ("report", "move", "here")


@pytest.mark.parametrize(
    ("error", "exit_code", "name"),
    [
        (StoppedError("It stopped", "Go on"), 4, "StoppedError"),
        (UsageError("No such flag"), 2, "UsageError"),
        (KeyboardInterrupt(), 4, "KeyboardInterrupt"),
    ],
)
def test_programs_are_told_an_error_once_and_the_program_leaves_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, exit_code: int, name: str
) -> None:
    with pytest.raises(typer.Exit) as left, JSON.begun():
        raise error
    assert left.value.exit_code == exit_code
    (line,) = told(capsys)
    assert (line["type"], line["error"], line["exit_code"]) == ("error", name, exit_code)
    assert line["text"]


def test_a_fault_of_our_own_is_told_to_programs_and_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), JSON.begun():
        raise ZeroDivisionError("ours")
    assert told(capsys)[0]["exit_code"] == 1


def test_leaving_with_an_exit_code_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    def half_done() -> None:
        with JSON.begun() as teller:
            teller.report(REPORT, [])
            raise typer.Exit(4)

    with pytest.raises(typer.Exit):
        half_done()
    assert [line["type"] for line in told(capsys)] == ["report"]


@pytest.mark.parametrize("place", ["nowhere/file", "."])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path: Path, place: str) -> None:
    with (
        pytest.raises(UsageError, match=re.escape(f"--metrics-file: {tmp_path / place} cannot be written")),
        Telling(metrics_file=tmp_path / place).begun(),
    ):
        pytest.fail("it has begun")


def test_metrics_are_written_whatever_comes_of_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(StoppedError), Telling(metrics_file=file).begun():
        raise StoppedError("It stopped", "Go on")
    assert "capi_mover_exit_code 4.0" in file.read_text()


def test_a_file_that_cannot_be_written_in_the_end_changes_nothing_about_what_was_done(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Ending) -> None:
        raise FileError(Path("file"), "written", OSError("full"))

    monkeypatch.setattr(kept, "end", fail)
    with Telling().begun() as teller:
        teller.report(REPORT, [])
    assert caplog.messages == ["file could not be written: full"]
