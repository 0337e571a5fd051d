"""Verification: shingle sets that met at a pivot in, pairs whose exact Jaccard reaches the threshold out. A range is
taken some row groups at a time. Where one of them is large, its files are read twice, for the pivots' own sets and for
the others, so that memory holds the pivots, not all that met them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.jaccard import jaccard_sorted, overlap
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task
from stages.blocks import id_bytes
from stages.output import Output
from stages.ranges import parts_of
from stages.schema import EDGES
from stages.sides import bytes_of, id_array, id_words, numbers, pieces, range_tasks

MEMORY_PER_BYTE = 10  # of worker memory, for a byte of shingle rows: measured 6 where a range is read at once
BATCH_BYTES = 32 << 20  # rows read at once
JACCARD, CONTAINMENT = "jaccard", "containment"


@dataclass(frozen=True)
class Verify(Stage):
    """threshold: the exact similarity of shingle sets from which two documents are near duplicates. measure: "jaccard",
    shared / all, or "containment", shared / those of the smaller set. By containment longer documents are visited
    first within a snapshot: what lies in a longer one that stays goes, be that of the same snapshot or of an earlier
    one, and a longer one of a later snapshot removes nothing."""

    threshold: float = 0.8
    measure: str = JACCARD
    use: ClassVar[str] = "verify"
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

    def __post_init__(self) -> None:
        if self.measure not in (JACCARD, CONTAINMENT):
            raise ValueError(f'measure must be "{JACCARD}" or "{CONTAINMENT}", not {self.measure!r}')

    def similarity(self, offsets: np.ndarray, hashes: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The measure of pairs of shingle sets, float64[n]."""
        return (jaccard_sorted if self.measure == JACCARD else overlap)(offsets, hashes, left, right)

    def tasks(self, plan: Plan) -> list[Task]:
        return range_tasks(plan, "shingles", plan.bytes_per_task(MEMORY_PER_BYTE), cumulative=False)

    def open(self, storage: Storage) -> "Verifying":
        return Verifying(self, storage)


class Verifying:
    """Verifies the pairs of one range of pivots."""

    def __init__(self, stage: Verify, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        edges = [EDGES.empty_table()]
        for parts, large in parts_of(self.storage, task, "shingles", BATCH_BYTES):
            edges += self._large(task, parts, out) if large else self._whole(task, parts, out)
        write_partitions(out.file("edges", "side", EDGES), pa.concat_tables(edges), "key")

    def _whole(self, task: Task, parts: tuple[int, int], out: Output) -> list[pa.Table]:
        """The edges among rows that are read at once."""
        rows = [table for table, _ in pieces(self.storage, task, "shingles", parts)]
        return [self._edges(pa.concat_tables(rows), task, out)] if rows else []

    def _large(self, task: Task, parts: tuple[int, int], out: Output) -> Iterator[pa.Table]:
        """The edges among rows that are read twice, for the pivots' own sets and for the others."""
        read = pieces(self.storage, task, "shingles", parts)
        pivots = pa.concat_tables([table.filter(pa.array(is_pivot(table))) for table, _ in read])
        waiting, size = [pivots], 0
        for table, _ in pieces(self.storage, task, "shingles", parts):
            waiting.append(table.filter(pa.array(~is_pivot(table))))
            size += waiting[-1].nbytes
            if size >= BATCH_BYTES:
                yield self._edges(pa.concat_tables(waiting), task, out)
                waiting, size = [pivots], 0
        yield self._edges(pa.concat_tables(waiting), task, out)

    def _edges(self, table: pa.Table, task: Task, out: Output) -> pa.Table:
        """The pairs of documents with their pivots, among some rows with the pivots' own, that reach the threshold,
        EDGES. All sets together may be more than a chunk of the table can hold."""
        mine = is_pivot(table)
        own, later = np.flatnonzero(mine), np.flatnonzero(~mine)
        names = id_bytes(table["pivot"])
        order = own[np.argsort(names[own])]
        found = np.searchsorted(names[order], names[later])
        earlier = order[np.minimum(found, len(order) - 1)] if len(order) else later
        if (names[earlier] != names[later]).any() or (not len(order) and len(later)):
            raise RuntimeError("a pivot came without its own shingles")
        lengths, sets = zip(*map(bytes_of, table["shingles"].chunks), strict=True)
        offsets = np.cumsum(np.concatenate([[0], *lengths])) // 8
        hashes = np.concatenate(sets).view(np.uint64)
        score = self.stage.similarity(offsets, hashes, later, earlier).astype(np.float32)
        good = score >= np.float32(self.stage.threshold)
        rank = pc.index_in(table["snapshot"], pa.array(task.snapshots)).to_numpy().astype(np.uint16)
        docs, priority = id_words(table["doc_id"]), numbers(table, "priority")
        sizes = np.diff(offsets) * (self.stage.measure == CONTAINMENT)
        longer = sizes[later] > sizes[earlier]
        good &= ~longer | (rank[later] == rank[earlier])
        a, b = np.where(longer, earlier, later)[good], np.where(longer, later, earlier)[good]
        columns = [
            docs[a, 0],
            id_array(docs[a]),
            rank[a],
            priority[a],
            sizes[a].astype(np.int32),
            numbers(table, "home")[a],
            id_array(docs[b]),
            rank[b],
            priority[b],
            sizes[b].astype(np.int32),
            score[good],
        ]
        out.counters["side/pairs/in"] += len(later)
        out.counters["side/pairs/out/verified"] += int(good.sum())
        out.counters["side/pairs/out/rejected"] += int((~good).sum())
        return pa.table(columns, schema=EDGES)


def is_pivot(table: pa.Table) -> np.ndarray:
    """Whether each row is a pivot's own set, bool[n]."""
    return id_bytes(table["doc_id"]) == id_bytes(table["pivot"])
