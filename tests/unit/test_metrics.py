"""Tests of the metrics of a run, read back with the parsers of those who collect them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

from mover.directory.files import FileError
from mover.errors import StoppedError
from mover.events import (
    Event,
    InUnit,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    RollingStarted,
    Traffic,
    UnitEnded,
    UnitStarted,
)
from mover.models import LeftObject, MoveReport, Phase, UnitFate
from mover.report import Ending
from mover.report.metrics import Metrics

DOCS = Path(__file__).parents[2] / "docs" / "output.md"
REPORT = MoveReport(
    source="here", target="there", namespace="ns", left=(LeftObject(object="Secret ns/loose", reason="why"),)
)
DONE = Ending((REPORT,), None, 0)
STOPPED = Ending((), StoppedError("It stopped", "Go on"), 4)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Clock:
    """A clock that stands still until it is moved on."""

    now_s = 100.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "capi-mover.prom"


def samples(file: Path, events: Iterable[Event], ending: Ending, clock: Clock | None = None) -> Samples:
    """Returns what both parsers read: the same. Each event, and the end, comes a second after the one before."""
    clock = clock or Clock()
    metrics = Metrics(file, lambda: clock.now_s)
    for event in events:
        clock.now_s += 1
        metrics(event)
    clock.now_s += 1
    metrics.end(ending)
    text = file.read_text()
    read = [
        {
            (sample.name.removeprefix("capi_mover_"), frozenset(sample.labels.items())): sample.value
            for family in parse(text)
            for sample in family.samples
        }
        for parse in (read_open, read_text)
    ]
    assert read[0] == read[1]
    assert text.endswith("# EOF\n")
    return read[0]


def at(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def of(found: Samples, name: str) -> dict[frozenset[tuple[str, str]], float]:
    return {labels: value for (sample, labels), value in found.items() if sample == name}


MOVE: tuple[Event, ...] = (
    PhaseStarted(Phase.PREFLIGHT),
    PhaseEnded(Phase.PREFLIGHT, 1.0),
    PhaseStarted(Phase.PAUSING, 1),
    ObjectDone(Phase.PAUSING, "Cluster ns/c", "paused"),
    PhaseEnded(Phase.PAUSING, 1.0),
    PhaseStarted(Phase.CREATING, 3),
    *(ObjectDone(Phase.CREATING, f"Machine ns/m{number}", "created") for number in range(3)),
    ObjectDone(Phase.CREATING, "ClusterClass ns/k", "created"),
    PhaseEnded(Phase.CREATING, 1.0),
    PhaseStarted(Phase.DELETING, 3),
    *(ObjectDone(Phase.DELETING, f"Machine ns/m{number}", "deleted") for number in range(3)),
    PhaseEnded(Phase.DELETING, 1.0),
    PhaseStarted(Phase.RESUMING),
    PhaseEnded(Phase.RESUMING, 1.0),
    Traffic("target", {"GET": 4, "POST": 3}, 2),
    Traffic("source", {"GET": 7}, 0),
)


def test_a_move_is_counted_by_kind_and_fate(file: Path) -> None:
    found = samples(file, MOVE, DONE)
    assert of(found, "objects") == {
        frozenset({("kind", "Machine"), ("fate", "moved")}): 3,
        frozenset({("kind", "ClusterClass"), ("fate", "copied")}): 1,
        frozenset({("kind", "Secret"), ("fate", "left")}): 1,
    }


def test_a_move_is_measured_by_phase_from_its_first_pause_to_its_last_resume(file: Path, clock: Clock) -> None:
    found = samples(file, MOVE, DONE, clock)
    assert {dict(labels)["phase"]: value for labels, value in of(found, "phase_seconds").items()} == {
        "preflight": 1,
        "pausing": 2,
        "creating": 5,
        "deleting": 4,
        "resuming": 1,
    }
    assert of(found, "pause_seconds") == {frozenset({("unit", "")}): 15}
    assert found[at("seconds")] == len(MOVE) + 1


def test_calls_and_retries_are_of_each_cluster_and_of_all_connections_to_it(file: Path) -> None:
    found = samples(file, (*MOVE, Traffic("source", {"GET": 1, "DELETE": 2}, 1)), DONE)
    assert found[at("calls", cluster="source", verb="GET")] == 8
    assert found[at("calls", cluster="source", verb="DELETE")] == 2
    assert found[at("calls", cluster="target", verb="POST")] == 3
    assert found[at("retries", cluster="source")] == 1
    assert found[at("retries", cluster="target")] == 2


@pytest.mark.parametrize(
    ("exit_code", "result"),
    [(0, "done"), (1, "fault"), (2, "usage"), (3, "refused"), (4, "stopped"), (5, "different")],
)
def test_the_result_is_one_of_those_that_are_known(file: Path, exit_code: int, result: str) -> None:
    found = samples(file, (), Ending((), None, exit_code))
    results = {dict(labels)["result"]: value for labels, value in of(found, "result").items()}
    assert set(results) == {"done", "usage", "refused", "stopped", "different", "fault"}
    assert [name for name, value in results.items() if value] == [result]
    assert found[at("exit_code")] == exit_code


def test_a_move_that_stops_is_measured_up_to_its_end(file: Path, clock: Clock) -> None:
    found = samples(file, MOVE[:8], STOPPED, clock)
    assert found[at("phase_seconds", phase="creating", unit="")] == 3
    assert found[at("pause_seconds", unit="")] == 6
    assert found[at("objects", kind="Machine", fate="copied")] == 2
    assert found[at("result", result="stopped")] == 1


def test_copies_made_ahead_are_copies_until_they_are_withdrawn(file: Path) -> None:
    ahead: tuple[Event, ...] = (
        PhaseStarted(Phase.COPYING_AHEAD, 3),
        *(ObjectDone(Phase.COPYING_AHEAD, f"Machine ns/m{number}", "copied") for number in range(3)),
        PhaseEnded(Phase.COPYING_AHEAD, 1.0),
    )
    withdrawn = ObjectDone(Phase.VERIFYING, "Machine ns/m2", "withdrawn")
    labels = {"kind": "Machine", "fate": "copied"}
    assert samples(file, ahead, STOPPED)[at("objects", **labels)] == 3
    assert samples(file, (*ahead, withdrawn), STOPPED)[at("objects", **labels)] == 2


def test_what_was_rolled_back_has_no_copy_any_more_and_is_not_paused(file: Path, clock: Clock) -> None:
    back: tuple[Event, ...] = (
        PhaseStarted(Phase.ROLLING_BACK),
        *(ObjectDone(Phase.ROLLING_BACK, f"Machine ns/m{number}", "removed") for number in range(2)),
        PhaseEnded(Phase.ROLLING_BACK, 1.0),
        Traffic("source", {}, 0),
    )
    found = samples(file, (*MOVE[:8], *back), STOPPED, clock)
    assert of(found, "objects") == {frozenset({("kind", "Machine"), ("fate", "rolled-back")}): 2}
    assert found[at("phase_seconds", phase="creating", unit="")] == 3
    assert found[at("phase_seconds", phase="rolling-back", unit="")] == 3
    assert found[at("pause_seconds", unit="")] == 9


def test_each_unit_of_a_rolling_move_has_its_own_window(file: Path, clock: Clock) -> None:
    found = samples(
        file,
        (
            RollingStarted(2),
            UnitStarted("ns/a", 1),
            InUnit("ns/a", PhaseStarted(Phase.PAUSING, 1)),
            UnitStarted("ns/b", 1),
            InUnit("ns/a", PhaseEnded(Phase.PAUSING, 1.0)),
            InUnit("ns/a", ObjectDone(Phase.DELETING, "Machine ns/m", "deleted")),
            InUnit("ns/b", PhaseStarted(Phase.PAUSING, 1)),
            InUnit("ns/a", PhaseStarted(Phase.RESUMING, 1)),
            InUnit("ns/a", PhaseEnded(Phase.RESUMING, 1.0)),
            UnitEnded("ns/a", UnitFate.MOVED, 1.0),
            UnitEnded("ns/b", UnitFate.STOPPED, 1.0),
        ),
        Ending((), None, 4),
        clock,
    )
    windows = {dict(labels)["unit"]: value for labels, value in of(found, "pause_seconds").items()}
    assert windows == {"ns/a": 6, "ns/b": 4}
    assert found[at("phase_seconds", phase="pausing", unit="ns/b")] == 4
    assert found[at("unit_fate", unit="ns/a", fate="moved")] == 1
    assert found[at("unit_fate", unit="ns/b", fate="stopped")] == 1
    assert found[at("objects", kind="Machine", fate="moved")] == 1


def test_the_file_is_whole_or_as_it_was_and_can_be_read_by_a_collector(file: Path, tmp_path: Path) -> None:
    file.write_text("old")
    samples(file, MOVE, DONE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    with pytest.raises(FileError):
        Metrics(tmp_path / "nowhere" / "file").end(DONE)


def test_every_metric_is_in_the_docs(file: Path) -> None:
    documented = DOCS.read_text()
    for name, labels in samples(file, (*MOVE, UnitStarted("ns/a", 1), UnitEnded("ns/a", UnitFate.MOVED, 1.0)), DONE):
        assert f"`capi_mover_{name}`" in documented, name
        assert all(f"`{label}`" in documented for label, _ in labels)
