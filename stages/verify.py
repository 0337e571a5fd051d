"""Verification: shingle sets that met at a pivot in, pairs whose exact Jaccard reaches the threshold out."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.jaccard import jaccard_sorted
from manifests.ordering import ordered
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task
from stages.output import Output
from stages.schema import EDGES, SHINGLES
from stages.sides import id_array, id_words, load, numbers, range_tasks

# A document has some 400 distinct shingles of 8 bytes, and all sets of a task are in memory.
MEMORY_PER_BYTE = 10


@dataclass(frozen=True)
class Verify(Stage):
    """threshold: the exact Jaccard of shingle sets from which two documents are near duplicates."""

    threshold: float = 0.8
    use: ClassVar[str] = "verify"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

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
        table, _ = load(self.storage, task, "shingles", SHINGLES)
        docs, pivots = id_words(table["doc_id"]), id_words(table["pivot"])
        order, _ = ordered([pivots[:, 0], pivots[:, 1], docs[:, 0], docs[:, 1]])
        own = (docs == pivots).all(axis=1)
        # A pivot's own row: known by the pivot, found for each row that names it.
        pivot_rows = order[own[order]]
        fresh = np.ones(len(order), bool)
        fresh[1:] = (pivots[order][1:] != pivots[order][:-1]).any(axis=1)
        group = np.cumsum(fresh) - 1
        if len(pivot_rows) != fresh.sum():
            raise RuntimeError("a pivot came without its own shingles")
        others = ~own[order]
        later, earlier = order[others], pivot_rows[group[others]]
        sets = table["shingles"].combine_chunks()
        offsets, hashes = sets.offsets.to_numpy().astype(np.int64), sets.values.to_numpy()
        score = jaccard_sorted(offsets, hashes, later, earlier).astype(np.float32)
        good = score >= np.float32(self.stage.threshold)
        rank = pc.index_in(table["snapshot"], pa.array(task.snapshots)).to_numpy().astype(np.uint16)
        priority = numbers(table, "priority")
        a, b = later[good], earlier[good]
        columns = [
            docs[a, 0],
            id_array(docs[a]),
            rank[a],
            priority[a],
            numbers(table, "home")[a],
            id_array(docs[b]),
            rank[b],
            priority[b],
            score[good],
        ]
        write_partitions(out.file("edges", "side", EDGES), pa.table(columns, schema=EDGES), "key")
        out.counters["side/pairs/in"] += len(later)
        out.counters["side/pairs/out/verified"] += int(good.sum())
        out.counters["side/pairs/out/rejected"] += int((~good).sum())
