"""A corpus root in a folder: every object appears whole or not at all, and stays after a power cut.

Bytes are written to `.tmp` inside the root, flushed to the disk, and only then given their name, by rename (replace)
or by hard link (create if absent: the link call fails when the name is taken, also between machines on NFS).
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from manifests.entries import (
    SCRATCH,
    Entries,
    Entry,
    StorageError,
    absent,
    below_folder,
    checked,
    disk_error,
    disk_errors,
    scratch_free,
    visible,
)

# The ways in which an operating system says that a name leads to no file.
NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
Identity = tuple[int, int]  # device and inode
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def walk(folder: Path, prefix: str = "", above: tuple[Identity, ...] = ()) -> Iterator[tuple[str, os.stat_result]]:
    """Relative path and stat of every visible file below a folder; links to folders are followed, but no circles."""
    try:
        here = folder.stat()
        with os.scandir(folder) as scan:
            found = sorted(scan, key=lambda entry: entry.name)
    except NO_FILE:
        return
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        return
    for entry in found:
        if not visible(entry.name):
            continue
        if entry.is_dir():
            yield from walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, identity))
        elif entry.is_file():
            try:
                yield prefix + entry.name, entry.stat()
            except FileNotFoundError:
                continue  # removed since the folder was read
        elif entry.is_symlink() and not os.path.exists(entry.path):
            raise StorageError(f"{entry.path}: a link to a file that does not exist; remove or mend it")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """A durable folder, with all that are above it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


@dataclass(frozen=True)
class LocalStorage:
    """Storage in a folder; `uri` is its absolute path."""

    uri: str

    @property
    def root(self) -> Path:
        return Path(self.uri)

    def get(self, path: str) -> bytes:
        with self.open(path) as file, disk_errors(self.root / path):
            return file.read()

    def open(self, path: str) -> BinaryIO:
        place = self.root / checked(path)
        try:
            return open(place, "rb")
        except NO_FILE as error:
            raise absent(place) from error
        except OSError as error:
            raise disk_error(error, place) from error

    def put_file(self, local: Path, path: str) -> None:
        with self._target(path) as target:
            sync_file(local)
            try:
                os.replace(local, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with self._temp() as temp:
                    shutil.copyfile(local, temp)
                    sync_file(temp)
                    os.replace(temp, target)
                local.unlink()
            sync_folder(target.parent)

    def put(self, path: str, data: bytes) -> None:
        with self._target(path) as target, self._temp(data) as temp:
            os.replace(temp, target)
            sync_folder(target.parent)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        with self._target(path) as target, self._temp(data) as temp:
            try:
                os.link(temp, target)
            except FileExistsError:
                created = False
            except OSError as error:
                if error.errno in NO_LINKS:
                    raise StorageError(
                        f"{target}: this file system makes no hard links ({error.strerror}), which commits need; "
                        "choose another folder"
                    ) from error
                raise
            else:
                created = True
            # Also when another writer was first: it may have died before it made the name durable.
            sync_folder(target.parent)
        return created

    def list(self, prefix: str) -> Entries:
        below = below_folder(prefix)
        with disk_errors(self.root / below):
            found = [Entry(below + name, stat.st_size, stat.st_mtime, None) for name, stat in walk(self.root / below)]
        return sorted((entry for entry in found if visible(entry.path)), key=lambda entry: entry.path)

    def delete(self, path: str) -> None:
        place = self.root / checked(path)
        with disk_errors(place), suppress(FileNotFoundError, NotADirectoryError):
            place.unlink()

    def scratch(self) -> Path:
        folder = self.root / SCRATCH
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def free_bytes(self) -> int | None:
        return scratch_free(self.root)

    def probe(self) -> None:
        name = f"{SCRATCH}/probe-{uuid4().hex}"
        try:
            outcome = [self.put_if_absent(name, b"1"), self.put_if_absent(name, b"2"), self.get(name)]
        finally:
            self.delete(name)
        if outcome != [True, False, b"1"]:
            raise StorageError(f"{self.uri}: this file system replaces a file that exists; choose another folder")

    @contextmanager
    def _target(self, path: str) -> Iterator[Path]:
        """Where an object goes, in a folder that exists; errors name it."""
        target = self.root / checked(path)
        with disk_errors(target):
            make_folder(target.parent)
            yield target

    @contextmanager
    def _temp(self, data: bytes | None = None) -> Iterator[Path]:
        """A temp file on the root's file system, flushed to the disk if `data` are given, and gone at the end."""
        temp = self.scratch() / f"{uuid4().hex}.tmp"
        try:
            if data is not None:
                # Made by open(), so that its mode follows the umask; tempfile's would be private to this user.
                with open(temp, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            yield temp
        finally:
            temp.unlink(missing_ok=True)
