"""Tests of the events that say on a Cluster where it went and where it came from."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.choices import OnFailure
from mover.events import Noted
from mover.execute import announcing
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.record import Identity
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import CLUSTER, Stage, make, meanwhile, refuse
from tests.unit.scripted_server import Reply, failure

EVENTS = "/apis/events.k8s.io/v1/namespaces/ns/events"


def told(server: FakeApiServer) -> list[dict[str, Any]]:
    """Returns the events that a cluster has."""
    return [body for path, body in sorted(server.bodies.items()) if "/events.k8s.io/" in path]


def attempts(server: FakeApiServer) -> int:
    """Returns how many events a cluster was sent."""
    return server.log.count(f"POST {EVENTS}")


def copy_of(stage: Stage, obj: Object) -> str:
    """Returns the UID of a copy."""
    return stage.target.now(obj).uid


def noted(stage: Stage) -> list[str]:
    """Returns what the operator was told about events."""
    return [event.text for event in stage.events if isinstance(event, Noted) and "events" in event.text]


async def test_each_side_has_one_event_on_the_cluster_and_none_on_what_is_below_it() -> None:
    stage = Stage()
    await stage.move()
    (out,), (into,) = told(stage.source), told(stage.target)
    assert (out["reason"], out["type"]) == ("MovedOut", "Normal")
    assert out["note"] == "Moved to target-ctx (cluster target-cluster)"
    assert out["regarding"] == {
        "apiVersion": CLUSTER.type.api_version,
        "kind": "Cluster",
        "namespace": "ns",
        "name": "c",
        "uid": CLUSTER.uid,
    }
    assert (into["reason"], into["note"]) == ("MovedIn", "Moved from source-ctx (cluster source-cluster)")
    assert into["regarding"]["uid"] == copy_of(stage, CLUSTER) != CLUSTER.uid
    assert (out["reportingController"], out["action"]) == ("capi-mover", "Move")
    assert out["metadata"]["name"] == into["metadata"]["name"]
    assert attempts(stage.source) == attempts(stage.target) == 1
    assert noted(stage) == []


async def test_the_originals_are_there_and_the_move_is_committed_when_it_is_told() -> None:
    stage = Stage()
    seen: list[tuple[bool, str]] = []

    def look(request: web.Request) -> Reply | None:
        if request.path == EVENTS:
            head = stage.source.bodies["/api/v1/namespaces/capi-mover/configmaps/capi-mover.ns"]
            seen.append((stage.source.has(CLUSTER), head["data"]["phase"]))
        return None

    stage.source.before = stage.target.before = look
    await stage.move()
    assert seen == [(True, "deleting")] * 2


async def test_another_namespace_on_the_target_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = make(rules.CLUSTER, "c"), make(rules.CLUSTER, "c", namespace="other")
    assert announcing._place(Identity(uid="u", context="x"), there, here) == "x (cluster u), namespace other"


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_cluster_that_takes_no_events_is_told_of_once_and_stops_nothing(side: str) -> None:
    stage = Stage()
    other = make(rules.CLUSTER, "d", status=CLUSTER.body()["status"])
    stage.source.put(other)
    refuse(getattr(stage, side), "POST", "/events")
    await stage.move()
    (text,) = noted(stage)
    assert text.startswith(f"The {side} cluster takes no events about the Clusters that move; the move goes on: ")
    assert "403 Forbidden" in text
    assert not stage.source.has(CLUSTER)
    assert told(getattr(stage, side)) == []
    # The other side is told of both.
    assert len(told(stage.target if side == "source" else stage.source)) == 2


async def test_a_connection_that_was_refused_an_event_is_sent_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(on_failure=OnFailure.KEEP)
    clusters = stage.clusters()
    refuse(stage.source, "POST", "/events")
    refuse(stage.target, "POST", "/events")
    await stage.move(clusters=clusters)
    record = await _record(stage)
    plan = (await Stage().findings()).plan
    await announcing.announce_rolled_back(clusters.source, plan, record, stage.events.append)
    assert attempts(stage.source) == 1
    assert len(noted(stage)) == 2
    # Another program asks again.
    await announcing.announce_rolled_back(stage.source.direct(), plan, record, stage.events.append)
    assert attempts(stage.source) == 2


async def _record(stage: Stage) -> Any:
    kept = Stage(on_failure=OnFailure.KEEP)
    refuse(kept.target, "POST", "/machines")
    with pytest.raises(InterruptedMoveError):
        await kept.move()
    return await kept.record()


async def test_a_server_that_swallows_events_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "_PATIENCE_S", 0.05)
    stage = Stage()
    slow = stage.clusters()

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(slow.target, "create_event", never)
    await stage.move(clusters=slow)
    assert noted(stage) == [
        "The target cluster takes no events about the Clusters that move; the move goes on: no answer for 0.05 s"
    ]
    assert len(told(stage.source)) == 1


async def test_a_move_that_is_gone_on_with_after_it_was_told_does_not_tell_twice() -> None:
    stage = Stage(on_failure=OnFailure.KEEP)
    refuse(stage.source, "DELETE", "/machines/m", failure(422, "Invalid"))
    with pytest.raises(InterruptedMoveError):
        await stage.move()
    stage.source.before = lambda _: None
    before = told(stage.source), told(stage.target)
    await stage.go_on()
    assert (told(stage.source), told(stage.target)) == before
    assert noted(stage) == []


async def test_a_move_that_was_undone_is_a_warning_on_the_source_alone() -> None:
    stage = Stage()
    refuse(stage.target, "POST", "/machines")
    with pytest.raises(RolledBackError):
        await stage.move()
    (event,) = told(stage.source)
    assert (event["reason"], event["type"], event["regarding"]["uid"]) == ("MoveRolledBack", "Warning", CLUSTER.uid)
    assert event["note"] == "The move to target-ctx (cluster target-cluster) did not succeed and was rolled back"
    assert told(stage.target) == []


async def test_a_cluster_that_appears_after_the_commit_is_told_of_alone() -> None:
    late = make(rules.CLUSTER, "late", owners=[CLUSTER], status=CLUSTER.body()["status"])
    stage = Stage()
    meanwhile(stage.source, "DELETE", "/machines/m", lambda: stage.source.put(late))
    await stage.move()
    assert {event["regarding"]["name"] for event in told(stage.target)} == {"c", "late"}
    assert attempts(stage.target) == 2


def test_a_long_name_leaves_room_for_the_move() -> None:
    news = announcing.News(CLUSTER.type, make(rules.CLUSTER, "c" * 253).key, "u", "MovedOut", "n" * 2000)
    event = news.event("12345678")
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["note"]) == 1024
