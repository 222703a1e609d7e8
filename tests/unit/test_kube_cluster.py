"""Tests of lists, watches and writes: what is sent, and what is made of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graph import rules
from graph.resource import ObjectKey, ResourceType
from mover import errors
from mover.kube.cluster import PAGE_SIZE, WatchEvent, collection_path, object_path
from tests.unit.mover_builders import make, typed
from tests.unit.scripted_server import Script, answer, failure, lines

WIDGETS = ResourceType("example.org", "v1", "Widget", "widgets", has_status=True)
NODES = ResourceType("", "v1", "Node", "nodes", namespaced=False)
SECRETS = ResourceType("", "v1", "Secret", "secrets")
KEY = ObjectKey("example.org", "Widget", "ns", "w")
WRITTEN = answer(200, {"metadata": {"uid": "u", "resourceVersion": "7", "generation": 2, "managedFields": [{"a": 1}]}})


def page(*names: str, token: str = "", version: str = "5") -> Any:
    metadata = {"resourceVersion": version, "continue": token}
    return answer(200, {"metadata": metadata, "items": [{"metadata": {"name": name, "uid": name}} for name in names]})


def sent_json(script: Script) -> Any:
    return json.loads(script.bodies[-1])


@pytest.mark.parametrize(
    ("resource", "namespace", "path"),
    [
        (WIDGETS, "ns", "/apis/example.org/v1/namespaces/ns/widgets"),
        (WIDGETS, "", "/apis/example.org/v1/widgets"),
        (SECRETS, "ns", "/api/v1/namespaces/ns/secrets"),
        (NODES, "ns", "/api/v1/nodes"),
    ],
)
def test_a_collection_is_at_the_path_of_its_group_and_scope(resource: ResourceType, namespace: str, path: str) -> None:
    assert collection_path(resource, namespace) == path


def test_an_object_is_below_its_collection() -> None:
    assert object_path(WIDGETS, KEY) == "/apis/example.org/v1/namespaces/ns/widgets/w"


async def test_a_list_reads_all_pages_and_is_of_the_last_ones_version() -> None:
    script = Script(page("a", token="more"), page("b", version="9"))
    async with script.cluster() as cluster:
        found = await cluster.list(WIDGETS, "ns")
    assert [obj.key.name for obj in found.objects] == ["a", "b"]
    assert found.resource_version == "9"
    assert [dict(sent.query) for sent in script.requests] == [
        {"limit": str(PAGE_SIZE)},
        {"limit": str(PAGE_SIZE), "continue": "more"},
    ]


async def test_a_list_without_items_is_empty() -> None:
    async with Script(answer(200, {"metadata": {"resourceVersion": "1"}, "items": None})).cluster() as cluster:
        assert (await cluster.list(WIDGETS)).objects == ()


async def test_a_continue_token_that_expires_starts_the_list_anew_and_no_object_is_there_twice() -> None:
    script = Script(page("a", token="old"), failure(410, "Expired"), page("a", token="new"), page("b"))
    async with script.cluster() as cluster:
        found = await cluster.list(WIDGETS)
    assert [obj.key.name for obj in found.objects] == ["a", "b"]
    assert [sent.query.get("continue") for sent in script.requests] == [None, "old", None, "new"]


async def test_a_list_that_expires_each_time_gives_up() -> None:
    script = Script(*[page("a", token="old"), failure(410, "Expired")] * 6)
    async with script.cluster() as cluster:
        with pytest.raises(errors.ExpiredError):
            await cluster.list(WIDGETS)
    assert len(script.requests) == 10


async def test_a_list_of_metadata_asks_for_nothing_more() -> None:
    script = Script(page("a"), page("a"))
    async with script.cluster() as cluster:
        await cluster.list_metadata(WIDGETS)
        await cluster.list(WIDGETS)
    assert ["PartialObjectMetadataList" in sent.headers["Accept"] for sent in script.requests] == [True, False]


async def test_names_are_listed_over_all_pages_with_the_callers_selector() -> None:
    script = Script(page("a", token="t"), page("b"))
    async with script.cluster() as cluster:
        items = await cluster.list_names("/x", {"labelSelector": "l"})
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert [sent.query["labelSelector"] for sent in script.requests] == ["l", "l"]


async def test_an_object_is_read_by_type_namespace_and_name() -> None:
    script = Script(answer(200, make(WIDGETS, "w").body()))
    async with script.cluster() as cluster:
        assert (await cluster.get(WIDGETS, "ns", "w")).key == KEY
    assert script.requests[0].path == object_path(WIDGETS, KEY)


async def test_an_answer_that_is_not_json_is_an_error_of_ours() -> None:
    """A kubeconfig that leads to some other web server must not end in a traceback."""
    async with Script(answer(200, b"<html>welcome</html>")).cluster() as cluster:
        with pytest.raises(errors.MoverError):
            await cluster.get(WIDGETS, "ns", "w")


async def test_a_watch_yields_changes_and_bookmarks_from_a_version_on() -> None:
    script = Script(
        lines(
            {"type": "ADDED", "object": make(WIDGETS, "a").body()},
            {"type": "BOOKMARK", "object": {"kind": "Widget", "metadata": {"resourceVersion": "40"}}},
            {"type": "DELETED", "object": make(WIDGETS, "a").body()},
        )
    )
    async with script.cluster() as cluster:
        seen: list[WatchEvent] = [event async for event in cluster.watch(WIDGETS, "ns", "30", 7.9)]
    assert [(event.kind, event.object.key.name) for event in seen] == [
        ("ADDED", "a"),
        ("BOOKMARK", ""),
        ("DELETED", "a"),
    ]
    assert seen[1].object.resource_version == "40"
    assert dict(script.requests[0].query) == {
        "watch": "1",
        "resourceVersion": "30",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "7",
    }


async def test_a_watch_without_a_version_tells_first_what_is_there_and_when_that_is_all() -> None:
    end = {"resourceVersion": "40", "annotations": {"k8s.io/initial-events-end": "true"}}
    added = {"type": "ADDED", "object": make(WIDGETS, "a").body()}
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Widget", "metadata": {"resourceVersion": "41"}}}
    script = Script(lines(added, {"type": "BOOKMARK", "object": {"metadata": end}}, bookmark))
    async with script.cluster() as cluster:
        seen = [event async for event in cluster.watch(WIDGETS, "ns", "", 5)]
    assert [event.ends_beginning for event in seen] == [False, True, False]
    query = script.requests[0].query
    assert (query["sendInitialEvents"], query["resourceVersionMatch"], query["allowWatchBookmarks"]) == (
        "true",
        "NotOlderThan",
        "true",
    )


@pytest.mark.parametrize(("code", "kind"), [(410, errors.ExpiredError), (500, errors.ServerError)])
async def test_an_error_in_a_watch_is_raised(code: int, kind: type[errors.ApiError]) -> None:
    event = {"type": "ERROR", "object": {"kind": "Status", "code": code, "reason": "R", "message": "too old"}}
    async with Script(lines(event)).cluster() as cluster:
        with pytest.raises(errors.ApiError, match="too old") as caught:
            _ = [event async for event in cluster.watch(WIDGETS, "ns", "30", 5)]
    assert type(caught.value) is kind
    assert caught.value.call.verb == "WATCH"


async def test_a_creation_is_posted_to_the_collection_in_the_name_of_its_manager() -> None:
    script = Script(WRITTEN)
    async with script.cluster() as cluster:
        written = await cluster.create(WIDGETS, make(WIDGETS, "w").body(), manager="me")
    sent = script.requests[0]
    assert (sent.method, sent.path, dict(sent.query)) == (
        "POST",
        collection_path(WIDGETS, "ns"),
        {"fieldManager": "me", "fieldValidation": "Ignore"},
    )
    assert sent_json(script)["kind"] == "Widget"
    assert (written.uid, written.resource_version, written.generation) == ("u", "7", 2)
    assert written.managed_fields == [{"a": 1}]
    assert "PartialObjectMetadata" in sent.headers["Accept"]


async def test_a_dry_run_is_strict_and_persists_nothing() -> None:
    script = Script(WRITTEN, WRITTEN)
    async with script.cluster() as cluster:
        await cluster.rehearse_create(WIDGETS, make(WIDGETS, "w").body(), manager="me")
        await cluster.rehearse_patch(WIDGETS, KEY, {}, manager="me")
    wanted = {"fieldManager": "me", "dryRun": "All", "fieldValidation": "Strict"}
    assert [dict(sent.query) for sent in script.requests] == [wanted, wanted]


async def test_a_merge_patch_goes_to_the_object() -> None:
    script = Script(WRITTEN)
    async with script.cluster() as cluster:
        await cluster.merge_patch(WIDGETS, KEY, {"spec": {"a": None}}, manager="me")
    sent = script.requests[0]
    assert (sent.method, sent.path) == ("PATCH", object_path(WIDGETS, KEY))
    assert sent.content_type == "application/merge-patch+json"
    assert sent_json(script) == {"spec": {"a": None}}
    assert dict(sent.query) == {"fieldManager": "me", "fieldValidation": "Ignore"}


async def test_a_status_is_replaced_as_a_whole_through_its_subresource() -> None:
    """A merge patch would leave what the server's defaulting or a controller put in."""
    script = Script(WRITTEN)
    async with script.cluster() as cluster:
        await cluster.set_status(WIDGETS, KEY, {"a": 1}, manager="me")
    sent = script.requests[0]
    assert (sent.method, sent.path) == ("PATCH", object_path(WIDGETS, KEY) + "/status")
    assert sent.content_type == "application/json-patch+json"
    assert sent_json(script) == [{"op": "add", "path": "/status", "value": {"a": 1}}]


async def test_a_replacement_is_put_to_the_object() -> None:
    script = Script(WRITTEN)
    async with script.cluster() as cluster:
        await cluster.replace(typed(rules.CLUSTER), make(rules.CLUSTER, "c").body(), manager="me")
    sent = script.requests[0]
    assert (sent.method, sent.path) == ("PUT", "/apis/cluster.x-k8s.io/v1/namespaces/ns/clusters/c")
    assert sent_json(script)["metadata"]["resourceVersion"] == "1"


async def test_a_deletion_carries_the_uid_and_the_version_of_what_is_to_go() -> None:
    script = Script(answer(200, {}))
    async with script.cluster() as cluster:
        await cluster.delete(WIDGETS, KEY, uid="u", resource_version="7")
    assert (script.requests[0].method, script.requests[0].path) == ("DELETE", object_path(WIDGETS, KEY))
    assert sent_json(script)["preconditions"] == {"uid": "u", "resourceVersion": "7"}
    assert sent_json(script)["propagationPolicy"] == "Background"


async def test_leaving_the_cluster_closes_its_connections() -> None:
    async with Script(page("a")).cluster() as cluster:
        async with cluster:
            await cluster.list(WIDGETS)
            assert cluster.server
        assert not cluster.server
