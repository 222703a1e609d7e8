"""What the preflight found, as lines for people and as a value for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from mover.checks import Findings, described, question_of, why_of
from mover.errors import Problem


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a preflight.

    Attributes:
        problems: What stands against the move.
        warnings: What is to be known.
        checked: Names of the checks that were made; none if it could not even begin.
        skipped: Names of those that were left out.
        objects: How many objects would be created on the target.
    """

    problems: Sequence[Problem]
    warnings: Sequence[Problem] = ()
    checked: Sequence[str] = ()
    skipped: Sequence[str] = ()
    objects: int = 0

    @classmethod
    def of(cls, found: Findings) -> Self:
        """Returns what is told of these findings."""
        objects = len(found.plan.selection.selected)
        return cls(found.problems, found.warnings, found.checked, found.skipped, objects)


def lines(told: Told) -> Iterator[str]:
    """Yields the lines: problems by check, each check with its question and why it matters; then warnings; the end."""
    yield from _listed(told.problems, "PROBLEM")
    yield from _listed(told.warnings, "WARNING")
    if told.skipped:
        yield f"Left out: {', '.join(told.skipped)}"
    made = f"{len(told.checked)} checks of {told.objects} objects: " if told.checked else ""
    end = "the move would be refused" if told.problems else "the move can begin"
    yield f"{made}{len(told.problems)} problems, {len(told.warnings)} warnings; {end}. Nothing was changed."


def _listed(problems: Sequence[Problem], word: str) -> Iterator[str]:
    for name, group in groupby(problems, key=lambda problem: problem.check):
        question = question_of(name)
        yield f"{word} {name}" + (f": {question} {why_of(name)}" if question else f": {why_of(name)}")
        for problem in group:
            yield f"  - {problem.cluster}: {problem.subject}: {problem.what}"
            yield f"    {problem.remedy}"
        yield ""


def report_json(told: Told) -> dict[str, Any]:
    """Returns the same for programs."""
    return {
        "ready": not told.problems,
        "objects": told.objects,
        "problems": described(told.problems),
        "warnings": described(told.warnings),
        "checked": list(told.checked),
        "skipped": list(told.skipped),
    }
