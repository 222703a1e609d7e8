"""Tests of measuring phases and telling the listener of them."""

from __future__ import annotations

import time

import pytest

from graph import rules
from mover.events import Event, ObjectDone, PhaseEnded, PhaseStarted
from mover.execute.clock import Clock
from mover.models import Phase
from tests.unit.mover_builders import make


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sets the time: the only entry is what the clock reads."""
    time_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: time_s[0])
    return time_s


def test_a_phase_is_told_when_it_begins_and_with_its_seconds_when_it_ends(now: list[float]) -> None:
    events: list[Event] = []
    clock = Clock(events.append)
    with clock.phase(Phase.CREATING, 3):
        assert events == [PhaseStarted(Phase.CREATING, 3)]
        now[0] += 2.5
    assert events[1:] == [PhaseEnded(Phase.CREATING, 2.5)]
    assert clock.seconds == {Phase.CREATING: 2.5}


def test_a_phase_that_fails_has_not_ended(now: list[float]) -> None:
    events: list[Event] = []
    clock = Clock(events.append)

    def fail() -> None:
        with clock.phase(Phase.CREATING):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert events == [PhaseStarted(Phase.CREATING, 0)]
    assert clock.seconds == {}


def test_each_object_that_is_done_is_told_with_what_was_done() -> None:
    events: list[Event] = []
    Clock(events.append).counter(Phase.DELETING, "deleted")(make(rules.MACHINE, "m"))
    assert events == [ObjectDone(Phase.DELETING, "Machine ns/m", "deleted")]


def test_elapsed_time_runs_from_the_making_of_the_clock(now: list[float]) -> None:
    clock = Clock(lambda _: None)
    now[0] += 7.0
    assert clock.elapsed() == 7.0
