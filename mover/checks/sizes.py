"""Whether what is to be created has room on the target: each object, and all together."""

from __future__ import annotations

import re

import orjson

from mover.errors import Problem
from mover.kube import Cluster
from mover.planning import Plan
from mover.transform import target_body

MIB = 1 << 20
LARGEST_BYTES = 3 * MIB // 2
"""What etcd takes at once (`--max-request-bytes`), unless it was told otherwise."""
SPACE_BYTES = 2 << 30
"""How large etcd's database may become (`--quota-backend-bytes`), unless it was told otherwise."""
_FULL = 0.9
_SIZE = re.compile(r"^apiserver_storage_(?:size_bytes|db_total_size_in_bytes)\{[^}]*\} (\S+)$", re.MULTILINE)


def check_sizes(plan: Plan) -> list[Problem]:
    """No object is too large for a usual etcd: on the way an object may grow, and the target's limit be lower."""
    remedy = "Make it smaller, or raise --max-request-bytes of the target's etcd and leave this out with --skip sizes"
    found = []
    for image in plan.images():
        size = len(orjson.dumps(target_body(image, {})))
        if size > LARGEST_BYTES:
            what = (
                f"it is of {size / MIB:.1f} MiB, and an etcd takes {LARGEST_BYTES / MIB:.1f} MiB unless set otherwise"
            )
            found.append(Problem("sizes", "target", str(image.key), what, remedy))
    return found


async def check_space(target: Cluster, plan: Plan) -> list[Problem]:
    """The target's etcd has room for the copies, as far as its API server tells.

    Whoever may not read the metrics cannot know; neither is the limit that the etcd was given known.
    """
    asked = {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
    if not (await target.review("SelfSubjectAccessReview", asked)).get("allowed"):
        return []
    sizes = _SIZE.findall(await target.metrics())
    used = max((float(size) for size in sizes), default=0.0)
    more = sum(len(orjson.dumps(image.body())) for image in plan.images())
    if used + more <= _FULL * SPACE_BYTES:
        return []
    what = (
        f"its etcd holds {used / MIB:.0f} MiB and gets {more / MIB:.0f} MiB more; it stops taking writes at "
        f"{SPACE_BYTES / MIB:.0f} MiB unless set otherwise"
    )
    remedy = "Compact and defragment it, or see that --quota-backend-bytes is larger"
    return [Problem("space", "target", "etcd", what, remedy, is_warning=True)]
