"""Tests of a cluster whose lists are answered from memory; what the server lists and tells is up to each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType
from mover import errors
from mover.kube import Cluster, Live, LiveCluster
from mover.kube import live as module
from mover.kube.cluster import Page, WatchEvent
from mover.kube.transport import Request
from tests.unit.mover_builders import make, typed
from tests.unit.scripted_server import until

MACHINES = typed(rules.MACHINE)
SECRETS = typed(rules.SECRET)
BROKEN = errors.ConnectionFailedError(errors.Call("source", "WATCH", "/machines"), "reset")
EXPIRED = errors.ExpiredError(errors.Call("source", "WATCH", "/machines"), 410, "Expired", "too old")
FORBIDDEN = errors.ForbiddenError(errors.Call("source", "GET", "/machines"), 403, "Forbidden", "no")
MANAGER = "test"


def machine(name: str, version: int, namespace: str = "ns") -> Object:
    return make(MACHINES, name, namespace=namespace, metadata={"resourceVersion": str(version)})


class Link:
    """Answers every write with the version that comes next, and every list with one Secret."""

    def __init__(self) -> None:
        self.next_version = 0

    async def send(self, request: Request) -> bytes:
        """Returns the answer."""
        if request.method == "GET":
            return orjson.dumps({"metadata": {"resourceVersion": "7"}, "items": [make(SECRETS, "far").body()]})
        return orjson.dumps({"metadata": {"uid": "uid", "resourceVersion": str(self.next_version)}})


class Server(Cluster):
    """Lists and tells what the test puts into its queues.

    Attributes:
        pages: What lists return or raise.
        events: What watches yield or raise; None ends a watch.
        watched_from: The position of each watch.
    """

    def __init__(self) -> None:
        self.stub = Link()
        super().__init__("source", "context", "", self.stub)  # type: ignore[arg-type]
        self.pages: asyncio.Queue[Page | Exception] = asyncio.Queue()
        self.events: asyncio.Queue[WatchEvent | Exception | None] = asyncio.Queue()
        self.watched_from: list[str] = []

    def has(self, version: int, *objects: Object) -> None:
        """Lets the next list return these."""
        self.pages.put_nowait(Page(objects, str(version)))

    def tells(self, kind: str, obj: Object) -> None:
        """Lets the watch yield an event."""
        self.events.put_nowait(WatchEvent(kind, obj))

    async def list(self, resource: ResourceType, namespace: str = "") -> Page:
        """Returns the next page."""
        del resource, namespace
        return _given(await self.pages.get())

    async def watch(
        self, resource: ResourceType, namespace: str, resource_version: str, timeout_s: float, **_: Any
    ) -> AsyncGenerator[WatchEvent]:
        """Yields the next events."""
        del resource, namespace, timeout_s
        self.watched_from.append(resource_version)
        while (event := await self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


def _given(page: Page | Exception) -> Page:
    if isinstance(page, Exception):
        raise page
    return page


@dataclass(frozen=True)
class Stage:
    """A server with the Machines `a` and `b`, of which those are seen that are not called `hidden`."""

    server: Server
    live: Live
    cluster: LiveCluster

    async def names(self, namespace: str = "ns") -> list[str]:
        """Returns the names and versions that are listed."""
        page = await self.cluster.list(MACHINES, namespace)
        return sorted(f"{obj.key.name}@{obj.resource_version}" for obj in page.objects)

    async def position(self) -> str:
        """Returns the version of a list."""
        return (await self.cluster.list(MACHINES, "ns")).resource_version

    async def waits(self, listing: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        """Returns a list that was begun and has not ended although everything else has come to rest."""
        task = asyncio.ensure_future(listing())
        await self.rest()
        assert not task.done()
        return task

    async def rest(self) -> None:
        """Returns when the follower has taken all that was told so far."""
        await until(lambda: self.server.events.empty() and self.server.pages.empty())
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(module, "_FIRST_REOPENING_S", 0.0)
    monkeypatch.setattr(module, "_LONGEST_REOPENING_S", 0.0)
    server = Server()
    server.has(10, machine("hidden", 7), machine("a", 5), machine("b", 6))
    async with Live(server, "ns", [MACHINES]) as live:
        yield Stage(server, live, LiveCluster(live, lambda obj: obj.key.name != "hidden"))


async def changes(stage: Stage, since: str, count: int) -> list[str]:
    """Returns the first changes since a position, as `KIND name`."""
    found: list[str] = []
    events = stage.cluster.watch(MACHINES, "ns", since, 30.0)
    while len(found) < count:
        event = await anext(events)
        found.append(f"{event.kind} {event.object.key.name}")
    await events.aclose()
    return sorted(found)


async def test_lists_are_answered_from_what_was_listed_once_and_is_seen(stage: Stage) -> None:
    assert await stage.names() == ["a@5", "b@6"]
    assert await stage.names() == ["a@5", "b@6"]
    assert (await stage.cluster.list_metadata(MACHINES, "ns")).resource_version == "10"


async def test_what_a_watch_tells_is_in_the_lists(stage: Stage) -> None:
    await stage.names()
    stage.server.tells("ADDED", machine("c", 11))
    stage.server.tells("MODIFIED", machine("a", 12))
    stage.server.tells("DELETED", machine("b", 13))
    stage.server.tells("BOOKMARK", machine("bookmark", 20))
    await stage.rest()
    assert await stage.names() == ["a@12", "c@11"]
    assert await stage.position() == "20"


async def _create(cluster: LiveCluster) -> None:
    await cluster.create(MACHINES, {"metadata": {"name": "c", "namespace": "ns"}}, manager=MANAGER)


async def _replace(cluster: LiveCluster) -> None:
    await cluster.replace(MACHINES, {"metadata": {"name": "a", "namespace": "ns"}}, manager=MANAGER)


async def _patch(cluster: LiveCluster) -> None:
    await cluster.merge_patch(MACHINES, machine("a", 5).key, {}, manager=MANAGER)


async def _set_status(cluster: LiveCluster) -> None:
    await cluster.set_status(MACHINES, machine("a", 5).key, {}, manager=MANAGER)


@pytest.mark.parametrize("write", [_create, _replace, _patch, _set_status])
async def test_lists_wait_for_own_writes(stage: Stage, write: Callable[[LiveCluster], Awaitable[None]]) -> None:
    await stage.names()
    stage.server.stub.next_version = 12
    await write(stage.cluster)
    stage.server.tells("MODIFIED", machine("b", 11))
    listing = await stage.waits(stage.names)
    stage.server.tells("MODIFIED", machine("a", 12))
    assert await listing == ["a@12", "b@11"]


async def test_lists_do_not_wait_for_writes_to_other_namespaces(stage: Stage) -> None:
    await stage.names()
    stage.server.stub.next_version = 99
    await stage.cluster.create(MACHINES, {"metadata": {"name": "c", "namespace": "far"}}, manager=MANAGER)
    await stage.cluster.merge_patch(MACHINES, ObjectKey(*rules.MACHINE, "far", "c"), {}, manager=MANAGER)
    await stage.cluster.create(SECRETS, {"metadata": {"name": "s", "namespace": "ns"}}, manager=MANAGER)
    assert await stage.names() == ["a@5", "b@6"]


async def test_lists_wait_for_own_deletions(stage: Stage) -> None:
    await stage.names()
    gone = machine("a", 5)
    await stage.cluster.delete(MACHINES, gone.key, uid=gone.uid)
    listing = await stage.waits(stage.names)
    stage.server.tells("DELETED", machine("a", 11))
    assert await listing == ["b@6"]


async def test_lists_do_not_wait_for_a_deletion_whose_object_only_waits_for_its_finalizers(stage: Stage) -> None:
    await stage.names()
    gone = machine("a", 5)
    await stage.cluster.delete(MACHINES, gone.key, uid=gone.uid)
    dying = make(MACHINES, "a", metadata={"resourceVersion": "11", "deletionTimestamp": "2026-01-01T00:00:00Z"})
    stage.server.tells("MODIFIED", dying)
    assert await stage.names() == ["a@11", "b@6"]


async def test_lists_have_nothing_that_was_created_and_deleted_before_they_were_told_of_it(stage: Stage) -> None:
    await stage.names()
    stage.server.stub.next_version = 11
    await _create(stage.cluster)
    await stage.cluster.delete(MACHINES, machine("c", 11).key, uid=machine("c", 11).uid)
    listing = await stage.waits(stage.names)
    stage.server.tells("ADDED", machine("c", 11))
    await stage.rest()
    assert not listing.done()
    stage.server.tells("DELETED", machine("c", 12))
    assert await listing == ["a@5", "b@6"]


async def test_a_deletion_that_was_told_before_its_answer_is_not_waited_for(stage: Stage) -> None:
    await stage.names()
    stage.server.tells("DELETED", machine("a", 11))
    await stage.rest()
    await stage.cluster.delete(MACHINES, machine("a", 5).key, uid=machine("a", 5).uid)
    assert await stage.names() == ["b@6"]


async def test_changes_since_a_position_are_told_and_then_those_that_come(stage: Stage) -> None:
    await stage.names()
    stage.server.tells("ADDED", machine("before", 11))
    stage.server.tells("DELETED", machine("before", 12))
    stage.server.tells("ADDED", machine("c", 13))
    stage.server.tells("MODIFIED", machine("a", 14))
    stage.server.tells("DELETED", machine("b", 15))
    await stage.rest()
    assert await changes(stage, "12", 3) == ["ADDED c", "DELETED b", "MODIFIED a"]
    assert await changes(stage, "14", 1) == ["DELETED b"]
    coming = asyncio.ensure_future(changes(stage, "15", 1))
    stage.server.tells("MODIFIED", machine("c", 16))
    assert await coming == ["MODIFIED c"]


async def test_what_was_listed_first_is_not_told_as_new(stage: Stage) -> None:
    await stage.names()
    stage.server.tells("MODIFIED", machine("a", 11))
    await stage.rest()
    assert await changes(stage, "0", 2) == ["MODIFIED a", "MODIFIED b"]


async def test_changes_end_after_their_time(stage: Stage) -> None:
    await stage.names()
    assert [event async for event in stage.cluster.watch(MACHINES, "ns", "10", 0.01)] == []


async def test_what_is_not_seen_is_not_told(stage: Stage) -> None:
    await stage.names()
    stage.server.tells("MODIFIED", machine("hidden", 11))
    stage.server.tells("MODIFIED", machine("a", 12))
    await stage.rest()
    assert await changes(stage, "10", 1) == ["MODIFIED a"]
    assert await stage.names() == ["a@12", "b@6"]


async def test_a_watch_that_ends_goes_on_from_its_position(stage: Stage) -> None:
    await stage.names()
    stage.server.tells("MODIFIED", machine("a", 12))
    stage.server.events.put_nowait(None)
    stage.server.tells("MODIFIED", machine("b", 13))
    await stage.rest()
    assert stage.server.watched_from == ["10", "12"]
    assert await stage.names() == ["a@12", "b@13"]


@pytest.mark.parametrize("end", [BROKEN, EXPIRED], ids=["breaks off", "is too old"])
async def test_a_watch_that_cannot_go_on_lists_again_and_tells_what_changed_in_between(
    stage: Stage, end: Exception
) -> None:
    await stage.names()
    telling = asyncio.ensure_future(changes(stage, "10", 3))
    await stage.rest()
    stage.server.events.put_nowait(end)
    listing = await stage.waits(stage.names)
    stage.server.has(20, machine("a", 15), machine("c", 16), machine("hidden", 7))
    assert await listing == ["a@15", "c@16"]
    assert await telling == ["ADDED c", "DELETED b", "MODIFIED a"]
    assert await changes(stage, "10", 3) == ["ADDED c", "DELETED b", "MODIFIED a"]
    await until(lambda: stage.server.watched_from == ["10", "20"])


async def test_a_list_that_fails_for_a_moment_is_tried_again(stage: Stage) -> None:
    await stage.names()
    stage.server.events.put_nowait(BROKEN)
    stage.server.pages.put_nowait(BROKEN)
    stage.server.pages.put_nowait(EXPIRED)
    stage.server.has(20, machine("a", 15))
    await stage.rest()
    assert await stage.names() == ["a@15"]


async def test_a_position_from_before_the_deletions_that_are_remembered_is_too_old(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 1)
    await stage.names()
    stage.server.tells("DELETED", machine("a", 11))
    stage.server.tells("DELETED", machine("b", 12))
    await stage.rest()
    with pytest.raises(errors.ExpiredError, match="too many deletions"):
        await changes(stage, "10", 1)
    assert await changes(stage, "11", 1) == ["DELETED b"]


async def test_an_error_of_the_list_is_raised_to_all_who_wait_and_who_come(stage: Stage) -> None:
    stage.server.pages.get_nowait()
    waiting = [await stage.waits(stage.names) for _ in range(2)]
    stage.server.pages.put_nowait(FORBIDDEN)
    assert await asyncio.gather(*waiting, return_exceptions=True) == [FORBIDDEN, FORBIDDEN]
    with pytest.raises(errors.ForbiddenError):
        await stage.names()


async def test_an_error_that_is_none_of_a_server_is_raised_too(stage: Stage) -> None:
    await stage.names()
    stage.server.events.put_nowait(errors.UsageError("the plugin of the kubeconfig failed"))
    await stage.rest()
    with pytest.raises(errors.UsageError, match="plugin"):
        await stage.names()


async def test_a_watch_that_is_behind_for_too_long_is_a_failed_connection(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CATCH_UP_S", 0.01)
    await stage.names()
    stage.server.stub.next_version = 12
    await _patch(stage.cluster)
    with pytest.raises(errors.ConnectionFailedError, match=r"WATCH /\S+/ns/machines: the watch is 0.01 s behind"):
        await stage.names()


@pytest.mark.parametrize(("resource", "namespace"), [(SECRETS, "ns"), (MACHINES, "far"), (MACHINES, "")])
async def test_what_is_not_followed_is_listed_by_the_server_whole(
    stage: Stage, resource: ResourceType, namespace: str
) -> None:
    assert stage.live.follower(resource, namespace) is None
    assert [obj.key.name for obj in (await stage.cluster.list(resource, namespace)).objects] == ["far"]
    assert [obj.key.name for obj in (await stage.cluster.list_metadata(resource, namespace)).objects] == ["far"]


async def test_who_follows_all_namespaces_answers_for_each() -> None:
    server = Server()
    server.has(10, machine("a", 5), machine("b", 6, "far"))
    async with Live(server, "", [MACHINES]) as live:
        stage = Stage(server, live, LiveCluster(live, lambda _: True))
        assert await stage.names() == ["a@5"]
        assert await stage.names("far") == ["b@6"]
        assert await stage.names("") == ["a@5", "b@6"]


async def test_nothing_is_followed_any_more_at_the_end(stage: Stage) -> None:
    await stage.names()
    (follower,) = stage.live._tasks
    await stage.live.__aexit__(None, None, None)
    assert follower.cancelled()


async def test_a_watch_that_has_died_without_a_word_is_noticed_before_lists_give_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    real = stage.server.watch

    def watch(*given: Any) -> AsyncGenerator[WatchEvent]:
        asked.append(given[3])
        return real(*given)

    monkeypatch.setattr(stage.server, "watch", watch)
    await stage.names()
    await until(lambda: bool(asked))
    # The transport allows a watch five seconds more.
    assert asked[0] + 5 < module._CATCH_UP_S
