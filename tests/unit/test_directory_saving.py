"""Tests of writing a backup: what is there at every instant, and what is left of one that fails."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from graph import rules
from mover.directory import FileError, SavedFile, SavedNamespace, begin, load, read_manifest, save
from mover.directory import files as disk
from mover.directory.manifest import MARKER, NAME
from mover.errors import RefusedError, UsageError
from mover.pause import PAUSED_FIELD, Pause
from tests.unit.directory_builders import CAPI_ADDRESS, cluster, fleet, manifest, names_in
from tests.unit.mover_builders import make

PAUSE = Pause(cluster().type, cluster().key, PAUSED_FIELD)


class PowerCut(BaseException):
    """The machine is off; nothing that comes after this reaches the disk."""


def cut_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], int]:
    """Ends the program at step `number` that changes what is on the disk; returns a count of the steps."""
    steps = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > number:
                raise PowerCut
            return real(*arguments)

        return step

    for name in ("write_file", "sync_folder", "remove_file"):
        monkeypatch.setattr(disk, name, counted(getattr(disk, name)))
    return lambda: steps


def test_a_backup_has_one_private_file_per_object_and_a_manifest(tmp_path: Path) -> None:
    known = save(fleet(), tmp_path / "b", manifest())
    names = ["BareMetalHost_ns_h.yaml", "Cluster_ns_c.yaml", "Metal3Cluster_ns_infra.yaml", "Secret_ns_c-ca.yaml"]
    assert names_in(tmp_path / "b") == [*names, NAME]
    assert [file.name for file in known.files] == names
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "b").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700


def test_the_manifest_has_the_checksum_of_each_file_and_where_it_comes_from(tmp_path: Path) -> None:
    known = save(fleet(), tmp_path / "b", manifest(pauses=(PAUSE,)))
    for file in known.files:
        assert file == SavedFile(
            name=file.name, sha256=hashlib.sha256((tmp_path / "b" / file.name).read_bytes()).hexdigest()
        )
    assert known == read_manifest(tmp_path / "b")
    assert known.tool.startswith("capi-mover ")
    assert (known.namespace, known.source_uid, known.source_context) == ("ns", "uid-of-source", "source-ctx")
    assert known.pauses == (PAUSE,)


def test_objects_are_saved_as_they_are_with_status_and_identity(tmp_path: Path) -> None:
    save([cluster()], tmp_path / "b", manifest())
    content = (tmp_path / "b" / "Cluster_ns_c.yaml").read_bytes()
    assert orjson.loads(content) == cluster().body()
    assert content == orjson.dumps(cluster().body(), option=orjson.OPT_SORT_KEYS) + b"\n"


def test_addresses_of_two_groups_are_both_saved(tmp_path: Path) -> None:
    """They overwrite each other in a directory of clusterctl."""
    both = [make(kind, "a", metadata={"uid": kind[0]}) for kind in (rules.IP_ADDRESS, CAPI_ADDRESS)]
    save(both, tmp_path / "b", manifest())
    assert {entry.key for entry in load(tmp_path / "b").entries} == {obj.key for obj in both}


def test_until_it_is_finished_a_backup_is_refused_and_tells_what_it_has_paused(tmp_path: Path) -> None:
    draft = begin(tmp_path / "b", manifest())
    draft.note(set_on_source=(PAUSE,))
    draft.add("Cluster_ns_c.yaml", cluster())
    with pytest.raises(RefusedError, match=f"{MARKER}: the backup was never finished"):
        load(tmp_path / "b")
    assert read_manifest(tmp_path / "b").set_on_source == (PAUSE,)
    draft.finish(namespaces=(SavedNamespace(name="ns"),))
    assert MARKER not in names_in(tmp_path / "b")
    assert load(tmp_path / "b").manifest == draft.manifest


def test_at_every_power_cut_a_backup_is_whole_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = save(fleet(), tmp_path / "whole", manifest())
    for number in range(100):
        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            count = cut_at(patch, number)
            try:
                save(fleet(), folder, manifest(created=whole.created))
            except PowerCut:
                pass
            else:
                break
        assert count() == number + 1
        if NAME in names_in(folder):
            assert load(folder).manifest == whole
        elif names_in(folder):
            with pytest.raises(RefusedError, match="never finished"):
                load(folder)
    else:
        pytest.fail("saving has no end")
    assert number > len(fleet())
    assert load(folder).manifest == whole


def test_a_full_disk_leaves_nothing_and_is_told_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for full_from in range(1, 8):
        synced = 0
        real = os.fsync

        def sync(handle: int, full_from: int = full_from, real: Any = real) -> None:
            nonlocal synced
            synced += 1
            if synced > full_from and stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.ENOSPC, "")
            real(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sync)
            with pytest.raises(FileError, match=r"/b/.*\.yaml could not be written: No space left on device"):
                save(fleet(), tmp_path / "b", manifest())
        left = names_in(tmp_path / "b") if (tmp_path / "b").exists() else []
        assert left == []


def test_what_was_in_the_folder_before_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="is not empty"):
        begin(tmp_path, manifest())
    assert names_in(tmp_path) == ["mine"]


def test_discarding_removes_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    draft = begin(tmp_path / "b", manifest())
    draft.add("Cluster_ns_c.yaml", cluster())
    (tmp_path / "b" / "foreign").touch()
    draft.discard()
    assert names_in(tmp_path / "b") == ["foreign"]


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    draft = begin(tmp_path, manifest())
    draft.discard()
    assert tmp_path.exists()
    assert names_in(tmp_path) == []
