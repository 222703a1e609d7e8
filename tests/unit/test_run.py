"""Tests of starting, resuming and undoing a move: who may do what, and the program killed at each of its writes."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from graph import rules
from mover.choices import OnFailure
from mover.errors import ApiError, ForbiddenError, StoppedError, SupersededError, UsageError
from mover.events import Noted, ObjectDone
from mover.execute import lease, lease_object, run
from mover.execute.lease import LEASES, LeaseHeldError
from mover.execute.run import InterruptedMoveError, RolledBackError, start
from mover.models import Phase
from mover.pause import is_paused
from mover.record import encode
from tests.unit import clock as clocks
from tests.unit.fake_apiserver import Fuse, Killed
from tests.unit.mover_builders import (
    CLUSTER,
    HOST,
    MACHINE,
    Stage,
    make,
    managers,
    meanwhile,
    refuse,
    somebody_at_work,
    write_record,
)
from tests.unit.scripted_server import Reply, failure, reset
from tests.unit.test_record import record

LEASE = make(LEASES, "capi-mover.ns", namespace="capi-mover")


# --- Who may do what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", ["source", "target"])
async def test_a_move_that_another_mover_works_on_is_left_alone(cluster: str) -> None:
    stage = Stage()
    findings = await stage.findings()
    before = stage.everything()
    server = stage.source if cluster == "source" else stage.target
    refused = pytest.raises(LeaseHeldError, match=f"of the {cluster} cluster: elsewhere/1/2")
    with somebody_at_work(server, LEASE), refused:
        await stage.move(findings=findings)
    assert stage.everything() == before


async def test_a_move_that_was_begun_meanwhile_is_not_begun_again() -> None:
    stage = Stage()
    write_record(stage.target, encode(record()))
    before = stage.everything()
    with pytest.raises(StoppedError, match=r"was begun meanwhile \(abc\)\. See: capi-mover status"):
        await stage.move()
    assert stage.everything() == before


async def interrupted(**options: object) -> Stage:
    """Returns a stage with a move that has failed and is kept."""
    stage = Stage(on_failure=OnFailure.KEEP, **options)
    refuse(stage.target, "POST", "/machines")
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.target.before = lambda _: None
    return stage


@pytest.mark.parametrize("cluster", ["source", "target"])
async def test_a_record_of_other_clusters_is_neither_gone_on_with_nor_undone(cluster: str) -> None:
    stage = await interrupted()
    server = stage.source if cluster == "source" else stage.target
    server.bodies["/api/v1/namespaces/kube-system"]["metadata"]["uid"] = "another"
    before = stage.everything()
    for act in (stage.go_on, stage.undo):
        with pytest.raises(UsageError, match=rf"has another {cluster} cluster \(context {cluster}-ctx\)"):
            await act()
    assert stage.everything() == before


async def test_nobody_goes_on_while_the_first_mover_lives() -> None:
    stage = await interrupted()
    for act in (stage.go_on, stage.undo):
        with somebody_at_work(stage.target, LEASE), pytest.raises(LeaseHeldError):
            await act()


async def test_who_goes_on_is_the_holder_of_the_record() -> None:
    stage = await interrupted()
    refuse(stage.target, "POST", "/machines")
    with pytest.raises(InterruptedMoveError):
        await stage.go_on()
    found = await stage.record()
    assert found is not None
    assert found.holder == lease.this_holder()


async def test_a_record_that_cannot_be_written_everywhere_leaves_nothing_behind() -> None:
    """The error says that nothing was changed, so nothing may be."""
    stage = Stage()
    findings, before = await stage.findings(), stage.everything()
    refuse(stage.target, "POST", "/configmaps")
    with pytest.raises((ApiError, StoppedError), match="403"):
        await stage.move(findings=findings)
    assert stage.everything() == before


# --- What becomes of a failure ----------------------------------------------------------------------------------------


async def test_what_was_rolled_back_names_its_cause_and_was_told() -> None:
    stage = Stage()
    refuse(stage.target, "POST", "/machines")
    with pytest.raises(RolledBackError) as caught:
        await stage.move()
    assert isinstance(caught.value.cause, ForbiddenError)
    assert caught.value.exit_code == 4
    notes = [event.text for event in stage.events if isinstance(event, Noted)]
    assert notes[0].startswith("The move failed and is rolled back: target: POST")
    assert notes[1:] == ["Everything is as it was before the move"]


async def test_a_move_that_takes_longer_than_it_may_is_rolled_back() -> None:
    stage = Stage(timeout_s=0.2)
    findings, before = await stage.findings(), stage.everything()
    hold_at(stage, asyncio.Event())
    with pytest.raises(RolledBackError, match=r"The time limit \(--timeout\) is over"):
        await stage.move(findings=findings)
    assert stage.everything() == before


def hold_at(stage: Stage, begun: asyncio.Event) -> None:
    """Lets the target answer the creation of the Machine only when the waiting is broken off."""

    def before(request: web.Request) -> Reply | None:
        if request.method != "GET" or not request.path.endswith("/machines") or not stage.target.has(MACHINE):
            return None

        async def never(sent: web.Request) -> web.StreamResponse:
            stage.target.before = lambda _: None
            begun.set()
            return await asyncio.Event().wait()  # type: ignore[return-value]

        return never

    stage.target.before = before


async def cancel_when_begun(stage: Stage) -> asyncio.Task[object]:
    begun = asyncio.Event()
    findings = await stage.findings()
    hold_at(stage, begun)
    moving: asyncio.Task[object] = asyncio.create_task(stage.move(findings=findings))
    await asyncio.wait_for(begun.wait(), 5)
    moving.cancel()
    return moving


async def test_a_move_that_is_cancelled_is_rolled_back() -> None:
    stage = Stage()
    before = stage.everything()
    moving = await cancel_when_begun(stage)
    with pytest.raises(RolledBackError, match="Stopped by a signal"):
        await moving
    assert stage.everything() == before


async def test_a_cancelled_move_that_is_to_be_kept_is() -> None:
    stage = Stage(on_failure=OnFailure.KEEP)
    with pytest.raises(InterruptedMoveError, match="Stopped by a signal"):
        await (await cancel_when_begun(stage))
    await stage.go_on()
    assert stage.target.has(MACHINE)
    assert not stage.source.has(MACHINE)


async def test_a_second_signal_ends_the_rollback_and_it_can_be_finished() -> None:
    stage = Stage()
    before = stage.everything()
    moving = await cancel_when_begun(stage)
    meanwhile(stage.target, "DELETE", "/machines/m", moving.cancel)
    with pytest.raises(asyncio.CancelledError):
        await moving
    await stage.undo()
    assert stage.everything() == before


async def test_an_error_that_nobody_knows_is_told_whole_and_the_move_is_undone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    before = stage.everything()

    def fail(event: object) -> None:
        if isinstance(event, ObjectDone) and event.phase is Phase.CREATING:
            raise ZeroDivisionError("of a mutator")

    with pytest.raises(RolledBackError, match="ZeroDivisionError: of a mutator") as caught:
        await start(stage.clusters(), await stage.findings(), stage.options, fail)
    assert isinstance(caught.value.cause, ZeroDivisionError)
    assert "Traceback" in caplog.text
    assert stage.everything() == before


@pytest.mark.parametrize("committed", [False, True])
async def test_a_target_that_swallows_requests_costs_its_lease_and_the_source_is_resumed(*, committed: bool) -> None:
    stage = Stage()
    stage.target.lease_s = 0.2

    async def no_answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return await reset(request)

    def swallow(request: web.Request) -> Reply | None:
        ready = not stage.source.has(MACHINE) if committed else stage.target.has(MACHINE)
        return no_answer if ready else None

    stage.target.before = swallow
    with pytest.raises(InterruptedMoveError, match="The lease on the target cluster was lost") as caught:
        await stage.move()
    assert ("can only be completed" in str(caught.value)) is committed
    assert ("could not be rolled back" in str(caught.value)) is not committed
    if not committed:
        assert is_paused(stage.source.now(CLUSTER)) is False
    stage.target.before = lambda _: None
    stage.drop_leases()
    await (stage.go_on() if committed else stage.undo())
    assert stage.source.has(MACHINE) is not committed
    assert stage.target.has(MACHINE) is committed


@pytest.mark.parametrize("phase", ["creating", "verifying", "deleting"])
@pytest.mark.parametrize("slept_s", [21, 0], ids=["its clock jumped", "its clock stood still"])
async def test_whoever_has_lost_the_lease_changes_nothing_more(
    phase: str, slept_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has taken the move over: a rollback would work against them."""
    clock = clocks.install(monkeypatch)
    stage, writes = Stage(), list[str]()
    findings = await stage.findings()
    method, ending, served = {
        "creating": ("POST", "/machines", stage.target),
        "verifying": ("GET", "/machines", stage.target),
        "deleting": ("DELETE", "/machines/m", stage.source),
    }[phase]

    def steal(request: web.Request) -> Reply | None:
        is_early = phase == "verifying" and not stage.target.has(MACHINE)
        if is_early or request.method != method or not request.path.endswith(ending):
            return None

        async def lose(sent: web.Request) -> web.StreamResponse:
            for server in (stage.source, stage.target):
                spec = {"holderIdentity": "thief/1/2", "renewTime": "2999-01-01T00:00:00Z"}
                server.change(LEASE, spec=spec)
                server.before = note
            clock.sleep(slept_s)
            return await failure(503, "", "late")(sent)

        return lose

    def note(request: web.Request) -> Reply | None:
        if request.method != "GET" and "/configmaps" in request.path:
            writes.append(f"{request.method} {request.path}")
        return None

    served.before = steal
    with pytest.raises(SupersededError, match=r"Another capi-mover has taken over .*: thief/1/2 "):
        await stage.move(findings=findings)
    assert writes == []
    assert stage.source.now(LEASE).body()["spec"]["holderIdentity"] == "thief/1/2"


# --- Killed at each write ---------------------------------------------------------------------------------------------

WRITES = 52
"""How many writes the small move makes."""


class Life:
    """A stage whose first program dies at one of its writes, in such a way that the next one knows it is gone."""

    def __init__(self, number: int, *, answered: bool, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        self.stage = Stage(**options)
        self.before = self.stage.everything()
        self._fuse = Fuse(number, answered=answered)
        self._monkeypatch = monkeypatch

    async def die(self) -> None:
        """Moves until the program is killed."""
        gone = f"{lease.this_holder().partition('/')[0]}/1/0"
        with self._monkeypatch.context() as patch:
            for module in (lease_object, run):
                patch.setattr(module, "this_holder", lambda: gone)
            with pytest.raises(Killed):
                await self.stage.move(self._fuse)

    async def finish(self) -> None:
        """Does what `capi-mover move` does when it is called again."""
        if await self.stage.record() is not None:
            await self.stage.go_on()
        elif self.stage.source.has(CLUSTER):
            await self.stage.move()
        self.stage.drop_leases()


at_each_write = pytest.mark.parametrize("number", range(WRITES))
before_and_after = pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])


@pytest.fixture(scope="module")
async def undisturbed() -> Stage:
    stage = Stage()
    await stage.move()
    return stage


async def test_the_program_is_killed_at_all_its_writes() -> None:
    fuse = Fuse()
    await Stage().move(fuse)
    assert fuse.writes == WRITES


@at_each_write
@before_and_after
async def test_a_move_that_was_killed_ends_as_one_that_was_not(
    number: int, answered: bool, undisturbed: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(number, answered=answered, monkeypatch=monkeypatch)
    await life.die()
    await life.finish()
    assert life.stage.everything() == undisturbed.everything()
    assert managers(life.stage.target) == managers(undisturbed.target)


@at_each_write
@before_and_after
async def test_a_move_that_was_killed_can_be_undone_until_its_commit_and_only_until_then(
    number: int, answered: bool, undisturbed: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(number, answered=answered, monkeypatch=monkeypatch)
    await life.die()
    found = await life.stage.record()
    if found is None:
        life.stage.drop_leases()
        assert life.stage.everything() in (life.before, undisturbed.everything())
    elif found.is_committed:
        with pytest.raises(StoppedError, match="it can only be completed"):
            await life.stage.undo()
    else:
        assert found.phase not in (Phase.DELETING, Phase.RESUMING)
        await life.stage.undo()
        life.stage.drop_leases()
        assert life.stage.everything() == life.before


@pytest.mark.parametrize("number", range(0, WRITES, 7))
@pytest.mark.parametrize("second", [5, 12, 20, 33])
async def test_a_move_that_was_killed_twice_ends_as_one_that_was_not(
    number: int, second: int, undisturbed: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(number, answered=True, monkeypatch=monkeypatch)
    await life.die()
    if await life.stage.record() is not None:
        with contextlib.suppress(Killed):
            await life.stage.go_on(Fuse(second, answered=True))
    life.stage.drop_leases()
    await life.finish()
    assert life.stage.everything() == undisturbed.everything()


@pytest.mark.parametrize("number", range(0, WRITES, 5))
async def test_no_original_is_without_a_complete_copy_at_any_kill(
    number: int, undisturbed: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(number, answered=True, monkeypatch=monkeypatch)
    await life.die()
    for obj in (CLUSTER, MACHINE, HOST):
        if not life.stage.source.has(obj):
            copy, complete = life.stage.target.now(obj).body(), undisturbed.target.now(obj).body()
            assert copy["status"] == complete["status"]
            assert copy["metadata"]["finalizers"] == obj.body()["metadata"]["finalizers"]
    source_paused = (
        life.stage.source.has(HOST) and rules.HOST_PAUSED_ANNOTATION in life.stage.source.now(HOST).annotations
    )
    if life.stage.source.has(HOST) and life.stage.target.has(HOST):
        assert source_paused
        assert rules.HOST_PAUSED_ANNOTATION in life.stage.target.now(HOST).annotations
