"""Tests of holding a move: who gets the lease, when it is taken over, and what becomes of the loser."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from mover.errors import ForbiddenError
from mover.execute import lease
from mover.execute.lease import LEASES, LeaseHeldError, LeaseLostError, held, is_gone, this_holder
from mover.record import SCOPE_ANNOTATION
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make
from tests.unit.scripted_server import Reply, failure, reset, until

HOST_NAME = this_holder().partition("/")[0]
PATH = "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases/capi-mover.ns"


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renews leases all the time."""
    monkeypatch.setattr(lease, "_RENEW_EVERY_S", 0.001)


def seconds_ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def taken_by(holder: str, renewed: float = 0.0, **spec: Any) -> FakeApiServer:
    """Returns a server with the lease of that holder, renewed so many seconds ago."""
    server = FakeApiServer()
    body = {"holderIdentity": holder, "leaseDurationSeconds": 20, "renewTime": seconds_ago(renewed), **spec}
    server.put(make(LEASES, "capi-mover.ns", namespace="capi-mover", spec=body))
    return server


def holder_of(server: FakeApiServer) -> str:
    return str(server.bodies[PATH]["spec"]["holderIdentity"])


async def test_a_free_lease_is_ours_while_the_body_runs_and_gone_after_it() -> None:
    server = FakeApiServer()
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())
        assert server.bodies[PATH]["spec"]["leaseDurationSeconds"] == 20
    assert server.bodies == {}


async def test_the_lease_goes_when_the_body_fails() -> None:
    server = FakeApiServer()
    with pytest.raises(ValueError, match="no"):
        async with held(server.direct(), "ns"):
            raise ValueError("no")
    assert server.bodies == {}


async def test_leases_of_different_moves_do_not_meet() -> None:
    server = FakeApiServer()
    async with held(server.direct(), "ns"), held(server.direct(), "other"):
        assert len(server.bodies) == 2


@pytest.mark.parametrize(("one", "other"), [("ns", ""), ("", "ns"), ("ns", "ns/a"), ("ns/a", "ns"), ("ns/a", "ns/b")])
async def test_leases_of_moves_that_overlap_meet_whatever_their_names(one: str, other: str) -> None:
    server = FakeApiServer()
    async with held(server.direct(), one):
        before = set(server.bodies)
        with pytest.raises(LeaseHeldError, match="Another capi-mover works on"):
            async with held(server.direct(), other):
                pytest.fail("the body must not run")
        assert set(server.bodies) == before


async def test_an_overlapping_lease_of_a_dead_holder_is_in_nobodys_way() -> None:
    server = taken_by("elsewhere/1/2", renewed=41.0)
    server.bodies[PATH]["metadata"]["annotations"] = {SCOPE_ANNOTATION: "ns"}
    async with held(server.direct(), ""):
        assert len(server.bodies) == 2


async def test_a_living_holder_is_named_and_left_alone() -> None:
    server = taken_by("elsewhere/1/2", renewed=39.0)
    with pytest.raises(LeaseHeldError, match=r"namespace ns of the source cluster: elsewhere/1/2") as caught:
        async with held(server.direct(), "ns"):
            pytest.fail("the body must not run")
    assert caught.value.holder == "elsewhere/1/2"
    assert holder_of(server) == "elsewhere/1/2"
    assert [entry.split()[0] for entry in server.writes()] == ["POST"]


async def test_a_holder_that_lives_on_this_host_is_left_alone() -> None:
    holder = f"{HOST_NAME}/{os.getppid()}/{lease._started(os.getppid())}"
    with pytest.raises(LeaseHeldError, match="Another capi-mover works on"):
        async with held(taken_by(holder).direct(), "ns"):
            pytest.fail("the body must not run")


async def test_a_holder_of_this_host_whose_process_has_ended_is_followed_at_once() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    holder = f"{HOST_NAME}/{process.pid}/{lease._started(process.pid)}"
    assert not is_gone(holder)
    await asyncio.wait_for(process.communicate(b"\n"), 30)
    server = taken_by(holder)
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())
    assert server.bodies == {}


def test_a_process_with_the_pid_of_the_holder_is_not_mistaken_for_it() -> None:
    host, pid = HOST_NAME, os.getpid()
    assert is_gone(f"{host}/{pid}/1")
    assert not is_gone(this_holder())


@pytest.mark.parametrize("holder", ["", "elsewhere/1/2", "somebody", f"{HOST_NAME}", "a/b/c/d"])
def test_who_cannot_be_known_to_be_gone_is_not(holder: str) -> None:
    assert not is_gone(holder)


async def test_a_lease_that_has_ended_is_taken_over() -> None:
    server = taken_by("elsewhere/1/2", renewed=41.0)
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())


async def test_a_lease_without_a_time_is_nobodys() -> None:
    server = taken_by("")
    del server.bodies[PATH]["spec"]["renewTime"]
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())


async def test_a_lease_that_ends_between_two_looks_is_ours() -> None:
    """The holder releases it after our POST was refused."""
    server = taken_by("elsewhere/1/2")

    def vanish(request: web.Request) -> Reply | None:
        if request.method == "GET" and request.path == PATH:
            server.bodies.clear()
        return None

    server.before = vanish
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())


async def test_of_two_that_take_over_the_same_lease_only_one_gets_it() -> None:
    server = taken_by("elsewhere/1/2", renewed=100.0)

    def overtake(request: web.Request) -> Reply | None:
        if request.method == "PUT":
            server.before = lambda _: None
            fresh = {"holderIdentity": "quicker/1/2", "renewTime": seconds_ago(0)}
            server.change(make(LEASES, "capi-mover.ns", namespace="capi-mover"), spec=fresh)
        return None

    server.before = overtake
    with pytest.raises(LeaseHeldError, match="quicker/1/2"):
        async with held(server.direct(), "ns"):
            pytest.fail("the body must not run")


async def test_a_lease_that_may_not_be_written_is_said_as_it_is() -> None:
    server = FakeApiServer()
    server.before = lambda _: failure(403, "Forbidden")
    with pytest.raises(ForbiddenError):
        async with held(server.direct(), "ns"):
            pytest.fail("the body must not run")


@pytest.mark.usefixtures("often")
async def test_the_lease_is_renewed_while_the_body_runs() -> None:
    server = FakeApiServer()
    async with held(server.direct(), "ns"):
        first = server.bodies[PATH]["spec"]["renewTime"]
        await until(lambda: server.log.count(f"PUT {PATH}") > 2)
        assert server.bodies[PATH]["spec"]["renewTime"] > first
    assert server.bodies == {}


async def body_until_lost(server: FakeApiServer, lose: Any, *, may_lapse: bool = False) -> list[str]:
    """Runs a body that never ends; returns how it ended."""
    ended: list[str] = []
    async with held(server.direct(), "ns") as claim, AsyncExitStack() as stack:
        if may_lapse:
            stack.enter_context(claim.lapsing())
        lose()
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
    return ended


@pytest.mark.usefixtures("often")
async def test_a_lease_that_somebody_else_has_taken_cancels_the_body_and_stays_theirs() -> None:
    server = FakeApiServer()
    lose = lambda: server.change(  # noqa: E731
        make(LEASES, "capi-mover.ns", namespace="capi-mover"), spec={"holderIdentity": "thief/1/2"}
    )
    with pytest.raises(LeaseLostError, match="lease on the source cluster was lost"):
        await body_until_lost(server, lose)
    assert holder_of(server) == "thief/1/2"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "whoever waits for the move is not cancelled"


@pytest.mark.usefixtures("often")
async def test_a_lease_that_was_deleted_is_lost() -> None:
    server = FakeApiServer()
    with pytest.raises(LeaseLostError):
        await body_until_lost(server, server.bodies.clear)
    assert server.bodies == {}


@pytest.mark.usefixtures("often")
async def test_a_lease_that_cannot_be_renewed_in_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "DURATION_S", 0.01)
    server = FakeApiServer()

    def cut() -> None:
        server.before = lambda _: reset

    with pytest.raises(LeaseLostError):
        await body_until_lost(server, cut)


@pytest.mark.usefixtures("often")
async def test_a_lease_that_may_lapse_does_not_cancel_the_body_and_is_released_when_its_cluster_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "DURATION_S", 0.01)
    server = FakeApiServer()
    async with held(server.direct(), "ns") as claim:
        with claim.lapsing():
            server.before = lambda _: reset
            await until(lambda: claim.lost is not None)
            server.before = lambda _: None
    assert claim.lost is not None
    assert claim.lost.unreachable
    assert server.bodies == {}


@pytest.mark.usefixtures("often")
async def test_a_lease_that_somebody_else_has_taken_cancels_the_body_even_if_it_may_lapse() -> None:
    server = FakeApiServer()
    with pytest.raises(LeaseLostError):
        await body_until_lost(server, server.bodies.clear, may_lapse=True)


@pytest.mark.usefixtures("often")
async def test_a_renewal_that_fails_now_and_then_does_not_lose_the_lease() -> None:
    server = FakeApiServer()

    def flaky(request: web.Request) -> Reply | None:
        return failure(503, "") if request.method == "PUT" and len(server.log) % 2 else None

    async with held(server.direct(), "ns"):
        server.before = flaky
        await until(lambda: server.log.count(f"PUT {PATH}") > 6)
        server.before = lambda _: None
    assert server.bodies == {}


@pytest.mark.usefixtures("often")
async def test_a_renewal_whose_answer_was_lost_does_not_lose_the_lease() -> None:
    """The transport tries again, and meets the resourceVersion that its first try has made."""
    server, lost = FakeApiServer(), list[str]()

    def lose_once(request: web.Request) -> Reply | None:
        if request.method != "PUT" or lost:
            return None
        lost.append("answer")

        async def carried_out(sent: web.Request) -> web.StreamResponse:
            server._put(sent, await sent.json())
            return await reset(sent)

        return carried_out

    async with server.cluster() as cluster, held(cluster, "ns"):
        server.before = lose_once
        before = len(server.log)
        await until(lambda: server.log[before:].count(f"PUT {PATH}") > 3)
    assert server.bodies == {}


@pytest.mark.usefixtures("often")
async def test_a_cancelled_body_is_no_lost_lease() -> None:
    server, begun = FakeApiServer(), asyncio.Event()

    async def work() -> None:
        async with held(server.direct(), "ns"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.bodies == {}


async def test_a_lease_that_cannot_be_released_is_left_to_end_by_itself() -> None:
    server = FakeApiServer()
    async with held(server.direct(), "ns"):
        server.before = lambda _: reset
    assert PATH in server.bodies


async def test_a_lease_may_lapse_for_as_long_as_one_of_several_moves_is_undone() -> None:
    claim = lease.Claim()
    with claim.lapsing():
        with claim.lapsing():
            pass
        assert claim.may_lapse
    assert not claim.may_lapse
