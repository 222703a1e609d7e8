"""What the library offers: plan, preflight, move, resume and roll back, as coroutines."""

from mover.api.directories import (
    backup_async,
    diff_async,
    dry_backup_async,
    dry_restore_async,
    release_async,
    restore_async,
)
from mover.api.dry_runs import DryRun, dry_run_async, dry_shard_async
from mover.api.interrupted import resume_async, rollback_async, status_async
from mover.api.moving import SeriesStoppedError, move_async, move_each_async, preflight_async
from mover.api.places import DEFAULT_NAMESPACE, ClusterRef, place_of
from mover.api.planning import explain_async, plan_async, types_async
from mover.api.rolling import roll_async
from mover.api.sharding import ShardMove, described_shard, move_shard_async
from mover.api.source_gone import (
    find_resumable_async,
    resume_source_gone_async,
    retire_async,
    retire_destroyed_async,
)

__all__ = [
    "DEFAULT_NAMESPACE",
    "ClusterRef",
    "DryRun",
    "SeriesStoppedError",
    "ShardMove",
    "backup_async",
    "described_shard",
    "diff_async",
    "dry_backup_async",
    "dry_restore_async",
    "dry_run_async",
    "dry_shard_async",
    "explain_async",
    "find_resumable_async",
    "move_async",
    "move_each_async",
    "move_shard_async",
    "place_of",
    "plan_async",
    "preflight_async",
    "release_async",
    "restore_async",
    "resume_async",
    "resume_source_gone_async",
    "retire_async",
    "retire_destroyed_async",
    "roll_async",
    "rollback_async",
    "status_async",
    "types_async",
]
