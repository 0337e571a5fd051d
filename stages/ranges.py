"""Side rows too many for memory: a range of an exchange in, parts of it, or tables of some row groups of one file, out.
With `stages.spill` this is how a group stage lets memory follow a bucket instead of its range."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from manifests.shards import PARTITIONS, read_partitions
from manifests.storage import Storage
from stages.base import Task
from stages.sides import files_of

OPEN_BYTES = 4 << 20  # are read in the 5 ms that it takes to open a side file


def count_rows(storage: Storage, task: Task, output: str) -> int:
    """Rows of an output in the task's range."""
    return sum(int(side.rows[slice(*task.parts)].sum()) for side in files_of(storage, task, output))


def parts_of(storage: Storage, task: Task, output: str, least: int) -> list[tuple[tuple[int, int], bool]]:
    """The task's range in consecutive parts, and whether each is too large to be read at once, as one row group may be.
    Others hold at most `least` uncompressed bytes, or, of many files, what a task is planned to hold."""
    files = files_of(storage, task, output)
    limit = max(least, min(task.size, len(files) * OPEN_BYTES))
    sizes = sum((side.sizes for side in files), np.zeros(PARTITIONS, np.int64))
    found = []
    start, end = task.parts
    while start < end:
        total = np.cumsum(sizes[start:end])
        count = max(1, int(np.searchsorted(total, limit, "right")))
        found.append(((start, start + count), bool(total[count - 1] > limit)))
        start += count
    return found


def tables(
    storage: Storage, task: Task, output: str, limit: int, columns: list[str] | None = None
) -> Iterator[tuple[pa.Table, int]]:
    """The rows of an output in the task's range, at most `limit` at a time or one row group, each with the rank of its
    snapshot."""
    for side in files_of(storage, task, output):
        start, stop = task.parts
        while start < stop:
            total = np.cumsum(side.rows[start:stop])
            end = start + max(1, int(np.searchsorted(total, limit, "right")))
            if side.rows[start:end].any():
                table = read_partitions(storage, side.path, (start, end), columns)
                yield table, task.snapshots.index(side.snapshot)
            start = end


def bucket_bits(rows: int, limit: int) -> int:
    """Bits of the key that cut rows into buckets of about `limit`."""
    return max(0, (rows - 1) // limit).bit_length()


def buckets(keys: np.ndarray, bits: int) -> np.ndarray:
    """Bucket of each key, int64[n]: by bits below those that choose the row group."""
    return (keys >> np.uint64(54 - bits) & np.uint64((1 << bits) - 1)).astype(np.int64)
