"""Tests of restoring to a small API server: what is refused, what is created, what is resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.choices import RestoreStatus
from mover.differences import compare
from mover.directory import SavedNamespace, save
from mover.discovery import NAMESPACES
from mover.errors import ForbiddenError, RefusedError, StoppedError, UsageError, VerificationError
from mover.events import Event, Noted, PhaseStarted
from mover.execute.restore import RestoreResult, restore, saved_objects
from mover.models import MANAGER, MoveOptions, Phase
from mover.pause import PAUSED_FIELD, Pause, is_paused
from mover.record import encode
from tests.unit.directory_builders import (
    PROVISIONED,
    age_key,
    fleet,
    management_cluster,
    manifest,
    paused,
    write_as_clusterctl,
)
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, typed, write_record
from tests.unit.scripted_server import Reply, failure
from tests.unit.test_record import record

SPACE = make(NAMESPACES, "ns")
HEAD, INFRA, SECRET, HOST = paused(*fleet())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a backup of the paused fleet."""
    return saved(tmp_path / "b", HEAD, INFRA, SECRET, HOST)


def saved(folder: Path, *objects: Object, **known: Any) -> Path:
    """Saves objects as a backup that has paused the Clusters and hosts among them."""
    fields = {rules.CLUSTER: PAUSED_FIELD, rules.BARE_METAL_HOST: rules.HOST_PAUSED_ANNOTATION}
    pauses = tuple(
        Pause(obj.type, obj.key, fields[obj.type.group_kind]) for obj in objects if obj.type.group_kind in fields
    )
    save(objects, folder, manifest(**{"pauses": pauses, **known}))
    return folder


def target(*objects: Object) -> FakeApiServer:
    return management_cluster("target", *objects)


async def bring(
    server: FakeApiServer, folder: Path, listener: Callable[[Event], None] | None = None, **more: Any
) -> RestoreResult:
    options = more.pop("options", MoveOptions())
    return await restore(server.direct(), folder, options, listener or (lambda _: None), **more)


def changed(obj: Object, **body: Any) -> Object:
    """Returns the object with other values at the top of its body."""
    server = FakeApiServer()
    server.put(obj)
    server.change(obj, **body)
    return server.now(obj)


async def test_all_is_created_with_owners_status_and_namespace_and_resumed(folder: Path) -> None:
    server = target()
    result = await bring(server, folder)
    assert result.created == 4
    assert server.now(HEAD).body()["spec"] == {"a": 1}
    assert [owner.uid for owner in server.now(INFRA).owners] == [server.now(HEAD).uid]
    assert server.now(INFRA).body()["status"] == {"ready": True}
    assert server.now(SECRET).body()["data"] == {"key": "c2VjcmV0"}
    assert rules.HOST_PAUSED_ANNOTATION not in server.now(HOST).annotations
    assert list(result.seconds) == [Phase.LOADING, Phase.PREFLIGHT, Phase.CREATING, Phase.VERIFYING, Phase.RESUMING]
    assert not [path for path in server.bodies if "leases" in path]


async def test_nothing_is_unpaused_before_all_of_it_is_there_and_verified(folder: Path) -> None:
    server, early = target(), list[str]()

    def look(request: web.Request) -> Reply | None:
        head = server.has(HEAD) and not is_paused(server.now(HEAD))
        host = server.has(HOST) and not is_paused(server.now(HOST))
        if request.method == "POST" and (head or host):
            early.append(request.path)
        return None

    server.before = look
    await bring(server, folder)
    assert not [path for path in early if "leases" not in path]


async def test_only_the_status_that_was_asked_for_is_restored(folder: Path) -> None:
    server = target()
    await bring(server, folder, options=MoveOptions(restore_status=RestoreStatus.METAL3))
    assert server.now(INFRA).body()["status"]
    assert "status" not in server.now(HEAD).body()


async def test_a_missing_namespace_gets_the_labels_of_the_source(tmp_path: Path) -> None:
    labels = {"team": "a", "kubernetes.io/metadata.name": "ns"}
    space = SavedNamespace(name="ns", labels=labels, annotations={"note": "b"})
    server = target()
    await bring(server, saved(tmp_path / "b", HEAD, namespaces=(space,)))
    assert server.now(SPACE).labels == {"team": "a"}
    assert server.now(SPACE).annotations == {"note": "b"}


async def test_a_namespace_that_is_there_or_appears_meanwhile_is_left_as_it_is(folder: Path) -> None:
    server = target()

    def appear(request: web.Request) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/namespaces"):
            server.put(SPACE)
        return None

    server.before = appear
    assert (await bring(server, folder)).created == 4
    assert server.now(SPACE) == SPACE


async def test_what_the_target_does_not_serve_is_refused_by_file(tmp_path: Path) -> None:
    """The kind, the group, or just the version of the file."""
    strangers = [
        make(typed(("cluster.x-k8s.io", "Stranger")), "s"),
        make(typed(("no.such.group", "Thing")), "t"),
    ]
    folder = saved(tmp_path / "b", HEAD, *strangers)
    old = orjson.loads((folder / "Cluster_ns_c.yaml").read_bytes())
    (folder / "capi-mover-manifest.yaml").unlink()
    (folder / "Cluster_ns_c.yaml").write_bytes(orjson.dumps({**old, "apiVersion": "cluster.x-k8s.io/v0"}))
    server = target()
    with pytest.raises(RefusedError) as caught:
        await bring(server, folder)
    assert {problem.subject: problem.what for problem in caught.value.problems} == {
        "Cluster_ns_c.yaml": "the cluster does not serve cluster.x-k8s.io/v0, kind Cluster",
        "Stranger_ns_s.yaml": "the cluster does not serve cluster.x-k8s.io/v1, kind Stranger",
        "Thing_ns_t.yaml": "the cluster does not serve no.such.group/v1, kind Thing",
    }
    assert not created(server)


def created(server: FakeApiServer) -> list[str]:
    return [entry for entry in server.writes() if entry.startswith("POST") and "leases" not in entry]


async def test_an_older_version_that_the_target_still_serves_is_sent_as_it_is(tmp_path: Path) -> None:
    write_as_clusterctl(tmp_path / "b", HEAD)
    path = tmp_path / "b" / "Cluster_ns_c.yaml"
    path.write_bytes(path.read_bytes().replace(b"cluster.x-k8s.io/v1", b"cluster.x-k8s.io/v1beta1"))
    server = target()
    served = [{"name": name, "kind": "Cluster", "namespaced": True} for name in ("clusters", "clusters/status")]
    server.bodies["/apis/cluster.x-k8s.io/v1beta1"] = {"resources": served, "metadata": {}}
    await bring(server, tmp_path / "b")
    assert "POST /apis/cluster.x-k8s.io/v1beta1/namespaces/ns/clusters" in server.log
    assert "PATCH /apis/cluster.x-k8s.io/v1beta1/namespaces/ns/clusters/c/status" in server.log


async def test_an_object_in_the_wrong_scope_is_refused_by_file(tmp_path: Path) -> None:
    write_as_clusterctl(tmp_path / "b", HEAD)
    body = HEAD.body()
    del body["metadata"]["namespace"]
    (tmp_path / "b" / "Cluster_ns_c.yaml").write_bytes(orjson.dumps(body))
    with pytest.raises(RefusedError, match=r"Cluster_ns_c\.yaml: Cluster c has no namespace"):
        await bring(target(), tmp_path / "b")


async def test_damaged_files_are_refused_before_the_cluster_is_asked(folder: Path) -> None:
    (folder / "Cluster_ns_c.yaml").write_bytes(b"{}")
    server = target()
    with pytest.raises(RefusedError, match=r"Cluster_ns_c\.yaml: it is damaged"):
        await bring(server, folder)
    assert server.log == []


async def test_an_owner_that_is_nowhere_is_refused_and_can_be_left_out(tmp_path: Path) -> None:
    below = make(rules.SECRET, "below", owners=[INFRA])
    folder = saved(tmp_path / "b", INFRA, below, HOST)  # INFRA is owned by the Cluster
    server = target()
    with pytest.raises(RefusedError, match="Metal3Cluster ns/infra: its owner Cluster c does not move"):
        await bring(server, folder)
    assert not created(server)
    result = await bring(server, folder, options=MoveOptions(leave_behind=True))
    assert {left.object for left in result.left} == {"Metal3Cluster ns/infra", "Secret ns/below"}
    assert result.created == 1
    assert server.has(HOST)


async def test_an_owner_outside_of_the_directory_is_found_on_the_target(tmp_path: Path) -> None:
    there = changed(HEAD, metadata={"uid": "there"})
    server = target(there)
    await bring(server, saved(tmp_path / "b", INFRA))
    assert [owner.uid for owner in server.now(INFRA).owners] == ["there"]


async def test_a_refused_owner_is_not_told_again_for_each_dependent(tmp_path: Path) -> None:
    stranger = make(typed(("no.such.group", "Thing")), "t")
    folder = saved(tmp_path / "b", stranger, make(rules.SECRET, "s", owners=[stranger]))
    with pytest.raises(RefusedError) as caught:
        await bring(target(), folder)
    assert [problem.subject for problem in caught.value.problems] == ["Thing_ns_t.yaml"]


async def test_what_is_there_stays_as_it_is_and_owns_the_copies(folder: Path) -> None:
    mine = make(rules.CLUSTER, "c", metadata={"uid": "mine"}, spec={"paused": True, "other": 1}, status=PROVISIONED)
    server = target(mine)
    result = await bring(server, folder)
    assert server.now(mine) == mine
    assert result.used == (mine.key,)
    assert result.created == 3
    assert [owner.uid for owner in server.now(INFRA).owners] == ["mine"]


async def test_a_restore_that_was_broken_off_anywhere_is_finished_by_the_next(folder: Path) -> None:
    whole = target()
    await bring(whole, folder)
    writes = len(whole.writes())
    for number in range(writes):
        server = target()
        allowed = iter(range(number))

        def fail(request: web.Request, allowed: Any = allowed) -> Reply | None:
            is_write = request.method != "GET" and "leases" not in request.path
            return failure(403, "Forbidden") if is_write and next(allowed, None) is None else None

        server.before = fail
        told: list[Event] = []
        try:
            await bring(server, folder, told.append)
        except ForbiddenError:
            assert any(isinstance(event, Noted) and "the same restore goes on" in event.text for event in told)
        server.before = lambda _: None
        await bring(server, folder)
        both = [[cluster.now(obj) for obj in (HEAD, INFRA, SECRET, HOST)] for cluster in (whole, server)]
        assert not compare(*both)


async def test_kept_paused_copies_are_resumed_by_the_same_restore_without_it(folder: Path) -> None:
    server = target()
    result = await bring(server, folder, keep_paused=True)
    assert set(result.paused) == {HEAD.key, HOST.key}
    assert Phase.RESUMING not in result.seconds
    assert is_paused(server.now(HEAD))
    assert is_paused(server.now(HOST))
    again = await bring(server, folder)
    assert again.created == 0
    assert not is_paused(server.now(HEAD))
    assert not is_paused(server.now(HOST))


async def test_exactly_the_pauses_of_the_manifest_are_taken_off(tmp_path: Path) -> None:
    """The other Cluster and the other host were paused by somebody else when they were saved."""
    other = changed(make(rules.CLUSTER, "other", status=PROVISIONED), spec={"paused": True})
    theirs = make(rules.BARE_METAL_HOST, "o", metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: "me"}})
    before = Pause(HEAD.type, HEAD.key, PAUSED_FIELD, before=False)
    server = target()
    await bring(server, saved(tmp_path / "b", HEAD, HOST, other, theirs, pauses=(before,)))
    assert server.now(HEAD).body()["spec"]["paused"] is False
    assert is_paused(server.now(other))
    assert server.now(theirs).annotations[rules.HOST_PAUSED_ANNOTATION] == "me"
    # Ours is taken off in any case: its value says so.
    assert not is_paused(server.now(HOST))


async def test_a_directory_of_clusterctl_is_resumed_as_clusterctl_does_and_its_hosts_are_fenced(tmp_path: Path) -> None:
    head = changed(HEAD, spec={"paused": True})
    shared = make(rules.CLUSTER_CLASS, "k", metadata={"annotations": {rules.PAUSED_ANNOTATION: "true"}})
    host = fleet()[3]
    write_as_clusterctl(tmp_path / "b", head, shared, host)
    server, told, born = target(), list[Event](), list[dict[str, str]]()

    def look(request: web.Request) -> Reply | None:
        if request.method == "PATCH" and server.has(host):
            born.append(dict(server.now(host).annotations))
        return None

    server.before = look
    result = await bring(server, tmp_path / "b", told.append)
    assert not is_paused(server.now(head))
    assert not is_paused(server.now(shared))
    assert born[0][rules.HOST_PAUSED_ANNOTATION] == MANAGER
    assert server.now(host).annotations == {rules.HOST_STATUS_ANNOTATION: '{"provisioning":{"state":"available"}}'}
    assert result.manifest is None
    texts = [event.text for event in told if isinstance(event, Noted)]
    assert [text for text in texts if "whether its files are whole and complete cannot be checked" in text]


async def test_objects_that_were_being_deleted_when_clusterctl_saved_them_are_told(tmp_path: Path) -> None:
    dying = changed(SECRET, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    write_as_clusterctl(tmp_path / "b", HEAD, dying)
    told: list[Event] = []
    server = target()
    await bring(server, tmp_path / "b", told.append)
    assert any(isinstance(event, Noted) and "live again now: Secret ns/c-ca" in event.text for event in told)
    assert not server.now(dying).deleting


@pytest.mark.parametrize(
    ("known", "warned"),
    [({}, True), ({"source_paused": True}, False), ({"source_uid": "uid-of-target"}, False)],
)
async def test_a_source_that_may_still_run_is_told(tmp_path: Path, known: dict[str, Any], warned: bool) -> None:
    told: list[Event] = []
    await bring(target(), saved(tmp_path / "b", HEAD, **known), told.append)
    texts = [event.text for event in told if isinstance(event, Noted)]
    assert any("source-ctx" in text for text in texts)
    assert any("two clusters act on the same hosts" in text for text in texts) is warned


async def test_copies_that_differ_stay_paused(folder: Path) -> None:
    server = target()

    def meddle(request: web.Request) -> Reply | None:
        if request.method == "GET" and server.has(INFRA) and server.has(SECRET) and server.has(HOST):
            server.bodies["/apis/infrastructure.cluster.x-k8s.io/v1/namespaces/ns/metal3clusters/infra"]["spec"] = {
                "changed": 1
            }
        return None

    server.before = meddle
    with pytest.raises(VerificationError, match="Metal3Cluster ns/infra: spec"):
        await bring(server, folder)
    assert is_paused(server.now(HEAD))
    assert is_paused(server.now(HOST))


@pytest.mark.parametrize("scope", ["ns", ""])
async def test_a_move_of_the_same_namespace_stands_against_a_restore(folder: Path, scope: str) -> None:
    server = target()
    write_record(server, encode(record(scope=scope)))
    with pytest.raises(RefusedError, match="is under way"):
        await bring(server, folder)


async def test_an_encrypted_backup_is_restored_with_an_identity(tmp_path: Path) -> None:
    recipient, path = age_key(tmp_path)
    save((HEAD, INFRA), tmp_path / "b", manifest(), [recipient])
    assert (await bring(target(), tmp_path / "b", identity=path)).created == 2


async def test_a_signal_is_told(folder: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase is Phase.CREATING:
            task.cancel()

    task = asyncio.create_task(bring(target(), folder, stop))
    with pytest.raises(StoppedError, match="The restore was stopped by a signal"):
        await task


async def test_another_namespace_is_no_matter_of_a_restore(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be restored to another namespace"):
        await bring(target(), folder, options=MoveOptions(to_namespace="other"))


def test_saved_objects_are_those_of_the_files(folder: Path) -> None:
    found = saved_objects(folder)
    assert [obj.key for obj in found] == sorted(obj.key for obj in (HEAD, INFRA, SECRET, HOST))
    assert {obj.key: obj.body() for obj in found} == {obj.key: obj.body() for obj in (HEAD, INFRA, SECRET, HOST)}
