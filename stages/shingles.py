"""Shingle sets: candidates and the text shard that they live in, in; each candidate's sorted hash set, addressed to its
pivots, out. The only stage of the near-duplicate search that reads text again, and only where a candidate is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dedup.shingles import MAX_BYTES, copy_runs, shingle_sets
from manifests.fingerprint import not_identity
from manifests.ordering import ordered
from manifests.shards import PARTITIONS, read_batches, write_partitions
from manifests.storage import Storage
from manifests.store import Shard
from stages import prefer
from stages.base import Plan, Stage, Task, UserError
from stages.blocks import id_bytes
from stages.output import Output
from stages.schema import CANDIDATES, SHINGLES
from stages.sides import home_of, id_array, id_words, load, numbers, routed_tasks
from stages.sign import Sign

# A set is written once for each pivot, up to some 32 times: small batches, and several files where sets are many.
BATCH_BYTES = 1 << 20
BYTES_PER_FILE = 128 << 20


@dataclass(frozen=True)
class Shingles(Stage):
    """max_bytes as in `sign`: what is signed is what is compared."""

    max_bytes: int = MAX_BYTES
    # Filled in by the recipe: that of the `match` in `after`, whose id says what stands in it.
    sign: Sign | None = field(default=None, metadata=not_identity())
    use: ClassVar[str] = "shingles"
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    @cached_property
    def versions(self) -> dict[str, str]:
        """Version of each library that decides the output."""
        return super().versions | (self.sign.versions if self.sign else {})

    def tasks(self, plan: Plan) -> list[Task]:
        return routed_tasks(plan, "candidates", only_named=True)

    def open(self, storage: Storage) -> "Shingling":
        return Shingling(self, storage)


@dataclass(frozen=True)
class Sent:
    """Rows for the side file: words of the pivot and of the document, sort key, and the set: where it begins among some
    hashes, and how many it has."""

    pivots: np.ndarray
    ids: np.ndarray
    priority: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    hashes: np.ndarray


class Shingling:
    """Shingles the candidates of one shard."""

    def __init__(self, stage: Shingles, storage: Storage) -> None:
        if not stage.sign:
            raise UserError(f"stage {stage.name}: `after` must name a `match` that follows from a `sign`")
        self.stage, self.sign, self.storage = stage, stage.sign, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        docs = task.inputs[0]
        home = home_of(docs)
        candidates, _ = load(self.storage, task, "candidates", CANDIDATES)
        candidates = candidates.filter(pa.array(numbers(candidates, "key") == np.uint64(home)))
        # Documents that met in several bands are sent once.
        order, fresh = ordered([*id_words(candidates["doc_id"]).T, *id_words(candidates["pivot"]).T])
        candidates = candidates.take(pa.array(order[fresh])).combine_chunks()
        sent: list[Sent] = []
        size = 0
        if len(candidates):
            columns = list(dict.fromkeys(["doc_id", "text", *prefer.columns(self.sign.priority)]))
            for batch in read_batches(self.storage, docs.path or "", columns, BATCH_BYTES):
                for part in self._shingle(batch, candidates):
                    sent.append(part)
                    size += 8 * int(part.counts.sum())
                    if size >= BYTES_PER_FILE:
                        self._write(sent, docs, out)
                        sent, size = [], 0
        if sent or not len(candidates):
            self._write(sent, docs, out)
        out.counters["side/candidates/in"] += len(candidates)

    def _write(self, sent: list["Sent"], docs: Shard, out: Output) -> None:
        file = out.file("shingles", "side", SHINGLES)
        if not sent:
            write_partitions(file, SHINGLES.empty_table(), "key")
            return
        pivots, ids, priority, counts = (
            np.concatenate([getattr(s, n) for s in sent]) for n in ("pivots", "ids", "priority", "counts")
        )
        order, _ = ordered([*pivots.T, *ids.T])  # a pair of the two comes once
        # Rows repeat a set for each pivot; an eighth of them at a time lies beside the sets.
        for span, part in eighths(pivots[order, 0]):
            own = order[part]
            columns = [
                pivots[own, 0],
                id_array(pivots[own]),
                id_array(ids[own]),
                pa.repeat(pa.scalar(docs.snapshot or "", pa.string()), len(own)),
                priority[own],
                np.full(len(own), home_of(docs), np.uint64),
                sets_in(own, sent, counts),
            ]
            table = pa.table(columns, schema=SHINGLES)
            write_partitions(file, table, "key", span, in_order=True)
            out.counters["side/candidates/out/sent"] += table.num_rows

    def _shingle(self, batch: pa.RecordBatch, candidates: pa.Table) -> Iterator["Sent"]:
        """The sets of the candidates among some documents, one row for each pivot, BYTES_PER_FILE at a time."""
        wanted, ids = id_bytes(candidates["doc_id"]), id_bytes(batch["doc_id"])
        first, last = np.searchsorted(wanted, ids), np.searchsorted(wanted, ids, "right")
        rows = np.flatnonzero(last > first)
        if not len(rows):
            return
        meant = batch.take(pa.array(rows))
        offsets, hashes = shingle_sets(meant["text"], self.stage.max_bytes, self.sign.by_runs)
        priority = prefer.sort_keys(meant, self.sign.priority, self.sign.quality)
        count = (last - first)[rows]
        every = np.repeat(np.arange(len(rows)), count)
        met = np.arange(len(every)) + np.repeat(last[rows] - np.cumsum(count), count)
        pivots, documents = id_words(candidates["pivot"])[met], id_words(meant["doc_id"])
        counts = np.diff(offsets)[every]
        file = np.cumsum(8 * counts) // BYTES_PER_FILE
        for part in np.split(np.arange(len(every)), np.flatnonzero(np.diff(file)) + 1):
            at = every[part]
            yield Sent(pivots[part], documents[at], priority[at], offsets[at], counts[part], hashes)


def eighths(keys: np.ndarray) -> Iterator[tuple[tuple[int, int], slice]]:
    """Eighths of the row groups of a side file, and which of some sorted keys lie in each."""
    width = PARTITIONS // 8
    borders = np.arange(1, 8, dtype=np.uint64) * np.uint64(width) << np.uint64(54)
    bounds = [0, *np.searchsorted(keys, borders).tolist(), len(keys)]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        yield (number * width, (number + 1) * width), slice(start, stop)


def sets_in(order: np.ndarray, sent: list[Sent], counts: np.ndarray) -> pa.Array:
    """The sets of some rows as bytes, in this order; `counts`: the hashes of each of all rows as it comes."""
    bounds = np.concatenate([[0], np.cumsum(counts[order])])
    places = np.full(len(counts), -1)
    places[order] = bounds[:-1]
    hashes, first = np.empty(bounds[-1], np.uint64), 0
    for some in sent:
        copy_runs(some.hashes, some.starts, some.counts, places[first : first + len(some.counts)], hashes)
        first += len(some.counts)
    buffers = [None, pa.py_buffer((8 * bounds).astype(np.int32)), pa.py_buffer(hashes)]
    return pa.Array.from_buffers(pa.binary(), len(order), buffers)
