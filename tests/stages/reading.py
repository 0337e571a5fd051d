"""One file read as the only input of a source, and files to read, for the tests of `read`."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.balance import total
from manifests.shards import read_batches
from manifests.storage import open_storage
from stages.base import Plan, Source
from stages.fetch import fetch
from stages.passes import Job, JobWorker, Step
from stages.read import Read

TEXTS = ["A first line.", "第二行，没有空格。", "Third, 三。"]
LINES = b"".join(
    json.dumps({"text": text, "id": i}, ensure_ascii=False).encode() + b"\n" for i, text in enumerate(TEXTS)
)


class Reading:
    """One file read as the only input of a source."""

    def __init__(self, folder: Path, name: str, data: bytes, max_bytes: int = 4 << 20, **source: Any) -> None:
        (folder / "in").mkdir(exist_ok=True)
        (folder / "in" / name).write_bytes(data)
        made = Source("src", source.pop("kind", "jsonl"), (str(folder / "in" / name),), **source)
        stage = Read(name="read", max_bytes=max_bytes)
        (task,) = stage.tasks(Plan("1", (), ("1",), fetch((made,), ()).files))
        root = folder / f"root-{hashlib.sha256(data).hexdigest()[:8]}"
        rows = JobWorker(Job((Step(stage, "1"),), str(root))).run(task)
        found = {
            row.output: [r for b in read_batches(open_storage(str(root)), row.path or "") for r in b.to_pylist()]
            for row in rows
        }
        self.docs, self.dropped, self.counts, self.rows = found["docs"], found["dropped"], total(rows), rows

    @property
    def texts(self) -> list[str]:
        return [doc["text"] for doc in self.docs]

    @property
    def gone(self) -> list[tuple[int, str]]:
        """Line or row number and reason of each record that went."""
        return [(row["offset"], row["reason"]) for row in self.dropped]


def parquet(table: pa.Table, row_group_size: int | None = None) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=row_group_size, compression="zstd")
    return sink.getvalue()
