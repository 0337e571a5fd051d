"""Passages that go: texts and the pieces of them that occurred before in, texts without these out, for `apply`. A piece
that a line is goes as it is; others make up passages, of which only whole sentences go, where that is asked for."""

import numpy as np
import pyarrow as pa

from dedup.sentences import tidy, whole_sentences
from dedup.spans import PLACE_BITS, Spans
from manifests.storage import Storage
from stages.base import Mapped, Task
from stages.blocks import id_bytes
from stages.cuts import cut_documents
from stages.schema import SPANS
from stages.sides import home_of, load, numbers


class Cutting:
    """Holds the passages of the documents of one shard."""

    def __init__(self, stage: str, storage: Storage, sentences: bool, limits: tuple[int, float]) -> None:
        self.stage, self.storage, self.sentences, self.limits, self.source = stage, storage, sentences, limits, ""
        self.table, self.ids, self.reasons = SPANS.empty_table(), np.zeros(0, "S16"), list[str]()

    def begin(self, task: Task) -> None:
        """Read what is said about the shard, sorted by document."""
        self.source = task.source
        table, _ = load(self.storage, task, "spans", SPANS)
        table = table.filter(pa.array(numbers(table, "key") == np.uint64(home_of(task.inputs[0]))))
        order = [("doc_id", "ascending"), ("kept_id", "ascending"), ("start", "ascending")]
        self.table = table.sort_by(order).combine_chunks()
        self.ids = id_bytes(self.table["doc_id"])
        self.reasons = sorted(set(self.table["reason"].to_pylist()))

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Cut out what is said about the documents of a batch."""
        ids = id_bytes(batch["doc_id"])
        first, last = np.searchsorted(self.ids, ids), np.searchsorted(self.ids, ids, "right")
        documents = np.repeat(np.arange(len(ids)), last - first)
        rows = np.arange(len(documents)) + np.repeat(first - np.cumsum(last - first) + last - first, last - first)
        said = self.table.take(pa.array(rows))
        reasons = np.searchsorted(self.reasons, np.array(said["reason"].to_pylist(), str)).astype(np.int64)
        every = Spans(documents, numbers(said, "start"), numbers(said, "end"), reasons)
        whole = said["whole_line"].to_numpy()
        kept_starts = numbers(said, "kept_start")[~whole]
        passages = merged(every.take(~whole), id_bytes(said["kept_id"])[~whole], kept_starts, ids)
        passages = whole_sentences(batch["text"], passages, self.sentences)
        both = [every.take(whole), passages]
        columns = [np.concatenate([getattr(s, n) for s in both]) for n in ("documents", "starts", "ends", "reasons")]
        spans = tidy(batch["text"], Spans(*columns))
        return cut_documents(batch, spans, self.reasons, self.stage, self.source, *self.limits)


def merged(spans: Spans, kept: np.ndarray, kept_starts: np.ndarray, ids: np.ndarray) -> Spans:
    """The passages that some pieces make up: pieces that touch, at the same distance from where they occurred first. Of
    a passage that overlaps its first occurrence only what lies behind that; ids: of the documents."""
    shift = spans.starts - kept_starts
    order = np.lexsort((spans.starts, shift, kept, spans.documents))
    spans, kept, shift = spans.take(order), kept[order], shift[order]
    same = (spans.documents[1:] == spans.documents[:-1]) & (kept[1:] == kept[:-1]) & (shift[1:] == shift[:-1])
    group = np.cumsum(np.append([0], ~same)[: len(spans)])
    # Groups are far apart, so that one running maximum does for all.
    reach = np.maximum.accumulate(spans.ends + (group << PLACE_BITS)) - (group << PLACE_BITS)
    joins = np.append([False], same & (spans.starts[1:] <= reach[:-1]))[: len(spans)]
    firsts = np.flatnonzero(~joins)
    lasts = np.append(firsts[1:], len(spans))[: len(firsts)] - 1
    documents, starts, ends = spans.documents[firsts], spans.starts[firsts], reach[lasts]
    overlaps = kept[firsts] == ids[documents]
    starts = np.where(overlaps, np.maximum(starts, ends - shift[firsts]), starts)
    return Spans(documents, starts, ends, spans.reasons[firsts])
