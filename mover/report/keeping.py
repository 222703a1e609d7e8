"""Those that see all events of a command and write a file at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from mover.events import Event


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command has ended.

    Attributes:
        reports: What was done, one for each move; none if it failed before.
        error: What it failed with, None if it did not: units of a rolling move that did not move are in its report.
        exit_code: What the program leaves with.
    """

    reports: tuple[BaseModel, ...]
    error: BaseException | None
    exit_code: int


class Keeper(Protocol):
    """Sees all events, and writes what it makes of them when the command ends, also when it fails."""

    def __call__(self, event: Event) -> None:
        """Takes note of an event."""

    def end(self, ending: Ending) -> None:
        """Writes its file."""
