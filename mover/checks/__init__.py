"""What would go wrong: all checks of a move, all problems at once.

Each check answers one question and returns the problems it finds; nothing is stored on any cluster.
"""

from mover.checks.check import (
    Findings,
    check_connections,
    check_move,
    check_source,
    check_unit,
    described,
    question_of,
    why_of,
)

__all__ = [
    "Findings",
    "check_connections",
    "check_move",
    "check_source",
    "check_unit",
    "described",
    "question_of",
    "why_of",
]
