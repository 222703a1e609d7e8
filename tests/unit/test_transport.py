"""Tests of single requests against a real HTTP server that answers what the test says."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque

import pytest
from aiohttp import web

from mover import errors
from mover.kube.flow import FlowLimits
from mover.kube.transport import JSON, MERGE_PATCH, Guard, Request, RetryPolicy
from tests.unit.scripted_server import QUICK, Reply, Script, answer, failure, lines, open_transport, reset, serve

GET = Request("GET", "/api/v1/things")
OK = answer(200, {"ok": True})


async def collected(script: Script, request: Request = GET) -> list[bytes]:
    async with script.transport() as link:
        return [line async for line in link.stream(request, idle_s=0.2)]


async def test_a_request_is_sent_as_it_was_given_with_the_sessions_credentials() -> None:
    script = Script(OK)
    request = Request("PATCH", "/api/v1/things/x", {"fieldManager": "me"}, b"{}", MERGE_PATCH, "application/x")
    async with script.transport() as link:
        assert await link.send(request) == b'{"ok": true}'
        assert link.calls == {"PATCH": 1}
    sent = script.requests[0]
    assert (sent.method, sent.path, dict(sent.query)) == ("PATCH", "/api/v1/things/x", {"fieldManager": "me"})
    assert (sent.content_type, sent.headers["Accept"]) == (MERGE_PATCH, "application/x")
    assert sent.headers["Authorization"] == "Bearer first"
    assert script.bodies == [b"{}"]


async def test_a_continue_token_with_special_characters_arrives_as_it_was() -> None:
    script = Script(OK)
    async with script.transport() as link:
        await link.send(Request("GET", "/x", {"continue": "a+b/c=&d %"}))
    assert script.requests[0].query["continue"] == "a+b/c=&d %"


async def test_the_server_is_known_from_the_first_request_until_the_transport_is_closed() -> None:
    async with Script(OK).transport() as link:
        assert link.server == ""
        await link.send(GET)
        assert link.server.startswith("http://127.0.0.1:")
        await link.close()
        assert link.server == ""


@pytest.mark.parametrize("stumble", [failure(500, "InternalError"), failure(503, ""), reset, failure(429, "")])
async def test_a_passing_failure_is_tried_again(stumble: Reply) -> None:
    async with Script(stumble, stumble, OK).transport() as link:
        assert await link.send(Request("POST", "/api/v1/things", body=b"{}")) == b'{"ok": true}'
        assert link.retries == 2
        assert link.calls == {"POST": 3}


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", errors.InvalidError),
        (403, "Forbidden", errors.ForbiddenError),
        (404, "NotFound", errors.NotFoundError),
        (409, "AlreadyExists", errors.AlreadyExistsError),
        (409, "Conflict", errors.ConflictError),
        (410, "Expired", errors.ExpiredError),
        (415, "UnsupportedMediaType", errors.InvalidError),
        (422, "Invalid", errors.InvalidError),
    ],
)
async def test_a_final_answer_is_not_tried_again(status: int, reason: str, kind: type[errors.ApiError]) -> None:
    script = Script(failure(status, reason, "because"))
    async with script.transport() as link:
        with pytest.raises(errors.ApiError) as caught:
            await link.send(GET)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.reason, caught.value.message) == (status, reason, "because")
    assert caught.value.call == errors.Call("source", "GET", "/api/v1/things")
    assert len(script.requests) == 1


async def test_tries_end_with_the_last_failure_after_as_many_as_the_policy_allows() -> None:
    script = Script(*[failure(500, "InternalError", f"try {number}") for number in range(1, 9)])
    async with script.transport() as link:
        with pytest.raises(errors.ServerError, match="try 4"):
            await link.send(GET)
    assert len(script.requests) == QUICK.attempts


async def test_tries_end_when_the_policys_time_is_over() -> None:
    script = Script(*[failure(500, "InternalError")] * 50)
    policy = RetryPolicy(attempts=50, total_s=0.02, first_wait_s=0.02, longest_wait_s=0.02)
    async with script.transport(policy) as link:
        with pytest.raises(errors.ServerError):
            await link.send(GET)
    assert len(script.requests) < 50


async def test_the_first_try_counts_for_the_policys_time() -> None:
    release = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    script = Script(silent, OK)
    async with script.transport(RetryPolicy(total_s=0.05, request_timeout_s=0.1)) as link:
        with pytest.raises(errors.ConnectionFailedError):
            await link.send(GET)
        release.set()
    assert len(script.requests) == 1


async def test_a_server_that_cannot_be_reached_is_a_failed_connection() -> None:
    async with serve(OK) as url:
        pass
    async with open_transport(url, "source", deque(["token"]), RetryPolicy(attempts=1)) as link:
        with pytest.raises(errors.ConnectionFailedError, match=r"source: GET /api/v1/things: no answer \("):
            await link.send(GET)


async def test_an_answer_that_takes_too_long_is_a_failed_connection() -> None:
    forever = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await forever.wait()
        return web.Response()

    async with Script(silent).transport(RetryPolicy(attempts=1, request_timeout_s=0.05)) as link:
        with pytest.raises(errors.ConnectionFailedError, match="no answer"):
            await link.send(GET)
        forever.set()


@pytest.mark.parametrize(("reply", "tries"), [(answer(500), QUICK.soon_attempts), (answer(429), QUICK.busy_attempts)])
async def test_what_is_soon_told_is_tried_less_unless_the_server_is_only_busy(reply: Reply, tries: int) -> None:
    script = Script(*[reply] * QUICK.busy_attempts)
    async with script.transport() as link:
        with pytest.raises(errors.TransientError):
            await link.send(Request("GET", "/api/v1/things", soon_told=True))
    assert len(script.requests) == tries


async def test_the_clock_of_the_server_is_told_by_its_answers() -> None:
    late = answer(200, {}, {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})
    async with Script(late, answer(200, {}, {"Date": "soon"})).transport() as link:
        assert link.clock_ahead_s is None
        await link.send(GET)
        assert link.clock_ahead_s is not None
        assert abs(link.clock_ahead_s - (1767225600.5 - time.time())) < 60
        await link.send(GET)
        assert link.clock_ahead_s is None


async def test_a_throttled_request_waits_as_long_as_the_server_asks() -> None:
    script = Script(failure(429, "TooManyRequests", headers={"Retry-After": "1"}), OK)
    async with script.transport(limits=FlowLimits(8)) as link:
        before = time.monotonic()
        await link.send(GET)
        assert time.monotonic() - before >= 0.95
        assert link.flow.limit == 4


async def test_a_retry_after_that_is_no_number_is_as_good_as_none() -> None:
    script = Script(failure(429, "", headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    async with script.transport(RetryPolicy(busy_attempts=1)) as link:
        with pytest.raises(errors.ThrottledError) as caught:
            await link.send(GET)
    assert caught.value.retry_after_s == 0.0


async def test_an_error_page_that_is_no_status_object_is_shown_shortened() -> None:
    async with Script(answer(502, b"<html>" + b"x" * 500)).transport(RetryPolicy(attempts=1)) as link:
        with pytest.raises(errors.ServerError) as caught:
            await link.send(GET)
    assert caught.value.message.startswith("<html>")
    assert len(caught.value.message) == 200


async def test_a_redirect_is_not_followed_and_is_no_success() -> None:
    """Credentials must not be carried elsewhere, and the page is not what was asked for."""
    async with Script(answer(302, b"moved", {"Location": "/elsewhere"})).transport() as link:
        with pytest.raises(errors.ApiError):
            await link.send(GET)


async def test_refused_credentials_are_read_again_once() -> None:
    script = Script(failure(401, "Unauthorized"), OK)
    async with script.transport() as link:
        assert await link.send(GET) == b'{"ok": true}'
    assert [sent.headers["Authorization"] for sent in script.requests] == ["Bearer first", "Bearer second"]


async def test_fresh_credentials_that_are_refused_too_are_an_error() -> None:
    script = Script(failure(401, "Unauthorized"), failure(401, "Unauthorized"), OK)
    async with script.transport() as link:
        with pytest.raises(errors.UnauthorizedError):
            await link.send(GET)
    assert len(script.requests) == 2


async def test_one_renewal_serves_all_requests_that_were_refused_together() -> None:
    script = Script()
    async with script.transport() as link:
        refused = await link._current_session()
        one, other = await asyncio.gather(link._renew_session(refused), link._renew_session(refused))
        assert one is other
        assert one is not refused
    assert list(script.tokens) == ["third"]


async def test_requests_that_wait_for_their_turn_survive_a_renewal_of_the_credentials() -> None:
    """They took the old session with them into the queue; its pool is closed by the time they are let in."""

    async def by_token(request: web.Request) -> web.StreamResponse:
        fresh = request.headers["Authorization"] != "Bearer first"
        return await (OK if fresh else failure(401, "Unauthorized"))(request)

    script = Script(*[by_token] * 40)
    async with script.transport(limits=FlowLimits(1, 1, 1)) as link:
        answers = await asyncio.gather(*(link.send(GET) for _ in range(6)), return_exceptions=True)
    assert answers == [b'{"ok": true}'] * 6


async def test_the_servers_warnings_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    loud = answer(200, {}, {"Warning": '299 - "v1alpha1 is deprecated"'})
    other = answer(200, {}, {"Warning": '299 - "a \\"quoted\\" word"'})
    with caplog.at_level(logging.WARNING, "capi-mover.api-warnings"):
        async with Script(loud, loud, other).transport() as link:
            for _ in range(3):
                await link.send(GET)
    assert [record.getMessage() for record in caplog.records] == [
        "source: v1alpha1 is deprecated",
        'source: a "quoted" word',
    ]


async def test_several_warnings_of_one_answer_are_all_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def both(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=b"{}")
        for text in ("one", "two"):
            response.headers.add("Warning", f'299 - "{text}"')
        return response

    with caplog.at_level(logging.WARNING, "capi-mover.api-warnings"):
        async with Script(both).transport() as link:
            await link.send(GET)
    assert [record.getMessage() for record in caplog.records] == ["source: one", "source: two"]


async def test_a_warning_with_another_code_is_not_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    async with Script(answer(200, {}, {"Warning": '199 - "cached"'})).transport() as link:
        await link.send(GET)
    assert not caplog.records


async def test_a_stream_yields_lines_until_the_server_ends_it() -> None:
    assert await collected(Script(lines({"a": 1}, {"b": 2}))) == [b'{"a": 1}\n', b'{"b": 2}\n']


async def test_a_stream_that_breaks_off_says_so_after_what_came() -> None:
    async with Script(lines({"a": 1}, broken_off=True)).transport() as link:
        stream = link.stream(GET, idle_s=1.0)
        assert await anext(stream) == b'{"a": 1}\n'
        with pytest.raises(errors.ConnectionFailedError, match="WATCH"):
            await anext(stream)


async def test_a_stream_on_which_nothing_comes_ends_after_its_idle_time() -> None:
    release = asyncio.Event()

    async def idle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await release.wait()
        return response

    with pytest.raises(errors.ConnectionFailedError):
        await collected(Script(idle))
    release.set()


async def test_a_stream_that_is_refused_raises_what_the_server_said() -> None:
    with pytest.raises(errors.ExpiredError, match="too old"):
        await collected(Script(failure(410, "Expired", "too old")))


async def test_a_stream_is_counted_as_a_watch() -> None:
    async with Script(lines()).transport() as link:
        assert [line async for line in link.stream(GET, idle_s=1.0)] == []
        assert link.calls == {"WATCH": 1}


def test_json_is_what_a_request_sends_and_accepts_by_default() -> None:
    assert (GET.content_type, GET.accept, GET.body) == (JSON, JSON, None)


async def test_a_server_that_is_only_busy_is_tried_more_often_than_one_that_fails() -> None:
    busy, failing = Script(*[failure(429, "")] * 9), Script(*[failure(500, "")] * 9)
    for script, tries in ((busy, QUICK.busy_attempts), (failing, QUICK.attempts)):
        async with script.transport() as link:
            with pytest.raises(errors.TransientError):
                await link.send(GET)
        assert len(script.requests) == tries
    assert QUICK.busy_attempts > QUICK.attempts


async def test_a_write_is_not_sent_once_its_leases_have_run_out() -> None:
    script = Script(answer(200, {}))
    async with script.transport() as link:
        link.guards.append(has_left(-3600.0))
        with pytest.raises(errors.ConnectionFailedError, match="the leases could not be renewed in time"):
            await link.send(Request("POST", "/api/v1/namespaces/a/configmaps"))
        assert script.requests == []


async def test_what_one_lease_has_left_is_as_old_as_the_others_took() -> None:
    async def slow() -> float:
        await asyncio.sleep(0.05)
        return math.inf

    async with Script(answer(200, {})).transport() as link:
        link.guards += [has_left(10.0), slow]
        assert 0 < await link.allowed_s(Request("POST", "/api/v1/namespaces/a/configmaps")) <= 9.95


def has_left(seconds: float) -> Guard:
    async def guard() -> float:
        return seconds

    return guard
