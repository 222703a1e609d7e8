"""The floor: the writes of a real move sent again at the same concurrency, without order, checks or records.

`record` runs a move and keeps its writes to objects; `replay` sends them to a fresh pair of clusters with the same
fleet. There the garbage collector must not run: owner references are those of the recorded run.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from mover.api import ClusterRef, move_async
from mover.execute.ready import run_each
from mover.kube import connect
from mover.kube.transport import Request, Session, Transport
from mover.models import MoveOptions

_BOOKKEEPING = ("/configmaps/capi-mover", "/leases")
_COPYING = frozenset({"POST", "PUT"})
SendOnce = Callable[[Transport, Session, Request], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a move: to which cluster, and what."""

    cluster: str
    request: Request


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
        is_object = request.method != "GET" and not any(part in request.subject for part in _BOOKKEEPING)
        if is_object and "dryRun" not in request.params and "selfsubject" not in request.path:
            writes.append(Write(self._cluster, request))
        return await real(self, session, request)

    setattr(Transport, "_send_once", send_once)  # noqa: B010
    try:
        yield writes
    finally:
        setattr(Transport, "_send_once", real)  # noqa: B010


async def replay(writes: Iterable[Write], source: Path, target: Path) -> float:
    """Returns how long it takes to send the writes again, in seconds: first all copies, then all deletions.

    Those to one object come in their order, objects in none.
    """
    halves: tuple[dict[str, list[Write]], dict[str, list[Write]]] = ({}, {})
    for write in writes:
        half = halves[0 if write.cluster == "target" or _is_pause(write.request) else 1]
        half.setdefault(f"{write.cluster} {_subject(write.request)}", []).append(write)
    async with await connect("source", source, None) as one, await connect("target", target, None) as other:
        links = {"source": one.link, "target": other.link}

        async def send(subject: str) -> None:
            for write in chains[subject]:
                await links[write.cluster].send(_unconditional(write.request))

        started = time.perf_counter()
        for chains in halves:
            await run_each(tuple(chains), send)
        return time.perf_counter() - started


def _is_pause(request: Request) -> bool:
    """Returns whether a write to the source is a pause: a patch that does not take the finalizers off."""
    return request.method == "PATCH" and b'"finalizers"' not in (request.body or b"")


def _subject(request: Request) -> str:
    return request.subject.removesuffix("/status")


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
