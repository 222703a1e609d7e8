"""Resuming the target: ClusterClasses, then hosts and the Metal3 kinds with a pause of their own, then Clusters.

If the program dies in between, only Clusters are still paused, and no controller acts on half a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from graph import rules
from mover.errors import NotFoundError
from mover.events import Listener, Noted, ObjectDone
from mover.execute.ready import run_each
from mover.kube import Cluster
from mover.models import MANAGER, Phase
from mover.pause import Pause, resume_patch


async def resume(cluster: Cluster, pauses: Sequence[Pause], listener: Listener) -> None:
    """Takes the move's own pauses off `cluster`; what somebody else had paused stays paused."""

    async def one(pause: Pause) -> None:
        try:
            await cluster.merge_patch(pause.resource, pause.key, resume_patch(pause), manager=MANAGER)
        except NotFoundError:
            # Somebody has deleted the copy; there is nothing to resume.
            listener(Noted(f"{pause.key} is gone from the {cluster.name} cluster already"))
            return
        listener(ObjectDone(Phase.RESUMING, str(pause.key), "resumed"))

    for _, rank in groupby(sorted(pauses, key=_rank), key=lambda pause: _rank(pause)[0]):
        await run_each(rank, one)


def _rank(pause: Pause) -> tuple[int, str]:
    kind = pause.resource.group_kind
    return ({rules.CLUSTER_CLASS: 0, rules.CLUSTER: 2}.get(kind, 1), str(pause.key))
