"""One request to an API server: credentials, flow control, retries, and errors by class.

Only `TransientError`s are tried again (tenacity, exponential with jitter, bounded in attempts and in time). A 401
reloads the credentials once: tokens of exec plugins and files expire while a long move runs. Whoever holds leases is
asked before each try of a write: a program that was asleep must not act on what it knew before (docs/decisions/0030).
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import aiohttp
import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from mover import errors
from mover.kube.flow import Flow, FlowLimits
from mover.moment import sleepless_s

log = logging.getLogger("capi-mover.kube")
api_warnings = logging.getLogger("capi-mover.api-warnings")

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
DISCOVERY = "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2"

Guard = Callable[[], Awaitable[float]]
"""Returns for how many seconds from now a write may be sent; raises if it may not be."""

_REVIEWS = "/apis/authorization.k8s.io/"
_LEASES = "/apis/coordination.k8s.io/"

_WARNING = re.compile(r'299 \S+ "(?P<text>.*)"')
_BY_STATUS: Mapping[int, type[errors.ApiError]] = {
    401: errors.UnauthorizedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    410: errors.ExpiredError,
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a transient failure is tried again; a server that is only busy (429) for longer."""

    attempts: int = 8
    total_s: float = 60.0
    busy_attempts: int = 40
    busy_total_s: float = 300.0
    first_wait_s: float = 0.2
    longest_wait_s: float = 8.0
    longest_asked_wait_s: float = 30.0
    request_timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    soon_attempts: int = 2
    soon_timeout_s: float = 15.0
    """Longer than an API server waits for an admission webhook by default (10 s)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without the server and the credentials."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON
    created: str = ""
    """Name of the object that a POST creates: its path does not have it."""
    soon_told: bool = False
    """Whether no answer is worth a long wait: it is tried twice, for some seconds."""

    @property
    def is_write(self) -> bool:
        """Returns whether the server stores something: not for a read, a rehearsal, or a review of the own rights."""
        return self.method != "GET" and "dryRun" not in self.params and not self.path.startswith(_REVIEWS)

    @property
    def is_of_lease(self) -> bool:
        """Returns whether it is about a lease, which other writes wait for; each write of one is conditional."""
        return self.path.startswith(_LEASES)

    @property
    def subject(self) -> str:
        """Returns the path of what the request is about."""
        return f"{self.path}/{self.created}" if self.created else self.path


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection pool with the credentials of one moment."""

    server: str
    pool: aiohttp.ClientSession
    authenticate: Callable[[], Awaitable[Mapping[str, str]]]
    options: Mapping[str, Any]


class Transport:
    """Sends requests to one API server.

    Attributes:
        guards: Are asked before each write is sent, those to leases excepted.
    """

    def __init__(
        self,
        cluster: str,
        open_session: Callable[[], Awaitable[Session]],
        policy: RetryPolicy | None = None,
        limits: FlowLimits | None = None,
    ) -> None:
        self._cluster = cluster
        self._open_session = open_session
        self._policy = policy or RetryPolicy()
        self._session: Session | None = None
        self._retired: list[Session] = []
        self._session_lock = asyncio.Lock()
        self.flow = Flow(limits or FlowLimits())
        self.calls: Counter[str] = Counter()
        self.retries = 0
        self.guards: list[Guard] = []
        self._warned: set[str] = set()
        self._dated = ("", 0.0)

    async def send(self, request: Request) -> bytes:
        """Returns the body of a successful answer.

        Raises:
            ApiError: The class says what the server answered; TransientErrors were tried again first.
            SupersededError: It is a write that may not be sent any more: another program has taken over.
        """
        began = time.monotonic()
        try:
            return await self._send_authenticated(request)
        except errors.TransientError as error:
            return await self._send_again(request, error, began)

    async def _send_again(self, request: Request, first: errors.TransientError, began: float) -> bytes:
        """Returns the answer to a request whose first try, begun at `began`, has failed.

        Nearly all requests are answered at once, and tenacity costs as much as a request: it begins here, and is told
        of the first try as if it had made it.
        """
        failed = [first]

        async def attempt() -> bytes:
            if failed:
                raise failed.pop()
            return await self._send_authenticated(request)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(errors.TransientError),
            wait=self._wait,
            stop=partial(self._is_enough, request, began),
            before_sleep=self._note_retry,
            reraise=True,
        )
        return await retrying(attempt)

    async def stream(self, request: Request, idle_s: float) -> AsyncIterator[bytes]:
        """Yields the lines of a watch until the server ends it or nothing came for `idle_s` seconds.

        Raises:
            ApiError: The watch could not be opened or broke off; it is for the caller to go on from where it was.
        """
        session = await self._current_session()
        try:
            async for line in self._stream_once(session, request, idle_s):
                yield line
        except errors.UnauthorizedError:
            # It was refused before its first line, so nothing comes twice.
            async for line in self._stream_once(await self._renew_session(session), request, idle_s):
                yield line

    async def _stream_once(self, session: Session, request: Request, idle_s: float) -> AsyncIterator[bytes]:
        call = errors.Call(self._cluster, "WATCH", request.path)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._policy.connect_timeout_s, sock_read=idle_s)
        self.calls["WATCH"] += 1
        try:
            async with self._open(session, request, await session.authenticate(), timeout) as answer:
                if answer.status >= 300:
                    raise _error_of(call, answer.status, answer.headers, await answer.read())
                async for line in answer.content:
                    yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.ConnectionFailedError(call, _describe(error)) from error

    async def close(self) -> None:
        """Closes the connection pool."""
        for session in (*self._retired, *([self._session] if self._session else [])):
            await session.pool.close()
        self._retired.clear()
        self._session = None

    @property
    def server(self) -> str:
        """Returns the server's URL, "" before the first request."""
        return self._session.server if self._session else ""

    @property
    def clock_ahead_s(self) -> float | None:
        """Returns by how many seconds the server's clock is ahead of ours, as its last answer says to a second.

        None before the first answer, and if the server does not tell the time.
        """
        date, received = self._dated
        try:
            # The header leaves the fraction of the second out: half a second is what is expected of it.
            return parsedate_to_datetime(date).timestamp() + 0.5 - received
        except ValueError:
            return None

    async def allowed_s(self, request: Request) -> float:
        """Returns for how many seconds a request may still be sent, as all guards say; reads may be at any time.

        Raises:
            SupersededError: Another program has taken over: it may not be sent.
            LeaseLostError: Nobody can tell.
            TransientError: Nobody can tell now; another try may.
        """
        if not request.is_write or request.is_of_lease:
            return math.inf
        began_s = sleepless_s()
        left_s = min([await guard() for guard in tuple(self.guards)], default=math.inf)
        # What the first one has said is as old as the others took.
        return left_s - (sleepless_s() - began_s)

    async def _send_authenticated(self, request: Request) -> bytes:
        # A write that holds a place waits for the lease: that must not wait for a place.
        async with nullcontext() if request.is_of_lease else self.flow.slot():
            session = await self._current_session()
            try:
                return await self._send_once(session, request)
            except errors.UnauthorizedError:
                return await self._send_once(await self._renew_session(session), request)

    async def _send_once(self, session: Session, request: Request) -> bytes:
        call = errors.Call(self._cluster, request.method, request.subject)
        total_s = self._policy.soon_timeout_s if request.soon_told else self._policy.request_timeout_s
        headers = await session.authenticate()
        # A connection that takes longer than that to be had would carry a write that may not be sent any more.
        connect_s = min(total_s, await self.allowed_s(request))
        if connect_s <= 0:
            raise errors.ConnectionFailedError(call, "not sent: the leases could not be renewed in time")
        timeout = aiohttp.ClientTimeout(
            total=total_s, connect=connect_s, sock_connect=min(connect_s, self._policy.connect_timeout_s)
        )
        started = time.monotonic()
        self.calls[request.method] += 1
        try:
            async with self._open(session, request, headers, timeout) as answer:
                body: bytes = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.ConnectionFailedError(call, _describe(error)) from error
        if answer.status >= 300:
            raise self._noted(_error_of(call, answer.status, answer.headers, body))
        self.flow.answered(time.monotonic() - started)
        self._dated = (answer.headers.get("Date", ""), time.time())
        self._pass_on_warnings(answer)
        return body

    def _open(
        self,
        session: Session,
        request: Request,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> Any:
        return session.pool.request(
            request.method,
            session.server + request.path,
            params=request.params,
            data=request.body,
            headers={**headers, "Accept": request.accept, "Content-Type": request.content_type},
            timeout=timeout,
            allow_redirects=False,
            **session.options,
        )

    def _pass_on_warnings(self, answer: aiohttp.ClientResponse) -> None:
        """Logs the server's warnings (header Warning, code 299), each once."""
        for value in answer.headers.getall("Warning", ()):
            match = _WARNING.match(value)
            text = match["text"].replace('\\"', '"') if match else ""
            if text and text not in self._warned:
                self._warned.add(text)
                api_warnings.warning("%s: %s", self._cluster, text, extra={"cluster": self._cluster})

    def _noted(self, error: errors.ApiError) -> errors.ApiError:
        if isinstance(error, errors.ThrottledError):
            self.flow.throttled(min(error.retry_after_s, self._policy.longest_asked_wait_s))
        return error

    async def _current_session(self) -> Session:
        if self._session is not None:
            return self._session
        async with self._session_lock:
            if self._session is None:
                self._session = await self._open_session()
            return self._session

    async def _renew_session(self, refused: Session) -> Session:
        """Returns a session with fresh credentials; one renewal serves all requests that met the same 401."""
        async with self._session_lock:
            if self._session is refused:
                cluster = self._cluster
                log.info("%s: credentials were refused, reading them again", cluster, extra={"cluster": cluster})
                # Requests that are under way still use it; it is closed with the rest.
                self._retired.append(refused)
                self._session = await self._open_session()
            if self._session is None:
                self._session = await self._open_session()
            return self._session

    def _is_enough(self, request: Request, began: float, state: RetryCallState) -> bool:
        """Returns whether a request was tried often and long enough.

        A server that is only busy will answer: of a user whom it lets hardly anything through it refuses many requests
        many times. One that is soon told is tried less often otherwise.
        """
        policy, error = self._policy, state.outcome.exception() if state.outcome else None
        attempts, total_s = policy.attempts, policy.total_s
        if isinstance(error, errors.ThrottledError):
            attempts, total_s = policy.busy_attempts, policy.busy_total_s
        elif request.soon_told:
            attempts = policy.soon_attempts
        return state.attempt_number >= attempts or time.monotonic() - began >= total_s

    def _wait(self, state: RetryCallState) -> float:
        jittered = wait_random_exponential(self._policy.first_wait_s, self._policy.longest_wait_s)(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, errors.ThrottledError) else 0.0
        return max(jittered, min(asked, self._policy.longest_asked_wait_s))

    def _note_retry(self, state: RetryCallState) -> None:
        self.retries += 1
        error = state.outcome.exception() if state.outcome else None
        attempt = state.attempt_number + 1
        fields = {"cluster": self._cluster, "attempt": attempt}
        log.info("trying again (attempt %d): %s", attempt, error, extra=fields)


def _describe(error: BaseException) -> str:
    detail = str(error) or type(error).__name__
    return f"no answer ({detail})"


def _error_of(call: errors.Call, status: int, headers: Mapping[str, str], body: bytes) -> errors.ApiError:
    """Returns the error class that stands for an HTTP status and the Status object in its body."""
    reason, message = _status_of(body)
    if status == 429:
        return errors.ThrottledError(call, status, reason, message, _retry_after_s(headers))
    if status >= 500:
        return errors.ServerError(call, status, reason, message)
    if status == 409 and reason == "AlreadyExists":
        return errors.AlreadyExistsError(call, status, reason, message)
    return _BY_STATUS.get(status, errors.InvalidError)(call, status, reason, message)


def _status_of(body: bytes) -> tuple[str, str]:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", body[:200].decode("utf-8", "replace").strip()
    if not isinstance(status, dict):
        return "", str(status)[:200]
    return str(status.get("reason") or ""), str(status.get("message") or "")


def _retry_after_s(headers: Mapping[str, str]) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0
