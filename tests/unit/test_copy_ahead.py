"""Tests of a move that copies before it pauses: nothing is missed that changes, comes or goes until it is paused."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.choices import ExistingPolicy, OnFailure
from mover.discovery import NAMESPACES
from mover.errors import StoppedError
from mover.events import ObjectDone, PhaseStarted
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.kube.cluster import object_path
from mover.models import Phase
from tests.unit.fake_apiserver import Fuse
from tests.unit.mover_builders import (
    CA,
    CLUSTER,
    HARDWARE,
    HOST,
    KUBECONFIG,
    MACHINE,
    PROVISIONED,
    SMALL,
    Stage,
    make,
    managers,
    meanwhile,
    refuse,
)
from tests.unit.scripted_server import Reply
from tests.unit.test_forward import late
from tests.unit.test_run import Life

PHASES = [Phase.COPYING_AHEAD, Phase.PAUSING, Phase.CREATING, Phase.VERIFYING, Phase.DELETING, Phase.RESUMING]
_CA_PATH = object_path(CA.type, CA.key)


def ahead(*more: Object, **options: object) -> Stage:
    """Returns a stage whose moves copy ahead."""
    return Stage(*more, copy_ahead=True, **options)


def at_the_pause(stage: Stage, happens: Callable[[], object]) -> None:
    """Lets something happen once, just before the Cluster is paused: everything has been copied by then."""
    meanwhile(stage.source, "PATCH", "/clusters/c", happens)


def test_nothing_is_copied_ahead_unless_that_is_asked_for() -> None:
    assert not Stage().options.copy_ahead


async def test_it_ends_like_any_other_move() -> None:
    plain, stage = Stage(), ahead()
    await plain.move()
    outcome = await stage.move()
    assert stage.everything() == plain.everything()
    assert managers(stage.target) == managers(plain.target)
    assert outcome.created == len(SMALL)
    assert [event.phase for event in stage.events if isinstance(event, PhaseStarted)] == PHASES
    told = [(event.phase, event.verb) for event in stage.events if isinstance(event, ObjectDone)]
    assert told.count((Phase.COPYING_AHEAD, "copied")) == told.count((Phase.CREATING, "created")) == len(SMALL)


async def test_everything_is_copied_and_paused_there_before_anything_is_paused_here() -> None:
    stage, seen = ahead(), list[bool]()

    def look() -> None:
        seen.append(all(stage.target.has(obj) for obj in SMALL))
        seen.append(stage.target.now(CLUSTER).body()["spec"]["paused"] is True)
        seen.append(rules.HOST_PAUSED_ANNOTATION in stage.target.now(HOST).annotations)
        seen.append("paused" not in stage.source.now(CLUSTER).body()["spec"])
        seen.append(rules.HOST_PAUSED_ANNOTATION not in stage.source.now(HOST).annotations)

    at_the_pause(stage, look)
    await stage.move()
    assert seen == [True] * 5


async def test_the_time_of_copying_ahead_is_no_pause() -> None:
    stage, began = ahead(), time.monotonic()
    outcome = await stage.move()
    took = time.monotonic() - began
    paused = sum(seconds for phase, seconds in outcome.seconds.items() if phase is not Phase.COPYING_AHEAD)
    assert paused <= outcome.paused_s <= took - outcome.seconds[Phase.COPYING_AHEAD]


async def test_at_no_moment_is_an_object_unpaused_on_both_clusters() -> None:
    stage, clashes = ahead(), list[bool]()

    def look(_: web.Request) -> Reply | None:
        both = [
            [server.has(obj) and not is_paused(server.now(obj)) for server in (stage.source, stage.target)]
            for obj, is_paused in ((CLUSTER, _is_cluster_paused), (HOST, _is_host_paused))
        ]
        clashes.extend(all(sides) for sides in both)
        return None

    stage.source.before = stage.target.before = look
    await stage.move()
    assert len(clashes) > len(SMALL)
    assert not any(clashes)


def _is_cluster_paused(cluster: Object) -> bool:
    return bool(cluster.body()["spec"].get("paused"))


def _is_host_paused(host: Object) -> bool:
    return rules.HOST_PAUSED_ANNOTATION in host.annotations


async def test_what_changes_before_the_pause_is_copied_again() -> None:
    stage = ahead()

    def change() -> None:
        stage.source.change(CA, data={"tls.key": "bmV3"})
        stage.source.change(HOST, spec={"online": False})
        stage.source.change(MACHINE, status={"nodeRef": {"name": "other"}})

    at_the_pause(stage, change)
    await stage.move()
    assert stage.target.now(CA).body()["data"] == {"tls.key": "bmV3"}
    assert stage.target.now(HOST).body()["spec"] == {"online": False}
    assert stage.target.now(MACHINE).body()["status"] == {"nodeRef": {"name": "other"}}
    assert not any(stage.source.has(obj) for obj in SMALL)


async def test_of_an_object_whose_status_alone_has_changed_nothing_else_is_written_again() -> None:
    stage = ahead()
    at_the_pause(stage, lambda: stage.source.change(MACHINE, status={"nodeRef": {"name": "other"}}))
    await stage.move()
    of_machine = [line for line in stage.target.log if "/machines/m" in line and not line.startswith("GET")]
    assert not [line for line in of_machine if line.startswith("PUT")]
    assert sum("/status" in line for line in of_machine) == 2


async def test_what_appears_before_the_pause_moves_too() -> None:
    stage, new = ahead(), late()
    at_the_pause(stage, lambda: stage.source.put(new))
    await stage.move()
    assert stage.target.has(new)
    assert not stage.source.has(new)


async def test_the_copy_of_what_is_deleted_before_the_pause_is_taken_away() -> None:
    stage = ahead()
    at_the_pause(stage, lambda: stage.source.bodies.pop(_CA_PATH))
    outcome = await stage.move()
    assert not stage.target.has(CA)
    assert outcome.created == len(SMALL) - 1
    assert ("withdrawn", str(CA.key)) in [(e.verb, e.subject) for e in stage.events if isinstance(e, ObjectDone)]


async def test_a_copy_that_the_target_has_changed_is_taken_away_with_its_original() -> None:
    stage = ahead()

    def change() -> None:
        stage.target.change(CA, data={"tls.key": "Y2hhbmdlZA=="})
        stage.source.bodies.pop(_CA_PATH)

    at_the_pause(stage, change)
    await stage.move()
    assert not stage.target.has(CA)


async def test_what_took_the_place_of_a_copy_whose_original_is_gone_is_left_and_stops_the_move() -> None:
    stage = ahead()
    theirs = make(CA.type, "c-ca", metadata={"uid": "theirs"}, data={"tls.key": "dGhlaXJz"})

    def replace() -> None:
        stage.source.bodies.pop(_CA_PATH)
        stage.target.bodies.pop(_CA_PATH)
        stage.target.put(theirs)

    at_the_pause(stage, replace)
    with pytest.raises(RolledBackError, match="c-ca appeared on the target cluster with other content"):
        await stage.move()
    assert stage.target.now(CA).uid == "theirs"
    assert stage.source.has(CLUSTER)


async def test_what_is_deleted_and_made_anew_before_the_pause_is_what_moves() -> None:
    stage = ahead()
    new = make(CA.type, "c-ca", owners=[CLUSTER], metadata={"uid": "another"}, data={"tls.key": "bmV3"})

    def make_anew() -> None:
        stage.source.bodies.pop(_CA_PATH)
        stage.source.put(new)

    at_the_pause(stage, make_anew)
    await stage.move()
    assert stage.target.now(CA).body()["data"] == {"tls.key": "bmV3"}
    assert not stage.source.has(CA)


async def test_what_somebody_else_makes_on_the_target_before_the_pause_is_not_taken_for_a_copy() -> None:
    stage = ahead()

    def replace() -> None:
        stage.target.bodies.pop(_CA_PATH)
        stage.target.put(make(CA.type, "c-ca", metadata={"uid": "theirs"}, data={"tls.key": "dGhlaXJz"}))

    at_the_pause(stage, replace)
    with pytest.raises(RolledBackError, match="c-ca appeared on the target cluster with other content"):
        await stage.move()
    assert stage.target.now(CA).body()["data"] == {"tls.key": "dGhlaXJz"}
    assert stage.source.has(CA)


def while_it_is_copied(stage: Stage, happens: Callable[[], object]) -> None:
    """Lets something happen once, while copies are made ahead."""
    meanwhile(stage.target, "POST", "/machines", happens)


async def test_what_the_user_pauses_while_it_is_copied_stays_paused() -> None:
    stage = ahead()
    while_it_is_copied(stage, lambda: stage.source.change(CLUSTER, spec={"paused": True}))
    await stage.move()
    assert stage.target.now(CLUSTER).body()["spec"]["paused"] is True
    assert rules.HOST_PAUSED_ANNOTATION not in stage.target.now(HOST).annotations


async def test_a_cluster_that_comes_while_it_is_copied_is_paused_before_it_moves() -> None:
    stage, new = ahead(), make(rules.CLUSTER, "new", metadata={"uid": "new"}, spec={"n": 1})
    while_it_is_copied(stage, lambda: stage.source.put(new))
    await stage.move()
    writes = [line for line in stage.source.log if line.endswith("/clusters/new") and not line.startswith("GET")]
    assert [line.partition(" ")[0] for line in writes] == ["PATCH", "DELETE"]
    assert stage.target.now(new).body()["spec"] == {"n": 1}


async def test_a_cluster_that_goes_while_it_is_copied_does_not_move() -> None:
    other = make(rules.CLUSTER, "other", spec={"n": 1}, status=PROVISIONED)
    stage = ahead(other)
    while_it_is_copied(stage, lambda: stage.source.bodies.pop(object_path(other.type, other.key)))
    outcome = await stage.move()
    assert not stage.target.has(other)
    assert outcome.created == len(SMALL)


async def test_what_comes_on_both_sides_is_not_taken_for_a_copy_though_it_is_equal() -> None:
    stage, new = ahead(), late()
    theirs = make(CA.type, "late", metadata={"uid": "theirs"}, data={"a": "eA=="})

    def come() -> None:
        stage.source.put(new)
        stage.target.put(theirs)

    at_the_pause(stage, come)
    with pytest.raises(RolledBackError, match="late appeared on the target cluster"):
        await stage.move()
    assert stage.target.now(new).uid == "theirs"
    assert stage.source.has(new)


async def test_what_is_to_be_overwritten_may_go_while_it_is_copied() -> None:
    stage = ahead(existing=ExistingPolicy.OVERWRITE)
    theirs = make(KUBECONFIG.type, KUBECONFIG.key.name, metadata={"uid": "theirs"}, data={"value": "b2xk"})
    stage.target.put(make(NAMESPACES, "ns", namespace=""), theirs)
    while_it_is_copied(stage, lambda: stage.source.bodies.pop(object_path(KUBECONFIG.type, KUBECONFIG.key)))
    await stage.move()
    assert stage.target.now(KUBECONFIG).uid == "theirs"


async def test_a_copy_whose_owner_has_gone_has_its_new_one_before_that_of_the_owner_goes() -> None:
    boss = late("boss")
    before, after = (
        make(CA.type, "handed", owners=[owner], metadata={"uid": "handed", "resourceVersion": version})
        for owner, version in ((boss, "1"), (CLUSTER, "2"))
    )
    stage = ahead(boss, before)

    def hand_over() -> None:
        stage.source.bodies.pop(object_path(boss.type, boss.key))
        stage.source.put(after)

    at_the_pause(stage, hand_over)
    await stage.move()
    renewed = next(n for n, line in enumerate(stage.target.log) if line.startswith("PUT") and "handed" in line)
    removed = next(n for n, line in enumerate(stage.target.log) if line.startswith("DELETE") and "boss" in line)
    assert renewed < removed
    assert [owner.kind for owner in stage.target.now(after).owners] == ["Cluster"]
    assert not stage.target.has(boss)


async def test_a_failure_ahead_is_undone_and_nothing_was_ever_paused() -> None:
    stage = ahead()
    before = stage.everything()
    refuse(stage.target, "POST", "/machines")
    with pytest.raises(RolledBackError):
        await stage.move()
    assert stage.everything() == before
    assert not [line for line in stage.source.log if line.startswith("PATCH") and line.endswith(("/c", "/h"))]


async def test_a_failure_ahead_that_is_kept_says_nothing_of_a_pause_and_is_gone_on_with() -> None:
    stage = ahead(on_failure=OnFailure.KEEP)
    refuse(stage.target, "POST", "/machines")
    with pytest.raises(InterruptedMoveError, match=r"phase copying-ahead; nothing was deleted, and nothing is paused"):
        await stage.move()
    stage.target.before = lambda _: None
    await stage.go_on()
    assert all(stage.target.has(obj) and not stage.source.has(obj) for obj in SMALL)


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_to_be_overwritten_is_left_alone_until_the_pause(fails: bool) -> None:
    stage, seen = ahead(existing=ExistingPolicy.OVERWRITE), list[object]()
    theirs = make(KUBECONFIG.type, KUBECONFIG.key.name, metadata={"uid": "theirs"}, data={"value": "b2xk"})
    stage.target.put(make(NAMESPACES, "ns", namespace=""), theirs)
    at_the_pause(stage, lambda: seen.append(stage.target.now(KUBECONFIG).body()["data"]))
    if fails:
        refuse(stage.target, "POST", "/machines")
        with pytest.raises(RolledBackError):
            await stage.move()
        assert stage.target.now(KUBECONFIG).body()["data"] == {"value": "b2xk"}
    else:
        await stage.move()
        assert seen == [{"value": "b2xk"}]
        assert stage.target.now(KUBECONFIG).body()["data"] == KUBECONFIG.body()["data"]


# --- Killed at each write ---------------------------------------------------------------------------------------------

WRITES = 54
"""How many writes the small move makes that copies ahead."""


async def test_the_program_is_killed_at_all_its_writes() -> None:
    fuse = Fuse()
    await ahead().move(fuse)
    assert fuse.writes == WRITES


@pytest.mark.parametrize("number", range(WRITES))
@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
async def test_a_move_that_was_killed_ends_as_one_that_was_not(
    number: int, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Stage()
    await whole.move()
    life = Life(number, answered=answered, monkeypatch=monkeypatch, copy_ahead=True)
    await life.die()
    await life.finish()
    assert life.stage.everything() == whole.everything()
    assert managers(life.stage.target) == managers(whole.target)


@pytest.mark.parametrize("number", range(WRITES))
async def test_a_move_that_was_killed_can_be_undone_until_its_commit(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(number, answered=True, monkeypatch=monkeypatch, copy_ahead=True)
    await life.die()
    found = await life.stage.record()
    if found is None:
        return
    if found.is_committed:
        with pytest.raises(StoppedError, match="it can only be completed"):
            await life.stage.undo()
    else:
        await life.stage.undo()
        life.stage.drop_leases()
        assert life.stage.everything() == life.before


async def test_what_changed_while_a_move_rested_that_was_killed_ahead_is_copied_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    life = Life(18, answered=True, monkeypatch=monkeypatch, copy_ahead=True)
    await life.die()
    found = await life.stage.record()
    assert found is not None
    assert found.phase is Phase.COPYING_AHEAD
    assert life.stage.target.has(CLUSTER)
    assert life.stage.target.has(HARDWARE)
    life.stage.source.change(CLUSTER, spec={"n": 2})
    life.stage.source.bodies.pop(object_path(HARDWARE.type, HARDWARE.key))
    await life.finish()
    assert life.stage.target.now(CLUSTER).body()["spec"] == {"n": 2}
    assert not life.stage.target.has(HARDWARE)
