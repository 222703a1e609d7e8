"""Tests of reading and writing files: whole or not there, and for the owner only."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from mover.directory.files import FileError, list_folder, make_folder, read_file, remove_file, sync_folder, write_file
from mover.errors import UsageError
from tests.unit.directory_builders import names_in


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "b"
    assert make_folder(folder)
    assert mode(folder) == 0o700


def test_an_empty_folder_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert not make_folder(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_folder_with_anything_in_it_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match="is not empty"):
        make_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="is not a directory"):
        make_folder(tmp_path / "x")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(FileError, match="x/b could not be made: Not a directory"):
        make_folder(tmp_path / "x" / "b")


def test_a_file_is_for_its_owner_alone_and_replaces_the_one_before(tmp_path: Path) -> None:
    write_file(tmp_path / "x", b"1")
    write_file(tmp_path / "x", b"2")
    assert (tmp_path / "x").read_bytes() == read_file(tmp_path / "x", 1) == b"2"
    assert mode(tmp_path / "x") == 0o600
    assert names_in(tmp_path) == ["x"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_leaves_the_file_as_it_was_and_is_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    write_file(tmp_path / "x", b"before")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FileError, match=f"/x could not be written: {os.strerror(number)}") as caught:
        write_file(tmp_path / "x", b"after")
    assert caught.value.exit_code == 4
    assert (tmp_path / "x").read_bytes() == b"before"
    assert names_in(tmp_path) == ["x"]


def test_nothing_is_written_by_a_name_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        order.append(f"sync {os.fstat(handle).st_size}")
        real_sync(handle)

    def replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    write_file(tmp_path / "x", b"12345")
    assert order == ["sync 5", "rename"]


def test_a_program_that_is_killed_before_the_rename_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom mover.directory.files import write_file\n"
        "Path.replace = lambda *_: os._exit(9)\nwrite_file(Path(sys.argv[1]), b'half')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], check=False)
    assert ended.returncode == 9
    assert [name for name in names_in(tmp_path) if not name.startswith(".")] == []


def test_a_folder_is_synced_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([errno.EINVAL, errno.EIO])

    def fail(_: int) -> NoReturn:
        raise OSError(next(numbers), "")

    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    sync_folder(tmp_path)
    with pytest.raises(FileError, match="could not be synced: Input/output error"):
        sync_folder(tmp_path)


def test_removing_what_is_gone_is_fine_and_reading_it_is_not(tmp_path: Path) -> None:
    remove_file(tmp_path / "x")
    with pytest.raises(FileError, match="x could not be read: No such file"):
        read_file(tmp_path / "x", 1)


def test_what_is_no_regular_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    write_file(tmp_path / "x", b"12")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "device").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "link", 2, may_be_link=True) == b"12"
    for name, links, why in (
        ("x", False, "it is larger than 1 bytes"),
        ("link", False, "it is a symbolic link"),
        ("pipe", True, "it is no regular file"),
        ("device", True, "it is no regular file"),
        (".", False, "Is a directory"),
    ):
        with pytest.raises(FileError, match=f"could not be read: {why}"):
            read_file(tmp_path / name, 1, may_be_link=links)


def test_only_a_folder_can_be_listed(tmp_path: Path) -> None:
    for name in ("b", "A"):
        (tmp_path / name).touch()
    assert list_folder(tmp_path) == ["A", "b"]
    for wrong in (tmp_path / "nowhere", tmp_path / "A"):
        with pytest.raises(UsageError, match="There is no directory"):
            list_folder(wrong)
