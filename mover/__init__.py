"""Moves Cluster API and Metal3 objects between management clusters.

    import mover

    source, target = mover.ClusterRef(Path("source.kubeconfig")), mover.ClusterRef(Path("target.kubeconfig"))
    report = mover.move(source, target, mover.MoveOptions(namespace="metal3"))

Every function comes twice: `move` waits until it is done, `move_async` is to be awaited. What is listed in `__all__` is
what the library promises (docs/library.md); the modules below it are its own affair.

Importing it costs next to nothing: a module is loaded when the first name of it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graph.explain import Explanation
    from mover.api import (
        ClusterRef,
        SeriesStoppedError,
        ShardMove,
        backup_async,
        diff_async,
        explain_async,
        move_async,
        move_each_async,
        move_shard_async,
        plan_async,
        preflight_async,
        release_async,
        restore_async,
        resume_async,
        resume_source_gone_async,
        retire_async,
        roll_async,
        rollback_async,
        status_async,
    )
    from mover.api.blocking import (
        backup,
        diff,
        explain,
        move,
        move_each,
        move_shard,
        plan,
        preflight,
        release,
        restore,
        resume,
        resume_source_gone,
        retire,
        roll,
        rollback,
        status,
    )
    from mover.api.own import OtherMoveError
    from mover.checks import Findings
    from mover.choices import ExistingPolicy, OnFailure, PausedPolicy, RestoreStatus, UnitOrder
    from mover.directory.files import FileError
    from mover.errors import (
        ApiError,
        BlockedError,
        Difference,
        MoverError,
        PauseTimeoutError,
        Problem,
        RefusedError,
        StoppedError,
        SupersededError,
        TransientError,
        UsageError,
        VerificationError,
    )
    from mover.events import (
        Event,
        InUnit,
        Listener,
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
    from mover.execute.backup import BackupResult, StillPausedError
    from mover.execute.journal import Records
    from mover.execute.lease import LeaseHeldError, LeaseLostError
    from mover.execute.restore import RestoreResult
    from mover.execute.run import InterruptedMoveError, RolledBackError
    from mover.models import (
        KindCount,
        LeftObject,
        MoveOptions,
        MoveReport,
        Phase,
        RetireReport,
        RollbackReport,
        RollingOptions,
        RollingReport,
        UnitFate,
        UnitReport,
    )
    from mover.planning import Mutator, Plan
    from mover.record import Record, RecordError
    from mover.shard import Shard

    __version__: str

__all__ = [
    "ApiError",
    "BackupResult",
    "BlockedError",
    "ClusterRef",
    "Difference",
    "Event",
    "ExistingPolicy",
    "Explanation",
    "FileError",
    "Findings",
    "InUnit",
    "InterruptedMoveError",
    "KindCount",
    "LeaseHeldError",
    "LeaseLostError",
    "LeftObject",
    "Listener",
    "MoveFound",
    "MoveOptions",
    "MoveReport",
    "MoverError",
    "Mutator",
    "Noted",
    "ObjectDone",
    "OnFailure",
    "OtherMoveError",
    "PauseTimeoutError",
    "PausedPolicy",
    "Phase",
    "PhaseEnded",
    "PhaseStarted",
    "Plan",
    "Planned",
    "Problem",
    "Record",
    "RecordError",
    "Records",
    "RefusedError",
    "RestoreResult",
    "RestoreStatus",
    "RetireReport",
    "RollbackReport",
    "RolledBackError",
    "RollingOptions",
    "RollingReport",
    "RollingStarted",
    "SeriesStoppedError",
    "Shard",
    "ShardMove",
    "Step",
    "StillPausedError",
    "StoppedError",
    "SupersededError",
    "Traffic",
    "TransientError",
    "UnitEnded",
    "UnitFate",
    "UnitOrder",
    "UnitReport",
    "UnitStarted",
    "UsageError",
    "VerificationError",
    "Waiting",
    "__version__",
    "backup",
    "backup_async",
    "diff",
    "diff_async",
    "explain",
    "explain_async",
    "move",
    "move_async",
    "move_each",
    "move_each_async",
    "move_shard",
    "move_shard_async",
    "plan",
    "plan_async",
    "preflight",
    "preflight_async",
    "release",
    "release_async",
    "restore",
    "restore_async",
    "resume",
    "resume_async",
    "resume_source_gone",
    "resume_source_gone_async",
    "retire",
    "retire_async",
    "roll",
    "roll_async",
    "rollback",
    "rollback_async",
    "status",
    "status_async",
]

_HOMES = {
    "graph.explain": "Explanation",
    "mover.api": (
        "ClusterRef SeriesStoppedError ShardMove backup_async diff_async explain_async move_async move_each_async "
        "move_shard_async plan_async preflight_async release_async restore_async resume_async "
        "resume_source_gone_async retire_async roll_async rollback_async status_async"
    ),
    "mover.api.blocking": (
        "backup diff explain move move_each move_shard plan preflight release restore resume "
        "resume_source_gone retire roll rollback status"
    ),
    "mover.checks": "Findings",
    "mover.choices": "ExistingPolicy OnFailure PausedPolicy RestoreStatus UnitOrder",
    "mover.directory.files": "FileError",
    "mover.errors": (
        "ApiError BlockedError Difference MoverError PauseTimeoutError Problem RefusedError StoppedError "
        "SupersededError TransientError UsageError VerificationError"
    ),
    "mover.events": (
        "Event InUnit Listener MoveFound Noted ObjectDone PhaseEnded PhaseStarted Planned RollingStarted Step Traffic "
        "UnitEnded UnitStarted Waiting"
    ),
    "mover.execute.backup": "BackupResult StillPausedError",
    "mover.api.own": "OtherMoveError",
    "mover.execute.journal": "Records",
    "mover.execute.lease": "LeaseHeldError LeaseLostError",
    "mover.execute.restore": "RestoreResult",
    "mover.execute.run": "InterruptedMoveError RolledBackError",
    "mover.models": (
        "KindCount LeftObject MoveOptions MoveReport Phase RetireReport RollbackReport RollingOptions RollingReport "
        "UnitFate UnitReport"
    ),
    "mover.planning": "Mutator Plan",
    "mover.record": "Record RecordError",
    "mover.shard": "Shard",
}
"""Module -> the names of it that are offered here, as above for type checkers."""

_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def _load(name: str) -> object:
    """Returns what a name of the library stands for; its module is loaded if nothing of it was used before."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - it takes longer than all the rest here

        return version("capi-mover")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _be_silent()
    return getattr(import_module(_HOME[name]), name)


def _be_silent() -> None:
    """Keeps the log, where the warnings of API servers go, off the stderr of programs that have set up no logging."""
    import logging  # noqa: PLC0415 - as above

    logger = logging.getLogger("capi-mover")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


if not TYPE_CHECKING:  # A type checker that saw it would take every name for one of ours.

    def __getattr__(name: str) -> object:
        found = globals()[name] = _load(name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
