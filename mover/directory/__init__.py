"""Objects in a directory: written so that a backup is whole or refused, read so that nothing is taken on trust.

The files are those of `clusterctl move --to-directory`: one object each, as JSON, so that either tool reads what the
other has written (docs/decisions/0007). Beside them is a manifest, which clusterctl sees as an empty document.
No network; the functions block, so asynchronous code calls them in a thread.
"""

from mover.directory.files import FileError
from mover.directory.loading import Backup, Entry, load, read_manifest
from mover.directory.manifest import Manifest, SavedFile, SavedNamespace, new_manifest
from mover.directory.naming import file_names
from mover.directory.saving import Draft, begin, require_writable, save

__all__ = [
    "Backup",
    "Draft",
    "Entry",
    "FileError",
    "Manifest",
    "SavedFile",
    "SavedNamespace",
    "begin",
    "file_names",
    "load",
    "new_manifest",
    "read_manifest",
    "require_writable",
    "save",
]
