"""Tests of holding a move: who gets the lease, when it is taken over, and what becomes of the loser."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from graph.resource import Object
from mover.discovery import SECRETS
from mover.errors import ForbiddenError, SupersededError, TransientError
from mover.events import Event, Noted, ignore
from mover.execute import lease_object
from mover.execute.holders import started
from mover.execute.lease import LEASES, Claim, Lease, LeaseHeldError, LeaseLostError, held, is_gone, this_holder
from mover.kube import LEASE_S, Cluster
from mover.kube.flow import FlowLimits
from mover.models import MANAGER
from mover.moment import micro_time, sleepless_s
from mover.record import SCOPE_ANNOTATION
from tests.unit import clock as clocks
from tests.unit.clock import Clock
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make
from tests.unit.scripted_server import Reply, failure, reset, until

HOST_NAME = this_holder().partition("/")[0]
PATH = "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases/capi-mover.ns"


SHORT_S = 0.2
LEASE = make(LEASES, "capi-mover.ns", namespace="capi-mover")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return clocks.install(monkeypatch)


def short() -> FakeApiServer:
    """Returns a server on which leases last for a moment, and are renewed four times as often."""
    server = FakeApiServer()
    server.lease_s = SHORT_S
    return server


def taken_by(holder: str, *, scope: str | None = None, **spec: Any) -> FakeApiServer:
    """Returns a server with the lease of that holder, which ends after a second."""
    server = FakeApiServer()
    body = {"holderIdentity": holder, "leaseDurationSeconds": 1, "renewTime": micro_time(), **spec}
    marked = {} if scope is None else {"annotations": {SCOPE_ANNOTATION: scope}}
    server.put(make(LEASES, "capi-mover.ns", namespace="capi-mover", spec=body, metadata=marked))
    return server


def take_away(server: FakeApiServer, holder: str = "thief/1/2") -> None:
    """Lets somebody else take the lease over."""
    spec = {"holderIdentity": holder, "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": micro_time()}
    server.change(LEASE, spec=spec)


async def renews(server: FakeApiServer, lease: Object = LEASE) -> None:
    """Renews a lease, as its holder does, once somebody watches it."""
    await until(lambda: bool(server.watchers))
    server.change(lease, spec={"renewTime": micro_time()})


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


async def test_an_overlapping_lease_of_a_dead_holder_is_in_nobodys_way_once_it_was_seen_to_be_dead() -> None:
    server = taken_by("elsewhere/1/2", scope="ns")
    began = sleepless_s()
    async with held(server.direct(), ""):
        assert len(server.bodies) == 2
    assert sleepless_s() - began >= 1


async def test_the_leases_of_several_dead_holders_are_watched_at_once() -> None:
    server = taken_by("elsewhere/1/2", scope="ns")
    for name in "abc":
        spec = {"holderIdentity": f"elsewhere/{name}", "leaseDurationSeconds": 1, "renewTime": micro_time()}
        marked = {"annotations": {SCOPE_ANNOTATION: f"ns/{name}"}}
        server.put(make(LEASES, f"capi-mover.ns.{name}", namespace="capi-mover", spec=spec, metadata=marked))
    began, notes = sleepless_s(), list[Event]()
    async with held(server.direct(), "ns", notes.append):
        assert holder_of(server).startswith(this_holder())
    assert sleepless_s() - began < 3
    assert len(notes) == 4


@pytest.mark.parametrize("scope", [None, "ns/a"], ids=["the same", "an overlapping one"])
async def test_a_holder_that_renews_is_named_and_left_alone(scope: str | None) -> None:
    server, notes = taken_by("elsewhere/1/2", scope=scope, leaseDurationSeconds=20), list[Event]()
    renewing = asyncio.create_task(renews(server))
    with pytest.raises(LeaseHeldError, match=r"elsewhere/1/2") as caught:
        async with held(server.direct(), "ns", notes.append):
            pytest.fail("the body must not run")
    await renewing
    assert caught.value.holder == "elsewhere/1/2"
    assert holder_of(server) == "elsewhere/1/2"
    assert server.writes() == []
    (note,) = notes
    assert isinstance(note, Noted)
    assert note.text.startswith("elsewhere/1/2 holds the lease on ")
    assert note.text.endswith("of the source cluster; waiting 20 s to see whether it is still renewed")


@pytest.mark.parametrize("renewed", ["1970-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "yesterday", None])
async def test_what_the_holders_clock_says_decides_nothing(renewed: str | None) -> None:
    """Neither a time long ago nor one in the future: only whether it changes."""
    server, began = taken_by("elsewhere/1/2", renewTime=renewed), sleepless_s()
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())
    assert 1 <= sleepless_s() - began < 5


@pytest.mark.parametrize("duration", [None, 0, -5, 10**9, "20", 2.5])
async def test_a_duration_that_makes_no_sense_counts_as_the_usual_one(
    duration: object, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, waited = taken_by("elsewhere/1/2", leaseDurationSeconds=duration), list[float]()

    async def observed(self: lease_object.Lease, found: Object, duration_s: float) -> Object:
        waited.append(duration_s)
        return found

    monkeypatch.setattr(lease_object.Lease, "_observed", observed)
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())
    assert waited == [LEASE_S]


async def test_a_watcher_that_was_asleep_itself_looks_again_before_it_takes_over(clock: Clock) -> None:
    """The lease was renewed meanwhile, and its watch has not told yet."""
    server = taken_by("elsewhere/1/2", leaseDurationSeconds=20)

    def asleep(request: web.Request) -> Reply | None:
        if request.method == "GET" and request.path == PATH:
            server.bodies[PATH]["spec"]["renewTime"] = micro_time()
        return None

    server.before = asleep

    async def sleep() -> None:
        await until(lambda: bool(server.watchers))
        clock.sleep(100)
        server.change(LEASE)

    sleeping = asyncio.create_task(sleep())
    with pytest.raises(LeaseHeldError, match="elsewhere/1/2"):
        async with held(server.direct(), "ns"):
            pytest.fail("the body must not run")
    await sleeping
    assert server.writes() == []


async def test_a_watch_that_breaks_off_is_made_up_for_by_reading_again() -> None:
    """Every watch on this server ends at once, and a holder renews as it should."""
    server = taken_by("elsewhere/1/2")
    reads: list[str] = []

    def before(request: web.Request) -> Reply | None:
        if request.path == PATH:
            reads.append(request.method)
            if len(reads) == 4:
                server.change(LEASE, spec={"renewTime": micro_time()})
        return None

    server.before = before
    with pytest.raises(LeaseHeldError, match="elsewhere/1/2"):
        async with server.cluster() as cluster, held(cluster, "ns"):
            pytest.fail("the body must not run")
    assert reads == ["GET"] * 4


async def test_a_lease_that_is_released_while_it_is_watched_is_ours() -> None:
    server = taken_by("elsewhere/1/2", leaseDurationSeconds=20)

    async def release() -> None:
        await until(lambda: bool(server.watchers))
        server.change(LEASE)
        server.bodies.clear()

    releasing = asyncio.create_task(release())
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())
    await releasing


async def test_a_holder_of_this_process_that_is_at_work_is_left_alone_at_once() -> None:
    server = FakeApiServer()
    async with held(server.direct(), "ns"):
        with pytest.raises(LeaseHeldError, match="Another capi-mover works on"):
            async with held(server.direct(), "ns"):
                pytest.fail("the body must not run")


async def test_a_holder_that_lives_on_this_host_but_stands_still_is_followed() -> None:
    """It may be stopped (SIGSTOP): that its process is there says nothing."""
    holder = f"{HOST_NAME}/{os.getppid()}/{started(os.getppid())}"
    server = taken_by(holder)
    async with held(server.direct(), "ns"):
        assert holder_of(server).startswith(this_holder())


async def test_a_holder_of_this_host_whose_process_has_ended_is_followed_at_once() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    holder = f"{HOST_NAME}/{process.pid}/{started(process.pid)}"
    assert not is_gone(holder)
    await asyncio.wait_for(process.communicate(b"\n"), 30)
    server, notes = taken_by(holder, leaseDurationSeconds=3600), list[Event]()
    async with held(server.direct(), "ns", notes.append):
        assert holder_of(server).startswith(this_holder())
    assert server.bodies == {}
    assert notes == []


def test_a_process_with_the_pid_of_the_holder_is_not_mistaken_for_it() -> None:
    host, pid = HOST_NAME, os.getpid()
    assert is_gone(f"{host}/{pid}/1")
    assert not is_gone(this_holder())


@pytest.mark.parametrize("holder", ["", "elsewhere/1/2", "somebody", f"{HOST_NAME}", "a/b/c/d"])
def test_who_cannot_be_known_to_be_gone_is_not(holder: str) -> None:
    assert not is_gone(holder)


async def test_a_lease_without_a_holder_is_nobodys() -> None:
    server = taken_by("", leaseDurationSeconds=3600)
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
    server = taken_by("elsewhere/1/2")

    def overtake(request: web.Request) -> Reply | None:
        if request.method == "PUT":
            server.before = lambda _: None
            take_away(server, "quicker/1/2")
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


async def test_the_lease_is_renewed_while_the_body_runs() -> None:
    server = short()
    async with held(server.direct(), "ns"):
        first = server.bodies[PATH]["spec"]
        await until(lambda: server.log.count(f"PUT {PATH}") > 2)
        now = server.bodies[PATH]["spec"]
        assert now["renewTime"] > first["renewTime"]
        assert now["acquireTime"] == first["acquireTime"]
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


async def test_a_lease_that_somebody_else_has_taken_cancels_the_body_and_stays_theirs() -> None:
    server = short()
    with pytest.raises(SupersededError) as caught:
        await body_until_lost(server, lambda: take_away(server))
    assert str(caught.value) == (
        "Another capi-mover has taken over the work on namespace ns: thief/1/2 holds the lease on the source cluster "
        "since 2026-01-01T00:00:00.000000Z; this program has changed nothing since its own lease had run out. "
        "See what has become of it: capi-mover status"
    )
    assert (caught.value.holder, caught.value.since) == ("thief/1/2", "2026-01-01T00:00:00.000000Z")
    assert holder_of(server) == "thief/1/2"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "whoever waits for the move is not cancelled"


async def test_a_lease_that_was_deleted_is_not_made_again() -> None:
    server = short()
    with pytest.raises(SupersededError, match="taken over the work on namespace ns and ended it"):
        await body_until_lost(server, server.bodies.clear)
    assert server.bodies == {}


async def test_a_lease_that_cannot_be_renewed_in_time_is_lost() -> None:
    server = short()

    def cut() -> None:
        server.before = lambda _: reset

    with pytest.raises(LeaseLostError) as caught:
        await body_until_lost(server, cut)
    assert caught.value.unreachable


async def test_a_lease_that_may_not_be_renewed_any_more_is_lost() -> None:
    server = short()

    def forbid() -> None:
        server.before = lambda _: failure(403, "Forbidden")

    with pytest.raises(LeaseLostError) as caught:
        await body_until_lost(server, forbid)
    assert caught.value.unreachable, "who is not let in any more cannot tell what is there"


async def test_a_lease_that_may_lapse_does_not_cancel_the_body_and_is_released_when_its_cluster_is_back() -> None:
    server = short()
    async with held(server.direct(), "ns") as claim:
        with claim.lapsing():
            server.before = lambda _: reset
            await until(lambda: claim.lost is not None)
            server.before = lambda _: None
    assert claim.is_out_of_reach
    assert server.bodies == {}


async def test_a_lease_that_somebody_else_has_taken_cancels_the_body_even_if_it_may_lapse() -> None:
    server = short()
    with pytest.raises(SupersededError):
        await body_until_lost(server, server.bodies.clear, may_lapse=True)


async def test_a_renewal_that_fails_now_and_then_does_not_lose_the_lease() -> None:
    server = short()

    def flaky(request: web.Request) -> Reply | None:
        return failure(503, "") if request.method == "PUT" and len(server.log) % 2 else None

    async with held(server.direct(), "ns"):
        server.before = flaky
        await until(lambda: server.log.count(f"PUT {PATH}") > 6)
        server.before = lambda _: None
    assert server.bodies == {}


async def test_a_renewal_whose_answer_was_lost_does_not_lose_the_lease() -> None:
    """The transport tries again, and meets the resourceVersion that its first try has made."""
    server, lost = short(), list[str]()

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


async def test_a_cancelled_body_is_no_lost_lease() -> None:
    server, begun = short(), asyncio.Event()

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
    claim = Claim(Lease(FakeApiServer().direct(), "ns", ignore))
    with claim.lapsing():
        with claim.lapsing():
            pass
        assert claim.may_lapse
    assert not claim.may_lapse


# --- What is asked before each write ----------------------------------------------------------------------------------

SECRET = make(SECRETS, "s")
OTHER = make(SECRETS, "t")


async def create(cluster: Cluster, obj: Object = SECRET) -> None:
    await cluster.create(obj.type, obj.body(), manager=MANAGER)


async def test_a_write_with_a_fresh_lease_asks_the_server_nothing(clock: Clock) -> None:
    server = FakeApiServer()
    cluster = server.direct()
    async with held(cluster, "ns"):
        clock.sleep(14)
        before = len(server.log)
        await create(cluster)
        assert server.log[before:] == ["POST /api/v1/namespaces/ns/secrets"]


@pytest.mark.parametrize("slept", [15.1, 19.9, 20.1, 100_000.0])
async def test_a_write_after_a_sleep_waits_for_the_lease_to_be_renewed(clock: Clock, slept: float) -> None:
    """No timer has told of it: those of the event loop stand still meanwhile."""
    server = FakeApiServer()
    cluster = server.direct()
    async with held(cluster, "ns"):
        clock.sleep(slept)
        before = len(server.log)
        await asyncio.gather(create(cluster), create(cluster, OTHER))
        posts = ["POST /api/v1/namespaces/ns/secrets"] * 2
        assert server.log[before:] == [f"PUT {PATH}", *posts], "both wait for one renewal"


async def test_a_write_after_a_sleep_is_not_sent_once_somebody_else_has_the_lease(clock: Clock) -> None:
    server = FakeApiServer()
    cluster = server.direct()

    async def work() -> None:
        async with held(cluster, "ns"):
            clock.sleep(21)
            take_away(server)
            for _ in range(2):
                with pytest.raises(SupersededError, match="thief/1/2"):
                    await create(cluster)
            before = len(server.log)
            with pytest.raises(SupersededError, match="thief/1/2"):
                await create(cluster)
            assert server.log[before:] == []
            await create(cluster)

    with pytest.raises(SupersededError, match="thief/1/2"):
        await work()
    assert not server.has(SECRET)
    assert holder_of(server) == "thief/1/2"


async def test_both_leases_are_asked_whichever_cluster_is_written_to(clock: Clock) -> None:
    servers = FakeApiServer("source"), FakeApiServer("target")
    source, target = (server.direct() for server in servers)

    async def work() -> None:
        async with held(source, "ns", ignore, (target,)), held(target, "ns", ignore, (source,)):
            clock.sleep(21)
            take_away(servers[0])
            await create(target)

    with pytest.raises(SupersededError, match="on the source cluster"):
        await work()
    assert servers[1].writes()[-1].startswith("DELETE"), "its own lease is released"
    assert not servers[1].has(SECRET)


async def test_nobody_is_asked_any_more_when_the_lease_is_given_up(clock: Clock) -> None:
    server = FakeApiServer()
    cluster = server.direct()
    async with held(cluster, "ns"):
        pass
    clock.sleep(100)
    await create(cluster)
    assert server.has(SECRET)


async def test_reads_rehearsals_and_reviews_need_no_lease(clock: Clock) -> None:
    server = FakeApiServer()
    cluster = server.direct()

    async def work() -> None:
        async with held(cluster, "ns"):
            take_away(server)
            clock.sleep(21)
            await cluster.list(SECRETS, "ns")
            await cluster.rehearse_create(SECRETS, SECRET.body(), manager=MANAGER)
            await cluster.review("SelfSubjectRulesReview", {"namespace": "ns"})
            await create(cluster)

    with pytest.raises(SupersededError):
        await work()


async def test_a_write_waits_no_longer_than_the_lease_lasts_for_a_server_that_does_not_renew_it(clock: Clock) -> None:
    """It fails as any write to a server that does not answer; the lease is lost by then."""
    server = short()
    cluster = server.direct()

    def unavailable(request: web.Request) -> Reply | None:
        return failure(503, "") if request.method == "PUT" else None

    async def work() -> None:
        async with held(cluster, "ns"):
            server.before = unavailable
            clock.sleep(21)
            with pytest.raises(TransientError):
                await create(cluster)
            await asyncio.wait_for(asyncio.Event().wait(), 5)

    with pytest.raises(LeaseLostError):
        await work()
    assert not server.has(SECRET)


async def test_a_write_that_holds_the_only_place_does_not_keep_the_renewal_from_it(clock: Clock) -> None:
    server = FakeApiServer()
    async with server.cluster(FlowLimits(start=1, ceiling=1)) as cluster, held(cluster, "ns"):
        clock.sleep(100)
        await asyncio.wait_for(create(cluster), 5)
    assert server.has(SECRET)


async def test_each_try_of_a_write_is_asked_for_anew(clock: Clock) -> None:
    """The first one met a server that was busy; the machine slept before the second."""
    server, tries = FakeApiServer(), list[str]()

    def busy(request: web.Request) -> Reply | None:
        if request.method != "POST" or tries:
            return None
        tries.append(request.path)
        clock.sleep(21)
        take_away(server)
        return failure(503, "")

    async def work() -> None:
        async with server.cluster() as cluster, held(cluster, "ns"):
            server.before = busy
            await create(cluster)

    with pytest.raises(SupersededError):
        await work()
    assert not server.has(SECRET)


async def test_while_a_move_is_undone_the_source_is_written_though_the_target_is_out_of_reach(clock: Clock) -> None:
    servers = FakeApiServer("source"), short()
    servers[1].name = "target"
    source, target = (server.direct() for server in servers)
    async with held(source, "ns", ignore, (target,)), held(target, "ns", ignore, (source,)) as claim:
        with claim.lapsing():
            servers[1].before = lambda _: reset
            await until(lambda: claim.lost is not None)
            await create(source)
            with pytest.raises(TransientError):
                await create(target)
            servers[1].before = lambda _: None
            await create(target)
    assert servers[0].has(SECRET)
    assert servers[1].has(SECRET)


async def test_while_a_move_is_undone_nothing_is_written_once_somebody_else_has_it(clock: Clock) -> None:
    servers = FakeApiServer("source"), FakeApiServer("target")
    source, target = (server.direct() for server in servers)

    async def work() -> None:
        async with held(source, "ns", ignore, (target,)), held(target, "ns", ignore, (source,)) as claim:
            with claim.lapsing():
                clock.sleep(21)
                take_away(servers[1])
                await create(source)

    with pytest.raises(SupersededError):
        await work()
    assert not servers[0].has(SECRET)


async def test_a_renewal_whose_answer_is_read_after_a_sleep_allows_nothing(clock: Clock) -> None:
    server = FakeApiServer()

    def late(request: web.Request) -> Reply | None:
        if request.method == "PUT":
            clock.sleep(100)
        return None

    async with held(server.direct(), "ns") as claim:
        server.before = late
        clock.sleep(100)
        with pytest.raises(TransientError, match="answered too late"):
            await claim.require(server.direct().link)
        server.before = lambda _: None
