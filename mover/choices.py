"""What an operator can choose between. Nothing here costs time to import: the command line's help needs it."""

from __future__ import annotations

from enum import StrEnum


class RestoreStatus(StrEnum):
    """Whose `.status` is restored on the target."""

    ALL = "all"
    METAL3 = "metal3"
    NONE = "none"


class OnFailure(StrEnum):
    """What becomes of a move that fails before anything was deleted."""

    ROLLBACK = "rollback"
    KEEP = "keep"


class PausedPolicy(StrEnum):
    """What to do with Clusters and ClusterClasses that somebody has paused."""

    REFUSE = "refuse"
    KEEP = "keep"


class UnitOrder(StrEnum):
    """In which order the units of a rolling move go."""

    NAME = "name"
    SIZE = "size"
    AGE = "age"


class ExistingPolicy(StrEnum):
    """What to do with an object that the target has already under the same kind, namespace and name."""

    REFUSE = "refuse"
    ADOPT = "adopt"
    OVERWRITE = "overwrite"
