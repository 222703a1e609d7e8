"""A fleet that is about to be moved through a fault, and the ends that a move may have."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from mover.api import ClusterRef, move_async, resume_async, rollback_async, status_async
from mover.choices import OnFailure
from mover.differences import differences, names_of, normalised
from mover.events import Event, Listener, ObjectDone, PhaseStarted, ignore
from mover.models import MANAGER, MoveOptions, MoveReport, Phase
from mover.record import Record, name_of
from mover.scope import namespace_of
from tests.faults import ledger
from tests.faults.ledger import LEDGER
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair
from tests.testbed.witness import collection_path, watched_types

T = TypeVar("T")
Objects = Mapping[ObjectKey, Object]
Change = Callable[[AdminClient], Awaitable[object]]

BEFORE_COMMIT = (Phase.PAUSING, Phase.CREATING, Phase.VERIFYING)
AFTER_COMMIT = (Phase.DELETING, Phase.RESUMING)
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases"


@dataclass(frozen=True)
class Scene:
    """A small fleet in a namespace of its own, as it was before the move.

    Attributes:
        pair: The two clusters.
        source: How the mover reaches the source.
        target: How the mover reaches the target.
        fleet: What moves.
        before: What was in the namespace on the source.
        deleted: Objects that the test itself deleted: they are not lost.
    """

    pair: Pair
    source: ClusterRef
    target: ClusterRef
    fleet: Fleet
    before: Objects
    deleted: set[ObjectKey] = field(default_factory=set)

    @property
    def namespace(self) -> str:
        """Returns the namespace that moves."""
        return self.fleet.spec.namespace

    async def move(self, listener: Listener = ignore, **options: Any) -> MoveReport:
        """Moves the fleet."""
        # etcd's space is asked for in the metrics of an API server, megabytes of text.
        wanted = MoveOptions(**{"namespace": self.namespace, "quiet_s": 0.1, "skip": ("space",), **options})
        return await move_async(self.source, self.target, wanted, listener)

    async def resume(self, listener: Listener = ignore) -> MoveReport:
        """Finishes an interrupted move."""
        return await resume_async(self.source, self.target, self.namespace, listener)

    async def rollback(self) -> None:
        """Undoes an interrupted move."""
        await rollback_async(self.source, self.target, self.namespace)

    def with_leases_of(self, seconds: float) -> Scene:
        """Returns the same, whose movers hold leases that last so long."""
        return replace(self, source=replace(self.source, lease_s=seconds), target=replace(self.target, lease_s=seconds))

    def key(self, kind: str) -> ObjectKey:
        """Returns the first object of a kind that moves."""
        return next(key for key in self.fleet.movable if key.kind == kind)

    def path(self, key: ObjectKey) -> str:
        """Returns the path of an object, the same on both clusters."""
        return f"{collection_path(self.before[key].type, key.namespace)}/{key.name}"

    def edit_source(self, change: Change) -> None:
        """Changes something on the source while the caller, and so the move, stands still."""
        aside(_with_client(self.pair.source.kubeconfig, change))

    def edit_target(self, change: Change) -> None:
        """Changes something on the target while the move stands still."""
        aside(_with_client(self.pair.target.kubeconfig, change))

    async def records(self) -> list[Record]:
        """Returns the records of this move on both clusters, the source's first."""
        refs = (self.pair.source_ref, self.pair.target_ref)
        found = [record for ref in refs for record in (await status_async(ref)).readable]
        return [record for record in found if namespace_of(record.scope) == self.namespace]

    async def on_source(self) -> Objects:
        """Returns what is in the namespace on the source, of the types that the fleet has."""
        return await _objects(self.pair.on_source, self.namespace, self._types)

    async def on_target(self) -> Objects:
        """Returns the same of the target."""
        return await _objects(self.pair.on_target, self.namespace, self._types)

    @property
    def _types(self) -> frozenset[ResourceType]:
        return frozenset(obj.type for obj in self.before.values())

    async def lost(self) -> set[ObjectKey]:
        """Returns the objects that are on neither cluster."""
        source, target = await self.on_source(), await self.on_target()
        return set(self.fleet.movable) - set(source) - set(target) - self.deleted

    async def assert_moved(self, *, but: Collection[ObjectKey] = ()) -> None:
        """Asserts that all is on the target, equal to what it was, resumed, and gone from the source.

        Args:
            but: Objects that are not compared, because the test has changed or deleted them.
        """
        source, target = await self.on_source(), await self.on_target()
        movable = set(self.fleet.movable) - self.deleted
        assert not movable - set(target), "not on the target"
        assert not movable & set(source), "still on the source"
        assert set(self.fleet.unrelated) <= set(source)
        found = [line for key in sorted(movable - set(but)) for line in self._differences(key, target)]
        assert not found, "\n".join(map(str, found))
        uids = names_of(tuple(target.values()))
        assert all(owner.uid in uids for obj in target.values() for owner in obj.owners)
        await self._assert_no_traces()

    def _differences(self, key: ObjectKey, target: Objects) -> list[Any]:
        return differences(key, comparable(self.before[key], self.before), comparable(target[key], target))

    async def assert_untouched(self, *, but: Collection[ObjectKey] = (), target: Collection[ObjectKey] = ()) -> None:
        """Asserts that the source is exactly as before and the target is clean.

        Args:
            but: Objects that are not compared, because the test has changed or deleted them.
            target: Objects that somebody else has put on the target.
        """
        source = await self.on_source()
        assert unversioned(source, but) == unversioned(self.before, but)
        assert set(await self.on_target()) == set(target)
        await self._assert_no_traces()

    async def _assert_no_traces(self) -> None:
        assert not await self.records()
        name = name_of(self.namespace)
        for client in (self.pair.on_source, self.pair.on_target):
            assert await missing(client, f"{_LEASES}/{name}"), f"a lease is left on {client.server}"
        ledger.settle(self.namespace)


async def _objects(client: AdminClient, namespace: str, types: Collection[ResourceType]) -> Objects:
    lists = await asyncio.gather(*(client.list_all(collection_path(kind, namespace)) for kind in types))
    return {obj.key: obj for kind, found in zip(types, lists, strict=True) for obj in _parsed(kind, found)}


def _parsed(kind: ResourceType, items: Iterable[Any]) -> Iterable[Object]:
    return (parse_object(kind, item) for item in items)


async def missing(client: AdminClient, path: str) -> bool:
    """Returns whether there is nothing at a path."""
    try:
        await client.get(path)
    except AdminError as error:
        if error.status != 404:
            raise
        return True
    return False


async def _with_client(kubeconfig: Path, change: Change) -> None:
    async with AdminClient(kubeconfig) as client:
        await change(client)


SPACES: set[str] = set()
"""The namespaces of all scenes of this process."""

SMALL: Mapping[str, Any] = {"workers": 0, "control_planes": 1, "spare_hosts": 1, "paused_conditions": False}
"""The shape of a fleet of one machine and one spare host."""


async def make_scene(pair: Pair, namespace: str, shape: Mapping[str, Any] = SMALL) -> Scene:
    """Returns a scene with a small fleet, and nothing on the target."""
    spec = FleetSpec(namespace=namespace, cluster_name=f"{namespace}-c", host_name=f"{namespace}-h", **shape)
    SPACES.add(namespace)
    fleet = await build(pair.on_source, spec)
    LEDGER["tried"] += 1
    types = frozenset(await _types_of(pair.on_source))
    return Scene(pair, pair.source_ref, pair.target_ref, fleet, await _objects(pair.on_source, namespace, types))


_TYPES: dict[str, tuple[ResourceType, ...]] = {}


async def _types_of(client: AdminClient) -> tuple[ResourceType, ...]:
    """Returns the types that a move may touch; read once, as the list of CRDs is long."""
    if client.server not in _TYPES:
        _TYPES[client.server] = await watched_types(client)
    return _TYPES[client.server]


def comparable(obj: Object, objects: Objects) -> dict[str, Any]:
    """Returns an object without what a move changes on purpose.

    A host keeps its saved status as an annotation, as Metal3's contract for a pivot has it. The pause and its end
    are new generations of a Cluster, which no controller has seen.
    """
    body = obj.body()
    metadata = body["metadata"]
    if obj.type.group_kind == rules.BARE_METAL_HOST:
        (metadata.get("annotations") or {}).pop(rules.HOST_STATUS_ANNOTATION, None)
    metadata["managedFields"] = [entry for entry in metadata["managedFields"] if entry["manager"] != MANAGER]
    if obj.type.group_kind == rules.CLUSTER:
        metadata["generation"] = sys.maxsize
    return normalised(parse_object(obj.type, body), names_of(tuple(objects.values())))


def unversioned(objects: Objects, but: Collection[ObjectKey] = ()) -> dict[ObjectKey, Any]:
    """Returns the bodies without what every write changes."""
    bodies = {key: obj.body() for key, obj in objects.items() if key not in but}
    for body in bodies.values():
        for name in ("resourceVersion", "generation", "managedFields"):
            body["metadata"].pop(name, None)
    return bodies


def aside(work: Coroutine[Any, Any, T]) -> T:
    """Returns what a coroutine returns, run by another thread while this one stands still."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def at(phase: Phase, action: Callable[[], object]) -> Listener:
    """Returns a listener that acts once, when a phase begins; the move stands still meanwhile."""
    pending = [action]

    def listen(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase is phase and pending:
            pending.pop()()

    return listen


def at_object(phase: Phase, action: Callable[[], object], *, number: int = 1) -> Listener:
    """Returns a listener that acts once, when the `number`-th object of a phase is done."""
    left = [number]

    def listen(event: Event) -> None:
        if isinstance(event, ObjectDone) and event.phase is phase:
            left[0] -= 1
            if left[0] == 0:
                action()

    return listen


def all_listeners(*listeners: Listener) -> Listener:
    """Returns a listener that tells several."""

    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return listen


async def stopped(scene: Scene, *stops: tuple[Phase, int], keep: bool = False, **options: Any) -> BaseException:
    """Returns what a move ends with whose task is cancelled when a phase begins (0) or at its n-th object."""
    tasks: list[asyncio.Task[object]] = []

    def cancel() -> None:
        tasks[0].cancel()

    listeners: list[Listener] = [
        at_object(phase, cancel, number=number) if number else at(phase, cancel) for phase, number in stops
    ]
    on_failure = OnFailure.KEEP if keep else OnFailure.ROLLBACK
    tasks.append(asyncio.ensure_future(scene.move(all_listeners(*listeners), on_failure=on_failure, **options)))
    (end,) = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(end, BaseException)
    return end
