"""The floor: the writes of a real move sent again at the same concurrency, without order, checks or records.

They go through the same HTTP client to a fresh pair of clusters with the same fleet. There the garbage collector must
not run: owner references are those of the recorded move.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from benchmarks import bed
from benchmarks.bed import NAMESPACE, Scope
from benchmarks.results import Floor
from mover.api import ClusterRef, move_async
from mover.execute.ready import run_each
from mover.kube import connect
from mover.kube.transport import Request, Session, Transport
from mover.models import MoveOptions

SIZES = (100, 800, 3_100)
_BOOKKEEPING = ("/configmaps/capi-mover", "/leases")
_NAMESPACE_PATH = "/api/v1/namespaces"
SendOnce = Callable[[Transport, Session, Request], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a move: to which cluster, and what."""

    cluster: str
    request: Request


Chains = Mapping[str, Sequence[Write]]
"""Cluster and object -> its writes, in their order."""


async def measure(scope: Scope) -> AsyncIterator[Floor]:
    """Yields the floor of each size and round trip, beside the whole move on clusters of the same age."""
    for size in scope.chosen(SIZES):
        for round_trip_ms in scope.round_trips_ms:
            yield await _measure(scope, size, round_trip_ms)


async def _measure(scope: Scope, size: int, round_trip_ms: int) -> Floor:
    async with bed.open_bed(round_trip_ms) as pair:
        fleet = await bed.seed(pair, size)
        move = await bed.mover(scope, pair, fleet, size)
        writes = await record(*pair.turned().kubeconfigs, MoveOptions(namespace=NAMESPACE))
    async with bed.open_bed(round_trip_ms, collector=False) as pair:
        fleet = await bed.seed(pair, size)
        await pair.clients[1].create(_NAMESPACE_PATH, {"metadata": {"name": NAMESPACE}})
        floor_s = await replay(writes, *pair.kubeconfigs)
        await bed.check_moved(pair, fleet.movable)
    return Floor(
        run=scope.run,
        size=size,
        objects=move.objects,
        round_trip_ms=round_trip_ms,
        writes=len(writes),
        floor_s=round(floor_s, 3),
        move_s=move.wall_s,
    )


async def record(source: Path, target: Path, options: MoveOptions) -> tuple[Write, ...]:
    """Moves, and returns the writes to objects in the order they were sent in; records and leases are left out."""
    with _recorded() as writes:
        await move_async(ClusterRef(source), ClusterRef(target), options)
    return tuple(writes)


@contextmanager
def _recorded() -> Iterator[list[Write]]:
    writes: list[Write] = []
    real: SendOnce = Transport._send_once  # noqa: SLF001 - the one place that every request passes

    async def send_once(self: Transport, session: Session, request: Request) -> bytes:
        if is_write_of_object(request):
            writes.append(Write(self._cluster, request))
        return await real(self, session, request)

    setattr(Transport, "_send_once", send_once)  # noqa: B010
    try:
        yield writes
    finally:
        setattr(Transport, "_send_once", real)  # noqa: B010


def is_write_of_object(request: Request) -> bool:
    """Returns whether a request changes an object that moves: no read, rehearsal, review, record or lease."""
    is_write = request.method != "GET" and "dryRun" not in request.params and "selfsubject" not in request.path
    return is_write and not any(part in request.subject for part in _BOOKKEEPING)


async def replay(writes: Iterable[Write], source: Path, target: Path) -> float:
    """Returns how long it takes to send the writes again, in seconds: first all copies, then all deletions.

    Those to one object come in their order, objects in none.
    """
    halves = chained(writes)
    async with await connect("source", source, None) as one, await connect("target", target, None) as other:
        links = {"source": one.link, "target": other.link}

        async def send_all(chains: Chains) -> None:
            async def send(subject: str) -> None:
                for write in chains[subject]:
                    await links[write.cluster].send(write.request)

            await run_each(tuple(chains), send)

        with _no_collections():
            started = time.perf_counter()
            for half in halves:
                await send_all(half)
            return time.perf_counter() - started


def chained(writes: Iterable[Write]) -> tuple[Chains, Chains]:
    """Returns the writes by object, fit to be sent again: copies and pauses, then what takes the originals off."""
    halves: tuple[dict[str, list[Write]], dict[str, list[Write]]] = ({}, {})
    for write in writes:
        half = halves[0 if write.cluster == "target" or _is_pause(write.request) else 1]
        subject = write.request.subject.removesuffix("/status")
        half.setdefault(f"{write.cluster} {subject}", []).append(replace(write, request=_unconditional(write.request)))
    return halves


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keeps Python from searching what the benchmarks have in memory; a move of its own has no such thing."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _is_pause(request: Request) -> bool:
    """Returns whether a write to the source is a pause: a patch that does not take the finalizers off."""
    return request.method == "PATCH" and b'"finalizers"' not in (request.body or b"")


def _unconditional(request: Request) -> Request:
    """Returns the request without the UIDs and versions of the recorded run."""
    if not request.body:
        return request
    body: dict[str, Any] | list[Any] = orjson.loads(request.body)
    if isinstance(body, list):
        return request
    body.pop("preconditions", None)
    metadata: Mapping[str, Any] = body.get("metadata") or {}
    if metadata:
        body["metadata"] = {name: value for name, value in metadata.items() if name not in ("uid", "resourceVersion")}
    return replace(request, body=orjson.dumps(body))
