"""Tests of reading a backup: nothing is taken on trust, and all problems are told at once, by file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from graph import rules
from mover.directory import load, read_manifest, save
from mover.directory.manifest import NAME
from mover.errors import RefusedError, UsageError
from tests.unit.directory_builders import cluster, fleet, manifest, names_in, write_as_clusterctl
from tests.unit.mover_builders import make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(fleet(), tmp_path / "b", manifest())
    return tmp_path / "b"


def problems(folder: Path) -> dict[str, str]:
    """Returns what is wrong with each file."""
    with pytest.raises(RefusedError) as caught:
        load(folder)
    assert caught.value.exit_code == 3
    assert {problem.cluster for problem in caught.value.problems} == {"directory"}
    return {problem.subject: problem.what for problem in caught.value.problems}


def test_what_was_saved_is_loaded(folder: Path) -> None:
    backup = load(folder)
    assert {entry.key: (entry.uid, entry.api_version, entry.body()) for entry in backup.entries} == {
        obj.key: (obj.uid, obj.type.api_version, obj.body()) for obj in fleet()
    }
    assert [entry.file for entry in backup.entries] == [name for name in names_in(folder) if name != NAME]
    assert backup.manifest == read_manifest(folder)


def test_a_directory_of_clusterctl_is_loaded_without_a_manifest(tmp_path: Path) -> None:
    write_as_clusterctl(tmp_path / "b", *fleet())
    backup = load(tmp_path / "b")
    assert backup.manifest is None
    assert {entry.key for entry in backup.entries} == {obj.key for obj in fleet()}


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw + b" ", lambda _: b"", lambda raw: raw.replace(b"ns", b"nt")]
)
def test_a_damaged_file_is_refused_by_name(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "Cluster_ns_c.yaml"
    path.write_bytes(damage(path.read_bytes()))
    assert problems(folder) == {path.name: "it is damaged: its checksum is not that of the manifest"}


def test_damaged_missing_and_foreign_files_are_all_told_at_once(folder: Path) -> None:
    (folder / "Cluster_ns_c.yaml").write_bytes(b"{}")
    (folder / "Secret_ns_c-ca.yaml").unlink()
    (folder / "Machine_ns_m.yaml").write_bytes(make(rules.MACHINE).raw)
    (folder / "sub").mkdir()
    assert problems(folder) == {
        "Cluster_ns_c.yaml": "it is damaged: its checksum is not that of the manifest",
        "Machine_ns_m.yaml": "it is not in the manifest",
        "Secret_ns_c-ca.yaml": "it is in the manifest and not in the directory",
        "sub": "it is not in the manifest",
    }


def test_a_folder_in_a_directory_without_a_manifest_is_refused_by_name(tmp_path: Path) -> None:
    write_as_clusterctl(tmp_path / "b", cluster())
    (tmp_path / "b" / "sub").mkdir()
    assert problems(tmp_path / "b") == {"sub": "it cannot be read (Is a directory)"}


def test_a_damaged_manifest_is_refused_by_name(folder: Path) -> None:
    (folder / NAME).write_bytes((folder / NAME).read_bytes().replace(b"source-ctx", b"other-ctx"))
    assert problems(folder) == {NAME: "the manifest is of no use: its checksum is not that of its content"}
    with pytest.raises(RefusedError, match=NAME):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"kind: Secret\n", "it is not JSON"),
        (b"", "it is not JSON"),
        (b"[]", "it is not an object"),
        (b"{}", "the object has no apiVersion, kind, metadata.name, metadata.uid"),
        (b'{"apiVersion":"v1","kind":"Secret","metadata":[]}', "the object has no metadata.name, metadata.uid"),
        (b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","uid":""}}', "the object has no metadata.uid"),
        (b'{"apiVersion":1,"kind":"Secret","metadata":{"name":"x","uid":"u"}}', "the object has no apiVersion"),
    ],
)
def test_what_is_no_object_is_refused_by_name(tmp_path: Path, content: bytes, why: str) -> None:
    write_as_clusterctl(tmp_path / "b", cluster())
    (tmp_path / "b" / "x.yaml").write_bytes(content)
    found = problems(tmp_path / "b")
    assert list(found) == ["x.yaml"]
    assert found["x.yaml"].startswith(why)


def copied(folder: Path, **metadata: Any) -> None:
    """Writes the Cluster once more, with something else in its metadata."""
    body = orjson.loads((folder / "Cluster_ns_c.yaml").read_bytes())
    (folder / "copy.yaml").write_bytes(orjson.dumps({**body, "metadata": {**body["metadata"], **metadata}}))


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"uid": "other"}, "these files hold the same object Cluster ns/c"),
        ({"name": "d"}, "these files have the same UID uid-Cluster-ns-c"),
        ({}, "these files hold the same object Cluster ns/c"),
    ],
)
def test_two_files_of_one_object_or_one_uid_are_refused_by_name(
    tmp_path: Path, metadata: dict[str, str], why: str
) -> None:
    write_as_clusterctl(tmp_path / "b", *fleet())
    copied(tmp_path / "b", **metadata)
    assert problems(tmp_path / "b") == {"Cluster_ns_c.yaml, copy.yaml": why}


def test_the_same_object_in_two_versions_is_the_same(tmp_path: Path) -> None:
    write_as_clusterctl(tmp_path / "b", cluster())
    body = cluster().body()
    body["metadata"]["uid"] = "other"
    (tmp_path / "b" / "copy.yaml").write_bytes(orjson.dumps({**body, "apiVersion": "cluster.x-k8s.io/v2"}))
    assert list(problems(tmp_path / "b").values()) == ["these files hold the same object Cluster ns/c"]


@pytest.mark.parametrize("read", [load, read_manifest])
def test_a_directory_that_is_not_there_or_empty_is_a_usage_error(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(UsageError, match="There is no directory"):
        read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds no objects|has no manifest"):
        read(tmp_path)
