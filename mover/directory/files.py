"""Reading and writing files so that each is whole or not there: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mover.errors import MoverError, UsageError

_FOLDER_MODE = 0o700
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)


class FileError(MoverError):
    """A file or folder could not be read or written: the disk is full, a permission is missing and the like."""

    remedy = "Mend that or choose another place, then give the same command again"

    def __init__(self, path: Path, verb: str, error: OSError) -> None:
        super().__init__(path, verb, error)
        self.path = path
        self.verb = verb
        self.reason = os.strerror(error.errno) if error.errno else str(error)

    def __str__(self) -> str:
        return f"{self.path} could not be {self.verb}: {self.reason}"


@contextmanager
def _told(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(path, verb, error) from error


def make_folder(folder: Path) -> bool:
    """Makes an empty folder that only its owner can enter; returns whether it was not there before.

    Raises:
        UsageError: There is something in it, or it is no folder.
        FileError: It cannot be made.
    """
    with _told(folder, "made"):
        is_new = _is_new(folder)
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        folder.chmod(_FOLDER_MODE)
    if is_new:
        sync_folder(folder.parent)
    return is_new


def require_makable(folder: Path) -> None:
    """Raises what `make_folder` would raise, as far as that can be known without making anything.

    Raises:
        UsageError: There is something in it, or it is no folder.
        FileError: Nothing may be made there.
    """
    with _told(folder, "made"):
        _is_new(folder)
        nearest = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _is_new(folder: Path) -> bool:
    """Returns whether a folder is not there yet; raises UsageError if a backup cannot go there."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a directory", "Choose another one")
    if any(folder.iterdir()):
        raise UsageError(f"The directory {folder} is not empty", "Choose a new or an empty one")
    return False


def write_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Writes a file that only its owner can read, unless `mode` says so; at every instant it is as it was, or whole.

    The folder is not synced: that is cheaper once for many files.

    Raises:
        FileError: It cannot be written; `path` is as it was.
    """
    with _told(path, "written"):
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder last; a file system that cannot do that is left alone."""
    with _told(folder, "synced"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(handle)


def remove_file(path: Path) -> None:
    """Removes a file; one that is gone already is fine."""
    with _told(path, "removed"):
        path.unlink(missing_ok=True)


def list_folder(folder: Path) -> list[str]:
    """Returns the names in a folder, sorted.

    Raises:
        UsageError: There is no such folder.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"There is no directory {folder}", "Choose the directory of a backup") from error
    except OSError as error:
        raise FileError(folder, "read", error) from error


def read_file(path: Path, longest: int, *, may_be_link: bool = False) -> bytes:
    """Returns the content of a regular file; nothing else is opened for long, and nothing is waited for.

    Args:
        path: The file.
        longest: So many bytes at most.
        may_be_link: Whether a symbolic link to such a file will do, as a pod has them for what is mounted into it.

    Raises:
        FileError: It cannot be read, is larger, or is something else: a link, a pipe, a device.
    """
    with _told(path, "read"):
        if path.is_symlink() and not may_be_link:
            raise OSError("it is a symbolic link")
        # A pipe that nobody writes to would be waited for, to be opened already.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if may_be_link else os.O_NOFOLLOW))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("it is no regular file")
            return _bounded(file, longest)


def read_stream(path: Path, longest: int) -> bytes:
    """Returns the content of a file or pipe that the user has named: of a pipe whatever comes until its end.

    Raises:
        FileError: It cannot be read, or is larger.
    """
    with _told(path, "read"), path.open("rb") as file:
        return _bounded(file, longest)


def _bounded(file: BinaryIO, longest: int) -> bytes:
    content = file.read(longest + 1)
    if len(content) > longest:
        raise OSError(f"it is larger than {longest} bytes")
    return content
