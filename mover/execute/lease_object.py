"""A Lease object on one cluster: waiting until nobody holds it, taking it, renewing it, releasing it.

As in client-go's leader election, nobody's wall clock decides anything. A holder has its lease for a duration from just
before the last renewal that was answered; whoever takes a lease over has itself seen it unrenewed for a whole duration
of its holder, by its own clock. The API server keeps two apart that do so at once: each write of a lease carries the
UID and the resourceVersion of the state that it follows, so that a renewal and a take-over never both succeed.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any

from graph.resource import Object, ObjectKey, ResourceType
from mover.concurrency import all_of
from mover.errors import (
    AlreadyExistsError,
    ApiError,
    Call,
    ConflictError,
    ConnectionFailedError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StoppedError,
    SupersededError,
    TransientError,
)
from mover.events import Listener, Noted
from mover.execute.holders import begin_work, end_work, is_at_work, is_gone, this_holder
from mover.kube import LEASE_S, Cluster
from mover.kube.cluster import object_path
from mover.models import MANAGER
from mover.moment import micro_time, sleepless_s
from mover.names import shown
from mover.record import SCOPE_ANNOTATION, name_of
from mover.scope import described, is_scope, overlap

LEASES = ResourceType("coordination.k8s.io", "v1", "Lease", "leases")
_LONGEST_S = 3600
"""What somebody else's lease may keep us waiting: whoever may write leases must not stop all moves for ever."""
_RELEASE_S = 5.0
_RE_READS = 8


class LeaseHeldError(StoppedError):
    """Another mover works on the same objects."""

    def __init__(self, cluster: str, scope: str, holder: str) -> None:
        super().__init__(
            f"Another capi-mover works on {described(scope)} of the {cluster} cluster: {shown(holder)}",
            "Wait until it has ended; if it is gone, its lease ends by itself within seconds",
        )
        self.holder = holder


class Lease:
    """One Lease object, as it was last written by us.

    Attributes:
        cluster: Where it is.
        scope: What whoever holds it works on.
        duration_s: How long it lasts after a renewal, in seconds.
    """

    def __init__(self, cluster: Cluster, scope: str, listener: Listener) -> None:
        """The listener is told who is waited for."""
        self.cluster = cluster
        self.scope = scope
        self.duration_s = cluster.lease_s
        self._listener = listener
        self._work = uuid.uuid4().hex[:8]
        self._holder = f"{this_holder()}/{self._work}"
        self._key = ObjectKey(LEASES.group, LEASES.kind, cluster.records_namespace, name_of(scope))
        self._acquired = micro_time()
        self._uid = ""
        self._version = ""
        self._confirmed_s = -math.inf
        self._sent: dict[str, float] = {}
        self._unrenewed: dict[str, Mapping[str, Any]] = {}
        self._renewal: asyncio.Future[None] | None = None

    @property
    def left_s(self) -> float:
        """Returns for how many seconds from now nobody can have taken it over; negative once somebody may have."""
        return self._confirmed_s + self.duration_s - sleepless_s()

    async def outwait(self) -> None:
        """Returns when nobody else holds this lease, or one of an overlapping scope, as far as can be seen.

        A holder that is not known to be gone is watched for a whole duration of its lease; all of them at once.

        Raises:
            LeaseHeldError: One of them has renewed it, or is at work in this process.
        """
        found = (await self.cluster.list(LEASES, self._key.namespace)).objects
        await all_of(self._outwait(other) for other in found if self._is_in_the_way(other))

    def _is_in_the_way(self, other: Object) -> bool:
        scope = other.annotations.get(SCOPE_ANNOTATION)
        if other.key != self._key and (scope is None or not is_scope(scope) or not overlap(scope, self.scope)):
            return False
        return not self._is_free(other)

    def _is_free(self, found: Object) -> bool:
        """Returns whether a lease is nobody's, or its holder is known to be gone, or it is ours."""
        spec = _spec(found)
        holder = spec.get("holderIdentity") or ""
        return holder in ("", self._holder) or is_gone(holder) or self._unrenewed.get(found.key.name) == spec

    async def _outwait(self, other: Object) -> None:
        """Watches a lease for a whole duration; notes that it was not renewed, or that it is gone."""
        spec, name = _spec(other), other.key.name
        scope = other.annotations.get(SCOPE_ANNOTATION, self.scope)
        if is_at_work(spec["holderIdentity"]) or name in self._unrenewed:
            raise LeaseHeldError(self.cluster.name, scope, spec["holderIdentity"])
        duration_s = _duration_s(spec)
        self._listener(
            Noted(
                f"{spec['holderIdentity']} holds the lease on {described(scope)} of the {self.cluster.name} cluster; "
                f"waiting {duration_s:g} s to see whether it is still renewed"
            )
        )
        now = await self._observed(other, duration_s)
        if now is not None and _spec(now) != spec:
            raise LeaseHeldError(self.cluster.name, scope, _spec(now).get("holderIdentity") or "somebody else")
        self._unrenewed[name] = spec

    async def _observed(self, found: Object, duration_s: float) -> Object | None:
        """Returns a lease when its spec has changed, None when it is gone, else as it is after `duration_s`."""
        until_s = sleepless_s() + duration_s
        now: Object | None = found
        while now is not None and _spec(now) == _spec(found) and (left_s := until_s - sleepless_s()) > 0:
            if now is not found:
                # The watch has ended early: the next one is not begun at once, however soon that was.
                await asyncio.sleep(min(left_s, duration_s / _RE_READS))
            with suppress(TimeoutError, ExpiredError, TransientError, ForbiddenError, InvalidError):
                async with asyncio.timeout(left_s):
                    await self._wait_for_change(now, left_s)
            # A watch may be dead without a sign, or we were asleep: what the server has now decides.
            now = await self._read(found.key.name)
        return now

    async def _wait_for_change(self, lease: Object, timeout_s: float) -> None:
        """Returns at the next change of a lease, or when the server ends the watch."""
        async with aclosing(
            self.cluster.watch(LEASES, self._key.namespace, lease.resource_version, timeout_s)
        ) as events:
            async for event in events:
                if event.kind != "BOOKMARK" and event.object.key == lease.key:
                    return

    async def take(self) -> None:
        """Takes the lease.

        Raises:
            LeaseHeldError: Its holder is alive.
        """
        begin_work(self._work)
        try:
            while not await self._is_taken():
                pass
        except BaseException:
            end_work(self._work)
            raise

    async def _is_taken(self) -> bool:
        """Returns whether the lease is ours now; False if it has changed meanwhile, so that another try is needed."""
        body, sent_s = self._body({})
        try:
            self._confirm(await self.cluster.create(LEASES, body, manager=MANAGER), sent_s)
        except AlreadyExistsError:
            found = await self._read(self._key.name)
            if found is None:
                return False
            if self._is_as_sent(found):
                self._recognise(found)
                return True
            if self._is_free(found):
                return await self._take_over(found)
            await self.outwait()
            return False
        return True

    async def _take_over(self, found: Object) -> bool:
        """Returns whether the lease of a holder that is gone is ours now; False if somebody was quicker."""
        body, sent_s = self._body({"uid": found.uid, "resourceVersion": found.resource_version})
        try:
            self._confirm(await self.cluster.replace(LEASES, body, manager=MANAGER), sent_s)
        except (ConflictError, NotFoundError):
            return False
        return True

    async def renew(self) -> None:
        """Renews the lease; whoever asks while that is under way waits for the same answer.

        It is tried for as long as the lease lasts, and for a whole duration once it has run out: as long as nobody has
        taken it over it can be renewed.

        Raises:
            SupersededError: Somebody else has it.
            TransientError: There was no answer in time.
            ApiError: Renewing it is refused.
        """
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.ensure_future(self._renew_in_time())
            self._renewal.add_done_callback(_note_failure)
        await asyncio.shield(self._renewal)

    async def _renew_in_time(self) -> None:
        left_s = self.left_s
        patience_s = self.duration_s if left_s <= 0 else max(left_s, self.duration_s / 2)
        try:
            # A server that swallows requests must not let the lease end unnoticed.
            async with asyncio.timeout(patience_s):
                await self._renew()
        except TimeoutError as error:
            call = Call(self.cluster.name, "PUT", object_path(LEASES, self._key))
            raise ConnectionFailedError(call, f"no answer for {patience_s:.3g} s") from error

    async def _renew(self) -> None:
        while True:
            body, sent_s = self._body(self._identity())
            try:
                self._confirm(await self.cluster.replace(LEASES, body, manager=MANAGER), sent_s)
            except (ConflictError, NotFoundError) as error:
                found = await self._read(self._key.name)
                if found is None or not self._is_as_sent(found):
                    raise self._superseded(found) from error
                self._recognise(found)
                if _spec(found)["renewTime"] != body["spec"]["renewTime"]:
                    # It was an earlier renewal whose answer was lost.
                    continue
            return

    def _superseded(self, found: Object | None) -> SupersededError:
        work = f"the work on {described(self.scope)}"
        unchanged = "this program has changed nothing since its own lease had run out"
        if found is None:
            return SupersededError(
                f"Somebody else has taken over {work} and ended it: its lease on the {self.cluster.name} cluster is "
                f"gone; {unchanged}"
            )
        spec = _spec(found)
        holder = spec.get("holderIdentity") or "somebody"
        since = str(spec.get("acquireTime") or spec.get("renewTime") or "")
        return SupersededError(
            f"Another capi-mover has taken over {work}: {holder} holds the lease on the {self.cluster.name} cluster"
            f"{f' since {since}' if since else ''}; {unchanged}",
            holder,
            since,
        )

    async def give_up(self, *, is_anothers: bool) -> None:
        """Ends the hold on the lease; it is deleted unless it is somebody else's now."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        try:
            if not is_anothers:
                await self._release()
        finally:
            end_work(self._work)

    async def _release(self) -> None:
        """Deletes the lease if it is still ours; on a cluster that cannot be reached it ends by itself."""
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(_RELEASE_S):
                # A renewal may have been cancelled on its way: what the server has now decides.
                found = await self._read(self._key.name)
                if found is not None and self._is_as_sent(found):
                    self._recognise(found)
                await self.cluster.delete(LEASES, self._key, uid=self._uid, resource_version=self._version)

    async def _read(self, name: str) -> Object | None:
        try:
            return await self.cluster.get(LEASES, self._key.namespace, name)
        except NotFoundError:
            return None

    def _is_as_sent(self, found: Object) -> bool:
        """Returns whether a lease is what we wrote since the last answer: that to it was lost on its way."""
        spec = _spec(found)
        return spec.get("holderIdentity") == self._holder and spec.get("renewTime") in self._sent

    def _identity(self) -> dict[str, str]:
        return {"uid": self._uid, "resourceVersion": self._version}

    def _recognise(self, found: Object) -> None:
        """Goes on from a lease that is as we have sent it."""
        self._confirm(found, self._sent[_spec(found)["renewTime"]])

    def _confirm(self, written: Any, sent_s: float) -> None:
        """Notes the answer to what was sent at `sent_s`, from when on the lease counts: its server got it later."""
        self._uid, self._version = written.uid, written.resource_version
        self._confirmed_s = sent_s
        self._sent = {time: at_s for time, at_s in self._sent.items() if at_s >= sent_s}

    def _body(self, identity: Mapping[str, str]) -> tuple[dict[str, Any], float]:
        """Returns the lease as it is about to be sent, and the time."""
        now, now_s = micro_time(), sleepless_s()
        self._sent[now] = now_s
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, math.ceil(self.duration_s)),
            "acquireTime": self._acquired,
            "renewTime": now,
        }
        marked = {"annotations": {SCOPE_ANNOTATION: self.scope}}
        metadata = {"namespace": self._key.namespace, "name": self._key.name, **marked, **identity}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}, now_s


def _spec(lease: Object) -> Mapping[str, Any]:
    return lease.body().get("spec") or {}


def _duration_s(spec: Mapping[str, Any]) -> float:
    """Returns how long somebody else's lease lasts, in seconds; what makes no sense counts as our own default."""
    value = spec.get("leaseDurationSeconds")
    return float(value) if isinstance(value, int) and 1 <= value <= _LONGEST_S else LEASE_S


def _note_failure(renewal: asyncio.Future[None]) -> None:
    """Takes note of a failure that nobody may wait for any more."""
    if not renewal.cancelled():
        renewal.exception()
