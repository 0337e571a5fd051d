"""Shingle sets: candidates and the text shard that they live in, in; each candidate's sorted hash set, addressed to its
pivots, out. The only stage of the near-duplicate search that reads text again, and only where a candidate is."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dedup.shingles import MAX_BYTES, shingle_sets
from manifests.fingerprint import not_identity
from manifests.shards import read_batches, write_partitions
from manifests.storage import Storage
from stages import prefer
from stages.base import Plan, Stage, Task, UserError
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
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    @cached_property
    def versions(self) -> dict[str, str]:
        """Version of each library that decides the output."""
        return super().versions | (self.sign.versions if self.sign else {})

    def tasks(self, plan: Plan) -> list[Task]:
        return routed_tasks(plan, "candidates", only_named=True)

    def open(self, storage: Storage) -> "Shingling":
        return Shingling(self, storage)


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
        meets: dict[bytes, set[bytes]] = {}
        for doc, pivot in zip(candidates["doc_id"].to_pylist(), candidates["pivot"].to_pylist(), strict=True):
            meets.setdefault(doc, set()).add(pivot)
        tables: list[pa.Table] = []
        size = 0
        if meets:
            columns = list(dict.fromkeys(["doc_id", "text", *prefer.columns(self.sign.priority)]))
            for batch in read_batches(self.storage, docs.path or "", columns, BATCH_BYTES):
                tables.append(self._shingle(batch, meets, docs.snapshot or "", home))
                size += tables[-1].nbytes
                if size >= BYTES_PER_FILE:
                    self._write(tables, out)
                    tables, size = [], 0
        if tables or not meets:
            self._write(tables, out)
        out.counters["side/candidates/in"] += sum(len(pivots) for pivots in meets.values())

    def _write(self, tables: list[pa.Table], out: Output) -> None:
        table = pa.concat_tables([SHINGLES.empty_table(), *tables])
        write_partitions(out.file("shingles", "side", SHINGLES), table, "key")
        out.counters["side/candidates/out/sent"] += table.num_rows

    def _shingle(self, batch: pa.RecordBatch, meets: dict[bytes, set[bytes]], snapshot: str, home: int) -> pa.Table:
        ids = batch["doc_id"].to_pylist()
        rows = np.array([row for row, doc in enumerate(ids) if doc in meets], np.int64)
        if not len(rows):
            return SHINGLES.empty_table()
        meant = batch.take(pa.array(rows))
        offsets, hashes = shingle_sets(meant["text"], self.stage.max_bytes, self.sign.by_runs)
        pivots = [sorted(meets[ids[row]]) for row in rows]
        repeat = np.repeat(np.arange(len(rows)), [len(p) for p in pivots])
        words = np.frombuffer(b"".join(p for some in pivots for p in some), ">u8").astype(np.uint64).reshape(-1, 2)
        sets = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(hashes))
        columns = [
            words[:, 0],
            id_array(words),
            id_array(id_words(meant["doc_id"])[repeat]),
            [snapshot] * len(repeat),
            prefer.sort_keys(meant, self.sign.priority, self.sign.quality)[repeat],
            np.full(len(repeat), home, np.uint64),
            sets.take(pa.array(repeat)),
        ]
        return pa.table(columns, schema=SHINGLES)
