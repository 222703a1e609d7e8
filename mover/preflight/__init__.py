"""What would go wrong: all read-only checks of a move, all problems at once.

Each check answers one question and returns the problems it finds; nothing is written to any cluster.
"""

from mover.preflight.check import Findings, check_move

__all__ = ["Findings", "check_move"]
