"""What a run counts, by suite and name; the counts of all its processes are added up before they are printed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

TALLIES: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""The counts of this process by suite."""


def plain() -> dict[str, dict[str, int]]:
    """Returns all counts in a form that can be sent to another process."""
    return {suite: dict(counts) for suite, counts in TALLIES.items()}


def add(counted: Mapping[str, Mapping[str, int]]) -> None:
    """Adds what another process has counted."""
    for suite, counts in counted.items():
        TALLIES[suite].update(counts)
