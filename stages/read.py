"""Reader of ready-made text: JSONL (plain, .gz, .zst) and Parquet in, DOC batches out.

Fields are named by the recipe; the source's own id is kept as `source_id`. A line that is no JSON object, or has no
text, is a dropped record with its line number, never a silent loss; a column that does not exist stops the run.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.hashing import string_buffers
from manifests.fingerprint import not_identity
from manifests.storage import Storage, open_input
from stages.base import Plan, Stage, Task, UserError, file_tasks
from stages.dropped import dropped_rows
from stages.output import Output
from stages.records import COLUMNS, Columns, Record, columns_of, joined, jsonl, parquet
from stages.schema import DOC, ID

BATCH_BYTES = 8 << 20
BATCH_ROWS = 1 << 16  # records without a text have no bytes
UNKNOWN = "?"
# Whether white space of any kind begins with the byte.
SPACES = np.isin(np.arange(256), [chr(code).encode()[0] for code in range(0x3001) if chr(code).isspace()])
LANGUAGE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Read(Stage):
    """Entry of JSONL and Parquet sources. max_bytes: a longer text is dropped as `too_large`, since no stage after
    this one should meet a document that fills its memory."""

    max_bytes: int = 4 << 20
    store: bool | None = field(default=None, metadata=not_identity())
    use: ClassVar[str] = "read"
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("pyarrow",)
    entry: ClassVar[str] = "read"
    # What is stored here are the inputs once more, for stages to read several times over: LZ4 takes half of the time of
    # zstd to write, two thirds to read, and 1.7 times the room (texts of 2 kB, 92 MB: 62 MB against 36).
    codec: ClassVar[str] = "lz4"

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
            if source.kind == "parquet":
                parts = parquet(stream, names, task.file)
            else:
                parts = grouped(jsonl(stream, names, task.file))
            for columns in batched(parts):
                yield self._batch(columns, task, out)

    def _batch(self, columns: Columns, task: Task, out: Output) -> tuple[pa.RecordBatch, pa.RecordBatch, np.ndarray]:
        assert task.file is not None
        source, path = task.file.source, task.file.path
        text, own, url, lang, date = columns.values
        text = text.fill_null("")
        n, urls = len(text), url.to_pylist()
        labels = [label(value) if source.trust_lang and value else UNKNOWN for value in lang.to_pylist()]
        ids = document_ids(source.name, path, columns.numbers.tolist(), urls)
        given = {
            "doc_id": pa.FixedSizeBinaryArray.from_buffers(ID, n, [None, pa.py_buffer(b"".join(ids))]),
            "source_id": own,
            "url": url,
            "host": [host(value) for value in urls],
            "lang": labels,
            "text": text,
            "offset": pa.array(columns.numbers),
            "length": pa.array(columns.lengths),
            "date": date,
        }
        constant = {"source": source.name, "snapshot": source.snapshot, "archive": path, "priority": source.priority}
        batch = pa.record_batch([doc_column(field, given, constant, n) for field in DOC], schema=DOC)
        sizes = pc.binary_length(text).to_numpy(zero_copy_only=False).astype(np.int64)
        reasons = [
            trouble or ("too_large" if size > self.stage.max_bytes else "empty" if blank else "")
            for trouble, size, blank in zip(columns.troubles, sizes.tolist(), blanks(text), strict=True)
        ]
        keep = np.array([not reason for reason in reasons], bool)
        out.tally("in", labels, sizes)
        gone = np.flatnonzero(~keep)
        dropped = dropped_rows(batch, gone, self.stage.name, [reasons[i] for i in gone])
        return batch if keep.all() else batch.filter(pa.array(keep)), dropped, sizes[gone]


def grouped(records: Iterator[Record]) -> Iterator[Columns]:
    """Records as columns, as many at a time as a batch takes."""
    pending: list[Record] = []
    size = 0
    for record in records:
        pending.append(record)
        size += record[3]
        if size >= BATCH_BYTES or len(pending) >= BATCH_ROWS:
            yield columns_of(pending)
            pending, size = [], 0
    if pending:
        yield columns_of(pending)


def batched(parts: Iterator[Columns]) -> Iterator[Columns]:
    """The same records in batches of half of BATCH_BYTES to one and a half, or BATCH_ROWS; the last one is smaller. A
    part that is large enough is not copied."""
    pending: list[Columns] = []
    size = 0
    for part in parts:
        for piece in part.pieces(BATCH_BYTES):
            pending.append(piece)
            size += int(piece.lengths.sum())
            if 2 * size >= BATCH_BYTES or sum(len(some.numbers) for some in pending) >= BATCH_ROWS:
                yield joined(pending)
                pending, size = [], 0
    if pending:
        yield joined(pending)


def blanks(text: pa.Array) -> list[bool]:
    """Whether a text is white space alone, as Python sees it; few begin with a byte that white space begins with."""
    data, offsets = string_buffers(text)
    blank = np.diff(offsets) == 0
    filled = np.flatnonzero(~blank)
    for row in filled[SPACES[data[offsets[filled]]]].tolist():
        blank[row] = not text[row].as_py().strip()
    return blank.tolist()


def doc_column(field: pa.Field, given: Mapping[str, Any], constant: Mapping[str, Any], n: int) -> pa.Array:
    """A column of DOC: given by values, one value for all rows, or empty."""
    if field.name in given:
        column = given[field.name]
        return column if isinstance(column, pa.Array) else pa.array(column, field.type)
    if field.name in constant:
        return pa.repeat(pa.scalar(constant[field.name], field.type), n)
    return pa.array([[]] * n, field.type) if field.name == "cuts" else pa.nulls(n, field.type)


@lru_cache(maxsize=1024)
def label(lang: str) -> str:
    """A trusted language, or UNKNOWN where it is no language tag: labels are parts of the names of counters."""
    return lang if LANGUAGE.fullmatch(lang) else UNKNOWN


def document_ids(source: str, path: str, numbers: Sequence[int], urls: Sequence[str | None]) -> list[bytes]:
    """`document_id` of many records of one file."""
    prefix, none, hashed = json.dumps([source, path])[:-1], json.dumps(""), hashlib.blake2b
    names = [json.dumps(url) if url else none for url in urls]
    return [
        hashed(f"{prefix}, {number}, {name}]".encode(), digest_size=16).digest()
        for number, name in zip(numbers, names, strict=True)
    ]


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
