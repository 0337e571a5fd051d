"""Repeated passages: windows by anchor in, the places of those that occurred before out (Lee et al. 2021 find the same
with a suffix array). Of equal windows the first in visiting order stays, so a passage goes from all places but one.

First the anchors that occur once are left out, which takes their keys alone; the rest is spilled, and a bucket of it is
mapped into memory, sorted and searched. Memory follows the anchors that repeat, work the windows that share one.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.repeats import Held, find_repeats, utf8_bytes
from dedup.windows import Units, copy_stretches, longest
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task, UserError
from stages.blocks import id_bytes, words_of
from stages.output import Output
from stages.ranges import bucket_bits, buckets, count_rows, tables
from stages.schema import SPANS
from stages.sides import id_array, numbers, range_tasks, side_files
from stages.spill import Spill
from stages.windows import WIDTHS

REASON = "duplicate_passage"
MEMORY_PER_BYTE = 14  # of worker memory, for a byte of window rows: a guess on the safe side, not measured
CHUNK_ROWS = 64_000
KEYS = 8_000_000
BUCKET_ROWS = 128_000
SPANS_PER_FILE = 500_000

VISIT = np.dtype([("rank", ">u2"), ("priority", ">u4"), ("id", "S16"), ("start", ">u8")])
# A row but for its text, which begins at a multiple of four bytes.
HEAD = np.dtype([("key", "u8"), ("home", "u8"), ("visit", VISIT), ("before", "u2"), ("units", "u2"), ("pad", "u2")])


@dataclass(frozen=True)
class Substring(Stage):
    """inside: whether a passage also goes that occurred before in its own document alone; refrains, forms and tables
    repeat themselves on purpose."""

    inside: bool = False
    use: ClassVar[str] = "substring"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

    def tasks(self, plan: Plan) -> list[Task]:
        return range_tasks(plan, "windows", plan.bytes_per_task(MEMORY_PER_BYTE))

    def open(self, storage: Storage) -> "Searching":
        return Searching(self, storage)


class Searching:
    """Searches one range of anchors."""

    def __init__(self, stage: Substring, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        total = count_rows(self.storage, task, "windows")
        found, size, files = [SPANS.empty_table()], 0, 0
        if total:
            length, width = self._kind(task)
            kind = record(length, width)
            with Spill(self.storage) as spill:
                bits = self._spill(task, spill, kind, width, out)
                for bucket in range(1 << bits):
                    path = spill.file("windows", bucket)
                    if not path:
                        continue
                    rows = np.asarray(np.memmap(path, kind, "r"))
                    found.append(self._search(rows, length, width, len(task.snapshots) - 1, out))
                    path.unlink()
                    size += found[-1].num_rows
                    if size >= SPANS_PER_FILE:
                        write_partitions(out.file("spans", "verdict", SPANS), pa.concat_tables(found), "key")
                        found, size, files = [SPANS.empty_table()], 0, files + 1
        if size or not files:
            write_partitions(out.file("spans", "verdict", SPANS), pa.concat_tables(found), "key")

    def _kind(self, task: Task) -> tuple[int, int]:
        """(units of a window, bytes of a unit) of the table, as its files say."""
        kinds = set()
        for merged in task.merged:
            for side in side_files(self.storage.uri, merged)[:1]:
                with self.storage.open(side.path) as source, pq.ParquetFile(source) as file:
                    footer = file.metadata.metadata
                kinds.add((int(footer[b"length"]), WIDTHS[footer[b"unit"].decode()]))
        if len(kinds) > 1:
            raise UserError("the stages before `substring` cut windows of different lengths; give each its own")
        return kinds.pop()

    def _spill(self, task: Task, spill: Spill, kind: np.dtype, width: int, out: Output) -> int:
        """Spill the rows whose anchor occurs twice, in buckets by key; returns the bits that choose one."""
        bits = bucket_bits(count_rows(self.storage, task, "windows"), KEYS)
        for table, _ in tables(self.storage, task, "windows", KEYS, ["key"]):
            keys = numbers(table, "key")
            spill.append("keys", buckets(keys, bits), keys)
        repeated, count = [np.zeros(0, np.uint64)], 0
        for bucket in range(1 << bits):
            keys, copies = np.unique(spill.read("keys", bucket, np.dtype("u8")), return_counts=True)
            repeated.append(keys[copies > 1])
            count += int(copies[copies > 1].sum())
        known = np.sort(np.concatenate(repeated))
        bits = bucket_bits(count, BUCKET_ROWS)
        for table, rank in tables(self.storage, task, "windows", CHUNK_ROWS):
            keys = numbers(table, "key")
            place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
            twice = known[place] == keys if len(known) else np.zeros(len(keys), bool)
            rows = records(table.filter(pa.array(twice)), rank, kind, width)
            spill.append("windows", buckets(rows["key"], bits), rows)
            out.counters["side/stretches/in"] += len(keys)
            out.counters["side/stretches/out/alone"] += len(keys) - len(rows)
            out.counters["side/stretches/out/searched"] += len(rows)
        return bits

    def _search(self, rows: np.ndarray, length: int, width: int, newest: int, out: Output) -> pa.Table:
        """The spans of a bucket that occurred before."""
        visit = np.ascontiguousarray(rows["visit"])
        order = np.lexsort((visit.view("S30"), rows["key"]))
        keys = rows["key"][order]
        groups = np.flatnonzero(np.append(np.append([True], keys[1:] != keys[:-1]), [True]))
        _, documents = np.unique(visit["id"], return_inverse=True)
        units: Units = rows.view(np.uint8).reshape(-1)
        if width > 1:
            units = units.view(np.uint32)
        starts = (np.arange(len(rows)) * rows.dtype.itemsize + HEAD.itemsize) // width
        windows, before = rows["units"].astype(np.int64) - length + 1, rows["before"].astype(np.int64)
        held = Held(units, starts, windows, before, documents)
        found = find_repeats(held, order, groups, length, self.stage.inside)
        new = visit["rank"][found.rows] == newest
        row, earlier, first, last = found.rows[new], found.earlier[new], found.first[new], found.last[new]
        shifted = first - before[row] + before[earlier]
        out.counters["passages"] += len(row)

        def place(of: np.ndarray, window: np.ndarray) -> np.ndarray:
            return visit["start"][of].astype(np.int64) + utf8_bytes(units, starts[of], window)

        columns = [
            rows["home"][row],
            id_array(words_of(visit["id"][row])),
            place(row, first),
            place(row, last + length),
            [REASON] * len(row),
            id_array(words_of(visit["id"][earlier])),
            place(earlier, shifted),
            np.zeros(len(row), bool),
        ]
        return pa.table(columns, schema=SPANS)


def record(length: int, width: int) -> np.dtype:
    """A row of the table with room for its text."""
    text = -(-longest(length) * width // 4) * 4
    return np.dtype([(name, HEAD[name]) for name in HEAD.names or ()] + [("text", np.dtype(f"V{text}"))])


def records(table: pa.Table, rank: int, kind: np.dtype, width: int) -> np.ndarray:
    """Rows of the side table as records."""
    rows = np.zeros(table.num_rows, kind)
    visit = np.zeros(len(rows), VISIT)
    visit["rank"] = rank
    visit["priority"] = numbers(table, "priority").astype(np.int64) + (1 << 31)
    visit["id"], visit["start"] = id_bytes(table["doc_id"]), numbers(table, "start")
    rows["visit"] = visit
    for name in ("key", "home", "before"):
        rows[name] = numbers(table, name)
    text = table["units"].combine_chunks()
    if isinstance(text, pa.ChunkedArray):  # one without rows
        return rows
    _, bounds, data = text.buffers()
    offsets = np.frombuffer(bounds, np.int32)[text.offset : text.offset + len(rows) + 1].astype(np.int64)
    places = np.arange(len(rows)) * kind.itemsize + HEAD.itemsize
    flat = np.frombuffer(data or b"", np.uint8)
    copy_stretches(flat, offsets[:-1], np.diff(offsets), rows.view(np.uint8).reshape(-1), places)
    rows["units"] = np.diff(offsets) // width
    return rows
