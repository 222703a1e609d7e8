"""A small real HTTP server on loopback that plays a script, and a transport to it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from mover.kube import Cluster
from mover.kube.flow import FlowLimits
from mover.kube.transport import RetryPolicy, Session, Transport

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]
QUICK = RetryPolicy(
    attempts=4,
    busy_attempts=6,
    total_s=10.0,
    first_wait_s=0.001,
    longest_wait_s=0.002,
    request_timeout_s=5.0,
    connect_timeout_s=2.0,
)


def answer(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Returns the reply of that status and JSON body; bytes and text are sent as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()

    async def reply(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=raw, headers=headers, content_type="application/json")

    return reply


def failure(status: int, reason: str, message: str = "no", headers: Mapping[str, str] | None = None) -> Reply:
    """Returns the reply that is an error with a Status object."""
    return answer(status, {"kind": "Status", "code": status, "reason": reason, "message": message}, headers)


async def reset(request: web.Request) -> web.StreamResponse:
    """Breaks the connection off without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def lines(*events: object, broken_off: bool = False) -> Reply:
    """Returns the reply that is a watch: one JSON line per event, then the end, or a broken connection."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        if broken_off:
            await reset(request)
        return response

    return reply


@asynccontextmanager
async def serve(handler: Reply) -> AsyncIterator[str]:
    """Serves on a free port of loopback and gives the URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Script:
    """Answers requests with what it was given, in turn; keeps what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = deque(replies)
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.tokens = deque(["first", "second", "third"])

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answers a request."""
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await self.replies.popleft()(request)

    @asynccontextmanager
    async def transport(
        self, policy: RetryPolicy = QUICK, limits: FlowLimits | None = None
    ) -> AsyncIterator[Transport]:
        """Serves the script and gives a transport to it; each session that is opened has the next token."""
        async with serve(self) as url, open_transport(url, "source", self.tokens, policy, limits) as link:
            yield link

    @asynccontextmanager
    async def cluster(self) -> AsyncIterator[Cluster]:
        """Serves the script and gives it as the cluster "source"."""
        async with self.transport() as link:
            yield Cluster("source", "ctx", "", link)


@asynccontextmanager
async def open_transport(
    url: str, name: str, tokens: deque[str], policy: RetryPolicy = QUICK, limits: FlowLimits | None = None
) -> AsyncIterator[Transport]:
    async def session() -> Session:
        token = tokens.popleft()

        async def authenticate() -> Mapping[str, str]:
            return {"Authorization": f"Bearer {token}"}

        return Session(url, aiohttp.ClientSession(), authenticate, {})

    link = Transport(name, session, policy, limits)
    try:
        yield link
    finally:
        await link.close()


async def until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds, at most 5 seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - conditions of the tests have no event
            await asyncio.sleep(0)
