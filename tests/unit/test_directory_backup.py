"""Tests of saving from a small API server: checks, pauses, the snapshot, and what becomes of a backup that fails."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.choices import PausedPolicy
from mover.directory import FileError, load, read_manifest
from mover.directory.manifest import MARKER, NAME
from mover.discovery import NAMESPACES, discover
from mover.errors import RefusedError, StoppedError, UsageError
from mover.events import Event, Noted, ObjectDone
from mover.execute.backup import BackupResult, StillPausedError, backup, release
from mover.execute.pause_watch import PauseTakenOffError
from mover.models import MANAGER, MoveOptions, Phase
from mover.pause import PAUSED_FIELD, is_paused
from mover.planning import Rules, make_plan
from mover.record import encode
from tests.unit.directory_builders import PROVISIONED, fleet, management_cluster, names_in
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, write_record
from tests.unit.scripted_server import Reply, failure
from tests.unit.test_record import record

SPACE = make(NAMESPACES, "ns", metadata={"labels": {"team": "a"}, "annotations": {"note": "b"}})


def source(*objects: Object) -> FakeApiServer:
    return management_cluster("source", SPACE, *(objects or fleet()))


async def save(
    server: FakeApiServer, folder: Path, listener: Any = None, *, rules: Rules | None = None, **more: Any
) -> BackupResult:
    """Saves the namespace "ns"; `options` may be among what is given."""
    options = more.pop("options", MoveOptions(quiet_s=0))
    cluster = server.direct()
    plan = make_plan(await discover(cluster, "ns"), rules)
    return await backup(cluster, plan, folder, options, listener or (lambda _: None), **more)


def state(server: FakeApiServer) -> dict[str, Any]:
    """Returns what is there, without what each write changes."""
    found = {}
    for path, body in server.bodies.items():
        metadata = {name: value for name, value in body["metadata"].items() if name != "resourceVersion"}
        metadata.pop("managedFields", None)
        found[path] = {**body, "metadata": metadata}
    return found


def refuse(server: FakeApiServer, method: str, part: str, *, unless: Any = lambda: False) -> None:
    def answer(request: web.Request) -> Reply | None:
        return failure(403, "Forbidden") if request.method == method and part in request.path and not unless() else None

    server.before = answer


async def test_the_files_are_of_the_paused_source_and_the_source_is_as_before(tmp_path: Path) -> None:
    server = source()
    before = state(server)
    result = await save(server, tmp_path / "b")
    assert state(server) == before
    saved = {entry.key: entry.body() for entry in load(tmp_path / "b").entries}
    assert set(saved) == {obj.key for obj in fleet()}
    head, _, _, host = fleet()
    assert saved[head.key]["spec"] == {"a": 1, "paused": True}
    annotations = saved[host.key]["metadata"]["annotations"]
    assert annotations[rules.HOST_PAUSED_ANNOTATION] == MANAGER
    assert annotations[rules.HOST_STATUS_ANNOTATION] == '{"provisioning":{"state":"available"}}'
    assert result.manifest == read_manifest(tmp_path / "b")


async def test_the_manifest_tells_what_a_restore_has_to_know(tmp_path: Path) -> None:
    known = (await save(source(), tmp_path / "b")).manifest
    head, _, _, host = fleet()
    assert (known.namespace, known.source_uid, known.source_context) == ("ns", "uid-of-source", "source-ctx")
    assert not known.source_paused
    assert [(pause.key, pause.field, pause.before) for pause in known.pauses] == [
        (head.key, PAUSED_FIELD, None),
        (host.key, rules.HOST_PAUSED_ANNOTATION, None),
    ]
    assert rules.HOST_STATUS_ANNOTATION in {pause.field for pause in known.set_on_source}
    (space,) = known.namespaces
    assert (space.name, space.labels, space.annotations) == ("ns", {"team": "a"}, {"note": "b"})


async def test_the_phases_and_objects_are_told(tmp_path: Path) -> None:
    told: list[Event] = []
    result = await save(source(), tmp_path / "b", told.append)
    assert list(result.seconds) == [Phase.PREFLIGHT, Phase.PAUSING, Phase.SAVING, Phase.RELEASING]
    done = [(event.phase, event.verb) for event in told if isinstance(event, ObjectDone)]
    assert done.count((Phase.SAVING, "saved")) == 4
    assert done[-1] == (Phase.RELEASING, "resumed")
    assert [event.subject for event in told if isinstance(event, ObjectDone)][-1] == "Cluster ns/c"
    assert result.paused_s > 0


async def test_a_handed_over_source_stays_paused_until_it_is_released(tmp_path: Path) -> None:
    server = source()
    before = state(server)
    known = (await save(server, tmp_path / "b", keep_paused=True)).manifest
    assert known.source_paused
    head, _, _, host = fleet()
    assert is_paused(server.now(head))
    assert is_paused(server.now(host))
    assert await release(server.direct(), tmp_path / "b", lambda _: None) == len(known.set_on_source) == 3
    assert state(server) == before


async def test_a_class_that_stays_unpaused_on_the_source_is_paused_in_its_file(tmp_path: Path) -> None:
    """Others use it; its copy must not be acted upon before all of its templates are there."""
    topology = {"topology": {"classRef": {"name": "k", "namespace": "elsewhere"}}}
    user = make(rules.CLUSTER, "c", spec=topology, status=PROVISIONED)
    shared = make(rules.CLUSTER_CLASS, "k", namespace="elsewhere", spec={"workers": {}})
    server = source(user, shared, make(NAMESPACES, "elsewhere"))
    known = (await save(server, tmp_path / "b", keep_paused=True)).manifest
    (entry,) = (entry for entry in load(tmp_path / "b").entries if entry.key == shared.key)
    assert entry.body()["metadata"]["annotations"] == {rules.PAUSED_ANNOTATION: MANAGER}
    assert shared.key in {pause.key for pause in known.pauses}
    assert not is_paused(server.now(shared))
    assert [space.name for space in known.namespaces] == ["elsewhere", "ns"]


async def test_what_somebody_else_has_paused_is_saved_so_and_stays_so(tmp_path: Path) -> None:
    mine = make(rules.CLUSTER, "c", spec={"paused": True}, status=PROVISIONED)
    server = source(mine)
    with pytest.raises(RefusedError, match="Cluster ns/c: it is paused"):
        await save(server, tmp_path / "b")
    result = await save(server, tmp_path / "b", options=MoveOptions(paused=PausedPolicy.KEEP, quiet_s=0))
    assert result.manifest.pauses == ()
    assert server.now(mine).body()["spec"] == {"paused": True}


async def test_all_that_stands_against_a_backup_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    unfit = make(rules.CLUSTER, "c", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f"]})
    server = source(unfit, make(rules.BARE_METAL_HOST, "h", status={"provisioning": {"state": "inspecting"}}))
    write_record(server, encode(record(scope="ns")))
    before = state(server)
    with pytest.raises(RefusedError) as caught:
        await save(server, tmp_path / "b")
    assert {problem.check for problem in caught.value.problems} == {"under-way", "provisioned", "deleting", "hosts"}
    assert state(server) == before
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("scope", "refused"), [("ns", True), ("", True), ("other", False)])
async def test_only_a_move_of_the_same_objects_stands_against_a_backup(
    tmp_path: Path, scope: str, refused: bool
) -> None:
    server = source()
    write_record(server, encode(record(scope=scope)))
    if refused:
        with pytest.raises(RefusedError, match="is under way"):
            await save(server, tmp_path / "b")
    else:
        await save(server, tmp_path / "b")


async def test_a_namespace_with_nothing_to_save_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to save in the namespace ns"):
        await save(source(make(rules.SECRET, "x")), tmp_path / "b")
    assert not (tmp_path / "b").exists()


async def test_a_folder_in_use_and_a_wrong_recipient_are_told_before_anything_is_paused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    server = source()
    before = state(server)
    with pytest.raises(UsageError, match="is not empty"):
        await save(server, tmp_path)
    with pytest.raises(UsageError, match="is not an age recipient"):
        await save(server, tmp_path / "b", encrypt_to=["nobody"])
    assert state(server) == before
    assert "PATCH" not in {entry.partition(" ")[0] for entry in server.log}


async def test_objects_with_an_owner_that_is_not_saved_can_be_left_out(tmp_path: Path) -> None:
    ghost = {"apiVersion": "example.org/v1", "kind": "Ghost", "name": "g", "uid": "ghost"}
    server = source(*fleet(), make(rules.METAL3_CLUSTER, "homeless", owners=[fleet()[0], ghost]))
    options = MoveOptions(leave_behind=True, quiet_s=0)
    assert len((await save(server, tmp_path / "without", options=options)).manifest.files) == 4
    assert len((await save(server, tmp_path / "with")).manifest.files) == 5


async def test_a_full_disk_names_the_file_and_the_source_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, told = source(), list[Event]()
    before, real = state(server), os.fsync

    def listen(event: Event) -> None:
        told.append(event)
        if isinstance(event, ObjectDone) and event.phase is Phase.SAVING:
            monkeypatch.setattr(os, "fsync", full)

    def full(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ENOSPC, "")
        real(handle)

    with pytest.raises(FileError, match=r"yaml could not be written: No space left on device"):
        await save(server, tmp_path / "b", listen)
    assert state(server) == before
    assert not (tmp_path / "b").exists()
    assert "the source is as it was" in "".join(event.text for event in told if isinstance(event, Noted))


async def test_a_pause_is_in_the_marker_before_it_is_set(tmp_path: Path) -> None:
    """A program that is killed at any time leaves a list of all that it has paused."""
    server, missing = source(), list[str]()

    def look(request: web.Request) -> Reply | None:
        if request.method == "PATCH" and (tmp_path / "b" / MARKER).exists():
            noted = {pause.key.name for pause in read_manifest(tmp_path / "b").set_on_source}
            missing.extend({request.path.rpartition("/")[2]} - noted)
        return None

    server.before = look
    await save(server, tmp_path / "b")
    assert not missing


async def test_a_pause_that_the_server_refuses_is_undone(tmp_path: Path) -> None:
    server = source()
    before = state(server)
    refuse(server, "PATCH", "baremetalhosts", unless=lambda: len(names_in(tmp_path / "b")) != 1)
    with pytest.raises(StillPausedError, match=r"still paused by the backup: BareMetalHost ns/h"):
        await save(server, tmp_path / "b")
    # The host's pause was never set; as far as that can be known, all else is as before.
    assert state(server) == before
    server.before = lambda _: None
    assert await release(server.direct(), tmp_path / "b", lambda _: None)
    assert state(server) == before


async def test_a_source_that_cannot_be_resumed_is_told_and_the_manifest_knows_its_pauses(tmp_path: Path) -> None:
    server = source()
    before = state(server)
    refuse(server, "PATCH", "clusters/c", unless=lambda: NAME not in names_in(tmp_path / "b"))
    with pytest.raises(StillPausedError, match=rf"Cluster ns/c.*capi-mover release {tmp_path / 'b'}") as caught:
        await save(server, tmp_path / "b")
    assert [pause.key for pause in caught.value.pauses] == [fleet()[0].key]
    assert len(load(tmp_path / "b").entries) == 4
    server.before = lambda _: None
    await release(server.direct(), tmp_path / "b", lambda _: None)
    assert state(server) == before


async def test_an_object_that_is_gone_needs_no_resuming(tmp_path: Path) -> None:
    server = source()

    def listen(event: Event) -> None:
        if isinstance(event, ObjectDone) and event.phase is Phase.SAVING:
            server.bodies.pop("/apis/metal3.io/v1/namespaces/ns/baremetalhosts/h", None)

    await save(server, tmp_path / "b", listen)
    assert not is_paused(server.now(fleet()[0]))


async def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    server, changes = source(), [1, 2]
    head, infra, *_ = fleet()

    def change(request: web.Request) -> Reply | None:
        metadata_only = "PartialObjectMetadata" in request.headers["Accept"]
        if changes and metadata_only and request.path.endswith("metal3clusters") and is_paused(server.now(head)):
            server.change(infra, spec={"n": changes.pop()})
        return None

    server.before = change
    await save(server, tmp_path / "b")
    (entry,) = (entry for entry in load(tmp_path / "b").entries if entry.key == infra.key)
    assert not changes
    assert entry.body()["spec"] == {"n": 1}


async def test_what_never_gets_quiet_stops_the_backup(tmp_path: Path) -> None:
    server = source()
    head, infra, *_ = fleet()
    before = state(server)

    def change(request: web.Request) -> Reply | None:
        if "PartialObjectMetadata" in request.headers["Accept"] and is_paused(server.now(head)):
            server.change(infra, metadata={"labels": {}})
        return None

    server.before = change
    with pytest.raises(StoppedError, match="kept changing although they are paused: Metal3Cluster ns/infra"):
        await save(server, tmp_path / "b")
    assert state(server) == before


async def test_a_signal_is_told_and_the_source_is_as_before(tmp_path: Path) -> None:
    server = source()
    before = state(server)

    signals: list[bool] = []

    def stop(event: Event) -> None:
        # Once: another signal would end the program at once.
        if isinstance(event, ObjectDone) and event.phase is Phase.SAVING and not signals:
            signals.append(task.cancel())

    task = asyncio.create_task(save(server, tmp_path / "b", stop))
    with pytest.raises(StoppedError, match="stopped by a signal"):
        await task
    assert state(server) == before
    assert not (tmp_path / "b").exists()


async def test_a_signal_while_the_source_is_resumed_comes_too_late(tmp_path: Path) -> None:
    server = source()
    before = state(server)

    def stop(event: Event) -> None:
        if isinstance(event, ObjectDone) and event.phase is Phase.RELEASING and not task.cancelling():
            task.cancel()

    task = asyncio.create_task(save(server, tmp_path / "b", stop))
    assert len((await task).manifest.files) == 4
    assert state(server) == before


async def test_the_time_limit_is_told_and_the_source_is_as_before(tmp_path: Path) -> None:
    server = source()
    before = state(server)

    async def never(_: web.Request) -> NoReturn:
        await asyncio.sleep(3600)
        raise AssertionError

    server.before = lambda request: (
        never if request.path.endswith("namespaces/ns") and "b" in names_in(tmp_path) else None
    )
    with pytest.raises(StoppedError, match=r"time limit of the backup \(--timeout\) is over"):
        await save(server, tmp_path / "b", options=MoveOptions(quiet_s=0, timeout_s=0.5))
    server.before = lambda _: None
    assert state(server) == before
    assert not (tmp_path / "b").exists()


async def test_only_the_source_of_a_backup_is_released_by_it(tmp_path: Path) -> None:
    await save(source(), tmp_path / "b", keep_paused=True)
    with pytest.raises(UsageError, match=r"is of another cluster \(context source-ctx\)"):
        await release(management_cluster("other").direct(), tmp_path / "b", lambda _: None)


async def test_mutated_objects_are_saved_as_mutated(tmp_path: Path) -> None:
    def move(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "metadata": {**body["metadata"], "namespace": "new"}}

    known = (await save(source(), tmp_path / "b", rules=Rules(mutators=(move,)))).manifest
    assert {entry.key.namespace for entry in load(tmp_path / "b").entries} == {"new"}
    assert {pause.key.namespace for pause in known.pauses} == {"new"}
    assert {pause.key.namespace for pause in known.set_on_source} == {"ns"}
    assert [(space.name, space.labels) for space in known.namespaces] == [("new", {"team": "a"})]


@pytest.mark.parametrize("number", [0, 3], ids=["a Cluster", "a host"])
async def test_a_pause_that_is_taken_off_while_files_are_written_ends_the_backup(tmp_path: Path, number: int) -> None:
    server, obj = source(), fleet()[number]
    before = state(server)

    def take_off(event: Event) -> None:
        if isinstance(event, ObjectDone) and event.phase is Phase.SAVING and is_paused(server.now(obj)):
            annotations = {"metadata": {"annotations": {rules.HOST_PAUSED_ANNOTATION: None}}}
            server.change(obj, **(annotations if number else {"spec": {"paused": False}}))

    with pytest.raises(PauseTakenOffError, match=f"The pause of {obj.key} on the source cluster was taken off"):
        await save(server, tmp_path / "b", take_off)
    assert names_in(tmp_path) == []
    assert state(server) == before
