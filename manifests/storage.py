"""Where a corpus root lies, behind one small interface: an address in, a Storage for a folder or for S3 out.

Readers never see half an object, and `put_if_absent` is the one operation that all commits hang on. A Storage holds
nothing but its address: it is sent to workers as it is, and connects where it is used.
"""

import re
from pathlib import Path
from typing import BinaryIO, Protocol

from manifests.entries import Entries, Entry, InputEntry, OutOfDisk, StorageError, disk_errors
from manifests.inputs import list_inputs, local_path, open_input
from manifests.local import LocalStorage
from manifests.s3 import S3Storage, split

__all__ = [
    "Entry",
    "InputEntry",
    "OutOfDisk",
    "Storage",
    "StorageError",
    "disk_errors",
    "list_inputs",
    "open_input",
    "open_storage",
]


def open_storage(uri: str) -> "Storage":
    """The storage at s3://bucket/prefix, file:///folder or a local path; nothing is created or contacted yet."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", uri)
    if scheme is None or uri.startswith("file://"):
        return LocalStorage(local_path(uri))
    if uri.startswith("s3://"):
        bucket, key = split(uri)
        return S3Storage(f"s3://{bucket}/{key}".rstrip("/"))
    raise StorageError(f"{uri}: a corpus cannot be written there; give s3://bucket/prefix, file:///folder or a path")


class Storage(Protocol):
    """Objects below a root; paths are relative to it and '/'-separated. Names that begin with a dot are not listed."""

    @property
    def uri(self) -> str: ...

    def get(self, path: str) -> bytes:
        """The whole object; FileNotFoundError when it is absent."""

    def open(self, path: str) -> BinaryIO:
        """A seekable file that reads ranges, and streams when it is read from the start."""

    def put_file(self, local: Path, path: str) -> None:
        """Move a finished local file in, atomically and durably; an equal-named object is replaced."""

    def put(self, path: str, data: bytes) -> None:
        """Create or replace an object atomically."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create an object; False, and no change, when it exists. One of many callers gets True."""

    def list(self, prefix: str) -> Entries:
        """All objects below a folder ('' for the root), at any depth, sorted by path."""

    def delete(self, path: str) -> None:
        """Remove an object; an absent one is no error."""

    def scratch(self) -> Path:
        """A folder for temp files on a disk with room; in a local root it is on the same file system."""

    def free_bytes(self) -> int | None:
        """Free bytes of the file system that takes data and temp files."""

    def probe(self) -> None:
        """Find out that the store is reachable, writable, and honours create-if-absent; StorageError if not."""
