"""Extraction: WARC files in, the main text of their HTML pages out.

Every record and every lost range of an archive is accounted for. Records that cannot hold a page (requests, metadata,
the file's own description) are counted by type; each response without a text, and each lost range, is a dropped row.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from manifests.fingerprint import not_identity
from manifests.storage import Storage, open_input
from stages.base import Plan, Stage, Task, UserError, file_tasks
from stages.charset import decode
from stages.dropped import dropped_rows
from stages.http import HTML_TYPES, is_html, parse_content_type, parse_response
from stages.output import Output
from stages.read import document_id, host
from stages.sandbox import Extractor, PageLimits
from stages.schema import DOC
from stages.warc import Lost, Record, RecordLimits, read_records

PAGE_TYPES = ("response", "resource")
# Records that hold no page are counted by type; a hostile archive shall not invent counters.
OTHER_TYPES = ("warcinfo", "request", "metadata", "revisit", "conversion", "continuation")
BATCH_BYTES = 4 << 20
BATCH_ROWS = 256


@dataclass(frozen=True)
class Page:
    """What became of one record: a text, or a reason and the value that decided."""

    text: str = ""
    charset: str | None = None
    reason: str = ""
    value: float | None = None
    hi: float | None = None


@dataclass(frozen=True)
class Extract(Stage):
    """html_bytes, tree_nodes, cpu_seconds: limits of one page (see `sandbox`); text_bytes: of its text."""

    html_bytes: int = 8 << 20
    tree_nodes: int = 250_000
    cpu_seconds: int = 60
    text_bytes: int = 4 << 20
    store: bool | None = field(default=None, metadata=not_identity())
    version: ClassVar[int] = 2
    use: ClassVar[str] = "extract"
    entry: ClassVar[str] = "extract"
    libraries: ClassVar[tuple[str, ...]] = ("fastwarc", "lxml", "resiliparse", "trafilatura", "unicode")

    def tasks(self, plan: Plan) -> list[Task]:
        return file_tasks(plan, ("warc",))

    def open(self, storage: Storage) -> "Extracting":
        return Extracting(self)


class Extracting:
    """Reads archives, and holds the child that extracts their pages."""

    def __init__(self, stage: Extract) -> None:
        self.stage = stage
        limits = PageLimits(stage.html_bytes, stage.tree_nodes, stage.cpu_seconds)
        self.extractor = Extractor(limits)
        self.partial: Counter[str] = Counter()  # pages that were extracted from a part of their body, by what is wrong
        # The HTTP header comes on top of the body.
        self.max_payload = stage.html_bytes + (1 << 16)

    def close(self) -> None:
        """End the child."""
        self.extractor.close()

    def batches(self, task: Task, out: Output) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch, np.ndarray]]:
        """See Reader.batches."""
        assert task.file is not None
        name, counters = task.file.source.name, out.counters
        rows: list[dict[str, Any]] = []
        pages: list[Page] = []
        size = 0
        last = (-1, -1)
        with open_input(task.file.uri) as stream:
            for record in read_records(stream, RecordLimits(max_payload=self.max_payload)):
                kind = "lost" if isinstance(record, Lost) else "records"
                counters[f"archive/{name}/{kind}"] += record.length
                if isinstance(record, Record) and record.warc_type not in PAGE_TYPES:
                    kind = record.warc_type if record.warc_type in OTHER_TYPES else "other"
                    counters[f"records/{kind}"] += 1
                    continue
                if isinstance(record, Lost) and (record.reason == "padding" or not record.length):
                    # Newlines between members, or junk inside a member whose bytes a record accounts for.
                    counters[f"records/{record.reason}"] += 1
                    continue
                place = (record.offset, record.inner if isinstance(record, Record) else 0)
                if place <= last:
                    raise UserError(f"{task.file.uri}: two records at byte {record.offset}; a fault of the reader")
                last = place
                page = self.page(record)
                rows.append(row(task, record, page))
                pages.append(page)
                size += len(page.text)
                if size >= BATCH_BYTES or len(rows) >= BATCH_ROWS:
                    yield self._batch(rows, pages, out)
                    rows, pages, size = [], [], 0
        counters[f"archive/{name}/read"] += task.file.size
        counters.update({f"partial/{fault}": count for fault, count in self.partial.items()})
        self.partial.clear()
        if rows:
            yield self._batch(rows, pages, out)

    def page(self, record: Record | Lost) -> Page:
        """The text of a record, or why it has none."""
        if isinstance(record, Lost):
            return Page(reason=f"lost:{record.reason}", value=float(record.length))
        limit = self.stage.html_bytes
        response = parse_response(record.payload, limit)
        body, media_type = response.body, response.media_type
        if record.too_large or response.fault == "too_large":
            # How much larger is not known: nothing beyond the limit is decompressed.
            return Page(reason="too_large", hi=float(limit))
        if response.status == 0:
            if record.warc_type == "response":
                return Page(reason="not_http")
            media_type = parse_content_type(record.content_type)[0]
        elif response.status != 200:
            return Page(reason="http_status", value=float(response.status))
        if not body.strip():
            return Page(reason=response.fault or ("empty" if media_type in (*HTML_TYPES, "") else "not_html"))
        if not is_html(media_type, body):
            return Page(reason="not_html")
        decoded = decode(body, response.charset)
        if decoded.is_undecodable():
            return Page(charset=decoded.charset, reason="undecodable", value=decoded.share)
        if response.fault:
            self.partial[response.fault] += 1
        if record.truncated:
            self.partial["truncated"] += 1
        extracted = self.extractor.extract(decoded.text, record.url)
        size = len(extracted.text.encode())
        if size > self.stage.text_bytes:
            return Page(reason="too_large", value=float(size), hi=float(self.stage.text_bytes))
        hi = {
            "too_large": float(self.stage.html_bytes),
            "too_many_nodes": float(self.stage.tree_nodes),
            "cpu_limit": float(self.stage.cpu_seconds),
        }.get(extracted.reason)
        return Page(extracted.text, decoded.charset, extracted.reason, hi=hi)

    def _batch(
        self, rows: list[dict[str, Any]], pages: list[Page], out: Output
    ) -> tuple[pa.RecordBatch, pa.RecordBatch, np.ndarray]:
        batch = pa.RecordBatch.from_pylist(rows, schema=DOC)
        sizes = np.array([len(page.text.encode()) for page in pages], np.int64)
        out.tally("in", batch["lang"].to_pylist(), sizes)
        gone = np.flatnonzero([page.reason != "" for page in pages])
        lost = [pages[i] for i in gone]
        dropped = dropped_rows(
            batch,
            gone,
            self.stage.name,
            [page.reason for page in lost],
            value=[page.value for page in lost],
            hi=[page.hi for page in lost],
        )
        keep = np.ones(len(rows), bool)
        keep[gone] = False
        return batch.filter(pa.array(keep)), dropped, sizes[gone]


def row(task: Task, record: Record | Lost, page: Page) -> dict[str, Any]:
    """A DOC row of a record; a second record inside one gzip member is told apart by its place in it."""
    assert task.file is not None
    source, path = task.file.source, task.file.path
    found = record if isinstance(record, Record) else None
    url, inner = (found.url, found.inner) if found else ("", 0)
    return {
        "doc_id": document_id(source.name, f"{path}#{inner}" if inner else path, record.offset, url),
        "source": source.name,
        "source_id": (found.record_id or None) if found else None,
        "snapshot": source.snapshot,
        "url": url or None,
        "host": host(url),
        "lang": "?",
        "text": page.text,
        "archive": path,
        "offset": record.offset,
        "length": record.length,
        "date": (found.date or None) if found else None,
        "charset": page.charset,
        "priority": source.priority,
        "cuts": [],
    }
