"""Tests of resuming the target."""

from __future__ import annotations

from graph import rules
from graph.resource import Object
from mover.events import Event, ObjectDone
from mover.execute.resuming import resume
from mover.models import Phase
from mover.pause import Pause, pause_of, pause_patch
from tests.unit.fake_apiserver import FakeApiServer, merge
from tests.unit.mover_builders import annotated, make


def paused(*objects: Object) -> tuple[FakeApiServer, list[Pause]]:
    """Returns a server with the objects, paused by us where nobody else has, and our pauses."""
    server, pauses = FakeApiServer("target"), []
    for obj in objects:
        pause = pause_of(obj)
        server.put(obj)
        if pause:
            server.change(obj, **merge({}, pause_patch(pause)))
            pauses.append(pause)
    return server, pauses


async def test_classes_are_resumed_first_then_hosts_and_pools_and_clusters_last() -> None:
    kinds = (rules.CLUSTER, rules.BARE_METAL_HOST, rules.IP_POOL, rules.CLUSTER_CLASS)
    server, pauses = paused(*(make(kind, f"{kind[1]}-{number}") for kind in kinds for number in (1, 2)))
    events: list[Event] = []
    async with server.cluster() as target:
        await resume(target, pauses, events.append)
    names = [entry.rpartition("/")[2].rpartition("-")[0] for entry in server.writes()]
    assert names[:2] == ["ClusterClass"] * 2
    assert sorted(names[2:6]) == ["BareMetalHost", "BareMetalHost", "IPPool", "IPPool"]
    assert names[6:] == ["Cluster"] * 2
    assert ObjectDone(Phase.RESUMING, "ClusterClass ns/ClusterClass-1", "resumed") in events
    assert len(events) == 8


async def test_resumed_objects_are_as_they_were_before_the_move() -> None:
    objects = [
        make(rules.CLUSTER, "bare", spec={"a": 1}),
        make(rules.CLUSTER, "false", spec={"a": 1, "paused": False}),
        annotated(rules.BARE_METAL_HOST, "h", mine="1"),
    ]
    server, pauses = paused(*objects)
    async with server.cluster() as target:
        await resume(target, pauses, lambda _: None)
    for obj in objects:
        now = server.now(obj)
        assert now.body().get("spec") == obj.body().get("spec")
        assert now.annotations == obj.annotations


async def test_what_somebody_else_has_paused_stays_paused() -> None:
    host = annotated(rules.BARE_METAL_HOST, "h", **{rules.HOST_PAUSED_ANNOTATION: "user"})
    server, pauses = paused(host)
    async with server.cluster() as target:
        await resume(target, pauses, lambda _: None)
    assert server.log == []
    assert server.now(host) == host


async def test_nothing_to_resume_asks_nothing() -> None:
    server = FakeApiServer("target")
    async with server.cluster() as target:
        await resume(target, (), lambda _: None)
    assert server.log == []
