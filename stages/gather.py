"""Gathering: the side files of one output in, few files with the same rows out, so that a stage that reads a range of
each opens hundreds of files and not thousands. Row group p of a merged file is the sorted union of row groups p.

Files are merged by a hash of the key of the task that wrote them, and within a snapshot: one that comes or goes changes
the file that it is merged into, and no other. Each is opened once: its rows are spilled by range of row groups, and
sorted range by range, so that memory follows RANGE_BYTES and not the files. The surprise: nothing follows from it. Who
reads merged files has the tasks, with the keys, that it would have without.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from manifests.fingerprint import fingerprint, not_identity
from manifests.shards import PARTITIONS, ShardWriter, opened, read_groups, write_partitions
from manifests.storage import Storage, disk_errors
from manifests.store import Shard
from stages.base import Plan, Stage, Task
from stages.output import Output
from stages.sides import SideFile, packed, side_files, slot_of
from stages.spill import Spill

RANGE_BYTES = 64 << 20  # of side rows that are sorted at once, some six times as much while they are
OURS = (b"ARROW:schema",)  # of a footer: what the writer adds by itself
Range = tuple[int, int]


@dataclass(frozen=True)
class Gather(Stage):
    """output: the side table of the stage in `after`. files: the most that are merged into one; less where a row group
    would grow beyond RANGE_BYTES, as that of a boilerplate band does."""

    output: str = ""
    files: int = field(default=500, metadata=not_identity())
    use: ClassVar[str] = "gather"

    def tasks(self, plan: Plan) -> list[Task]:
        tasks = []
        for snapshot in plan.snapshots:
            rows = [row for row in plan.rows(self.output) if row.snapshot == snapshot and row.rows]
            merged = plan.merged(self.output, [snapshot])
            slots = np.array([slot_of(row) for row in rows], np.int64)
            for start, stop in groups(rows, slots, self.files):
                some = [rows[i] for i in np.flatnonzero((start <= slots) & (slots < stop)).tolist()]
                key = fingerprint(plan.stage_id, snapshot, sorted((row.task_key, row.digest) for row in some))
                size = sum(row.bytes for row in some)
                tasks.append(Task(key, (), merged, (start, stop), snapshot, (snapshot,), size=size))
        return tasks

    def open(self, storage: Storage) -> "Gathering":
        return Gathering(storage)


class Gathering:
    """Merges the files whose slots lie in the range of a task."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        (merged,) = task.merged
        start, stop = task.parts
        files = [side for side in side_files(self.storage.uri, merged) if start <= side.slot < stop]
        ranges = row_group_ranges(sum((side.sizes for side in files), np.zeros(PARTITIONS, np.int64)))
        with Spill(self.storage) as spill:
            schema, footer = self._spill(files, ranges, spill.folder)
            writer: ShardWriter = out.file(merged.output, "side", schema, metadata=footer)
            for number, parts in enumerate(ranges):
                table = pa.Table.from_batches(spilled(spill.folder / str(number), schema), schema)
                out.counters[f"side/{merged.output}/out/gathered"] += table.num_rows
                write_partitions(writer, table, "key", parts)
        out.counters[f"side/{merged.output}/in"] += sum(int(side.rows.sum()) for side in files)

    def _spill(self, files: Sequence[SideFile], ranges: Sequence[Range], folder: Path) -> tuple[pa.Schema, dict]:
        """Spill all rows by range; gives the schema that the files have, and their footer."""
        schema, footer = None, {}
        for side in files:
            with opened(self.storage, side.path) as file:
                own = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items() if k not in OURS}
                if schema is None:
                    schema, footer = file.schema_arrow.remove_metadata(), own
                if (file.schema_arrow.remove_metadata(), own) != (schema, footer):
                    raise RuntimeError(f"{side.path} is another kind of table than those that it is merged with")
                for number, parts in enumerate(ranges):
                    if side.rows[slice(*parts)].any():
                        spill_batches(folder / str(number), read_groups(file, parts))
        if schema is None:
            raise RuntimeError("nothing to merge")
        return schema, footer


def groups(rows: Sequence[Shard], slots: np.ndarray, most: int, start: int = 0, stop: int = PARTITIONS) -> list[Range]:
    """Ranges of slots whose files are merged into one: halves of halves, until there are at most so many files and no
    row group is larger than RANGE_BYTES. Ranges without files are left out."""
    inside = np.flatnonzero((start <= slots) & (slots < stop))
    if not len(inside):
        return []
    sizes = sum((packed(rows[i])["bytes"] for i in inside.tolist()), np.zeros(PARTITIONS, np.int64))
    if stop - start == 1 or (len(inside) <= most and sizes.max() <= RANGE_BYTES):
        return [(start, stop)]
    middle = (start + stop) // 2
    return groups(rows, slots, most, start, middle) + groups(rows, slots, most, middle, stop)


def row_group_ranges(sizes: np.ndarray) -> list[Range]:
    """All row groups, in ranges of at most RANGE_BYTES, or one row group that is larger."""
    found, start = [], 0
    while start < PARTITIONS:
        stop = start + max(1, int(np.searchsorted(np.cumsum(sizes[start:]), RANGE_BYTES, "right")))
        found.append((start, stop))
        start = stop
    return found


def spill_batches(path: Path, table: pa.Table) -> None:
    """Add the rows of a table to a file of record batches."""
    with disk_errors(path), open(path, "ab") as file:
        for batch in table.to_batches():
            file.write(batch.serialize())


def spilled(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The record batches of such a file."""
    if path.exists():
        with disk_errors(path), pa.OSFile(str(path)) as file:
            while file.tell() < file.size():
                yield pa.ipc.read_record_batch(pa.ipc.read_message(file), schema)
