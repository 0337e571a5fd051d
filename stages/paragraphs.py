"""Repeated lines: hashes of lines in, the places of those that occurred before out. Of equal lines the first in
visiting order (snapshot, priority, doc_id, place) stays; an earlier snapshot's verdicts never change.

Two passes over each bucket of lines, so that memory follows its different lines and not their copies.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task
from stages.blocks import id_bytes, words_of
from stages.output import Output
from stages.ranges import bucket_bits, buckets, count_rows, tables
from stages.schema import SPANS
from stages.sides import id_array, numbers, range_tasks
from stages.spill import Spill

MEMORY_PER_BYTE = 14  # of worker memory, for a byte of line rows: a guess on the safe side, not measured
BUCKET_ROWS = 1_000_000

LINE = np.dtype([("rank", ">u2"), ("priority", ">u4"), ("id", "S16"), ("start", ">u8")])
VISIT = np.dtype("S30")  # the same as bytes, which sort in visiting order
ROW = np.dtype([("key", "u8"), ("rest", "u8"), ("home", "u8"), ("bytes", "i4"), ("visit", VISIT)])


@dataclass(frozen=True)
class Paragraphs(Stage):
    """min_docs: how many documents must have a line before its copies go. inside: whether a line also goes that
    occurred before in its own document alone."""

    min_docs: int = 1
    inside: bool = True
    reason: str = "duplicate_line"
    use: ClassVar[str] = "paragraphs"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __post_init__(self) -> None:
        if self.min_docs < 1:
            raise ValueError("min_docs must be above 0")

    def tasks(self, plan: Plan) -> list[Task]:
        return range_tasks(plan, "lines", plan.bytes_per_task(MEMORY_PER_BYTE))

    def open(self, storage: Storage) -> "Deciding":
        return Deciding(self, storage)


class Deciding:
    """Decides the lines of one range of hashes."""

    def __init__(self, stage: Paragraphs, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        bits = bucket_bits(count_rows(self.storage, task, "lines"), BUCKET_ROWS)
        found = [SPANS.empty_table()]
        with Spill(self.storage) as spill:
            for table, rank in tables(self.storage, task, "lines", BUCKET_ROWS):
                rows = records(table, rank)
                spill.append("lines", buckets(rows["key"], bits), rows)
                out.counters["side/lines/in"] += len(rows)
            for bucket in range(1 << bits):
                first = Firsts()
                for rows in spill.chunks("lines", bucket, ROW, BUCKET_ROWS):
                    first.add(rows)
                for rows in spill.chunks("lines", bucket, ROW, BUCKET_ROWS):
                    found.append(self._decide(rows, first, len(task.snapshots) - 1, out))
        # Row groups without rows cost as much as any: one file, however many buckets.
        write_partitions(out.file("spans", "verdict", SPANS), pa.concat_tables(found), "key")

    def _decide(self, rows: np.ndarray, first: "Firsts", newest: int, out: Output) -> pa.Table:
        place = first.place_of(rows)
        line, kept = rows["visit"].view(LINE), first.rows["visit"][place].view(LINE)
        alone = rows["visit"] == first.rows["visit"][place]
        if not self.stage.inside:
            alone |= line["id"] == kept["id"]
        rare = ~alone & (first.documents[place] < self.stage.min_docs)
        gone = ~alone & ~rare
        new = gone & (line["rank"] == newest)
        out.counters["side/lines/out/stay"] += int(alone.sum())
        out.counters["side/lines/out/too_few_documents"] += int(rare.sum())
        out.counters["side/lines/out/removed"] += int(new.sum())
        out.counters["side/lines/out/removed_before"] += int((gone & ~new).sum())
        line, kept, rows = line[new], kept[new], rows[new]
        columns = [
            rows["home"],
            id_array(words_of(line["id"])),
            line["start"].astype(np.int64),
            line["start"].astype(np.int64) + rows["bytes"],
            [self.stage.reason] * len(rows),
            id_array(words_of(kept["id"])),
            kept["start"].astype(np.int64),
            np.ones(len(rows), bool),
        ]
        return pa.table(columns, schema=SPANS)


class Firsts:
    """The different lines so far: where each occurred first, and in how many documents."""

    def __init__(self) -> None:
        self.rows = np.zeros(0, ROW)
        self.documents = np.zeros(0, np.int64)
        self.last = np.zeros(0, ROW)

    def add(self, rows: np.ndarray) -> None:
        """Count more lines; the copies within a document come one after the other."""
        order = np.lexsort((rows["visit"], rows["rest"], rows["key"]))
        ids = rows["visit"].view(LINE)["id"]
        fresh = np.ones(len(rows), np.int64)  # 1: the first copy of its document
        fresh[order[1:]] = ~same_line(rows[order[1:]], rows[order[:-1]]) | (ids[order[1:]] != ids[order[:-1]])
        if len(rows) and len(self.last) and same_line(self.last, rows[:1])[0]:
            fresh[0] &= self.last["visit"].view(LINE)["id"][0] != ids[0]
        self.last = rows[-1:].copy()
        every = np.concatenate([self.rows, rows])
        count = np.concatenate([self.documents, fresh])
        order = np.lexsort((every["visit"], every["rest"], every["key"]))
        every, count = every[order], count[order]
        starts = np.flatnonzero(np.append([True], ~same_line(every[1:], every[:-1]))) if len(every) else order
        self.rows, self.documents = every[starts], np.add.reduceat(count, starts) if len(every) else count

    def place_of(self, rows: np.ndarray) -> np.ndarray:
        """Row of each line among the different ones, all of which are known."""
        kind = np.dtype([("key", ">u8"), ("rest", ">u8")])
        wanted, known = np.zeros(len(rows), kind), np.zeros(len(self.rows), kind)
        for name in ("key", "rest"):
            wanted[name], known[name] = rows[name], self.rows[name]
        return np.searchsorted(known.view("S16"), wanted.view("S16"))


def records(table: pa.Table, rank: int) -> np.ndarray:
    """Rows of the side table, ROW[n]."""
    line = np.zeros(table.num_rows, LINE)
    line["rank"] = rank
    line["priority"] = numbers(table, "priority").astype(np.int64) + (1 << 31)
    line["id"], line["start"] = id_bytes(table["doc_id"]), numbers(table, "start")
    rows = np.zeros(len(line), ROW)
    rows["visit"] = line.view(VISIT)
    for name in ("key", "rest", "home", "bytes"):
        rows[name] = numbers(table, name)
    return rows


def same_line(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which rows are about equal lines."""
    return (a["key"] == b["key"]) & (a["rest"] == b["rest"])
