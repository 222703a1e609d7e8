"""Where clusters are to be found, and being connected to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mover.checks import check_connections
from mover.errors import InvalidNameError, RefusedError, SupersededError
from mover.events import Listener, Traffic, ignore
from mover.execute.records_namespace import leave
from mover.execute.run import Clusters
from mover.kube import IN_CLUSTER_CONTEXT, LEASE_S, Cluster, connect
from mover.models import MoveOptions
from mover.names import RECORDS_NAMESPACE, is_label, shown

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class ClusterRef:
    """Where a cluster is to be found.

    Attributes:
        kubeconfig: A kubeconfig file; None for `$KUBECONFIG`, `~/.kube/config` or the pod's service account.
        context: A context of it; None for its current one. "in-cluster" without a file asks for the service account.
        max_requests: How many requests may be under way to it at once, at most; None for the default.
        lease_s: How long the lease of a move lasts on it, in seconds, 1 at least: after that time without an answer
            of the cluster the move stops, and after it another program may take the move over.
        records_namespace: Where the records and the leases of moves are kept on it: a namespace that only those may
            write to who may direct moves. All movers of the same objects need the same.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    max_requests: int | None = None
    lease_s: float = LEASE_S
    records_namespace: str = RECORDS_NAMESPACE


def place_of(text: str) -> ClusterRef | Path:
    """Returns what a directory, KUBECONFIG, KUBECONFIG@CONTEXT or "in-cluster" names; contexts may have an @, too."""
    if Path(text).is_dir():
        return Path(text)
    if text == IN_CLUSTER_CONTEXT and not Path(text).exists():
        return ClusterRef(None, text)
    if Path(text).exists() or "@" not in text:
        return ClusterRef(Path(text))
    file, _, context = text.partition("@")
    return ClusterRef(Path(file), context)


@asynccontextmanager
async def opened(
    name: str, ref: ClusterRef, listener: Listener = ignore, *, last: bool = True
) -> AsyncIterator[Cluster]:
    """Gives the cluster that messages call `name`; closes the connection at the end, and tells what was asked of it.

    Args:
        name: "source" or "target".
        ref: Where it is to be found.
        listener: Told of the traffic.
        last: Whether the program does nothing more with it afterwards: a namespace for records goes if it is empty.

    Raises:
        UsageError: The kubeconfig or context is not there.
        InvalidNameError: The namespace for records cannot be one.
    """
    if not is_label(ref.records_namespace):
        raise InvalidNameError("namespace", shown(ref.records_namespace))
    async with await connect(name, ref.kubeconfig, ref.context, ref.max_requests) as cluster:
        cluster.lease_s = ref.lease_s
        cluster.records_namespace = ref.records_namespace
        is_superseded = False
        try:
            yield cluster
        except SupersededError:
            is_superseded = True
            raise
        finally:
            if last and not is_superseded:
                await leave(cluster)
            listener(Traffic(name, dict(sorted(cluster.link.calls.items())), cluster.link.retries))


@asynccontextmanager
async def connected(
    source: ClusterRef, target: ClusterRef, listener: Listener = ignore, *, last: bool = True
) -> AsyncIterator[Clusters]:
    """Gives both clusters; see `opened`."""
    async with (
        opened("source", source, listener, last=last) as origin,
        opened("target", target, listener, last=last) as goal,
    ):
        yield Clusters(origin, goal)


def namespace_of_move(source: Cluster, options: MoveOptions) -> str:
    """Returns the namespace that is asked for; like kubectl, the context's one, else "default"."""
    if options.namespace is None:
        return source.default_namespace or DEFAULT_NAMESPACE
    return options.namespace


async def require_answers(clusters: Clusters) -> None:
    """Raises RefusedError if one of the clusters does not answer: nothing else can be found out then."""
    if problems := await check_connections(clusters.source, clusters.target):
        raise RefusedError(problems)
