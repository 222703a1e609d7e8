"""Tests of encryption with age: who can read a backup, and what is told to those who cannot."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mover.directory import SavedFile, load, read_manifest, save
from mover.directory.encryption import Identities, Recipients
from mover.directory.manifest import decode, encode
from mover.errors import RefusedError, UsageError
from tests.unit.directory_builders import age_key, fleet, manifest, names_in

MANIFEST = "capi-mover-manifest.yaml.age"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a backup for the key in the file "mine" and one more."""
    (mine, _), (other, _) = age_key(tmp_path, "mine"), age_key(tmp_path, "other")
    save(fleet(), tmp_path / "b", manifest(), [mine, other])
    return tmp_path / "b"


@pytest.mark.parametrize("name", ["mine", "other"])
def test_each_recipient_reads_what_was_saved(folder: Path, name: str) -> None:
    backup = load(folder, folder.parent / name)
    assert {entry.key: entry.body() for entry in backup.entries} == {obj.key: obj.body() for obj in fleet()}
    assert backup.manifest == read_manifest(folder, folder.parent / name)


def test_nobody_else_sees_anything_of_the_objects(folder: Path) -> None:
    assert names_in(folder) == [
        "BareMetalHost_ns_h.yaml.age",
        "Cluster_ns_c.yaml.age",
        "Metal3Cluster_ns_infra.yaml.age",
        "Secret_ns_c-ca.yaml.age",
        "capi-mover-manifest.yaml.age",
    ]
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content.startswith(b"age-encryption.org/v1\n")
        assert b"c2VjcmV0" not in content
        assert b"source-ctx" not in content


def test_without_an_identity_one_is_asked_for(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"is encrypted\. Give the file with your age identity with --identity"):
        load(folder)


def test_the_wrong_identity_is_told(folder: Path) -> None:
    _, stranger = age_key(folder.parent, "stranger")
    with pytest.raises(UsageError, match="cannot be decrypted with this identity"):
        load(folder, stranger)


def test_an_encrypted_backup_without_its_manifest_is_refused(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(RefusedError, match=rf"{MANIFEST}: the manifest of this encrypted backup is missing"):
        load(folder, folder.parent / "mine")


def test_a_file_that_is_for_others_only_is_refused_by_name(folder: Path) -> None:
    mine = Identities.read(folder.parent / "mine")
    known = decode(mine.decrypt((folder / MANIFEST).read_bytes()))
    name = known.files[0].name
    stranger, _ = age_key(folder.parent, "stranger")
    content = Recipients.parse([stranger]).encrypt(b"{}")
    (folder / name).write_bytes(content)
    files = (SavedFile(name=name, sha256=hashlib.sha256(content).hexdigest()), *known.files[1:])
    changed = encode(known.model_copy(update={"files": files}))
    (folder / MANIFEST).write_bytes(Recipients(tuple(key.to_public() for key in mine.keys)).encrypt(changed))
    with pytest.raises(RefusedError, match=f"{name}: it cannot be decrypted"):
        load(folder, folder.parent / "mine")


def test_a_damaged_encrypted_file_is_refused_by_name(folder: Path) -> None:
    path = folder / "Cluster_ns_c.yaml.age"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RefusedError) as caught:
        load(folder, folder.parent / "mine")
    assert [problem.subject for problem in caught.value.problems] == ["Cluster_ns_c.yaml.age"]


@pytest.mark.parametrize("text", ["", "age1", "somebody", "ssh-ed25519 AAAA"])
def test_what_is_no_recipient_is_told_before_anything_is_written(tmp_path: Path, text: str) -> None:
    good, _ = age_key(tmp_path)
    with pytest.raises(UsageError, match=f'"{text}" is not an age recipient'):
        save(fleet(), tmp_path / "b", manifest(), [good, text])
    assert not (tmp_path / "b").exists()


def test_an_identity_given_as_a_recipient_is_not_shown(tmp_path: Path) -> None:
    _, path = age_key(tmp_path)
    secret = path.read_text().splitlines()[-1]
    with pytest.raises(UsageError) as caught:
        Recipients.parse([secret])
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"# nothing\n\n", "has no identity"), (b"AGE-SECRET-KEY-1XYZ", "is not an age identity"), (b"\xff", "be read")],
)
def test_what_is_no_identity_file_is_told_without_showing_it(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match=why) as caught:
        Identities.read(tmp_path / "key")
    assert "XYZ" not in str(caught.value)


def test_a_missing_identity_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere cannot be read .*No such file"):
        Identities.read(tmp_path / "nowhere")


def test_secret_keys_are_not_in_the_text_of_the_value(tmp_path: Path) -> None:
    _, path = age_key(tmp_path)
    assert "AGE-SECRET" not in repr(Identities.read(path))
