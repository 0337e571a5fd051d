"""What every storage shares: listing entries, the errors it raises, and the rule for paths inside a root.

A storage raises FileNotFoundError for an absent object and StorageError, one sentence that says what to do, for all
else. StorageError is no OSError on purpose: code that forgives a missing file must not forgive a broken store.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRATCH = ".tmp"
# Names that begin with a dot are never listed: temp files, probes, editors' leftovers.
HIDDEN = "."


def visible(path: str) -> bool:
    """Whether no component of a '/'-separated path is hidden."""
    return not any(part.startswith(HIDDEN) for part in path.split("/"))


def checked(path: str) -> str:
    """The path itself, if it is a plain relative one that cannot leave the root."""
    if not path or any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise StorageError(f"{path!r} is not a path inside a corpus root: write it as folder/name, without '..'")
    return path


def below_folder(prefix: str) -> str:
    """What the paths of all objects below a folder begin with; '' for the root."""
    return checked(prefix.rstrip("/")) + "/" if prefix else ""


def absent(where: object) -> FileNotFoundError:
    """The error for an object that does not exist."""
    return FileNotFoundError(errno.ENOENT, "no such object", str(where))


def disk_error(error: OSError, where: object) -> "StorageError":
    """An operating system's error as a sentence; a full disk or an exhausted quota has its own type."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfDisk(f"{where}: the disk is full; free some space or choose another place, then run again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{where}: not permitted ({error.strerror}); change its permissions or choose another")
    return StorageError(f"{where}: {error.strerror or error}")


@contextmanager
def disk_errors(where: object) -> Iterator[None]:
    """Turns every OSError but a missing file into a StorageError that names the place."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk_error(error, where) from error


@dataclass(frozen=True)
class Entry:
    """One object of a listing: path relative to the root, bytes, modification time in seconds, ETag."""

    path: str
    size: int
    mtime: float | None
    etag: str | None


@dataclass(frozen=True)
class InputEntry:
    """One input of a source: its uri, path relative to the source's root, bytes, and what tells a new version of it."""

    uri: str
    path: str
    size: int
    etag: str | None
    mtime_ns: int | None


# The name `list` is a method of storages.
Entries = list[Entry]


class StorageError(Exception):
    """A store or an input cannot be used; the message says which, why, and what to do."""


class OutOfDisk(StorageError):
    """The file system that takes data or temp files is full."""


def scratch_free(folder: Path) -> int | None:
    """Free bytes of the file system that holds a folder, or would hold it once it is made."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return shutil.disk_usage(place).free
    return None
