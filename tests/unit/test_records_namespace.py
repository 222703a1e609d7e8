"""Tests of the namespace of records and leases: made when it is missing, removed when it is empty and ours."""

from __future__ import annotations

import pytest
from aiohttp import web

from mover import api
from mover.discovery import CONFIG_MAPS, NAMESPACES
from mover.errors import InvalidNameError, RefusedError, StoppedError
from mover.execute.lease import held
from mover.execute.records_namespace import OURS, USED, leave
from mover.kube import Cluster
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import MACHINE, Stage, lets_connect, make, refuse
from tests.unit.scripted_server import Reply

HERE, THERE = api.ClusterRef(context="source"), api.ClusterRef(context="target")
SPACE = make(NAMESPACES, "capi-mover")
LEASE = "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases/capi-mover.ns"


def bare() -> FakeApiServer:
    """Returns a cluster on which nobody has made the namespace."""
    server = FakeApiServer()
    server.prepared = False
    return server


async def test_a_namespace_that_is_missing_is_made_and_removed_at_the_end() -> None:
    server = bare()
    cluster = server.direct()
    async with held(cluster, "ns"):
        assert server.now(SPACE).labels == {OURS: "records"}
        assert server.now(SPACE).annotations.keys() == {USED}
        assert LEASE in server.bodies
    await leave(cluster)
    assert server.bodies == {}


async def test_a_namespace_that_somebody_has_prepared_is_not_touched_and_stays() -> None:
    server = bare()
    server.put(SPACE)
    cluster = server.direct()
    async with held(cluster, "ns"):
        pass
    await leave(cluster)
    assert server.bodies == {"/api/v1/namespaces/capi-mover": SPACE.body()}


@pytest.mark.parametrize("other", [make(CONFIG_MAPS, "x", namespace="capi-mover")])
async def test_a_namespace_in_which_anything_is_left_stays(other: object) -> None:
    server = bare()
    cluster = server.direct()
    async with held(cluster, "ns"):
        server.put(other)  # type: ignore[arg-type]
    await leave(cluster)
    assert server.has(SPACE)


async def test_another_mover_that_begins_meanwhile_keeps_its_namespace() -> None:
    """Its lease is there, and is seen, or the namespace has changed, and is not deleted."""
    server = bare()
    cluster, other = server.direct(), server.direct()
    async with held(cluster, "ns"):
        pass
    send = cluster.link.send

    async def late(request: object) -> bytes:
        if request.method == "DELETE":  # type: ignore[attr-defined]
            await stack.__aenter__()
        return await send(request)  # type: ignore[arg-type]

    stack = held(other, "other")
    cluster.link.send = late  # type: ignore[method-assign]
    await leave(cluster)
    assert server.has(SPACE)
    await stack.__aexit__(None, None, None)


async def test_a_lease_in_a_namespace_that_goes_is_taken_again_in_the_next_one() -> None:
    server = bare()
    armed = [True]

    def before(request: web.Request) -> Reply | None:
        if armed and request.method == "PATCH" and request.path.endswith("/namespaces/capi-mover"):
            armed.clear()
            for path in list(server.bodies):
                del server.bodies[path]
        return None

    server.before = before
    async with held(server.direct(), "ns"):
        assert server.has(SPACE)
        assert LEASE in server.bodies
    assert not armed


async def test_who_may_not_make_it_is_told_what_to_do() -> None:
    server = bare()
    refuse(server, "POST", "/namespaces")
    with pytest.raises(StoppedError, match="kubectl create namespace capi-mover"):
        async with held(server.direct(), "ns"):
            pytest.fail("the body must not run")


async def test_who_may_not_keep_it_is_told_what_to_do() -> None:
    server = bare()
    refuse(server, "PATCH", "/namespaces/capi-mover")
    with pytest.raises(StoppedError, match=f"kubectl label namespace capi-mover {OURS}-"):
        async with held(server.direct(), "ns"):
            pytest.fail("the body must not run")
    assert LEASE not in server.bodies


class Library:
    """Two clusters that the library connects to, on which nobody has made the namespace."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = Stage()
        for server in (self.stage.source, self.stage.target):
            server.prepared = False

        async def connect(name: str, _: object, context: str, __: object = None) -> Cluster:
            return (self.stage.source if context == "source" else self.stage.target).direct()

        lets_connect(monkeypatch, connect)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


async def test_a_move_leaves_no_namespace_for_records_behind(library: Library) -> None:
    stage = library.stage
    await api.move_async(HERE, THERE, stage.options)
    assert stage.target.has(MACHINE)
    for server in (stage.source, stage.target):
        assert "POST /api/v1/namespaces" in server.log
        assert not server.has(SPACE)


async def test_one_option_names_another_namespace_for_record_and_lease(library: Library) -> None:
    stage = library.stage
    one, other = (api.ClusterRef(context=name, records_namespace="elsewhere") for name in ("source", "target"))
    await api.move_async(one, other, stage.options)
    made = [entry for server in (stage.source, stage.target) for entry in server.writes() if "/elsewhere/" in entry]
    assert {entry.rpartition("/")[2] for entry in made if entry.startswith("POST")} == {"leases", "configmaps"}
    assert not any("/namespaces/capi-mover" in entry for entry in [*stage.source.log, *stage.target.log])


async def test_a_preflight_says_beforehand_that_it_may_not_be_made(library: Library) -> None:
    library.stage.source.denied = {("create", "namespaces")}
    with pytest.raises(RefusedError, match="namespaces in the whole cluster: the user of the source may not create"):
        await api.move_async(HERE, THERE, library.stage.options)
    library.stage.source.put(SPACE)
    await api.move_async(HERE, THERE, library.stage.options)


async def test_a_name_that_no_namespace_can_have_is_refused(library: Library) -> None:
    place = api.ClusterRef(context="source", records_namespace="a/../b")
    with pytest.raises(InvalidNameError):
        await api.status_async(place)
    assert library.stage.source.log == []
