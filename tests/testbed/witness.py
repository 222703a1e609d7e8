"""Watches both clusters during a move and keeps a log of every moment at which an invariant was broken.

Two parts. `WitnessLog` is a pure state machine: events in, violations out, the same log for the same events.
`Witness` feeds it from two real clusters by list and watch, and does the reads that settle its suspicions.

Two watches are not ordered with each other: the source's DELETED event may arrive after the target's unpause
though it happened before it. So what one cluster shows by itself is a violation at once; what compares both
is a `Suspicion`, settled by reading the other cluster after the event. This errs towards silence: an overlap
that ends within the way of the event and the read (milliseconds) can go unreported.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import aiohttp

from graph.resource import ObjectKey, ResourceType
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.crds import CLUSTERCTL_LABEL, CRDS_PATH, storage_version

Body = Mapping[str, Any]
KeySet = Collection[ObjectKey] | Callable[[ObjectKey], bool]

HOST = ("metal3.io", "BareMetalHost")
CLUSTER = ("cluster.x-k8s.io", "Cluster")
CLUSTER_CLASS = ("cluster.x-k8s.io", "ClusterClass")
HOST_PAUSE = "baremetalhost.metal3.io/paused"
CLUSTER_PAUSE = "cluster.x-k8s.io/paused"
METAL3_GROUPS = frozenset({"metal3.io", "ipam.metal3.io"})
CORE_TYPES = (ResourceType("", "v1", "ConfigMap", "configmaps"), ResourceType("", "v1", "Secret", "secrets"))
DRAIN_WATCH_S = 3  # the API server sends a bookmark 2 s before a watch ends, else about one a minute
RECONNECT_WAIT_S = 0.2
RELISTED = "RELISTED"  # our own: a whole list instead of the events that were lost


class Side(StrEnum):
    """The two clusters of a move."""

    SOURCE = "source"
    TARGET = "target"

    @property
    def other(self) -> Side:
        """Returns the cluster at the other end of the move."""
        return Side.TARGET if self is Side.SOURCE else Side.SOURCE


class Rule(StrEnum):
    """What must never be seen during a move."""

    DYING_WITH_FINALIZERS = "dying-with-finalizers"
    PAUSE_LOST = "pause-lost"
    UNPAUSED_ON_BOTH = "unpaused-on-both"
    LOST = "lost"
    COLLECTED = "collected"
    STRIPPED_UNPAUSED = "stripped-unpaused"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class Violation:
    """One moment at which a rule was broken.

    Attributes:
        rule: The rule.
        cluster: The cluster whose event showed it.
        key: The object; without namespace and name if a whole type is meant.
        resource_version: The resourceVersion of the event, on `cluster`.
        explanation: What was seen.
    """

    rule: Rule
    cluster: Side
    key: ObjectKey
    resource_version: str
    explanation: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.cluster} {self.key} @{self.resource_version}: {self.explanation}"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A violation if a cluster, read after the event, agrees.

    Attributes:
        violation: What is logged if it is confirmed.
        ask: The cluster to read `violation.key` from.
        confirms: Says whether the object as it is on `ask` (None: not found) confirms it.
        uid: Of the incarnation that is meant; another one that has come since is not. "" for any.
        judged_by_last_state: Not found does not clear it: the last state of the source's object decides. For
            copies created unpaused: if the source's was never paused, they overlapped or it was lost.
    """

    violation: Violation
    ask: Side
    confirms: Callable[[Body | None], bool]
    uid: str = ""
    judged_by_last_state: bool = False

    def is_meant(self, body: Body | None) -> bool:
        """Returns whether an object that was read is the incarnation that is meant."""
        return body is None or not self.uid or body["metadata"].get("uid") == self.uid


@dataclass(frozen=True, slots=True)
class Expectations:
    """What is no violation in this move. Each set is a collection of keys or a predicate on a key.

    Attributes:
        kept: Copied, but legitimately on both clusters: may be unpaused on both, must not go from the source.
        expected_losses: May go from the source without ever having been on the target.
        ignored: Not looked at: the move's own record, for example.
        rollback: The move is rolled back: copies may go from the target, and what the source has may lose its
            pause once its copy is gone.
    """

    kept: KeySet = ()
    expected_losses: KeySet = ()
    ignored: KeySet = ()
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class _State:
    """What the rules need to know of an object at one resourceVersion."""

    uid: str
    resource_version: str
    paused: bool
    deleting: bool
    finalizers: tuple[str, ...]

    @property
    def dying(self) -> bool:
        return self.deleting and bool(self.finalizers)


@dataclass(frozen=True, slots=True)
class _Change:
    """One event with what was known when it came.

    `before` is the same incarnation (UID) before the event, `elsewhere` the other cluster's latest; a gone
    object's last state is `after`.
    """

    cluster: Side
    key: ObjectKey
    before: _State | None
    after: _State
    gone: bool
    elsewhere: _State | None
    was_on_target: bool

    @property
    def of_source(self) -> bool:
        return self.cluster is Side.SOURCE

    @property
    def is_host(self) -> bool:
        return (self.key.group, self.key.kind) == HOST

    @property
    def copy_was_taken_off(self) -> bool:
        return self.was_on_target and self.elsewhere is None

    @property
    def lost_pause(self) -> bool:
        return self.before is not None and self.before.paused and not self.after.paused

    @property
    def became_unpaused(self) -> bool:
        return not (self.gone or self.after.paused) and (self.before is None or self.before.paused)

    def breaks(self, rule: Rule, explanation: str) -> Violation:
        return Violation(rule, self.cluster, self.key, self.after.resource_version, explanation)


Finding = Violation | Suspicion | None


class WitnessLog:
    """The rules as a state machine; it does no I/O.

    Attributes:
        violations: In the order in which they were established.
        stats: How many events were observed, by (cluster, resource such as "Machine.cluster.x-k8s.io", type).
    """

    def __init__(self, expectations: Expectations | None = None) -> None:
        self.violations: list[Violation] = []
        self.stats: Counter[tuple[Side, str, str]] = Counter()
        self._expect = expectations or Expectations()
        self._present: dict[Side, dict[ObjectKey, _State]] = {side: {} for side in Side}
        self._ever_on_target: set[ObjectKey] = set()
        self._departed: dict[ObjectKey, _State] = {}
        self._held: dict[ObjectKey, Violation] = {}

    def observe(self, cluster: Side, event_type: str, body: Body) -> tuple[Suspicion, ...]:
        """Takes one event of a watch, or one item of a list as "ADDED".

        Args:
            cluster: Where it was seen.
            event_type: "ADDED", "MODIFIED" or "DELETED".
            body: The whole object, apiVersion and kind included; of a deleted object its last state.

        Returns:
            What must be settled by reading the other cluster now; see `settle`.
        """
        key = key_of(body)
        self.stats[cluster, _resource(key), event_type] += 1
        return self._take(cluster, key, _state_of(body), gone=event_type == "DELETED")

    def relist(
        self, cluster: Side, group_kind: tuple[str, str], bodies: Iterable[Body], lost: tuple[int, int]
    ) -> tuple[Suspicion, ...]:
        """Takes a whole list of one type after its watch was lost; logs the span as `Rule.BLIND`.

        Args:
            cluster: Where it was listed.
            group_kind: Group and kind of the type.
            bodies: All objects of the type that are there now.
            lost: The last resourceVersion seen and the one of the list.

        Returns:
            As `observe`.
        """
        self.blind(cluster, group_kind, lost, "the watch was lost and the type listed again")
        listed = list(bodies)
        left = {key_of(body) for body in listed}
        present = self._present[cluster]
        gone = [k for k in present if (k.group, k.kind) == group_kind and k not in left]
        found = [s for body in listed for s in self.observe(cluster, "MODIFIED", body)]
        found += [s for key in gone for s in self._take(cluster, key, present[key], gone=True)]
        return tuple(found)

    def blind(self, cluster: Side, group_kind: tuple[str, str], lost: tuple[int, int], explanation: str) -> None:
        """Logs that nothing is known of one type between two resourceVersions."""
        first, last = lost
        text = f"nothing is known between resourceVersions {first} and {last}: {explanation}"
        self.violations.append(Violation(Rule.BLIND, cluster, ObjectKey(*group_kind, "", ""), str(last), text))

    def settle(self, suspicion: Suspicion, body: Body | None) -> None:
        """Confirms or clears a suspicion by the object as read from `suspicion.ask` (None: not found)."""
        if not suspicion.is_meant(body):
            return
        if suspicion.confirms(body):
            self.violations.append(suspicion.violation)
        elif body is None and suspicion.judged_by_last_state:
            self._held[suspicion.violation.key] = suspicion.violation
            self._judge_held(suspicion.violation.key)

    def _take(self, cluster: Side, key: ObjectKey, after: _State, *, gone: bool) -> tuple[Suspicion, ...]:
        if _is_root_ca(key) or _in(key, self._expect.ignored):
            return ()
        change = self._change(cluster, key, after, gone=gone)
        self._remember(change)
        findings = [rule(change, self._expect) for rule in _RULES]
        self.violations += [f for f in findings if isinstance(f, Violation)]
        if gone and change.of_source:
            self._judge_held(key)
        return tuple(f for f in findings if isinstance(f, Suspicion))

    def _change(self, cluster: Side, key: ObjectKey, after: _State, *, gone: bool) -> _Change:
        before = self._present[cluster].get(key)
        if before is not None and before.uid != after.uid:
            before = None
        elsewhere = self._present[cluster.other].get(key)
        return _Change(cluster, key, before, after, gone, elsewhere, key in self._ever_on_target)

    def _remember(self, change: _Change) -> None:
        present = self._present[change.cluster]
        if change.cluster is Side.TARGET:
            self._ever_on_target.add(change.key)
        elif change.gone:
            self._departed[change.key] = change.after
        else:
            self._departed.pop(change.key, None)
        if change.gone:
            present.pop(change.key, None)
        else:
            present[change.key] = change.after

    def _judge_held(self, key: ObjectKey) -> None:
        """Once the source's object has gone: it was unpaused to the end, or paused before."""
        if key in self._departed and key in self._held:
            violation = self._held.pop(key)
            if not self._departed[key].paused:
                self.violations.append(violation)


def _of_elsewhere(change: _Change, violation: Violation, confirms: Callable[[Body | None], bool]) -> Suspicion:
    """Returns a suspicion that the other cluster settles: by the incarnation that it had at the time of the change."""
    return Suspicion(violation, change.cluster.other, confirms, change.elsewhere.uid if change.elsewhere else "")


def _dying_with_finalizers(change: _Change, _: Expectations) -> Finding:
    if change.of_source and change.after.dying and not (change.before and change.before.dying):
        held = ", ".join(change.after.finalizers)
        return change.breaks(Rule.DYING_WITH_FINALIZERS, f"had a deletionTimestamp while held by the finalizers {held}")
    return None


def _host_lost_pause(change: _Change, expect: Expectations) -> Finding:
    if not (change.of_source and change.is_host and change.lost_pause):
        return None
    if expect.rollback and change.copy_was_taken_off:
        return None
    violation = change.breaks(Rule.PAUSE_LOST, f"lost the annotation {HOST_PAUSE} before it was gone")
    return _of_elsewhere(change, violation, _is_there) if expect.rollback else violation


def _cluster_lost_pause(change: _Change, _: Expectations) -> Finding:
    is_cluster = (change.key.group, change.key.kind) == CLUSTER
    if change.of_source and is_cluster and change.lost_pause and not change.gone and not change.copy_was_taken_off:
        text = "was resumed while its copy exists on the target"
        return _of_elsewhere(change, change.breaks(Rule.PAUSE_LOST, text), _is_there)
    return None


def _unpaused_on_both(change: _Change, expect: Expectations) -> Finding:
    if not _is_pausable(change.key) or _in(change.key, expect.kept) or not change.became_unpaused:
        return None
    if change.elsewhere is None or change.elsewhere.paused:
        return None
    other = change.cluster.other
    text = f"is not paused while it is not paused on the {other} either (@{change.elsewhere.resource_version})"
    violation = change.breaks(Rule.UNPAUSED_ON_BOTH, text)
    created = change.before is None
    if created and change.of_source:
        # Its events may come seconds late: that it was there before the move says nothing of now.
        return Suspicion(violation, change.cluster, _is_unpaused, change.after.uid)
    return Suspicion(violation, other, _is_unpaused, change.elsewhere.uid, judged_by_last_state=created)


def _lost(change: _Change, expect: Expectations) -> Finding:
    if not (change.of_source and change.gone) or change.was_on_target:
        return None
    if _in(change.key, expect.expected_losses):
        return None
    violation = change.breaks(Rule.LOST, "vanished from the source and had never been on the target")
    return Suspicion(violation, change.cluster.other, _is_absent)


def _collected(change: _Change, expect: Expectations) -> Finding:
    if change.gone and not change.of_source and not expect.rollback:
        return change.breaks(Rule.COLLECTED, "was deleted on the target")
    if change.gone and change.of_source and _in(change.key, expect.kept):
        return change.breaks(Rule.COLLECTED, "was deleted on the source, where it was to be kept")
    return None


def _stripped_unpaused(change: _Change, _: Expectations) -> Finding:
    if not (change.of_source and change.is_host) or change.after.paused:
        return None
    had = change.before is not None and bool(change.before.finalizers)
    if had and (change.gone or not change.after.finalizers):
        return change.breaks(Rule.STRIPPED_UNPAUSED, f"lost its finalizers without the annotation {HOST_PAUSE}")
    return None


_RULES = (
    _host_lost_pause,
    _cluster_lost_pause,
    _dying_with_finalizers,
    _stripped_unpaused,
    _unpaused_on_both,
    _lost,
    _collected,
)


def key_of(body: Body) -> ObjectKey:
    """Returns the key of a whole object."""
    metadata = body["metadata"]
    group = body["apiVersion"].rpartition("/")[0]
    return ObjectKey(group, body["kind"], metadata.get("namespace") or "", metadata["name"])


def is_paused(body: Body) -> bool:
    """Returns whether a Cluster, ClusterClass or BareMetalHost is paused; False for every other kind."""
    key = key_of(body)
    annotations = body["metadata"].get("annotations") or {}
    match (key.group, key.kind):
        case group_kind if group_kind == HOST:
            return HOST_PAUSE in annotations
        case group_kind if group_kind == CLUSTER:
            return bool((body.get("spec") or {}).get("paused")) or CLUSTER_PAUSE in annotations
        case group_kind if group_kind == CLUSTER_CLASS:
            return CLUSTER_PAUSE in annotations
    return False


def _state_of(body: Body) -> _State:
    metadata = body["metadata"]
    return _State(
        uid=metadata.get("uid") or "",
        resource_version=metadata.get("resourceVersion") or "",
        paused=is_paused(body),
        deleting=bool(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
    )


def _is_absent(body: Body | None) -> bool:
    return body is None


def _is_there(body: Body | None) -> bool:
    return body is not None


def _is_unpaused(body: Body | None) -> bool:
    return body is not None and not is_paused(body)


def _is_pausable(key: ObjectKey) -> bool:
    return (key.group, key.kind) in {HOST, CLUSTER, CLUSTER_CLASS}


def _is_root_ca(key: ObjectKey) -> bool:
    """The API server's CA is written into every namespace and is nobody's to move."""
    return (key.group, key.kind, key.name) == ("", "ConfigMap", "kube-root-ca.crt")


def _in(key: ObjectKey, keys: KeySet) -> bool:
    return keys(key) if callable(keys) else key in keys


def _resource(key: ObjectKey) -> str:
    return f"{key.kind}.{key.group}" if key.group else key.kind


class Witness:
    """Watches the two clusters of a move from `async with` to its end; then `check()`.

    Every type holds one connection of each client (about 50 with CAPI and Metal3): give it its own clients.

    Args:
        source: A client of the source.
        target: A client of the target.
        expectations: What is no violation in this move.
        namespaces: The namespaces to look at; all but kube-* if None.
        timeout_s: How long the start, and at the end seeing the last events, may take, in seconds.

    Example:
        >>> async with Witness(source, target) as witness:
        ...     await move()
        >>> witness.check()
    """

    def __init__(
        self,
        source: AdminClient,
        target: AdminClient,
        expectations: Expectations | None = None,
        *,
        namespaces: Collection[str] | None = None,
        timeout_s: float = 30,
    ) -> None:
        self._clients = {Side.SOURCE: source, Side.TARGET: target}
        self._log = WitnessLog(expectations)
        self._namespaces = None if namespaces is None else frozenset(namespaces)
        self._timeout_s = timeout_s
        self._types: dict[Side, dict[tuple[str, str], ResourceType]] = {}
        self._streams: list[tuple[Side, Stream]] = []
        self._watches: list[asyncio.Task[None]] = []
        self._reads: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Returns what was established so far, in order; complete after the end of the `async with`."""
        return tuple(self._log.violations)

    @property
    def stats(self) -> Mapping[tuple[Side, str, str], int]:
        """Returns how many events were seen, by (cluster, resource, type); see `WitnessLog.stats`."""
        return self._log.stats

    def check(self) -> None:
        """Does nothing if no rule was broken.

        Raises:
            AssertionError: There are violations, or not one object was seen.
            RuntimeError: The witness has not stopped: later events may still break a rule.
        """
        if not self._stopped:
            raise RuntimeError("check() is for after the `async with` of the witness")
        if not self._log.stats:
            raise AssertionError("the witness saw no object on either cluster: it proves nothing")
        if self.violations:
            listed = "\n".join(f"  {violation}" for violation in self.violations)
            raise AssertionError(f"{len(self.violations)} violations during the move:\n{listed}")

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self._timeout_s):
            for side, client in self._clients.items():
                self._types[side] = {t.group_kind: t for t in await watched_types(client)}
                take = partial(self._take, side)
                streams = [Stream(client, t, take) for t in self._types[side].values()]
                await asyncio.gather(*(stream.start() for stream in streams))
                self._streams += [(side, stream) for stream in streams]
        self._watches = [asyncio.create_task(stream.follow()) for _, stream in self._streams]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.gather(*(stream.aim() for _, stream in self._streams))
            await _cancel(self._watches)
            await self._drain()
            await _settled(self._reads, self._timeout_s)
        finally:
            await _cancel([*self._watches, *self._reads])
        self._stopped = True

    async def _drain(self) -> None:
        """Waits until every stream has seen all events up to its aim; logs those that have not as blind."""
        drains = [asyncio.create_task(stream.drain()) for _, stream in self._streams]
        await asyncio.wait(drains, timeout=self._timeout_s)
        await _cancel(drains)
        for side, stream in self._streams:
            if stream.seen < stream.goal:
                span = (stream.seen, stream.goal)
                self._log.blind(side, stream.type.group_kind, span, "not seen in time at the end")

    def _take(self, side: Side, stream: Stream, event_type: str, body: Body) -> None:
        if event_type == RELISTED:
            items = [item for item in body["items"] if self._in_scope(item)]
            span = (stream.seen, int(body["metadata"]["resourceVersion"]))
            suspicions = self._log.relist(side, stream.type.group_kind, items, span)
        elif self._in_scope(body):
            suspicions = self._log.observe(side, event_type, body)
        else:
            return
        for suspicion in suspicions:
            read = asyncio.create_task(self._settle(suspicion))
            self._reads.add(read)

    def _in_scope(self, body: Body) -> bool:
        namespace = body["metadata"].get("namespace") or ""
        if self._namespaces is not None:
            return namespace in self._namespaces
        return not namespace.startswith("kube-")

    async def _settle(self, suspicion: Suspicion) -> None:
        key = suspicion.violation.key
        resource_type = self._types[suspicion.ask].get((key.group, key.kind))
        body = None
        if resource_type is not None:
            path = f"{collection_path(resource_type, key.namespace)}/{key.name}"
            body = await read(self._clients[suspicion.ask], path)
        self._log.settle(suspicion, body)


class Stream:
    """One type on one cluster: how far its events were seen, and how to see the next.

    Args:
        client: A client of the cluster.
        resource_type: The type; all namespaces of it.
        take: Is called with the stream, each event's type ("ADDED", "MODIFIED", "DELETED") and its object; after
            events were lost, with `RELISTED` and a whole list, before `seen` moves on.

    Attributes:
        type: The resource type.
        seen: All events up to this resourceVersion were handed on.
        goal: The one up to which they must be, once `aim` was called.
    """

    def __init__(
        self,
        client: AdminClient,
        resource_type: ResourceType,
        take: Callable[[Stream, str, Body], None],
    ) -> None:
        self.type = resource_type
        self.seen = 0
        self.goal = 0
        self._client = client
        self._take = take
        self._path = collection_path(resource_type)

    async def start(self) -> None:
        """Hands on what is there as "ADDED"."""
        answer = await self._list()
        for item in answer["items"]:
            self._take(self, "ADDED", item)
        self.seen = int(answer["metadata"]["resourceVersion"])

    async def follow(self) -> None:
        """Hands on events until it is cancelled; a lost connection goes on where it was."""
        while True:
            await self._watch(self._path)

    async def aim(self) -> None:
        """Sets `goal` to the type's resourceVersion of now."""
        answer = await self._client.list(self._path, limit="1")
        self.goal = int(answer["metadata"]["resourceVersion"])

    async def drain(self) -> None:
        """Hands on events until `goal` is reached."""
        while self.seen < self.goal:
            await self._watch(f"{self._path}?timeoutSeconds={DRAIN_WATCH_S}", until=self.goal)

    async def _watch(self, path: str, until: int | None = None) -> None:
        try:
            async with aclosing(events(self._client, path, str(self.seen))) as answers:
                async for event in answers:
                    self._one(event)
                    if until is not None and self.seen >= until:
                        return
        except AdminError as error:
            await self._recover(error)
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(RECONNECT_WAIT_S)

    def _one(self, event: Mapping[str, Any]) -> None:
        body = event["object"]
        if event["type"] == "ERROR":
            raise AdminError(body.get("code") or 0, body.get("reason") or "", body.get("message") or "")
        if event["type"] != "BOOKMARK":
            self._take(self, event["type"], body)
        self.seen = int(body["metadata"]["resourceVersion"])

    async def _recover(self, error: AdminError) -> None:
        if error.status == 410:
            answer = await self._list()
            self._take(self, RELISTED, answer)
            self.seen = int(answer["metadata"]["resourceVersion"])
        elif _is_passing(error):
            await asyncio.sleep(RECONNECT_WAIT_S)
        else:
            raise error

    async def _list(self) -> dict[str, Any]:
        """Returns the list at one resourceVersion, with whole items (those of core types lack their kind)."""
        answer = await self._client.list(self._path)
        head = {"apiVersion": self.type.api_version, "kind": self.type.kind}
        return {**answer, "items": [{**head, **item} for item in answer["items"]]}


def events(client: AdminClient, path: str, after: str) -> AsyncGenerator[Any]:
    """Returns the events of one watch as the generator they are, so that it can be closed."""
    return cast("AsyncGenerator[Any]", client.watch(path, after))


async def watched_types(client: AdminClient) -> tuple[ResourceType, ...]:
    """Returns what a move may touch: namespaced types of clusterctl and Metal3, Secrets and ConfigMaps.

    CRDs are some megabytes: of those that are there only their metadata is read, and each is read once.
    """
    there = [entry["metadata"] for entry in await client.list_metadata(CRDS_PATH)]
    known = await asyncio.gather(*(_defined(client, metadata) for metadata in there))
    return (*CORE_TYPES, *(resource for resource in known if resource is not None))


_DEFINED: dict[tuple[str, int], ResourceType] = {}


async def _defined(client: AdminClient, metadata: Body) -> ResourceType | None:
    """Returns the type that a CRD defines if a move may touch it; `metadata` is of the CRD as it is now."""
    group = metadata["name"].partition(".")[2]
    if CLUSTERCTL_LABEL not in (metadata.get("labels") or {}) and group not in METAL3_GROUPS:
        return None
    state = metadata["uid"], metadata["generation"]
    if state not in _DEFINED:
        _DEFINED[state] = type_of(await client.get(f"{CRDS_PATH}/{metadata['name']}"))
    return _DEFINED[state] if _DEFINED[state].namespaced else None


def type_of(crd: Body) -> ResourceType:
    """Returns the type that a CRD defines, at its storage version."""
    spec = crd["spec"]
    version = storage_version(crd)
    served = next(entry for entry in spec["versions"] if entry["name"] == version)
    return ResourceType(
        group=spec["group"],
        version=version,
        kind=spec["names"]["kind"],
        plural=spec["names"]["plural"],
        namespaced=spec["scope"] == "Namespaced",
        has_status="status" in (served.get("subresources") or {}),
    )


def collection_path(resource_type: ResourceType, namespace: str = "") -> str:
    """Returns the path that lists a type, in all namespaces or in one."""
    root = f"/apis/{resource_type.group}" if resource_type.group else "/api"
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}/{resource_type.version}{inside}/{resource_type.plural}"


def _is_passing(error: AdminError) -> bool:
    return error.status == 429 or error.status >= 500


async def read(client: AdminClient, path: str) -> Body | None:
    """Returns the object, None if there is none; waits for a server that does not answer."""
    while True:
        try:
            body: Body = await client.get(path)
        except AdminError as error:
            if error.status == 404:
                return None
            if not _is_passing(error):
                raise
        except (aiohttp.ClientError, TimeoutError):
            pass
        else:
            return body
        await asyncio.sleep(RECONNECT_WAIT_S)


async def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels the tasks and raises what those had failed with that had ended by themselves."""
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [end for end in ends if isinstance(end, Exception)]
    if failures:
        raise ExceptionGroup("the witness could not watch", failures)


async def _settled(reads: Collection[asyncio.Task[None]], timeout_s: float) -> None:
    """Waits for the reads that settle suspicions.

    Raises:
        TimeoutError: Some were not answered: it is not known whether a rule was broken.
    """
    if reads:
        _, unanswered = await asyncio.wait(reads, timeout=timeout_s)
        if unanswered:
            raise TimeoutError(f"{len(unanswered)} reads of the witness had no answer in {timeout_s} s")
