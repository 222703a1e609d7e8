"""Tests of the JSON lines that programs read: their names are a promise."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from graph import rules
from mover.errors import Difference, Problem, RefusedError, StoppedError, VerificationError
from mover.events import (
    Event,
    InUnit,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    Planned,
    RollingStarted,
    Traffic,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.models import (
    BackupReport,
    KindCount,
    LeftObject,
    MoveReport,
    Phase,
    RestoreReport,
    RollbackReport,
    RollingReport,
    UnitFate,
    UnitReport,
)
from mover.pivot.models import PivotReport
from mover.report import JsonView, error_json, event_json, report_json
from tests.unit.mover_builders import make, plan_of

PLAN = plan_of(make(rules.CLUSTER, "c"), make(rules.SECRET, "loose"))
DOCS = Path(__file__).parents[2] / "docs" / "output.md"

EVENTS: list[tuple[Event, dict[str, Any]]] = [
    (PhaseStarted(Phase.CREATING, 3), {"type": "phase-started", "phase": "creating", "total": 3}),
    (
        ObjectDone(Phase.ROLLING_BACK, "Machine ns/m", "removed"),
        {"type": "object-done", "phase": "rolling-back", "object": "Machine ns/m", "verb": "removed"},
    ),
    (Waiting(("Host ns/h: blocked",)), {"type": "waiting", "for": ["Host ns/h: blocked"]}),
    (Waiting(()), {"type": "waiting", "for": []}),
    (PhaseEnded(Phase.PAUSING, 1.5), {"type": "phase-ended", "phase": "pausing", "seconds": 1.5}),
    (RollingStarted(2), {"type": "rolling-started", "total": 2}),
    (UnitStarted("ns/a", 4), {"type": "unit-started", "unit": "ns/a", "total": 4}),
    (
        InUnit("ns/a", PhaseStarted(Phase.PAUSING, 4)),
        {"type": "phase-started", "phase": "pausing", "total": 4, "unit": "ns/a"},
    ),
    (
        UnitEnded("ns/a", UnitFate.ROLLED_BACK, 2.0),
        {"type": "unit-ended", "unit": "ns/a", "fate": "rolled-back", "seconds": 2.0},
    ),
    (
        Planned("ns", "here", "there", PLAN.selection, PLAN.creation, PLAN.deletion),
        {"type": "planned", "scope": "ns", "source": "here", "target": "there", "moved": 1, "kept": 0, "left": 1},
    ),
    (Noted("mind this"), {"type": "note", "text": "mind this"}),
    (
        Traffic("source", {"GET": 3}, 1),
        {"type": "traffic", "cluster": "source", "calls": {"GET": 3}, "retries": 1},
    ),
]


def line_of(event: Event) -> Any:
    written: list[str] = []
    with JsonView(written.append) as view:
        view(event)
    (line,) = written
    assert "\n" not in line
    return json.loads(line)


@pytest.mark.parametrize(("event", "expected"), EVENTS)
def test_an_event_is_a_line_with_its_type_and_its_time(event: Event, expected: dict[str, Any]) -> None:
    before = datetime.now(UTC)
    line = line_of(event)
    time = line.pop("time")
    assert line == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
    assert before <= datetime.fromisoformat(time) <= datetime.now(UTC)


def test_every_event_is_pinned_here_and_is_in_the_docs() -> None:
    assert {type(event) for event, _ in EVENTS} == set(get_args(Event))
    documented = DOCS.read_text()
    for event, _ in EVENTS:
        for name, value in event_json(event).items():
            assert f'"{name}"' in documented, name
            assert name != "type" or f'"{value}"' in documented, value


REPORTS = {
    "move": MoveReport(
        source="here",
        target="there",
        namespace="ns",
        moved=(KindCount(kind="Machine", count=1),),
        left=(LeftObject(object="Secret ns/s", reason="why"),),
        seconds={Phase.ROLLING_BACK: 1.0},
    ),
    "rolling": RollingReport(
        source="here",
        target="there",
        namespace="ns",
        units=(UnitReport(namespace="ns", clusters=("a",), fate=UnitFate.MOVED),),
    ),
    "rollback": RollbackReport(source="here", target="there", namespace="ns", removed=3),
    "backup": BackupReport(directory="saved", objects=3),
    "restore": RestoreReport(directory="saved", created=3),
    "pivot": PivotReport(source="here", target="there", namespace="ns", steps=()),
}

FIELDS = {
    "move": "source target namespace clusters moved kept left seconds paused_s calls retries verified",
    "rolling": "source target namespace units seconds calls retries",
    "rollback": "source target namespace clusters removed seconds",
    "backup": "directory objects seconds paused_s still_paused",
    "restore": "directory created used left seconds still_paused",
    "pivot": "source target namespace steps move problems",
}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_report_is_told_with_its_kind_and_has_the_fields_it_is_known_for(kind: str) -> None:
    told = json.loads(json.dumps(report_json(REPORTS[kind])))
    assert (told["type"], told["kind"]) == ("report", kind)
    assert set(told["report"]) >= set(FIELDS[kind].split())
    assert type(REPORTS[kind]).model_validate(told["report"]) == REPORTS[kind]
    assert f"`{kind}`" in DOCS.read_text()


def test_an_error_is_told_with_its_class_its_exit_code_and_what_to_do() -> None:
    assert error_json(StoppedError("It stopped", "Go on with: capi-mover resume"), 4) == {
        "type": "error",
        "error": "StoppedError",
        "text": "It stopped. Go on with: capi-mover resume",
        "next": "Go on with: capi-mover resume",
        "exit_code": 4,
    }


def test_what_is_wrong_is_told_piece_by_piece() -> None:
    refused = error_json(RefusedError([Problem("paused", "source", "Cluster ns/c", "it is paused", "Resume it")]), 3)
    assert refused["problems"][0]["object"] == "Cluster ns/c"
    assert refused["problems"][0]["remedy"] == "Resume it"
    differing = error_json(VerificationError([Difference("Machine ns/m", "spec.a", "1", "2")]), 5)
    written: list[str] = []
    JsonView(written.append).write(differing)
    assert json.loads(written[0])["differences"] == [
        {"subject": "Machine ns/m", "path": "spec.a", "source": "1", "target": "2"}
    ]


def test_an_error_of_our_own_is_told_too() -> None:
    told = error_json(ZeroDivisionError("division by zero"), 1)
    assert (told["error"], told["next"], told["exit_code"]) == ("ZeroDivisionError", "", 1)
