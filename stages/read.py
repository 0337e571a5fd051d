"""Reader of ready-made text: JSONL (plain, .gz, .zst) and Parquet in, DOC batches out.

Fields are named by the recipe; the source's own id is kept as `source_id`. A line that is no JSON object, or has no
text, is a dropped record with its line number, never a silent loss; a column that does not exist stops the run.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from manifests.fingerprint import not_identity
from manifests.storage import Storage, open_input
from stages.base import Plan, Source, Stage, Task, UserError, file_tasks
from stages.dropped import dropped_rows
from stages.output import Output
from stages.records import Record, jsonl, parquet
from stages.records import decompressed as decompressed
from stages.schema import DOC

BATCH_BYTES = 8 << 20
BATCH_ROWS = 1 << 16  # records without a text have no bytes
COLUMNS = ("text", "id", "url", "lang", "date")
# A trusted label is part of counter names, so it has to be a language tag; anything else counts as no label.
LANGUAGE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Read(Stage):
    """Entry of JSONL and Parquet sources. max_bytes: a longer text is dropped as `too_large`, since no stage after
    this one should meet a document that fills its memory."""

    max_bytes: int = 4 << 20
    store: bool | None = field(default=None, metadata=not_identity())
    use: ClassVar[str] = "read"
    libraries: ClassVar[tuple[str, ...]] = ("pyarrow",)
    entry: ClassVar[str] = "read"

    def tasks(self, plan: Plan) -> list[Task]:
        for file in plan.files:
            if unknown := sorted(set(dict(file.source.fields)) - set(COLUMNS)):
                raise UserError(
                    f"source {file.source.name}: fields has no {unknown[0]!r}; it may name {', '.join(COLUMNS)}"
                )
        return file_tasks(plan, ("jsonl", "parquet"))

    def open(self, storage: Storage) -> "Reading":
        return Reading(self)


class Reading:
    """Reads one input file at a time."""

    def __init__(self, stage: Read) -> None:
        self.stage = stage

    def batches(self, task: Task, out: Output) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch, np.ndarray]]:
        """See Reader.batches."""
        assert task.file is not None
        source = task.file.source
        names = {ours: dict(source.fields).get(ours, ours) for ours in COLUMNS}
        with open_input(task.file.uri) as stream:
            read = parquet if source.kind == "parquet" else jsonl
            pending: list[Record] = []
            size = 0
            for record in read(stream, names, task.file):
                pending.append(record)
                size += record[3]
                if size >= BATCH_BYTES or len(pending) >= BATCH_ROWS:
                    yield self._batch(pending, task, out)
                    pending, size = [], 0
            if pending:
                yield self._batch(pending, task, out)

    def _batch(
        self, records: list[Record], task: Task, out: Output
    ) -> tuple[pa.RecordBatch, pa.RecordBatch, np.ndarray]:
        assert task.file is not None
        source = task.file.source
        rows, reasons, sizes = [], [], []
        for number, fields, trouble, size in records:
            row, text_bytes = document(source, task.file.path, number, fields or {}, size)
            if not trouble and text_bytes > self.stage.max_bytes:
                trouble = "too_large"
            rows.append(row)
            reasons.append(trouble or ("" if row["text"].strip() else "empty"))
            sizes.append(text_bytes)
        batch = pa.RecordBatch.from_pylist(rows, schema=DOC)
        keep = np.array([not reason for reason in reasons], bool)
        total = np.array(sizes, np.int64)
        out.tally("in", [row["lang"] for row in rows], total)
        gone = np.flatnonzero(~keep)
        dropped = dropped_rows(batch, gone, self.stage.name, [reasons[i] for i in gone])
        return batch.filter(pa.array(keep)), dropped, total[gone]


def document(source: Source, path: str, number: int, fields: dict[str, Any], size: int) -> tuple[dict[str, Any], int]:
    """One DOC row of a record, and the bytes of its text."""
    text = fields.get("text") or ""
    url = fields.get("url")
    trusted = source.trust_lang and LANGUAGE.fullmatch(fields.get("lang") or "")
    row: dict[str, Any] = {
        "doc_id": document_id(source.name, path, number, url or ""),
        "source": source.name,
        "source_id": None if fields.get("id") is None else str(fields["id"]),
        "snapshot": source.snapshot,
        "url": url,
        "host": host(url),
        "lang": fields["lang"] if trusted else "?",
        "text": text,
        "archive": path,
        "offset": number,
        "length": size,
        "date": None if fields.get("date") is None else str(fields["date"]),
        "priority": source.priority,
        "cuts": [],
    }
    return row, len(text.encode())


def document_id(source: str, path: str, offset: int, url: str) -> bytes:
    """128-bit id of a document: where it was found, and under which URL."""
    text = json.dumps([source, path, offset, url], ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def host(url: str | None) -> str | None:
    """Lower-case host of a URL, without a port; null where there is none."""
    try:
        return urlsplit(url).hostname if url else None
    except ValueError:
        return None
