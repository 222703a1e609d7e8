"""Backups and restores between two real API servers, by us and by the real clusterctl."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyrage  # type: ignore[import-untyped]
import pytest

from graph import rules
from graph.resource import Object, ObjectKey, parse_object
from mover.choices import RestoreStatus
from mover.differences import differences, names_of, normalised
from mover.directory import begin, new_manifest
from mover.directory.manifest import MARKER, NAME
from mover.discovery import discover
from mover.errors import RefusedError, StoppedError
from mover.events import Event, Listener, Noted, ObjectDone, PhaseStarted, ignore
from mover.execute.backup import BackupResult, backup, release
from mover.execute.restore import RestoreResult, restore
from mover.kube import connect
from mover.models import MANAGER, MoveOptions, Phase
from mover.planning import make_plan
from tests.testbed import gobuild
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.gobuild import Tool
from tests.testbed.kind import ManagementCluster
from tests.testbed.pair import Pair
from tests.testbed.versions import Versions

Objects = Mapping[ObjectKey, Object]
REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 120.0

# A backup as a process of its own: argv is kubeconfig, namespace, folder, and what is to go wrong.
PROGRAM = """
import asyncio, os, resource, sys
from pathlib import Path
from mover.discovery import discover
from mover.events import ObjectDone, PhaseStarted
from mover.errors import MoverError
from mover.execute.backup import backup
from mover.kube import connect
from mover.models import MoveOptions, Phase
from mover.planning import make_plan

kubeconfig, namespace, folder, wrong = sys.argv[1:]

def listen(event):
    if wrong == "killed" and isinstance(event, ObjectDone) and event.phase is Phase.SAVING:
        os._exit(9)
    if wrong == "disk full" and isinstance(event, PhaseStarted) and event.phase is Phase.SAVING:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

async def main():
    async with await connect("source", Path(kubeconfig), None) as source:
        plan = make_plan(await discover(source, namespace))
        await backup(source, plan, Path(folder), MoveOptions(quiet_s=0.1), listen)

try:
    asyncio.run(main())
except MoverError as error:
    print(error)
    sys.exit(error.exit_code)
"""


async def _fleet(pair: Pair, namespace: str, **more: Any) -> Fleet:
    size = {"workers": 0, "control_planes": 1, "spare_hosts": 1, "paused_conditions": False, **more}
    spec = FleetSpec(namespace=namespace, cluster_name=f"{namespace}-c", host_name=f"{namespace}-h", **size)
    return await build(pair.on_source, spec)


async def _backup(pair: Pair, namespace: str, folder: Path, listener: Listener = ignore, **more: Any) -> BackupResult:
    async with await connect("source", pair.source.kubeconfig, None) as source:
        plan = make_plan(await discover(source, namespace))
        return await backup(source, plan, folder, MoveOptions(quiet_s=0.1), listener, **more)


async def _restore(
    plane: ManagementCluster, folder: Path, listener: Listener = ignore, *, status: str = "all", **more: Any
) -> RestoreResult:
    async with await connect("target", plane.kubeconfig, None) as target:
        return await restore(target, folder, MoveOptions(restore_status=RestoreStatus(status)), listener, **more)


async def _run(*command: str, home: Path) -> tuple[int, str]:
    """Returns how a program ended, and what it said."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**kept, "HOME": str(home), "CLUSTERCTL_DISABLE_VERSIONCHECK": "true"},
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")


async def _clusterctl(*flags: str, home: Path) -> tuple[int, str]:
    program = gobuild.binary(Tool.CLUSTERCTL, Versions.from_environment())
    return await _run(str(program), "move", *flags, home=home)


async def _backup_program(pair: Pair, namespace: str, folder: Path, wrong: str) -> tuple[int, str]:
    arguments = (str(pair.source.kubeconfig), namespace, str(folder), wrong)
    return await _run(sys.executable, "-c", PROGRAM, *arguments, home=folder.parent)


def _comparable(obj: Object, objects: Objects) -> dict[str, Any]:
    """Returns an object without what a backup and a restore change on purpose.

    A restored host keeps its saved status as an annotation until its operator has read it. The pause and its end are
    new generations of a Cluster, which no controller has seen.
    """
    body = obj.body()
    metadata = body["metadata"]
    if obj.type.group_kind == rules.BARE_METAL_HOST:
        (metadata.get("annotations") or {}).pop(rules.HOST_STATUS_ANNOTATION, None)
        metadata["managedFields"] = [entry for entry in metadata["managedFields"] if entry["manager"] != MANAGER]
    if obj.type.group_kind == rules.CLUSTER:
        metadata["generation"] = sys.maxsize
    return normalised(parse_object(obj.type, body), names_of(tuple(objects.values())))


def _require_equal(keys: Iterable[ObjectKey], before: Objects, after: Objects) -> None:
    """Fails with every difference between the objects of two clusters or times."""
    found = [
        difference
        for key in keys
        for difference in differences(key, _comparable(before[key], before), _comparable(after[key], after))
    ]
    assert not found, "\n".join(map(str, found))


def _is_paused(obj: Object) -> bool:
    """Returns whether anything of an object says that it is paused."""
    spec = obj.body().get("spec") or {}
    return "paused" in spec or not {rules.PAUSED_ANNOTATION, rules.HOST_PAUSED_ANNOTATION}.isdisjoint(obj.annotations)


def _changed(before: Objects, after: Objects) -> set[ObjectKey]:
    assert set(before) == set(after)
    return {key for key, obj in before.items() if obj.resource_version != after[key].resource_version}


def _owners_are_there(objects: Objects) -> bool:
    uids = {obj.uid for obj in objects.values()}
    return all(owner.uid in uids for obj in objects.values() for owner in obj.owners)


async def test_what_is_saved_and_restored_is_the_same_and_the_source_runs_on_as_before(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    await pair.on_source.create("/api/v1/namespaces", body)
    fleet = await _fleet(pair, namespace, topology=True)
    before = await pair.source_objects(namespace)
    told: list[Event] = []
    saved = await _backup(pair, namespace, tmp_path / "b", told.append)
    after = await pair.source_objects(namespace)
    assert _changed(before, after) == {pause.key for pause in saved.manifest.set_on_source}
    _require_equal(before, before, after)
    assert not any(map(_is_paused, after.values()))
    assert len(saved.manifest.files) == len(fleet.movable)
    assert [event.phase for event in told if isinstance(event, PhaseStarted)] == [
        Phase.PREFLIGHT,
        Phase.PAUSING,
        Phase.SAVING,
        Phase.RELEASING,
    ]

    result = await _restore(pair.target, tmp_path / "b")
    target = await pair.target_objects(namespace)
    assert result.created == len(fleet.movable)
    assert set(fleet.movable) <= set(target)
    assert not set(fleet.unrelated) & set(target)
    _require_equal(fleet.movable, before, target)
    assert not any(map(_is_paused, target.values()))
    made = await pair.on_target.get(f"/api/v1/namespaces/{namespace}")
    assert labels.items() <= made["metadata"]["labels"].items()


async def test_clusterctl_restores_a_backup_of_ours_and_does_not_see_the_manifest(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    fleet = await _fleet(pair, namespace, topology=True)
    odd = {"example.org/odd": "DEL \x7f NEL \x85 LS \u2028 BOM \ufeff tab \t emoji 😀"}
    cluster = next(obj for key, obj in (await pair.source_objects(namespace)).items() if key.kind == "Cluster")
    path = f"/apis/{cluster.type.api_version}/namespaces/{namespace}/clusters/{cluster.key.name}"
    await pair.on_source.patch_merge(path, {"metadata": {"annotations": odd}})
    await _backup(pair, namespace, tmp_path / "b")
    flags = ("--from-directory", str(tmp_path / "b"), "--to-kubeconfig", str(pair.target.kubeconfig))
    code, output = await _clusterctl(*flags, home=tmp_path)
    assert code == 0, output
    target = await pair.target_objects(namespace)
    assert set(fleet.movable) <= set(target)
    assert _owners_are_there(target)
    assert odd.items() <= target[cluster.key].annotations.items()
    # It resumes Clusters and ClusterClasses; what else was paused for the backup stays so, hosts above all.
    paused = {key.kind for key in fleet.movable if _is_paused(target[key])}
    assert not paused & {"Cluster", "ClusterClass"}
    assert "BareMetalHost" in paused
    # Ours takes those off, and completes what clusterctl has left without status.
    await _restore(pair.target, tmp_path / "b")
    target = await pair.target_objects(namespace)
    assert not any(map(_is_paused, target.values()))
    assert all(obj.body()["status"] for obj in target.values() if obj.type.group_kind == rules.BARE_METAL_HOST)


async def test_a_directory_of_clusterctl_is_restored_with_status_and_resumed(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    fleet = await _fleet(pair, namespace, topology=True)
    before = await pair.source_objects(namespace)
    folder = tmp_path / "b"
    folder.mkdir()
    flags = ("--to-directory", str(folder), "--kubeconfig", str(pair.source.kubeconfig), "-n", namespace)
    code, output = await _clusterctl(*flags, home=tmp_path)
    assert code == 0, output
    told: list[Event] = []
    result = await _restore(pair.target, folder, told.append)
    target = await pair.target_objects(namespace)
    expected = set(fleet.movable) - set(fleet.left_by_clusterctl)
    assert expected <= set(target)
    assert result.manifest is None
    assert result.created == len(expected) == len(list(folder.iterdir()))
    _require_equal(expected, before, target)
    assert not any(map(_is_paused, target.values()))
    assert any(isinstance(event, Noted) and "cannot be checked" in event.text for event in told)


async def test_clusterctl_refuses_a_backup_that_was_never_finished(pair: Pair, namespace: str, tmp_path: Path) -> None:
    draft = begin(tmp_path / "b", new_manifest(namespace, "uid", "ctx"))
    flags = ("--from-directory", str(draft.folder), "--to-kubeconfig", str(pair.target.kubeconfig))
    code, output = await _clusterctl(*flags, home=tmp_path)
    assert code == 1
    assert "This backup is not finished and must not be restored" in output


async def test_a_damaged_file_is_refused_by_name_and_nothing_is_created(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    await _fleet(pair, namespace)
    await _backup(pair, namespace, tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "b").iterdir() if path.name != NAME)
    with (tmp_path / "b" / names[0]).open("ab") as file:
        file.write(b" ")
    (tmp_path / "b" / names[1]).unlink()
    (tmp_path / "b" / "foreign.yaml").write_text("{}")
    with pytest.raises(RefusedError) as caught:
        await _restore(pair.target, tmp_path / "b")
    assert {problem.subject for problem in caught.value.problems} == {names[0], names[1], "foreign.yaml"}
    assert not await pair.target_objects(namespace)
    spaces = await pair.on_target.list_all("/api/v1/namespaces")
    assert namespace not in {space["metadata"]["name"] for space in spaces}


async def test_what_the_target_does_not_serve_is_refused_by_name_and_nothing_is_created(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    await _fleet(pair, namespace)
    folder = tmp_path / "b"
    await _backup(pair, namespace, folder)
    (folder / NAME).unlink()  # no checksums, as in a directory of clusterctl
    changes = {"Machine": "cluster.x-k8s.io/v1gamma9", "Secret": "no.such.group/v1"}
    changed = {
        next(path.name for path in sorted(folder.iterdir()) if path.name.startswith(f"{kind}_")): version
        for kind, version in changes.items()
    }
    for name, version in changed.items():
        body = orjson.loads((folder / name).read_bytes())
        (folder / name).write_bytes(orjson.dumps({**body, "apiVersion": version}))
    with pytest.raises(RefusedError) as caught:
        await _restore(pair.target, folder)
    assert {problem.subject for problem in caught.value.problems} == set(changed)
    assert not await pair.target_objects(namespace)


async def test_a_full_disk_is_told_by_the_file_and_the_source_runs_on_as_before(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    await _fleet(pair, namespace)
    before = await pair.source_objects(namespace)
    code, output = await _backup_program(pair, namespace, tmp_path / "b", "disk full")
    assert code == 4
    assert re.search(r"/b/[A-Z]\w+_[-\w]+_.*\.yaml could not be written: File too large", output)
    assert not (tmp_path / "b").exists()
    after = await pair.source_objects(namespace)
    assert _changed(before, after)
    _require_equal(before, before, after)


async def test_a_killed_backup_is_refused_and_tells_what_it_has_paused(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    await _fleet(pair, namespace)
    before = await pair.source_objects(namespace)
    code, _ = await _backup_program(pair, namespace, tmp_path / "b", "killed")
    assert code == 9
    assert (tmp_path / "b" / MARKER).exists()
    assert not (tmp_path / "b" / NAME).exists()
    assert any(map(_is_paused, (await pair.source_objects(namespace)).values()))
    with pytest.raises(RefusedError, match="never finished"):
        await _restore(pair.target, tmp_path / "b")
    async with await connect("source", pair.source.kubeconfig, None) as source:
        assert await release(source, tmp_path / "b", ignore)
    _require_equal(before, before, await pair.source_objects(namespace))


async def test_a_source_handed_over_stays_paused_until_it_is_released(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    fleet = await _fleet(pair, namespace)
    before = await pair.source_objects(namespace)
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"{key}\n")
    await _backup(pair, namespace, tmp_path / "b", keep_paused=True, encrypt_to=(str(key.to_public()),))
    paused = await pair.source_objects(namespace)
    assert all(_is_paused(paused[key]) for key in fleet.movable if key.kind in ("Cluster", "BareMetalHost"))
    assert not [path for path in (tmp_path / "b").iterdir() if b"apiVersion" in path.read_bytes()]

    await _restore(pair.target, tmp_path / "b", identity=tmp_path / "key")
    target = await pair.target_objects(namespace)
    _require_equal(fleet.movable, before, target)
    assert not any(map(_is_paused, target.values()))

    async with await connect("source", pair.source.kubeconfig, None) as source:
        await release(source, tmp_path / "b", ignore, identity=tmp_path / "key")
    _require_equal(before, before, await pair.source_objects(namespace))


async def test_a_broken_off_restore_is_finished_by_another_one(pair: Pair, namespace: str, tmp_path: Path) -> None:
    fleet = await _fleet(pair, namespace)
    before = await pair.source_objects(namespace)
    await _backup(pair, namespace, tmp_path / "b")
    count = 0

    def stop(event: Event) -> None:
        nonlocal count
        count += isinstance(event, ObjectDone) and event.phase is Phase.CREATING
        if count == 5:
            raise StoppedError("enough", "no more")

    with pytest.raises(StoppedError, match="enough"):
        await _restore(pair.target, tmp_path / "b", stop)
    there = await pair.target_objects(namespace)
    assert set(there) & set(fleet.movable)
    assert set(fleet.movable) - set(there)
    # Another one was ended between the object and its status.
    cluster = next(obj for key, obj in there.items() if key.kind == "Cluster")
    path = f"/apis/{cluster.type.api_version}/namespaces/{namespace}/clusters/{cluster.key.name}"
    await pair.on_target.patch_json(f"{path}/status", [{"op": "remove", "path": "/status"}])
    result = await _restore(pair.target, tmp_path / "b")
    assert result.used
    target = await pair.target_objects(namespace)
    _require_equal(fleet.movable, before, target)
    assert not any(map(_is_paused, target.values()))


async def test_what_is_on_the_target_stays_as_it_is_and_owns_the_copies(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    fleet = await _fleet(pair, namespace)
    await _backup(pair, namespace, tmp_path / "b")
    await pair.on_target.create(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )
    source = await pair.source_objects(namespace)
    cluster = next(source[key] for key in fleet.movable if key.kind == "Cluster")
    body = cluster.body()
    collection = f"/apis/{cluster.type.api_version}/namespaces/{namespace}/clusters"
    metadata = {"name": cluster.key.name, "namespace": namespace, "labels": {"mine": ""}}
    spec = {**body["spec"], "paused": True}
    mine = await pair.on_target.create(
        collection, {"apiVersion": cluster.type.api_version, "kind": "Cluster", "metadata": metadata, "spec": spec}
    )
    result = await _restore(pair.target, tmp_path / "b")
    assert result.used == (cluster.key,)
    target = await pair.target_objects(namespace)
    now = target[cluster.key]
    assert (now.uid, now.resource_version) == (mine["metadata"]["uid"], mine["metadata"]["resourceVersion"])
    owned = [key for key in fleet.movable if any(owner.kind == "Cluster" for owner in source[key].owners)]
    assert owned
    assert all(now.uid in {owner.uid for owner in target[key].owners} for key in owned)
