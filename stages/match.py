"""Candidates: band hashes in, pairs of documents that may be similar out. Proposes only; `verify` decides.

A pair is named by its earlier document, the pivot: the rows say which shard must send the shingles of which document
to which pivot. Of equal contents only the first document takes part, since `exact` removes the others.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dedup.candidates import REPRESENTATIVES, bucket_pairs
from dedup.minhash import estimate
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task
from stages.output import Output
from stages.schema import BANDS, CANDIDATES
from stages.sides import id_array, id_words, load, numbers, range_tasks, visit_numbers

BYTES_PER_TASK = 256 << 20  # about 6 million bands


@dataclass(frozen=True)
class Match(Stage):
    """representatives: how many members of a bucket the others are compared with. floor: a pair whose Jaccard is
    estimated lower is not proposed, so that boilerplate in common costs no verification; the estimate's standard
    deviation is 0.06 at 0.8, so of the pairs at 0.8 one in a million is lost. Keep it 0.3 below the threshold."""

    representatives: int = REPRESENTATIVES
    floor: float = 0.5
    use: ClassVar[str] = "match"
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

    def tasks(self, plan: Plan) -> list[Task]:
        return range_tasks(plan, "bands", BYTES_PER_TASK)

    def open(self, storage: Storage) -> "Matching":
        return Matching(self, storage)


class Matching:
    """Pairs documents within one range of band hashes."""

    def __init__(self, stage: Match, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        table, rank = load(self.storage, task, "bands", BANDS)
        key, content, ids = numbers(table, "key"), numbers(table, "content"), id_words(table["doc_id"])
        number, row_of = visit_numbers(rank, numbers(table, "priority"), ids)
        order = np.lexsort((number, content, key))
        pairs = bucket_pairs(key[order], content[order], number[order], self.stage.representatives)
        sketch = np.stack([numbers(table, "sketch0"), numbers(table, "sketch1")], axis=1)
        likely = estimate(sketch, row_of[pairs.later], row_of[pairs.earlier]) >= self.stage.floor
        new = likely & (rank[row_of[pairs.later]] == len(task.snapshots) - 1)
        later, pivot = row_of[pairs.later[new]], row_of[pairs.earlier[new]]
        named = np.concatenate([later, np.unique(pivot)])
        pivots = np.concatenate([pivot, np.unique(pivot)])
        columns = [numbers(table, "home")[named], id_array(ids[named]), id_array(ids[pivots])]
        write_partitions(out.file("candidates", "side", CANDIDATES), pa.table(columns, schema=CANDIDATES), "key")
        out.counters["side/bands/in"] += len(order)
        shared = _in_shared_buckets(key[order])
        out.counters["side/bands/out/shared"] += shared
        out.counters["side/bands/out/alone"] += len(order) - shared
        out.counters["pairs"] += len(later)
        out.counters["pairs_unlikely"] += int((~likely).sum())
        out.counters["bucket_overflow"] += pairs.overflow


def _in_shared_buckets(key: np.ndarray) -> int:
    """Rows whose bucket has another row."""
    if not len(key):
        return 0
    same = key[1:] == key[:-1]
    return int((np.append(same, False) | np.insert(same, 0, False)).sum())
