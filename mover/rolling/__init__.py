"""Rolling moves: one unit after the other, each paused, moved, verified, deleted and resumed by itself.

`queue` says which unit may begin, `world` what of the clusters it sees, `run` moves them. See docs/decisions/0023.
"""

from mover.rolling.run import in_order, roll

__all__ = ["in_order", "roll"]
