"""What controllers would have done to machines and addresses, in the order in which they did it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a controller does outside of its cluster, or cannot take back."""

    REGISTER = "register"
    ADOPT = "adopt"
    INSPECT = "inspect"
    PROVISION = "provision"
    DEPROVISION = "deprovision"
    POWER_OFF = "power-off"
    DELETE = "delete"
    NEW_ADDRESS = "new-address"


HARMLESS = frozenset({Action.REGISTER, Action.ADOPT})
"""What a running machine does not notice. Every other action is harm if nobody has asked for it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One action.

    Attributes:
        cluster: The cluster whose controller acted.
        subject: The host or the claim, as "namespace/name".
        action: What it did.
        reason: Why.
    """

    cluster: str
    subject: str
    action: Action
    reason: str

    def __str__(self) -> str:
        return f"{self.cluster}: {self.action} {self.subject} ({self.reason})"


class Journal:
    """A list of entries that only grows; any thread may write to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Adds an entry."""
        with self._lock:
            self._entries.append(entry)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Returns all entries, the oldest first."""
        with self._lock:
            return tuple(self._entries)

    def harm(self) -> tuple[Entry, ...]:
        """Returns the entries of actions that a move must never cause."""
        return tuple(entry for entry in self.entries if entry.action not in HARMLESS)
