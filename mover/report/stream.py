"""Events, reports and errors as JSON lines, for programs; docs/output.md lists them, and a test holds to the names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import BaseModel

from mover.checks import described
from mover.errors import MoverError, RefusedError, VerificationError
from mover.events import (
    Event,
    InUnit,
    MoveFound,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    Planned,
    RollingStarted,
    Step,
    Traffic,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.moment import micro_time


class JsonView:
    """A line for each event, with the time at which it was told."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Writes the line of an event."""
        self.write(event_json(event))

    def write(self, value: Mapping[str, Any]) -> None:
        """Writes a line that begins with the time."""
        self._write(orjson.dumps({"time": micro_time(), **value}).decode())


def event_json(event: Event) -> dict[str, Any]:
    """Returns an event as plain values with its `type`; the step of a unit is the step, with the `unit`."""
    match event:
        case InUnit(unit, step):
            return {**_step_json(step), "unit": unit}
        case RollingStarted(total):
            return {"type": "rolling-started", "total": total}
        case UnitStarted(unit, total):
            return {"type": "unit-started", "unit": unit, "total": total}
        case UnitEnded(unit, fate, seconds):
            return {"type": "unit-ended", "unit": unit, "fate": fate, "seconds": seconds}
        case Noted():
            return {"type": "move-found" if isinstance(event, MoveFound) else "note", **asdict(event)}
        case Planned(scope, source, target, selection):
            counts = {"moved": len(selection.moved), "kept": len(selection.kept), "left": len(selection.left)}
            return {"type": "planned", "scope": scope, "source": source, "target": target, **counts}
        case Traffic(cluster, calls, retries):
            return {"type": "traffic", "cluster": cluster, "calls": dict(calls), "retries": retries}
        case _:
            return _step_json(event)


def _step_json(step: Step) -> dict[str, Any]:
    match step:
        case PhaseStarted(phase, total):
            return {"type": "phase-started", "phase": phase, "total": total}
        case ObjectDone(phase, subject, verb):
            return {"type": "object-done", "phase": phase, "object": subject, "verb": verb}
        case Waiting(subjects):
            return {"type": "waiting", "for": list(subjects)}
        case PhaseEnded(phase, seconds):
            return {"type": "phase-ended", "phase": phase, "seconds": seconds}


def report_json(report: BaseModel) -> dict[str, Any]:
    """Returns a report with its `type` and its `kind`: what its class is called, as in "move" and "rolling"."""
    kind = type(report).__name__.removesuffix("Report").lower()
    return {"type": "report", "kind": kind, "report": report.model_dump(mode="json")}


def error_json(error: BaseException, exit_code: int) -> dict[str, Any]:
    """Returns an error with its class, what happened, and what to do next; `next` is "" if nobody knows."""
    found: dict[str, Any] = {
        "type": "error",
        "error": type(error).__name__,
        "text": "Stopped by Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error),
        "next": error.remedy if isinstance(error, MoverError) else "",
        "exit_code": exit_code,
    }
    match error:
        case RefusedError():
            found["problems"] = described(error.problems)
        case VerificationError():
            found["differences"] = list(error.differences)
    return found
