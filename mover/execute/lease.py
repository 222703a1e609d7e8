"""Who works on a move: a lease on each cluster, renewed while the program lives, and asked before each write.

Two movers on the same objects are kept apart by the API server (`mover.execute.lease_object`). Moves that only overlap
have leases of different names: whoever has taken one looks for the others, so that of two at the same time at least
one gives up. A program that was asleep may have been taken for dead: no write leaves it before it has renewed its
leases (docs/decisions/0030).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial

from mover.errors import (
    ApiError,
    Call,
    ConnectionFailedError,
    ForbiddenError,
    NotFoundError,
    StoppedError,
    SupersededError,
    TransientError,
    UnauthorizedError,
)
from mover.events import Listener, ignore
from mover.execute import records_namespace
from mover.execute.holders import is_gone, this_holder
from mover.execute.lease_object import LEASES, Lease, LeaseHeldError
from mover.kube import Cluster
from mover.kube.transport import Guard, Transport

__all__ = [
    "LEASES",
    "Claim",
    "Lease",
    "LeaseHeldError",
    "LeaseLostError",
    "held",
    "holding",
    "is_gone",
    "this_holder",
]

_RENEWALS = 4
"""How often a lease is renewed while it lasts; no write is sent in the last of these parts of its time."""


class LeaseLostError(StoppedError):
    """The lease could not be renewed in time.

    Attributes:
        cluster: The cluster that the lease is on.
        unreachable: Whether the cluster could not be reached, or does not let us in any more.
    """

    def __init__(self, cluster: str, cause: ApiError) -> None:
        super().__init__(
            f"The lease on the {cluster} cluster was lost ({cause}); nothing more was changed",
            "See what was begun with: capi-mover status; go on with a move by: capi-mover resume",
        )
        self.cluster = cluster
        self.unreachable = isinstance(cause, (TransientError, UnauthorizedError, ForbiddenError))


class Claim:
    """A lease that is held. A task that is cancelled looks here whether that is why.

    Attributes:
        lost: Why it is not held any more, None as long as it is.
        has_stopped_body: Whether the task that holds it was cancelled for that.
    """

    def __init__(self, lease: Lease) -> None:
        self.lost: LeaseLostError | SupersededError | None = None
        self.has_stopped_body = False
        self._lease = lease
        self._undoing = 0

    @property
    def is_anothers(self) -> bool:
        """Returns whether somebody else may have the lease now, and not only because its cluster is out of reach."""
        return self.lost is not None and not self.is_out_of_reach

    @property
    def is_out_of_reach(self) -> bool:
        """Returns whether it was lost because its cluster could not be reached."""
        return isinstance(self.lost, LeaseLostError) and self.lost.unreachable

    @property
    def may_lapse(self) -> bool:
        """Returns whether the body goes on though the cluster is out of reach."""
        return self._undoing > 0

    @contextmanager
    def lapsing(self) -> Iterator[None]:
        """Lets the lease lapse inside: when a move is undone the source is resumed whatever becomes of the target.

        That is for a cluster that is out of reach; a lease that somebody else has stops everything here, too.
        """
        self._undoing += 1
        try:
            yield
        finally:
            self._undoing -= 1

    async def confirm(self) -> None:
        """Renews the lease: nobody has taken over what is claimed.

        Raises:
            SupersededError: Somebody has.
            LeaseLostError: The lease was lost before, or its renewal is refused.
            TransientError: It cannot be renewed now.
        """
        if self.lost is not None:
            raise self.lost
        await self._renew()

    async def require(self, link: Transport) -> float:
        """Returns for how many seconds writes may be sent: nobody can have taken over what is claimed until then.

        A lease that was not renewed for long, as the program was asleep, is renewed first.

        Args:
            link: Where the write is sent to.

        Raises:
            SupersededError: Somebody else has taken over.
            LeaseLostError: The lease could not be renewed in time.
            TransientError: It cannot be renewed now.
        """
        # The source is resumed whatever becomes of the target: nobody takes over without the source's lease.
        may_do_without = self.may_lapse and link is not self._lease.cluster.link
        if may_do_without and self.is_out_of_reach:
            return math.inf
        try:
            return await self._required()
        except (LeaseLostError, TransientError):
            if may_do_without and not self.is_anothers:
                return math.inf
            raise

    async def _required(self) -> float:
        if self.lost is not None and not (self.is_out_of_reach and self.may_lapse):
            raise self.lost
        for _ in range(_RENEWALS):
            if self._lease.left_s > self._lease.duration_s / _RENEWALS:
                return self._lease.left_s
            # The answer to a renewal may be read long after it was sent: then it says nothing of now.
            await self._renew()
        call = Call(self._lease.cluster.name, "PUT", LEASES.plural)
        raise ConnectionFailedError(call, "each renewal was answered too late to write anything upon it")

    async def keep(self) -> None:
        """Renews the lease until it is lost."""
        while self.lost is None:
            await asyncio.sleep(self._lease.duration_s / _RENEWALS)
            try:
                await self._renew()
            except TransientError as error:
                if self._lease.left_s <= 0:
                    self.lost = LeaseLostError(self._lease.cluster.name, error)
            except (LeaseLostError, SupersededError):
                return

    async def _renew(self) -> None:
        try:
            await self._lease.renew()
        except TransientError:
            raise
        except ApiError as error:
            self.lost = LeaseLostError(self._lease.cluster.name, error)
            raise self.lost from error
        except SupersededError as error:
            self.lost = error
            raise


@asynccontextmanager
async def held(
    cluster: Cluster, scope: str, listener: Listener = ignore, others: Collection[Cluster] = ()
) -> AsyncIterator[Claim]:
    """Holds the lease on a move while the body runs; the body is cancelled if the lease is lost, unless it may lapse.

    The namespace that it is in is made if it is missing, and stays for as long as it is held.

    Args:
        cluster: Where the lease is.
        scope: What the body works on.
        listener: Told whose lease is waited for.
        others: Other clusters that the body writes to: before each write it is made sure that the lease is held.

    Raises:
        LeaseHeldError: Somebody else holds it.
        LeaseLostError: It could not be kept.
        SupersededError: Somebody else has taken it over.
        StoppedError: There is no namespace for it, and none may be made.
    """
    lease = Lease(cluster, scope, listener)
    await lease.outwait()
    async with holding(lease, (cluster, *others)) as claim:
        yield claim


@asynccontextmanager
async def holding(lease: Lease, clusters: Collection[Cluster]) -> AsyncIterator[Claim]:
    """Takes a lease and holds it while the body runs, which writes to `clusters`; see `held`."""
    await _take(lease)
    try:
        await lease.outwait()
    except BaseException:
        await lease.give_up(is_anothers=False)
        raise
    claim, body = Claim(lease), asyncio.current_task()
    renewal = asyncio.create_task(_keep(claim, body))
    try:
        with _guarded(claim, clusters):
            yield claim
    except asyncio.CancelledError:
        if claim.lost is None or not claim.has_stopped_body:
            raise
        raise claim.lost from None
    finally:
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        if claim.has_stopped_body and body is not None:
            body.uncancel()
        await lease.give_up(is_anothers=claim.is_anothers)


async def _take(lease: Lease) -> None:
    """Takes a lease, in a namespace that stays: it is made if it is missing, and may be one that is about to go."""
    while True:
        may_go = await records_namespace.provide(lease.cluster)
        try:
            await lease.take()
        except (ForbiddenError, NotFoundError):
            # The server refuses whatever is created in a namespace that goes.
            if may_go and not await records_namespace.stays(lease.cluster):
                continue
            raise
        try:
            if not may_go or await records_namespace.stays(lease.cluster):
                return
        except BaseException:
            await lease.give_up(is_anothers=False)
            raise
        await lease.give_up(is_anothers=False)


async def _keep(claim: Claim, body: asyncio.Task[object] | None) -> None:
    await claim.keep()
    if body is not None and (claim.is_anothers or not claim.may_lapse):
        claim.has_stopped_body = True
        body.cancel()


@contextmanager
def _guarded(claim: Claim, clusters: Collection[Cluster]) -> Iterator[None]:
    """Has the claim asked before each write to the clusters."""
    with ExitStack() as stack:
        for link in {cluster.link for cluster in clusters}:
            guard: Guard = partial(claim.require, link)
            link.guards.append(guard)
            stack.callback(link.guards.remove, guard)
        yield
