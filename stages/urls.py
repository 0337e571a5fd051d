"""URL keys: documents in, a side table with a hash of each one's URL out, for an `exact` with `by = "url"`.

No text is read. What counts as the same URL is said in `dedup.urls`; a document without one has no row, so it matches
nothing.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dedup.urls import TRACKING, Tracking, url_hash
from manifests.shards import read_batches, write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task, docs_tasks
from stages.output import Output
from stages.schema import CONTENT
from stages.sides import home_of

COLUMNS = ["doc_id", "priority", "url"]
DOCS_PER_FILE = 1_000_000


@dataclass(frozen=True)
class Urls(Stage):
    """tracking: parameters of a query that do not count; `utm_*` stands for all that begin so."""

    tracking: tuple[str, ...] = TRACKING
    use: ClassVar[str] = "urls"
    libraries: ClassVar[tuple[str, ...]] = ("unicode",)

    def tasks(self, plan: Plan) -> list[Task]:
        return docs_tasks(plan)

    def open(self, storage: Storage) -> "Keying":
        return Keying(self, storage)


class Keying:
    """Hashes the URLs of one shard of documents at a time."""

    def __init__(self, stage: Urls, storage: Storage) -> None:
        self.storage, self.tracking = storage, Tracking(stage.tracking)

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        home = home_of(task.inputs[0])
        parts, count, files = [CONTENT.empty_table()], 0, 0
        for batch in read_batches(self.storage, task.inputs[0].path or "", COLUMNS):
            parts.append(self._rows(batch, home))
            count += parts[-1].num_rows
            out.counters["side/documents/in"] += batch.num_rows
            out.counters["side/documents/out/with_url"] += parts[-1].num_rows
            out.counters["side/documents/out/without_url"] += batch.num_rows - parts[-1].num_rows
            if count >= DOCS_PER_FILE:
                write_partitions(out.file("urls", "side", CONTENT), pa.concat_tables(parts), "key")
                parts, count, files = [CONTENT.empty_table()], 0, files + 1
        if count or not files:
            write_partitions(out.file("urls", "side", CONTENT), pa.concat_tables(parts), "key")

    def _rows(self, batch: pa.RecordBatch, home: int) -> pa.Table:
        hashes, known = url_hash(batch["url"], self.tracking)
        columns = [pa.array(hashes[:, 0]), pa.array(hashes[:, 1]), batch["priority"].cast(pa.int64()), batch["doc_id"]]
        columns.append(pa.array(np.full(batch.num_rows, home, np.uint64)))
        return pa.table(columns, schema=CONTENT).filter(pa.array(known))
