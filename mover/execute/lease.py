"""Who works on a move: a Lease on each cluster, renewed while the program lives.

A holder is gone if its lease has not been renewed for twice its duration, or if it ran on this host and its process
has ended. Two movers on the same objects are kept apart by the API server: the lease is written with its
resourceVersion. Moves that only overlap have leases of different names: whoever has taken one looks for the others, so
that of two at the same time at least one gives up.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from graph.resource import Object, ObjectKey, ResourceType
from mover.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    StoppedError,
    TransientError,
)
from mover.execute import records_namespace
from mover.kube import Cluster
from mover.models import MANAGER
from mover.moment import micro_time
from mover.names import shown
from mover.record import SCOPE_ANNOTATION, name_of
from mover.scope import described, is_scope, overlap

LEASES = ResourceType("coordination.k8s.io", "v1", "Lease", "leases")
DURATION_S = 20.0
_RELEASE_S = 5.0

_at_work: set[str] = set()
"""What tells apart the leases that this process holds."""
_RENEW_EVERY_S = DURATION_S / 4


class LeaseHeldError(StoppedError):
    """Another mover works on the same objects."""

    def __init__(self, cluster: str, scope: str, holder: str) -> None:
        super().__init__(
            f"Another capi-mover works on {described(scope)} of the {cluster} cluster: {shown(holder)}",
            "Wait until it has ended; if it is gone, its lease ends by itself within seconds",
        )
        self.holder = holder


class LeaseLostError(StoppedError):
    """The lease could not be renewed in time, or somebody else has taken it.

    Attributes:
        cluster: The cluster that the lease is on.
        unreachable: Whether the cluster could not be reached; else the lease is somebody else's now.
    """

    def __init__(self, cluster: str, cause: ApiError | TimeoutError) -> None:
        detail = str(cause) or f"no answer for {DURATION_S:g} s"
        super().__init__(
            f"The lease on the {cluster} cluster was lost ({detail}); nothing more was changed",
            "Go on with: capi-mover resume",
        )
        self.cluster = cluster
        self.unreachable = isinstance(cause, (TransientError, TimeoutError))


def this_holder() -> str:
    """Returns who we are: host, process and the time the process started, so that a reused pid is not mistaken."""
    return f"{_host()}/{os.getpid()}/{_started(os.getpid())}"


def is_gone(holder: str) -> bool:
    """Returns whether a holder is known to be gone.

    It ran on this host, and its process does not run any more; or it is this process, which has given it up without
    reaching the cluster.
    """
    host, pid, started, work = (*holder.split("/"), "", "", "")[:4]
    if host != _host() or not pid.isdigit():
        return False
    if _started(int(pid)) != started:
        return True
    return int(pid) == os.getpid() and bool(work) and work not in _at_work


def _host() -> str:
    """Returns what names a host and what it counts processes in: containers may share a name, but no pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        return f"{socket.gethostname()}.{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Returns when a process was started, in clock ticks since boot; "" if none runs under that pid."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


@dataclass(slots=True)
class Claim:
    """A lease that is held. A task that is cancelled looks here whether that is why.

    Attributes:
        lost: Why it is not held any more, None as long as it is.
    """

    lost: LeaseLostError | None = None
    _undoing: int = 0

    @property
    def may_lapse(self) -> bool:
        """Returns whether the body goes on though the cluster is out of reach."""
        return self._undoing > 0

    @contextmanager
    def lapsing(self) -> Iterator[None]:
        """Lets the lease lapse inside: when a move is undone the source is resumed whatever becomes of the target."""
        self._undoing += 1
        try:
            yield
        finally:
            self._undoing -= 1


@asynccontextmanager
async def held(cluster: Cluster, scope: str) -> AsyncIterator[Claim]:
    """Holds the lease on a move while the body runs; the body is cancelled if the lease is lost, unless it may lapse.

    The namespace that it is in is made if it is missing, and stays for as long as it is held.

    Raises:
        LeaseHeldError: Somebody else holds it.
        LeaseLostError: It could not be kept.
        StoppedError: There is no namespace for it, and none may be made.
    """
    while True:
        may_go = await records_namespace.provide(cluster)
        async with AsyncExitStack() as stack:
            try:
                claim = await stack.enter_async_context(_held(cluster, scope))
            except (ForbiddenError, NotFoundError):
                # The server refuses whatever is created in a namespace that goes.
                if may_go and not await records_namespace.stays(cluster):
                    continue
                raise
            if may_go and not await records_namespace.stays(cluster):
                continue
            yield claim
            return


@asynccontextmanager
async def _held(cluster: Cluster, scope: str) -> AsyncIterator[Claim]:
    lease = _Lease(cluster, scope)
    await lease.take()
    try:
        await lease.require_alone()
    except BaseException:
        await lease.give_up(None)
        raise
    body = asyncio.current_task()
    claim = Claim()

    async def renew() -> None:
        try:
            await lease.keep()
        except (ApiError, TimeoutError) as error:
            claim.lost = LeaseLostError(cluster.name, error)
            if body is not None and not (claim.may_lapse and claim.lost.unreachable):
                body.cancel()

    renewal = asyncio.create_task(renew())
    try:
        yield claim
    except asyncio.CancelledError:
        if claim.lost is None:
            raise
        raise claim.lost from None
    finally:
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        if claim.lost is not None and body is not None:
            body.uncancel()
        await lease.give_up(claim.lost)


class _Lease:
    """One Lease object, as it was last written by us."""

    def __init__(self, cluster: Cluster, scope: str) -> None:
        self._cluster = cluster
        self._scope = scope
        self._work = uuid.uuid4().hex[:8]
        self._holder = f"{this_holder()}/{self._work}"
        self._key = ObjectKey(LEASES.group, LEASES.kind, cluster.records_namespace, name_of(scope))
        self._uid = ""
        self._version = ""
        self._sent: list[str] = []

    async def take(self) -> None:
        """Takes the lease.

        Raises:
            LeaseHeldError: Its holder is alive.
        """
        _at_work.add(self._work)
        try:
            await self._take()
        except BaseException:
            _at_work.discard(self._work)
            raise

    async def _take(self) -> None:
        while True:
            try:
                self._noted(await self._cluster.create(LEASES, self._body({}), manager=MANAGER))
            except AlreadyExistsError:
                found = await self._found()
                if found is not None and await self._take_over(found):
                    return
            else:
                return

    async def require_alone(self) -> None:
        """Looks for other leases once this one is taken.

        Raises:
            LeaseHeldError: A living mover holds one that overlaps.
        """
        for other in (await self._cluster.list(LEASES, self._key.namespace)).objects:
            scope = other.annotations.get(SCOPE_ANNOTATION)
            if scope is None or other.key == self._key or not is_scope(scope) or not overlap(scope, self._scope):
                continue
            spec = other.body().get("spec") or {}
            holder = spec.get("holderIdentity") or ""
            if not (is_gone(holder) or _has_ended(spec)):
                raise LeaseHeldError(self._cluster.name, scope, holder)

    async def keep(self) -> None:
        """Renews the lease for as long as the program lives.

        Raises:
            ApiError: Somebody else has it, renewing it is refused, or no renewal came through before its end.
            TimeoutError: No renewal was answered before its end.
        """
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            try:
                # A server that swallows requests must not let the lease end unnoticed.
                async with asyncio.timeout_at(renewed + DURATION_S):
                    await self._renew()
                renewed = loop.time()
            except TransientError:
                if loop.time() - renewed > DURATION_S:
                    raise

    async def _renew(self) -> None:
        try:
            self._noted(await self._cluster.replace(LEASES, self._body(self._identity()), manager=MANAGER))
            del self._sent[:-1]
        except ConflictError:
            found = await self._found()
            if found is None or not self._is_as_sent(found.body().get("spec") or {}):
                raise
            self._noted(found)

    async def give_up(self, lost: LeaseLostError | None) -> None:
        """Ends the hold on the lease; it is deleted unless it is somebody else's now."""
        try:
            if lost is None or lost.unreachable:
                await self._release()
        finally:
            _at_work.discard(self._work)

    async def _release(self) -> None:
        """Deletes the lease if it is still ours; on a cluster that cannot be reached it ends by itself."""
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(_RELEASE_S):
                # A renewal may have been cancelled on its way: what the server has now decides.
                found = await self._found()
                if found is not None and self._is_as_sent(found.body().get("spec") or {}):
                    self._noted(found)
                await self._cluster.delete(LEASES, self._key, uid=self._uid, resource_version=self._version)

    async def _found(self) -> Object | None:
        try:
            return await self._cluster.get(LEASES, self._key.namespace, self._key.name)
        except NotFoundError:
            return None

    async def _take_over(self, found: Object) -> bool:
        """Returns whether the lease of a holder that is gone is ours now; False if somebody was quicker."""
        spec = found.body().get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if not (self._is_as_sent(spec) or is_gone(holder) or _has_ended(spec)):
            raise LeaseHeldError(self._cluster.name, self._scope, holder)
        identity = {"uid": found.uid, "resourceVersion": found.resource_version}
        try:
            self._noted(await self._cluster.replace(LEASES, self._body(identity), manager=MANAGER))
        except (ConflictError, NotFoundError):
            return False
        return True

    def _is_as_sent(self, spec: Mapping[str, Any]) -> bool:
        """Returns whether a lease is what we wrote since the last answer: that to it was lost on its way."""
        return spec.get("holderIdentity") == self._holder and spec.get("renewTime") in self._sent

    def _identity(self) -> dict[str, str]:
        return {"uid": self._uid, "resourceVersion": self._version}

    def _noted(self, written: Any) -> None:
        self._uid, self._version = written.uid, written.resource_version

    def _body(self, identity: Mapping[str, str]) -> dict[str, Any]:
        self._sent.append(micro_time())
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": int(DURATION_S),
            "renewTime": self._sent[-1],
        }
        marked = {"annotations": {SCOPE_ANNOTATION: self._scope}}
        metadata = {"namespace": self._key.namespace, "name": self._key.name, **marked, **identity}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}


def _has_ended(spec: Mapping[str, Any]) -> bool:
    """Returns whether a lease has ended by our clock, with one duration to spare for clocks that differ."""
    if not spec.get("renewTime"):
        return True
    spare = 2 * float(spec.get("leaseDurationSeconds") or DURATION_S)
    try:
        return datetime.now(UTC) > datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spare)
    except (OverflowError, ValueError):
        # No time that a mover writes: its holder has to be known to be gone.
        return False
