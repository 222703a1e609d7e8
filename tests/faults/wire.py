"""Faults on the way to an API server: every request that the mover sends passes here.

Installed over `Transport._send_once`, above TLS and below the retries: an answer that is dropped here was really
given, by a real API server that has really done what it was asked for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from mover.errors import ApiError, Call, ConnectionFailedError, ThrottledError
from mover.kube import transport
from mover.kube.transport import Request, Session, Transport

Matcher = Callable[[str, Request], bool]
"""Is asked with the cluster's name and the request."""

Send = Callable[[], Awaitable[bytes]]
Act = Callable[[Call, Send], Awaitable[bytes]]
"""What becomes of a request: it is given the call and a function that really sends it."""

FOR_EVER = 1_000_000
_RECORDS = "/api/v1/namespaces/capi-mover/configmaps"
_REVIEWS = "/apis/authorization.k8s.io/"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases"


async def lose_answer(call: Call, send: Send) -> bytes:
    """Really sends the request and drops the answer."""
    await send()
    raise ConnectionFailedError(call, "no answer (it was lost on its way)")


async def lose_every_answer(call: Call, send: Send) -> bytes:
    """Really sends the request and drops whatever comes back, a refusal as well."""
    with suppress(ApiError):
        await send()
    raise ConnectionFailedError(call, "no answer (it was lost on its way)")


async def lose_request(call: Call, send: Send) -> bytes:
    """Drops the request: it never reaches the server."""
    del send
    raise ConnectionFailedError(call, "no answer (connection refused)")


def answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Act:
    """Returns an act that answers with an HTTP status in the server's place."""
    body = orjson.dumps({"kind": "Status", "code": status, "message": message})

    async def act(call: Call, send: Send) -> bytes:
        del send
        raise transport._error_of(call, status, headers or {}, body)

    return act


def before(hook: Callable[[], Awaitable[object]]) -> Act:
    """Returns an act that does something else, and then sends the request."""

    async def act(call: Call, send: Send) -> bytes:
        del call
        await hook()
        return await send()

    return act


def after(hook: Callable[[], Awaitable[object]]) -> Act:
    """Returns an act that sends the request, and does something else before its answer is handed on."""

    async def act(call: Call, send: Send) -> bytes:
        del call
        body = await send()
        await hook()
        return body

    return act


@dataclass
class _Fault:
    matches: Matcher
    act: Act
    left: int


class Wire:
    """What happens to the requests of all movers of this program.

    Attributes:
        calls: Requests by (cluster, HTTP method), watches left out.
        injected: How many requests met a fault.
    """

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.injected = 0
        self._faults: list[_Fault] = []

    def add(self, matches: Matcher, act: Act, *, times: int = 1) -> None:
        """Lets the next `times` requests that match meet `act`; earlier faults go first."""
        self._faults.append(_Fault(matches, act, times))

    def mend(self) -> None:
        """Takes all faults away."""
        self._faults.clear()

    @property
    def total(self) -> int:
        """Returns how many requests were sent."""
        return self.calls.total()

    async def pass_on(self, link: Transport, request: Request, send: Send) -> bytes:
        """Returns the answer to a request, or what a fault makes of it."""
        cluster = link._cluster
        self.calls[cluster, request.method] += 1
        for fault in self._faults:
            if fault.left and fault.matches(cluster, request):
                fault.left -= 1
                self.injected += 1
                return await fault.act(Call(cluster, request.method, request.subject), send)
        return await send()


def install(patcher: pytest.MonkeyPatch) -> Wire:
    """Returns a wire that all requests pass until the patcher is undone."""
    wire = Wire()
    real = Transport._send_once

    async def send_once(self: Transport, session: Session, request: Request) -> bytes:
        async def send() -> bytes:
            return await real(self, session, request)

        try:
            return await wire.pass_on(self, request, send)
        except ThrottledError as error:
            self._noted(error)
            raise

    patcher.setattr(Transport, "_send_once", send_once)
    return wire


def body_of(request: Request) -> Any:
    """Returns the parsed body of a request, None without one."""
    return orjson.loads(request.body) if request.body else None


def is_record(request: Request) -> bool:
    """Returns whether a request is about a move record."""
    return request.path.startswith(_RECORDS)


def is_lease(request: Request) -> bool:
    """Returns whether a request is about a lease."""
    return request.path.startswith(_LEASES)


def is_write(cluster: str, request: Request) -> bool:
    """Matches everything that changes a cluster."""
    del cluster
    return request.method != "GET" and "dryRun" not in request.params and not request.path.startswith(_REVIEWS)


def every(cluster: str, request: Request) -> bool:
    """Matches every request."""
    del cluster, request
    return True


def to(cluster: str) -> Matcher:
    """Matches all requests to one cluster."""
    return lambda name, _: name == cluster


def write(cluster: str, method: str, *, holds: str = "", path: str = "") -> Matcher:
    """Matches writes to objects (no records, no leases, no rehearsals) by what their bodies and paths hold."""

    def matches(name: str, request: Request) -> bool:
        if name != cluster or request.method != method or is_record(request) or is_lease(request):
            return False
        if "dryRun" in request.params:
            return False
        return holds.encode() in (request.body or b"") and path in request.path

    return matches


def record(cluster: str, method: str = "PATCH", *, phase: str = "") -> Matcher:
    """Matches writes of the move record, of one phase or of all."""

    def matches(name: str, request: Request) -> bool:
        if name != cluster or request.method != method or not is_record(request):
            return False
        return not phase or (body_of(request) or {}).get("data", {}).get("phase") == phase

    return matches


def lease(cluster: str, method: str) -> Matcher:
    """Matches writes of the lease."""
    return lambda name, request: name == cluster and request.method == method and is_lease(request)


def once_each(matches: Matcher) -> Matcher:
    """Matches the first request of each method and path only."""
    seen: set[tuple[str, str, str]] = set()

    def first(name: str, request: Request) -> bool:
        key = (name, request.method, request.path)
        if key in seen or not matches(name, request):
            return False
        seen.add(key)
        return True

    return first


class Gate:
    """Lets one request wait until the test goes on; the test is told when it has come."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self) -> None:
        """Tells that it was reached, and waits."""
        self.reached.set()
        await self.opened.wait()
