"""The values that cross a boundary of the program: what was asked for, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mover.choices import ExistingPolicy, OnFailure, PausedPolicy, RestoreStatus, UnitOrder

RECORD_LABEL = "capi-mover.io/record"
"""On the ConfigMaps of a move record: they are part of no move."""

MANAGER = "capi-mover"
"""The field manager of every write of ours, and the value of every pause annotation of ours."""


class Phase(StrEnum):
    """The phases of a move, in their order; see docs/concepts.md."""

    PREFLIGHT = "preflight"
    CLAIMED = "claimed"
    COPYING_AHEAD = "copying-ahead"
    """Only with `copy_ahead`: copies are made, and nothing is paused on the source yet."""
    PAUSING = "pausing"
    CREATING = "creating"
    VERIFYING = "verifying"
    DELETING = "deleting"
    RESUMING = "resuming"
    ROLLING_BACK = "rolling-back"
    DONE = "done"
    SAVING = "saving"
    """A backup writes its files; the source is paused."""
    RELEASING = "releasing"
    """A backup resumes its source."""
    LOADING = "loading"
    """A restore reads the files of a backup."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MoveOptions(_Frozen):
    """What a move is asked to do.

    Attributes:
        namespace: The namespace to move; "" moves all namespaces, None the one of the source's context.
        restore_status: Whose `.status` is restored on the target.
        paused: What to do with Clusters and ClusterClasses that are paused: refuse, or move them and keep them so.
        existing: What to do with objects that are on the target already: refuse, adopt them if they are equal, or
            overwrite them as clusterctl does.
        strict_labels: Go by clusterctl's labels alone: Metal3's kinds and references are not known by themselves.
        leave_behind: Leave objects with an owner that does not move on the source, instead of refusing.
        on_failure: What becomes of a move that fails before anything was deleted: undo it, or keep it for a resume.
        clusters: Names of the Clusters to move, and nothing that does not belong to them; none for the whole namespace.
        selector: A label selector for the Clusters to move; "" for none.
        hosts: A label selector for the spare hosts that come along with single Clusters; "" for none.
        all_hosts: Whether all spare hosts do.
        to_namespace: The namespace on the target; None for the same one.
        keep_provider_ids: Accept that provider IDs keep the old namespace (docs/decisions/0016).
        wait_hosts_s: How long to wait for hosts that are about to change before the preflight, in seconds.
        ignore_stale_block_move: Do not wait for a `block-move` on a host without a consumer.
        pause_timeout_s: How long to wait for controllers to confirm the pause, in seconds.
        timeout_s: When to give up altogether, in seconds; 0 for never.
        skip: Names of checks of the preflight that are left out.
        warn_only: Go on with what the preflight finds, unless it guards against loss.
        include_referenced: Copy and keep what the objects name in their specs and nothing else takes along.
        rolling: Whether the move is part of a rolling one, which finds it by that if it is interrupted.
        plan_checksum: Of the saved plan that the move was begun by; None without one.
        copy_ahead: Copy before the source is paused, and then only what has changed since (docs/decisions/0029).
        quiet_s: How long objects whose controllers do not report a pause must not have changed, in seconds.
    """

    namespace: str | None = None
    restore_status: RestoreStatus = RestoreStatus.ALL
    paused: PausedPolicy = PausedPolicy.REFUSE
    existing: ExistingPolicy = ExistingPolicy.REFUSE
    strict_labels: bool = False
    leave_behind: bool = False
    on_failure: OnFailure = OnFailure.ROLLBACK
    clusters: tuple[str, ...] = ()
    selector: str = ""
    hosts: str = ""
    all_hosts: bool = False
    to_namespace: str | None = None
    keep_provider_ids: bool = False
    wait_hosts_s: Annotated[float, Field(ge=0)] = 0.0
    ignore_stale_block_move: bool = False
    pause_timeout_s: Annotated[float, Field(ge=0)] = 120.0
    timeout_s: Annotated[float, Field(ge=0)] = 0.0
    skip: tuple[str, ...] = ()
    warn_only: bool = False
    include_referenced: bool = False
    rolling: bool = False
    plan_checksum: str | None = None
    copy_ahead: bool = False
    quiet_s: Annotated[float, Field(ge=0)] = 0.5


class RollingOptions(_Frozen):
    """How a rolling move goes about it.

    Attributes:
        parallel: How many units are moved at once.
        fail_fast: Whether no further unit is begun once one has failed.
        order: Which units come first: by name, the smallest, or those with the oldest Cluster.
    """

    parallel: Annotated[int, Field(ge=1)] = 2
    fail_fast: bool = False
    order: UnitOrder = UnitOrder.NAME


class UnitFate(StrEnum):
    """What became of a unit of a rolling move."""

    MOVED = "moved"
    ROLLED_BACK = "rolled-back"
    """It failed and was undone: it is on the source, as it was."""
    REFUSED = "refused"
    """Something stood against it; nothing was changed."""
    STOPPED = "stopped"
    """It stopped on its way; a resume finishes it."""
    NOT_BEGUN = "not-begun"


class KindCount(_Frozen):
    """How many objects of a kind share a fate."""

    kind: str
    count: int


class LeftObject(_Frozen):
    """An object that was seen and not moved, and why."""

    object: str
    reason: str


class MoveReport(_Frozen):
    """What a move did.

    Attributes:
        source: Context name of the source.
        target: Context name of the target.
        namespace: What was moved; "" for all namespaces.
        clusters: The Clusters that were moved, if it was not the whole namespace.
        moved: Objects created on the target and deleted from the source, by kind.
        kept: Objects created on the target and kept on the source, by kind.
        left: Objects of the namespace that stayed on the source.
        seconds: Duration of each phase that ran, in seconds.
        paused_s: From the first pause on the source to the last resume on the target, in seconds.
        calls: Requests sent to both clusters, by HTTP method.
        retries: How many of them were tries after a transient failure.
        verified: How many copies were read back and found equal.
    """

    source: str
    target: str
    namespace: str
    clusters: tuple[str, ...] = ()
    moved: tuple[KindCount, ...] = ()
    kept: tuple[KindCount, ...] = ()
    left: tuple[LeftObject, ...] = ()
    seconds: dict[Phase, float] = Field(default_factory=dict)
    paused_s: float = 0.0
    calls: dict[str, int] = Field(default_factory=dict)
    retries: int = 0
    verified: int = 0


class UnitReport(_Frozen):
    """What became of one unit of a rolling move.

    Attributes:
        namespace: Its namespace.
        clusters: Its Clusters; none for the rest of the namespace, which goes last.
        fate: What became of it.
        objects: How many objects were created on the target for it.
        seconds: How long it took, in seconds.
        paused_s: From the first pause on the source to the last resume on the target, in seconds.
        error: Why it did not move.
    """

    namespace: str
    clusters: tuple[str, ...]
    fate: UnitFate
    objects: int = 0
    seconds: float = 0.0
    paused_s: float = 0.0
    error: str = ""


class RollingReport(_Frozen):
    """What a rolling move did.

    Attributes:
        source: Context name of the source.
        target: Context name of the target.
        namespace: What was moved; "" for all namespaces.
        units: What became of each unit, in the order in which they ended.
        seconds: How long it took, in seconds.
        calls: Requests sent to both clusters, by HTTP method.
        retries: How many of them were tries after a transient failure.
    """

    source: str
    target: str
    namespace: str
    units: tuple[UnitReport, ...] = ()
    seconds: float = 0.0
    calls: dict[str, int] = Field(default_factory=dict)
    retries: int = 0

    @property
    def failed(self) -> tuple[UnitReport, ...]:
        """Returns the units that did not move."""
        return tuple(unit for unit in self.units if unit.fate is not UnitFate.MOVED)


class BackupReport(_Frozen):
    """What a backup did.

    Attributes:
        directory: Where the objects are saved.
        objects: How many they are.
        seconds: Duration of each phase that ran, in seconds.
        paused_s: How long objects of the source were paused, in seconds; until now if they still are.
        still_paused: Whether they are, on request.
    """

    directory: str
    objects: int
    seconds: dict[Phase, float] = Field(default_factory=dict)
    paused_s: float = 0.0
    still_paused: bool = False


class RestoreReport(_Frozen):
    """What a restore did.

    Attributes:
        directory: Where the objects were saved.
        created: How many were created, each read back and found equal to its file.
        used: How many the target had already; they were left as they were.
        left: Objects that were left out on request, and why.
        seconds: Duration of each phase that ran, in seconds.
        still_paused: How many are still paused by the backup, on request.
    """

    directory: str
    created: int
    used: int = 0
    left: tuple[LeftObject, ...] = ()
    seconds: dict[Phase, float] = Field(default_factory=dict)
    still_paused: int = 0


class RollbackReport(_Frozen):
    """What a rollback did: everything is as it was before the move.

    Attributes:
        source: Context name of the source.
        target: Context name of the target.
        namespace: What is on the source again; "" for all namespaces.
        clusters: The Clusters, if it was not the whole namespace.
        removed: How many copies were taken off the target.
        seconds: How long it took, in seconds.
    """

    source: str
    target: str
    namespace: str
    clusters: tuple[str, ...] = ()
    removed: int = 0
    seconds: float = 0.0


class RetireReport(_Frozen):
    """What became of a source that was given up and has come back.

    Attributes:
        source: Its context name.
        target: Context name of the target.
        namespace: What was moved; "" for all namespaces.
        clusters: The Clusters that were moved, if it was not the whole namespace.
        removed: How many originals were still on it, and are deleted now.
        seconds: How long it took, in seconds.
    """

    source: str
    target: str
    namespace: str
    clusters: tuple[str, ...] = ()
    removed: int = 0
    seconds: float = 0.0
