"""Records on disk while a task runs: numpy arrays in, appended by bucket; each bucket's records out again. What makes
memory follow the size of a bucket and not of the input. Files lie in a scratch folder that goes with the task; a few
records never reach them."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import numpy as np

from manifests.storage import Storage, disk_errors

HELD_BYTES = 16 << 20  # of records that wait in memory, each part of which takes PART_BYTES besides
PART_BYTES = 128


class Spill:
    """A folder of buckets; use it as a context manager."""

    def __init__(self, storage: Storage) -> None:
        self.folder: Path = storage.scratch() / f"spill-{uuid4().hex}"
        self.held: dict[Path, list[np.ndarray]] = {}
        self.size = 0  # bytes of them, nearly: parts of one call share their memory

    def __enter__(self) -> "Spill":
        with disk_errors(self.folder):
            self.folder.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)

    def append(self, name: str, buckets: np.ndarray, records: np.ndarray) -> None:
        """Add each record to its bucket `name` int[n]; the order within a bucket is that of the calls."""
        order = np.argsort(buckets, kind="stable")
        found, starts = np.unique(buckets[order], return_index=True)
        for bucket, part in zip(found.tolist(), np.split(records[order], starts)[1:], strict=True):
            self.held.setdefault(self._path(name, bucket), []).append(part)
            self.size += part.nbytes + PART_BYTES
        if self.size > HELD_BYTES:
            for path in list(self.held):
                self._write(path)

    def read(self, name: str, bucket: int, kind: np.dtype) -> np.ndarray:
        """All records of a bucket."""
        path = self._path(name, bucket)
        written = np.fromfile(path, kind) if path.exists() else np.zeros(0, kind)
        held = self.held.get(path)
        return np.concatenate([written, *held]) if held else written

    def file(self, name: str, bucket: int) -> Path | None:
        """The file with all records of a bucket, which the caller may remove; None without any."""
        path = self._path(name, bucket)
        self._write(path)
        return path if path.exists() else None

    def chunks(self, name: str, bucket: int, kind: np.dtype, rows: int) -> Iterator[np.ndarray]:
        """The records of a bucket, at most `rows` at a time."""
        if path := self.file(name, bucket):
            with open(path, "rb") as file:
                while len(part := np.fromfile(file, kind, rows)):
                    yield part

    def _path(self, name: str, bucket: int) -> Path:
        return self.folder / f"{name}-{bucket}"

    def _write(self, path: Path) -> None:
        """Add the records of a bucket that wait to its file."""
        parts = self.held.pop(path, [])
        if parts:
            with disk_errors(path), open(path, "ab") as file:
                for part in parts:
                    file.write(part.view(np.uint8).data)  # ndarray.tofile says nothing of a disk that is full
                    self.size -= part.nbytes + PART_BYTES
