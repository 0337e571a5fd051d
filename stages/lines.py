"""Lines: documents in, a side table of the hashes of their lines out, for `paragraphs`. Blank lines and short ones are
left out, so that headings and "Introduction" may stand in every document."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.hashing import content_hash
from filters.text import TextView
from filters.trimming import stripped
from manifests.shards import read_batches, write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task, docs_tasks
from stages.output import Output
from stages.schema import LINES
from stages.sides import home_of, id_array, id_words

CORPUS, HOST = "corpus", "host"
ROWS_PER_FILE = 2_000_000


@dataclass(frozen=True)
class Lines(Stage):
    """within: "corpus", or "host" where lines count as equal only within one web host. min_bytes: shorter lines are
    left out; 60 bytes are 60 letters or 20 ideographs, more than a heading has. White space around a line is none of
    it."""

    within: str = CORPUS
    min_bytes: int = 60
    use: ClassVar[str] = "lines"
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "unicode")

    def __post_init__(self) -> None:
        if self.within not in (CORPUS, HOST):
            raise ValueError(f'within must be "{CORPUS}" or "{HOST}", not {self.within!r}')
        if self.min_bytes < 1:
            raise ValueError("min_bytes must be above 0")

    def tasks(self, plan: Plan) -> list[Task]:
        return docs_tasks(plan)

    def open(self, storage: Storage) -> "Hashing":
        return Hashing(self, storage)


class Hashing:
    """Hashes the lines of one shard of documents at a time."""

    def __init__(self, stage: Lines, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        home = home_of(task.inputs[0])
        parts, count, files = [LINES.empty_table()], 0, 0
        columns = ["doc_id", "lang", "priority", "host", "text"]
        for batch in read_batches(self.storage, task.inputs[0].path or "", columns):
            sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
            for kind in ("in", "kept"):
                out.tally(kind, batch["lang"].to_pylist(), sizes)
            parts.append(self._rows(batch, home, out))
            count += parts[-1].num_rows
            if count >= ROWS_PER_FILE:
                write_partitions(out.file("lines", "side", LINES), pa.concat_tables(parts), "key")
                parts, count, files = [LINES.empty_table()], 0, files + 1
        if count or not files:
            write_partitions(out.file("lines", "side", LINES), pa.concat_tables(parts), "key")

    def _rows(self, batch: pa.RecordBatch, home: int, out: Output) -> pa.Table:
        ids, priority = id_words(batch["doc_id"]), batch["priority"].to_numpy()
        hosts = np.zeros((batch.num_rows, 2), np.uint64)
        known = np.ones(batch.num_rows, bool)
        if self.stage.within == HOST:
            known = batch["host"].is_valid().to_numpy(zero_copy_only=False)
            hosts = content_hash(batch["host"].fill_null(""))
        tables, first = [LINES.empty_table()], 0
        for view in TextView(batch["text"]).pieces():
            lines = view.lines
            documents = lines.documents + first
            size = lines.spans[:, 1] - lines.spans[:, 0]
            taken = (size >= self.stage.min_bytes) & known[documents]
            hashes = content_hash(stripped(view).filter(pa.array(taken))) ^ hosts[documents[taken]]
            rows = documents[taken]
            columns = [hashes[:, 0], hashes[:, 1], priority[rows], id_array(ids[rows])]
            columns += [lines.spans[taken, 0] - view.offsets[rows - first], size[taken].astype(np.int32)]
            columns += [np.full(len(rows), home, np.uint64)]
            tables.append(pa.table(columns, schema=LINES))
            out.counters["side/lines/in"] += len(size)
            out.counters["side/lines/out/hashed"] += len(rows)
            out.counters["side/lines/out/short"] += int((size < self.stage.min_bytes).sum())
            out.counters["side/lines/out/without_host"] += int(((size >= self.stage.min_bytes) & ~taken).sum())
            first += len(view)
        return pa.concat_tables(tables)
