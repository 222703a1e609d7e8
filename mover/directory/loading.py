"""Reading a backup, of ours or of `clusterctl move --to-directory`: all that is wrong with it is told at once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from graph.resource import ObjectKey
from mover.directory.encryption import Identities, UndecipheredError
from mover.directory.files import FileError, list_folder, read_file
from mover.directory.manifest import MARKER, NAME, Manifest, decode
from mover.directory.naming import ENCRYPTED_SUFFIX, file_names
from mover.directory.plausible import is_file_name
from mover.directory.shape import misshapen
from mover.errors import Problem, RefusedError, UsageError
from mover.names import shown
from mover.untrusted import UntrustedError, parse_json

_MANIFESTS = (NAME, NAME + ENCRYPTED_SUFFIX)
_ANEW = "Make the backup anew, or get an undamaged copy of it"
_LONGEST_FILE = 32 * 1024 * 1024
"""No object is larger: etcd takes 1.5 MiB of one by default, and an API server 3 MiB of a request (bytes)."""
_LONGEST_MANIFEST = 256 * 1024 * 1024
_LONGEST_ALL = 4 * 1024 * 1024 * 1024
"""All files are held in memory at once (bytes)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a backup.

    Attributes:
        file: The name of its file.
        api_version: Its apiVersion.
        key: Its group, kind, namespace and name.
        uid: Its UID on the source; owner references in the other files name it.
        raw: The whole object as JSON.
    """

    file: str
    api_version: str
    key: ObjectKey
    uid: str
    raw: bytes = field(repr=False)

    def body(self) -> dict[str, Any]:
        """Returns the object as a new tree that the caller may change."""
        parsed: dict[str, Any] = orjson.loads(self.raw)
        return parsed


@dataclass(frozen=True, slots=True)
class Backup:
    """What is in a directory.

    Attributes:
        folder: The directory.
        manifest: What was known when it was made; None for a directory of clusterctl, which has none.
        entries: The objects, by file name.
    """

    folder: Path
    manifest: Manifest | None
    entries: tuple[Entry, ...]


def load(folder: Path, identity: Path | None = None) -> Backup:
    """Returns the backup in a directory.

    Args:
        folder: The directory.
        identity: A file with age identities, for an encrypted backup.

    Raises:
        UsageError: There is no such directory or nothing in it, or the identity is missing or not the right one.
        RefusedError: Files are damaged, missing, foreign, no objects, or stand for the same object; all of them.
    """
    names = list_folder(folder)
    identities = Identities.read(identity) if identity else Identities()
    manifest, name = _manifest(folder, names, identities)
    found = [other for other in names if other not in (name, MARKER)]
    if unknown := [other for other in found if not is_file_name(other)]:
        what = "no file of a backup has such a name"
        raise RefusedError([_problem(shown(other), what, "Take it out of the directory") for other in unknown])
    if not found and manifest is None:
        raise UsageError(f"The directory {folder} holds no objects", "Choose the directory of a backup")
    contents, problems = _contents(folder, found, manifest)
    plain = {file: _plain(file, content, identities) for file, content in contents.items()}
    entries = [_entry(file, content) for file, content in sorted(plain.items()) if isinstance(content, bytes)]
    good = tuple(entry for entry in entries if isinstance(entry, Entry))
    problems += [bad for bad in (*plain.values(), *entries) if isinstance(bad, Problem)]
    problems += _duplicates(good)
    problems += [] if manifest is None or problems else _foreign(manifest, good)
    if problems:
        raise RefusedError(sorted(problems, key=lambda problem: problem.subject))
    return Backup(folder, manifest, good)


def read_manifest(folder: Path, identity: Path | None = None) -> Manifest:
    """Returns the manifest of a backup, of one that was never finished, too.

    Raises:
        UsageError: There is none, or it cannot be decrypted.
        RefusedError: It is damaged.
    """
    names = list_folder(folder)
    if MARKER in names and not set(_MANIFESTS) & set(names):
        return _decoded(MARKER, read_file(folder / MARKER, _LONGEST_MANIFEST))
    manifest, _ = _manifest(folder, names, Identities.read(identity) if identity else Identities())
    if manifest is None:
        raise UsageError(f"The directory {folder} has no manifest of capi-mover", "Choose the directory of a backup")
    return manifest


def _manifest(folder: Path, names: Sequence[str], identities: Identities) -> tuple[Manifest | None, str]:
    """Returns the manifest and the name of its file; (None, "") if the directory has none and needs none."""
    name = next((name for name in _MANIFESTS if name in names), "")
    if not name:
        _require_manifestless(names)
        return None, ""
    content = read_file(folder / name, _LONGEST_MANIFEST)
    if not name.endswith(ENCRYPTED_SUFFIX):
        return _decoded(name, content), name
    if not identities.keys:
        raise UsageError(f"The backup {folder} is encrypted", "Give the file with your age identity with --identity")
    try:
        return _decoded(name, identities.decrypt(content)), name
    except UndecipheredError as error:
        raise UsageError(
            f"{folder / name} cannot be decrypted with this identity ({error})",
            "Give that of one of the recipients that the backup was encrypted to",
        ) from error


def _require_manifestless(names: Sequence[str]) -> None:
    """Refuses a directory without manifest that can only be a part of a backup of ours."""
    if MARKER in names:
        raise RefusedError([_problem(MARKER, "the backup was never finished: it may lack objects")])
    if any(name.endswith(ENCRYPTED_SUFFIX) for name in names):
        what = "the manifest of this encrypted backup is missing"
        raise RefusedError([_problem(NAME + ENCRYPTED_SUFFIX, what)])


def _decoded(name: str, content: bytes) -> Manifest:
    try:
        return decode(content)
    except ValueError as error:
        raise RefusedError([_problem(name, f"the manifest is of no use: {error}")]) from error


def _contents(folder: Path, names: Sequence[str], manifest: Manifest | None) -> tuple[dict[str, bytes], list[Problem]]:
    """Returns the bytes of the files that are as the manifest says, and what is wrong with the others."""
    sums = None if manifest is None else {file.name: file.sha256 for file in manifest.files}
    problems = [] if sums is None else _strays(sums, names)
    contents, left = {}, _LONGEST_ALL
    for name in names:
        if sums is not None and name not in sums:
            continue
        try:
            content = read_file(folder / name, min(_LONGEST_FILE, left))
        except FileError as error:
            problems.append(_problem(name, f"it cannot be read ({error.reason})"))
            continue
        left -= len(content)
        if sums is None or hashlib.sha256(content).hexdigest() == sums[name]:
            contents[name] = content
        else:
            problems.append(_problem(name, "it is damaged: its checksum is not that of the manifest"))
    return contents, problems


def _strays(sums: Mapping[str, str], names: Sequence[str]) -> list[Problem]:
    """Returns a problem for each file that is only in the manifest or only in the directory."""
    remedy = "Take it out of the directory if it is no part of the backup"
    return [
        *(_problem(name, "it is in the manifest and not in the directory") for name in sums if name not in names),
        *(_problem(name, "it is not in the manifest", remedy) for name in names if name not in sums),
    ]


def _plain(name: str, content: bytes, identities: Identities) -> bytes | Problem:
    if not name.endswith(ENCRYPTED_SUFFIX):
        return content
    try:
        return identities.decrypt(content)
    except UndecipheredError as error:
        return _problem(name, f"it cannot be decrypted ({error})")


def _entry(name: str, content: bytes) -> Entry | Problem:
    try:
        body = parse_json(content)
    except UntrustedError as error:
        return _problem(name, str(error), "Take it out, or convert it to one JSON object")
    if not isinstance(body, dict):
        return _problem(name, "it is not an object", "Take it out of the directory")
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    needed = {"apiVersion": body, "kind": body, "metadata.name": metadata, "metadata.uid": metadata}
    lacking = [path for path, holder in needed.items() if not _text(holder, path.removeprefix("metadata."))]
    if lacking:
        return _problem(name, f"the object has no {', '.join(lacking)}")
    group = body["apiVersion"].rpartition("/")[0]
    key = ObjectKey(group, body["kind"], _text(metadata, "namespace"), metadata["name"])
    if wrong := misshapen(body, key):
        return _problem(name, f"these fields are not those of an object: {', '.join(wrong)}")
    return Entry(name, body["apiVersion"], key, metadata["uid"], content)


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def _duplicates(entries: Iterable[Entry]) -> list[Problem]:
    """Returns a problem for each set of files that hold one object, or different ones with one UID."""
    by_key: defaultdict[ObjectKey, list[str]] = defaultdict(list)
    by_uid: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        by_key[entry.key].append(entry.file)
        by_uid[entry.uid].append(entry.file)
    same = {tuple(found): f"hold the same object {key}" for key, found in by_key.items() if len(found) > 1}
    shared = {tuple(found): f"have the same UID {uid}" for uid, found in by_uid.items() if len(found) > 1}
    remedy = "Take the wrong one out of the directory"
    return [
        _problem(", ".join(found), f"these files {what}", remedy) for found, what in sorted({**shared, **same}.items())
    ]


def _foreign(manifest: Manifest, entries: Sequence[Entry]) -> list[Problem]:
    """Returns a problem for each file and each pause that is not what the manifest says of the objects."""
    keys, spaces = {entry.key for entry in entries}, {namespace.name for namespace in manifest.namespaces}
    names = file_names(keys)
    problems = [
        *(
            _problem(entry.file, f"it holds {entry.key}, whose file is called {names[entry.key]}")
            for entry in entries
            if entry.file.removesuffix(ENCRYPTED_SUFFIX) != names[entry.key]
        ),
        *(
            _problem(entry.file, f"{entry.key} is in a namespace that is not in the manifest")
            for entry in entries
            if entry.key.namespace and entry.key.namespace not in spaces
        ),
    ]
    beside = sorted({pause.key for pause in manifest.pauses} - keys)
    return [*problems, *(_problem(NAME, f"it has a pause of {key}, which is in no file") for key in beside)]


def _problem(name: str, what: str, remedy: str = _ANEW) -> Problem:
    return Problem("directory", "directory", name, what, remedy)
