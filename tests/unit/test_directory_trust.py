"""Directories that others have made: what a manifest or a file says is no order."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph import rules
from graph.resource import Object
from mover.directory import FileError, SavedNamespace, load, read_manifest, save
from mover.directory.encoding import to_comment
from mover.directory.manifest import NAME, Manifest, decode
from mover.discovery import NAMESPACES
from mover.errors import RefusedError, UsageError
from mover.events import ignore
from mover.execute.backup import release
from mover.execute.restore import restore
from mover.models import MoveOptions
from mover.pause import PAUSED_FIELD, Pause
from tests.unit.directory_builders import age_key, cluster, fleet, management_cluster, manifest, write_as_clusterctl
from tests.unit.mover_builders import make

HEAD, _, _, HOST = fleet()
PAUSES = (
    Pause(HEAD.type, HEAD.key, PAUSED_FIELD),
    Pause(HOST.type, HOST.key, rules.HOST_PAUSED_ANNOTATION),
    Pause(HOST.type, HOST.key, rules.HOST_STATUS_ANNOTATION, "{}"),
)


def written(folder: Path, **known: Any) -> Manifest:
    """Saves the fleet, and returns the manifest."""
    return save(fleet(), folder, manifest(**{"pauses": PAUSES, "set_on_source": PAUSES, **known}))


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a directory's manifest as somebody would who can compute a checksum."""
    value = read_manifest(folder).model_dump(mode="json")
    change(value)
    (folder / NAME).write_bytes(to_comment("Manifest of a capi-mover backup", value))


def refusal(folder: Path, **more: Any) -> str:
    """Returns why a directory is refused."""
    with pytest.raises(RefusedError) as caught:
        load(folder, **more)
    return str(caught.value)


WRONG: dict[str, list[object]] = {
    "format": [2, "1", True, None, 1.5],
    "tool": [None, 5, "a\x1b[2J", "x" * 5000],
    "created": [None, 5, "yesterday", ""],
    "namespace": [None, 5, "other", "../x", "kube-system"],
    "source_uid": [None, 5, "", "a b"],
    "source_context": [None, 5, "a\x1b[2J", "x" * 5000],
    "source_paused": [None, "false", 0, []],
    "set_on_source": [None, {}, "x", [{}], [None]],
    "pauses": [None, {}, "x", [{}], [None]],
    "namespaces": [None, {}, [{}], [{"name": "../x"}], [{"name": "ns"}, {"name": "ns"}], [{"name": "ns", "more": 1}]],
    "files": [
        None,
        {},
        [{}],
        *([{"name": name, "sha256": "0" * 64}] for name in ("../x", "/etc/passwd", ".", "", "a/b", "a\n", "x" * 300)),
        [{"name": "x", "sha256": "0"}],
        [{"name": "x", "sha256": "0" * 64}, {"name": "x", "sha256": "1" * 64}],
    ],
}


def test_each_field_has_wrong_values_here() -> None:
    assert set(WRONG) == set(Manifest.model_fields)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_manifest_with_a_wrong_field_is_refused_by_name(tmp_path: Path, field: str, value: object) -> None:
    written(tmp_path / "b")
    forge(tmp_path / "b", lambda whole: whole.update({field: value}))
    text = refusal(tmp_path / "b")
    assert f"{NAME}: the manifest is of no use" in text
    assert "\x1b" not in text


def _pause(**fields: Any) -> dict[str, Any]:
    return {**orjson.loads(orjson.dumps(PAUSES[0])), **fields}


def _elsewhere(namespace: str = "ns", name: str = "c", **resource: Any) -> dict[str, Any]:
    whole = _pause()
    key = {**whole["key"], "namespace": namespace, "name": name}
    kinds = {field: value for field, value in resource.items() if field in ("group", "kind")}
    return {**whole, "resource": {**whole["resource"], **resource}, "key": {**key, **kinds}}


@pytest.mark.parametrize("field", ["set_on_source", "pauses"])
@pytest.mark.parametrize(
    "pause",
    [
        _pause(field="reboot.metal3.io"),
        _pause(field=rules.HOST_PAUSED_ANNOTATION),
        _pause(before=True),
        _pause(before="x"),
        _elsewhere(namespace="kube-system"),
        _elsewhere(namespace=""),
        _elsewhere(name="x/../../../clusterroles/admin"),
        _elsewhere(name="x%2f"),
        _elsewhere(plural="machines/x/clusters"),
        _elsewhere(version="v1/namespaces"),
        _elsewhere(group="rbac.authorization.k8s.io", kind="ClusterRole"),
        _elsewhere(kind="Machine"),
    ],
)
def test_a_pause_that_no_backup_sets_is_refused(tmp_path: Path, field: str, pause: dict[str, Any]) -> None:
    written(tmp_path / "b")
    forge(tmp_path / "b", lambda whole: whole.update({field: [pause]}))
    assert f"these fields are not what a backup writes: {field}" in refusal(tmp_path / "b")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_manifest_with_anything_wrong_is_refused_or_read_and_never_a_traceback(data: st.DataObject) -> None:
    known = {"pauses": PAUSES, "namespaces": (SavedNamespace(name="ns"),)}
    whole = orjson.loads(orjson.dumps(manifest(**known).model_dump(mode="json")))
    place: Any = whole
    while True:
        names = list(place) if isinstance(place, dict) else range(len(place))
        step = data.draw(st.sampled_from(list(names)))
        if not place[step] or not isinstance(place[step], dict | list) or data.draw(st.booleans()):
            break
        place = place[step]
    place[step] = data.draw(st.sampled_from([None, 5, -1, [], {}, [[]], "", "\x1b", "../x", True, {"a": {}}]))
    with suppress(ValueError):
        decode(to_comment("x", whole))


def test_a_manifest_that_says_less_or_more_than_there_is_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "b")
    forge(tmp_path / "b", lambda whole: whole["files"].pop(0))
    assert "it is not in the manifest" in refusal(tmp_path / "b")
    written(tmp_path / "c")
    forge(tmp_path / "c", lambda whole: whole["files"].append({"name": "more.yaml", "sha256": "0" * 64}))
    assert "more.yaml: it is in the manifest and not in the directory" in refusal(tmp_path / "c")


def test_objects_of_a_namespace_that_the_manifest_does_not_name_are_refused(tmp_path: Path) -> None:
    objects = (HEAD, make(rules.SECRET, "x", namespace="kube-system"))
    save(objects, tmp_path / "b", manifest(namespaces=(SavedNamespace(name="ns"),)))
    assert "Secret kube-system/x is in a namespace that is not in the manifest" in refusal(tmp_path / "b")


def test_a_pause_of_something_that_is_in_no_file_is_refused(tmp_path: Path) -> None:
    other = cluster("other")
    save([HEAD], tmp_path / "b", manifest(pauses=(Pause(other.type, other.key, PAUSED_FIELD),)))
    assert "it has a pause of Cluster ns/other, which is in no file" in refusal(tmp_path / "b")


@pytest.mark.parametrize("place", ["file", "manifest"])
def test_links_pipes_and_devices_are_not_read(tmp_path: Path, place: str) -> None:
    written(tmp_path / "b")
    path = tmp_path / "b" / (NAME if place == "manifest" else "Cluster_ns_c.yaml")
    content = path.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(content)
    for link in (elsewhere, Path("/dev/zero"), None):
        path.unlink()
        if link is None:
            os.mkfifo(path)
        else:
            path.symlink_to(link)
        with pytest.raises((RefusedError, FileError), match=rf"{path.name}.*(symbolic link|no regular file)"):
            load(tmp_path / "b")


@pytest.mark.parametrize("name", [".hidden", "a\x1b[2J", "a\nb"])
def test_a_file_with_a_name_that_no_backup_gives_is_refused(tmp_path: Path, name: str) -> None:
    write_as_clusterctl(tmp_path / "b", *fleet())
    (tmp_path / "b" / name).write_bytes(object_with())
    text = refusal(tmp_path / "b")
    assert "no file of a backup has such a name" in text
    assert "\x1b" not in text


def test_a_file_that_is_too_large_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_as_clusterctl(tmp_path / "b", *fleet())
    monkeypatch.setattr("mover.directory.loading._LONGEST_FILE", 100)
    assert "Cluster_ns_c.yaml: it cannot be read (it is larger than 100 bytes)" in refusal(tmp_path / "b")


def object_with(**fields: Any) -> bytes:
    """Returns a file with a Cluster of which some fields are other ones."""
    body = HEAD.body()
    metadata = {**body["metadata"], **fields.pop("metadata", {})}
    return orjson.dumps({**body, "metadata": metadata, **fields})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 1_000_000, "it is not JSON"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "levels deep"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\n", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"age-encryption.org/v1\n-> X25519 garbage", "it is not JSON"),
        (object_with()[:-1] + b',"kind":"Secret"}', "it has the field kind twice"),
        (object_with(apiVersion="a/../b/v1"), "apiVersion"),
        (object_with(apiVersion="cluster.x-k8s.io/v1/../.."), "apiVersion"),
        (object_with(kind="Cluster/x"), "kind"),
        (object_with(spec=[]), "spec"),
        (object_with(status="x"), "status"),
        (object_with(metadata={"name": "../x"}), "metadata.name"),
        (object_with(metadata={"name": "a%2fb"}), "metadata.name"),
        (object_with(metadata={"namespace": "a/b"}), "metadata.namespace"),
        (object_with(metadata={"namespace": ["ns"]}), "metadata.namespace"),
        (object_with(metadata={"uid": "a b"}), "metadata.uid"),
        (object_with(metadata={"labels": ["a"]}), "metadata.labels"),
        (object_with(metadata={"annotations": {"a": 1}}), "metadata.annotations"),
        (object_with(metadata={"finalizers": "x"}), "metadata.finalizers"),
        (object_with(metadata={"managedFields": ["x"]}), "metadata.managedFields"),
        (object_with(metadata={"ownerReferences": {}}), "metadata.ownerReferences"),
        (object_with(metadata={"ownerReferences": [{"uid": 5}]}), "metadata.ownerReferences"),
        (object_with(metadata={"deletionTimestamp": 5}), "metadata.deletionTimestamp"),
    ],
)
def test_a_file_of_clusterctl_that_is_no_object_is_refused_by_name(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.yaml").write_bytes(content)
    text = refusal(tmp_path / "b")
    assert "x.yaml: " in text
    assert why in text


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"age-encryption.org/v1\n", b"age-encryption.org/v1\n-> scrypt x 30\n"]
)
def test_garbage_in_place_of_an_encrypted_file_is_refused(tmp_path: Path, content: bytes) -> None:
    recipient, identity = age_key(tmp_path)
    save(fleet(), tmp_path / "b", manifest(), [recipient])
    path = tmp_path / "b" / f"{NAME}.age"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be decrypted with this identity"):
        load(tmp_path / "b", identity)


@pytest.mark.parametrize(
    "planted",
    [
        make(("rbac.authorization.k8s.io", "ClusterRoleBinding"), "mine", namespace=""),
        make(("", "Pod"), "mine"),
        make(("apps", "Deployment"), "mine"),
        make(("admissionregistration.k8s.io", "MutatingWebhookConfiguration"), "mine", namespace=""),
    ],
    ids=lambda planted: planted.key.kind,
)
async def test_kinds_of_kubernetes_that_no_move_takes_along_are_not_created(tmp_path: Path, planted: Object) -> None:
    write_as_clusterctl(tmp_path / "b", HEAD, planted)
    server = management_cluster("target", make(NAMESPACES, "ns"))
    with pytest.raises(RefusedError, match=f"{planted.key.kind}.* is of a kind that no move takes along"):
        await restore(server.direct(), tmp_path / "b", MoveOptions(), ignore)
    assert [path for path in server.bodies if path.endswith("/mine")] == []


async def test_a_release_goes_by_the_kinds_of_the_source(tmp_path: Path) -> None:
    written(tmp_path / "b")
    server = management_cluster("source", make(NAMESPACES, "ns"), *fleet())
    forge(tmp_path / "b", lambda whole: whole["set_on_source"][0]["resource"].update(plural="machines"))
    assert await release(server.direct(), tmp_path / "b", ignore) == len(PAUSES)
    assert not [entry for entry in server.log if "/machines/" in entry]
    assert f"PATCH /apis/cluster.x-k8s.io/v1/namespaces/ns/clusters/{HEAD.key.name}" in server.log


async def test_a_release_of_a_kind_that_the_source_has_not_changes_nothing(tmp_path: Path) -> None:
    machine = make(("cluster.x-k8s.io", "ClusterClass"), "x")
    written(tmp_path / "b", set_on_source=(Pause(machine.type, machine.key, rules.PAUSED_ANNOTATION),))
    server = management_cluster("source", make(NAMESPACES, "ns"))
    server.bodies = {path: body for path, body in server.bodies.items() if "clusterclass" not in path}
    with pytest.raises(UsageError, match="the source cluster has no such kind"):
        await release(server.direct(), tmp_path / "b", ignore)
    assert server.writes() == []
