"""Near duplicates: verified pairs in, verdicts out. A document goes exactly when it has a verified pair with one that
stays; documents are visited in (snapshot, priority, doc_id) order, so nothing goes by a chain alone.

Exact copies take no part: what `exact` removed can take nothing else with it. The copies of a document that goes here
get a second verdict, which names the document that stays in its place: no removed document is ever named as kept.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dedup.unionfind import components, resolve
from manifests.fingerprint import fingerprint
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task, UserError
from stages.output import Output
from stages.schema import EDGES, VERDICTS
from stages.sides import find_ids, id_array, id_words, load, numbers, visit_numbers

REASON = "near_duplicate"


def without(edges: pa.Table, copies: np.ndarray) -> pa.Table:
    """The edges between documents that are not among the exact copies, uint64[n, 2]."""
    free = [find_ids(id_words(edges[end]), copies) < 0 for end in ("later", "earlier")]
    return edges.filter(pa.array(free[0] & free[1]))


@dataclass(frozen=True)
class Cluster(Stage):
    """One task per snapshot, which holds all verified pairs up to it (about 60 bytes each) in memory."""

    use: ClassVar[str] = "cluster"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

    def tasks(self, plan: Plan) -> list[Task]:
        if len(plan.upstreams) < 2:
            raise UserError(f"stage {self.name}: it also needs the copies that exact found; name both in `after`")
        tasks = []
        edges = plan.rows("edges")
        for snapshot in plan.snapshots:
            until = plan.until(snapshot)
            fresh = [r for r in [*edges, *plan.rows("verdicts")] if r.snapshot == snapshot and r.rows]
            read = [r for r in edges if r.snapshot in until and r.rows]
            if fresh and read:
                merged = plan.merged("edges", until) + plan.merged("verdicts", until)
                key = fingerprint(plan.stage_id, until, [(m.folder, m.output, m.digest) for m in merged])
                size = sum(r.bytes for r in read)
                tasks.append(Task(key, merged=merged, snapshot=snapshot, snapshots=until, size=size))
        return tasks

    def open(self, storage: Storage) -> "Clustering":
        return Clustering(storage)


class Clustering:
    """Resolves all pairs up to one snapshot."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        new = len(task.snapshots) - 1
        exact, exact_rank = load(self.storage, task, "verdicts", VERDICTS)
        table = without(load(self.storage, task, "edges", EDGES)[0], id_words(exact["doc_id"]))
        n = table.num_rows
        ids = np.concatenate([id_words(table["later"]), id_words(table["earlier"])])
        rank = np.concatenate([numbers(table, "later_rank"), numbers(table, "earlier_rank")])
        priority = np.concatenate([numbers(table, "later_priority"), numbers(table, "earlier_priority")])
        number, row_of = visit_numbers(rank, priority, ids)
        later, earlier = number[:n], number[n:]
        kept_by, score = resolve(len(row_of), later, earlier, numbers(table, "score").astype(np.float64))
        gone = np.flatnonzero(kept_by >= 0)
        removed = gone[rank[row_of[gone]] == new]
        home = np.zeros(len(row_of), np.uint64)
        home[later] = numbers(table, "later_home")
        exact = exact.filter(pa.array(exact_rank == new))
        first = find_ids(id_words(exact["kept_id"]), ids[row_of[gone]])
        copies = np.flatnonzero(first >= 0)
        targets = np.concatenate([removed, gone[first[copies]]])
        columns = [
            np.concatenate([home[removed], numbers(exact, "key")[copies]]),
            id_array(np.concatenate([ids[row_of[removed]], id_words(exact["doc_id"])[copies]])),
            id_array(ids[row_of[kept_by[targets]]]),
            [REASON] * len(targets),
            score[targets].astype(np.float32),
        ]
        write_partitions(out.file("verdicts", "verdict", VERDICTS), pa.table(columns, schema=VERDICTS), "key")
        component, _ = components(len(row_of), later, earlier)
        out.counters["documents"] += len(row_of)
        out.counters["clusters"] += len(np.unique(component))
        out.counters["removed"] += len(targets)
