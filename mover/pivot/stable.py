"""Whether API servers answer without a failure for a while.

CAPM3's own pivot does the same before its move (test/e2e/pivoting.go): a control plane that has just come up may still
lose a request now and then.
"""

from __future__ import annotations

import asyncio
import time

from mover.concurrency import all_of
from mover.errors import ApiError
from mover.kube import Cluster
from mover.kube.transport import Request
from mover.pivot.workloads import NotReadyError

_READY = Request("GET", "/readyz")
_INTERVAL_S = 0.1


async def wait_stable(clusters: tuple[Cluster, ...], stable_s: float, timeout_s: float) -> None:
    """Returns when every cluster's API server has said for `stable_s` seconds on end that it is ready.

    Raises:
        NotReadyError: One has not when the time is over.
        ApiError: One refuses to tell.
    """
    await all_of(_wait_stable(cluster, stable_s, timeout_s) for cluster in clusters)


async def _wait_stable(cluster: Cluster, stable_s: float, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            since = time.monotonic()
            while True:
                if not await _is_ready(cluster):
                    since = time.monotonic()
                elif time.monotonic() - since >= stable_s:
                    return
                # Readiness cannot be watched.
                await asyncio.sleep(_INTERVAL_S)
    except TimeoutError as error:
        what = f"its API server was not ready for {stable_s:g} s on end"
        raise NotReadyError(cluster.name, [what], timeout_s) from error


async def _is_ready(cluster: Cluster) -> bool:
    """Returns whether the server is ready at the first try."""
    retries = cluster.link.retries
    try:
        await cluster.link.send(_READY)
    except ApiError as error:
        if 400 <= error.status < 500 and error.status != 429:
            raise
        return False
    return cluster.link.retries == retries
