"""Near duplicates: verified pairs in, verdicts and a table of clusters out. A document goes exactly when it has a
verified pair with one that stays; documents are visited in (snapshot, priority, doc_id) order, so nothing goes by a
chain alone. By containment the longer come first within a snapshot.

Exact copies take no part: what `exact` removed can take nothing else with it. The copies of a document that goes here
get a second verdict, which names the document that stays in its place: no removed document is ever named as kept.
The surprise: no connected components. Documents are decided in blocks of the visiting order; a block learns from the
blocks before it which of its documents have a kept twin there, and tells the later ones. So memory follows the block.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dedup.greedy import resolve
from manifests.fingerprint import fingerprint
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages import blocks
from stages.base import Plan, Stage, Task, UserError
from stages.blocks import ID_BUCKETS, PAIR, Blocks, id_bucket, id_bytes, place_ids, place_ranks, places, words_of
from stages.output import Output
from stages.ranges import count_rows, tables
from stages.schema import CLUSTERS, VERDICTS
from stages.sides import id_array, numbers
from stages.spill import Spill

REASON = "near_duplicate"
VERDICTS_PER_FILE = 2_000_000

REMOVED = np.dtype([("doc", "S16"), ("kept", "S16"), ("score", "f4"), ("new", "?")])
COPY = np.dtype([("kept", "S16"), ("doc", "S16"), ("home", "u8"), ("new", "?")])


@dataclass(frozen=True)
class Cluster(Stage):
    """One task per snapshot, which goes through all verified pairs up to it."""

    use: ClassVar[str] = "cluster"
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

    def tasks(self, plan: Plan) -> list[Task]:
        if len(plan.upstreams) < 2:
            raise UserError(f"stage {self.name}: it also needs the copies that exact found; name both in `after`")
        tasks = []
        sides = [*plan.rows("edges"), *plan.rows("verdicts")]
        for snapshot in plan.snapshots:
            until = plan.until(snapshot)
            if any(r.snapshot == snapshot and r.rows for r in sides):
                merged = plan.merged("edges", until) + plan.merged("verdicts", until)
                read = [r for r in sides if r.snapshot in until]
                key = fingerprint(plan.stage_id, until, sorted((r.output, r.snapshot or "", r.digest) for r in read))
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
        with Spill(self.storage) as spill:
            copies = self._spill_copies(task, spill)
            ranges = self._spill_edges(task, spill)
            verdicts = Verdicts(out)
            for block in range(ranges.count):
                self._decide(block, ranges, spill, task, verdicts)
            for bucket in range(ID_BUCKETS):
                removed = spill.read("removed", bucket, REMOVED)
                copied = spill.read("copies", bucket, COPY)
                follow(removed, copied, verdicts)
                kept = kept_now(removed, copied)
                spill.append("clusters", id_bucket(kept), kept)
            verdicts.close()
            self._clusters(spill, out)
        out.counters["copies"] += copies

    def _spill_copies(self, task: Task, spill: Spill) -> int:
        """Spill the exact copies twice: by the document that was kept for them, and by their own id."""
        count = 0
        for table, rank in tables(self.storage, task, "verdicts", blocks.BLOCK_EDGES):
            rows = np.zeros(table.num_rows, COPY)
            rows["kept"], rows["doc"] = id_bytes(table["kept_id"]), id_bytes(table["doc_id"])
            rows["home"], rows["new"] = numbers(table, "key"), rank == len(task.snapshots) - 1
            spill.append("copies", id_bucket(rows["kept"]), rows)
            spill.append("gone", id_bucket(rows["doc"]), rows["doc"])
            count += len(rows)
        return count

    def _spill_edges(self, task: Task, spill: Spill) -> Blocks:
        """Spill the pairs by block of the visiting order; they are read twice where they are more than a block's."""
        edges: Callable[[], Iterator[np.ndarray]] = partial(self._edges, task, spill)
        if count_rows(self.storage, task, "edges") <= blocks.BLOCK_EDGES:
            edges = partial(iter, list(edges()))
        ranges = Blocks(edges())
        for pairs in edges():
            ranges.spill(spill, pairs)
        return ranges

    def _edges(self, task: Task, spill: Spill) -> Iterator[np.ndarray]:
        """The verified pairs of two documents that are no exact copies, PAIR."""
        for table, _ in tables(self.storage, task, "edges", blocks.BLOCK_EDGES):
            pairs = np.zeros(table.num_rows, PAIR)
            for end in ("later", "earlier"):
                pairs[end] = places(table, end)
            pairs["score"], pairs["home"] = numbers(table, "score"), numbers(table, "later_home")
            free = np.ones(len(pairs), bool)
            for end in ("later", "earlier"):
                ids = id_bytes(table[end])
                buckets = id_bucket(ids)
                for bucket in np.unique(buckets).tolist():
                    rows = np.flatnonzero(buckets == bucket)
                    free[rows] &= ~np.isin(ids[rows], spill.read("gone", bucket, np.dtype("S16")))
            yield pairs[free]

    def _decide(self, block: int, ranges: Blocks, spill: Spill, task: Task, verdicts: "Verdicts") -> None:
        """Decide the documents of one block, and tell the later ones which of their twins stay."""
        pairs = spill.read("known", block, PAIR)
        ends, number = np.unique(np.concatenate([pairs["later"], pairs["earlier"]]), return_inverse=True)
        later, earlier = number[: len(pairs)], number[len(pairs) :]
        kept_by, score = resolve(len(ends), later, earlier, pairs["score"].astype(np.float64))
        gone = np.flatnonzero(kept_by >= 0)
        home = np.zeros(len(ends), np.uint64)
        home[later] = pairs["home"]
        removed = np.zeros(len(gone), REMOVED)
        removed["doc"], removed["kept"] = place_ids(ends[gone]), place_ids(ends[kept_by[gone]])
        removed["score"] = score[gone]
        removed["new"] = place_ranks(ends[gone]) == len(task.snapshots) - 1
        spill.append("removed", id_bucket(removed["doc"]), removed)
        verdicts.add(home[gone][removed["new"]], removed[removed["new"]])
        lost = ends[gone]
        for part in spill.chunks("ahead", block, PAIR, blocks.BLOCK_EDGES):
            staying = part[~np.isin(part["earlier"], lost)]
            spill.append("known", ranges.of(staying["later"]), staying)

    def _clusters(self, spill: Spill, out: Output) -> None:
        """Write how many documents each kept document stands for, itself among them."""
        table, largest = [CLUSTERS.empty_table()], 0
        for bucket in range(ID_BUCKETS):
            kept, size = np.unique(spill.read("clusters", bucket, np.dtype("S16")), return_counts=True)
            words = words_of(kept)
            table.append(pa.table([words[:, 0], id_array(words), size + 1], schema=CLUSTERS))
            largest = max(largest, int(size.max(initial=0)) + 1)
            out.counters["clusters"] += len(kept)
        out.counters["largest_cluster"] = largest
        write_partitions(out.file("clusters", "side", CLUSTERS), pa.concat_tables(table), "key")


class Verdicts:
    """Verdicts about new documents, written in several files where there are many."""

    def __init__(self, out: Output) -> None:
        self.out, self.parts, self.rows = out, [VERDICTS.empty_table()], 0

    def add(self, home: np.ndarray, removed: np.ndarray) -> None:
        """Rows of REMOVED with the home of each document."""
        columns = [home, id_array(words_of(removed["doc"])), id_array(words_of(removed["kept"]))]
        columns += [[REASON] * len(removed), removed["score"]]
        self.parts.append(pa.table(columns, schema=VERDICTS))
        self.rows += len(removed)
        self.out.counters["removed"] += len(removed)
        if self.rows >= VERDICTS_PER_FILE:
            self.flush()

    def flush(self) -> None:
        """End a file."""
        table = pa.concat_tables(self.parts)
        write_partitions(self.out.file("verdicts", "verdict", VERDICTS), table, "key")
        self.parts, self.rows = [VERDICTS.empty_table()], 0

    def close(self) -> None:
        """End the last file; there is always one."""
        if self.rows or not self.out.counters["removed"]:
            self.flush()


def follow(removed: np.ndarray, copied: np.ndarray, verdicts: Verdicts) -> None:
    """New verdicts for the exact copies of documents that go: what stays in their place."""
    order = np.argsort(removed["doc"])
    row = matches(removed["doc"][order], copied["kept"])
    found = (row >= 0) & copied["new"]
    moved = removed[order][row[found]]
    moved["doc"] = copied["doc"][found]
    verdicts.add(copied["home"][found], moved)


def kept_now(removed: np.ndarray, copied: np.ndarray) -> np.ndarray:
    """The document that stays for each removed one and for each exact copy, S16."""
    order = np.argsort(removed["doc"])
    row = matches(removed["doc"][order], copied["kept"])
    return np.concatenate([removed["kept"], copied["kept"][row < 0], removed["kept"][order][row[row >= 0]]])


def matches(sorted_ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Row of each wanted id among sorted distinct ones, int64[n]; -1 where there is none."""
    if not len(sorted_ids):
        return np.full(len(wanted), -1, np.int64)
    row = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    return np.where(sorted_ids[row] == wanted, row, -1)
