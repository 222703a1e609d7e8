"""Writing a backup.

Write ordering, on which everything else rests:

1. The marker of an unfinished backup is there before anything else; no reader accepts a directory that has only it.
2. The marker lists the pauses on the source before they are set there.
3. All files with objects last before the manifest is there.
4. The marker goes when the manifest lasts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from graph.resource import Object
from mover.directory import files
from mover.directory import manifest as described
from mover.directory.encoding import to_json
from mover.directory.encryption import Recipients
from mover.directory.files import FileError
from mover.directory.manifest import Manifest, SavedFile, SavedNamespace
from mover.directory.naming import ENCRYPTED_SUFFIX, file_names


class Draft:
    """A backup that is being written.

    Attributes:
        folder: Where it is written.
        manifest: What is known of it by now, without the files.
    """

    def __init__(self, folder: Path, manifest: Manifest, recipients: Recipients, *, is_new: bool) -> None:
        """`is_new` says whether the folder was made for it. Use `begin`."""
        self.manifest = manifest
        self.folder = folder
        self._recipients = recipients
        self._is_new = is_new
        self._files: list[SavedFile] = []

    def note(self, **known: object) -> None:
        """Writes what is known of the backup by now (fields of the manifest) into its marker."""
        self.manifest = self.manifest.model_copy(update=known)
        files.write_file(self.folder / described.MARKER, described.encode_marker(self.manifest))
        files.sync_folder(self.folder)

    def add(self, name: str, obj: Object) -> None:
        """Writes one object; may be called in several threads at once.

        Raises:
            FileError: It could not be written, and its file is not there.
        """
        self._files.append(self._write(name, to_json(obj.body())))

    def finish(self, **known: object) -> Manifest:
        """Makes the backup whole, with the last that is known of it, and returns its manifest.

        Raises:
            FileError: It is still unfinished.
        """
        ordered = tuple(sorted(self._files, key=lambda file: file.name))
        self.manifest = self.manifest.model_copy(update={**known, "files": ordered})
        files.sync_folder(self.folder)
        self._write(described.NAME, described.encode(self.manifest))
        files.sync_folder(self.folder)
        files.remove_file(self.folder / described.MARKER)
        files.sync_folder(self.folder)
        return self.manifest

    def discard(self) -> None:
        """Removes what was written, as far as possible; the marker goes last."""
        manifests = (described.NAME, described.NAME + ENCRYPTED_SUFFIX)
        for name in (*manifests, *(file.name for file in self._files), described.MARKER):
            with suppress(FileError):
                files.remove_file(self.folder / name)
        if self._is_new:
            with suppress(OSError):
                self.folder.rmdir()

    def _write(self, name: str, content: bytes) -> SavedFile:
        if self._recipients.keys:
            name, content = name + ENCRYPTED_SUFFIX, self._recipients.encrypt(content)
        files.write_file(self.folder / name, content)
        return SavedFile(name=name, sha256=hashlib.sha256(content).hexdigest())


def require_writable(folder: Path, encrypt_to: Sequence[str] = ()) -> None:
    """Raises what `begin` would raise, as far as that can be known without making anything; see there."""
    Recipients.parse(encrypt_to)
    files.require_makable(folder)


def begin(folder: Path, manifest: Manifest, encrypt_to: Sequence[str] = ()) -> Draft:
    """Returns a new backup in a folder that is empty or not there yet.

    Args:
        folder: Gets the mode 0700.
        manifest: What is known before anything is saved.
        encrypt_to: age recipients; with any, the objects and the manifest are encrypted.

    Raises:
        UsageError: The folder is not empty, or a recipient is none.
        FileError: The folder cannot be written to.
    """
    recipients = Recipients.parse(encrypt_to)
    draft = Draft(folder, manifest, recipients, is_new=files.make_folder(folder))
    draft.note()
    return draft


def save(objects: Iterable[Object], folder: Path, manifest: Manifest, encrypt_to: Sequence[str] = ()) -> Manifest:
    """Saves objects that are at hand, and returns the manifest; see `begin`.

    Raises:
        FileError: A file could not be written; what was written is gone again.
    """
    by_key = {obj.key: obj for obj in objects}
    if not manifest.namespaces:
        spaces = sorted({key.namespace for key in by_key} - {""})
        manifest = manifest.model_copy(update={"namespaces": tuple(SavedNamespace(name=name) for name in spaces)})
    draft = begin(folder, manifest, encrypt_to)
    try:
        for key, name in file_names(by_key).items():
            draft.add(name, by_key[key])
        return draft.finish()
    except FileError:
        draft.discard()
        raise
