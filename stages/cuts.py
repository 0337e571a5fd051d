"""Documents from which a stage cuts something: a batch and spans of its texts in; the shorter documents, the list of
cuts that each carries, and the rows of the side file `cuts` out.

Places in lists and rows count code points of the text as it was read, whatever earlier stages cut, so that all rows of
a document, put into what is left, give that text back. The surprise: of a document that goes since too little is left,
or too much was cut, rows tell the places and reasons, but hold no text.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.spans import Spans, compose, cut, in_characters, union
from stages.base import Mapped
from stages.dropped import dropped_rows, nothing_dropped
from stages.schema import CUT, CUTS

SIDE = "cuts"
SHORT, MUCH = "too_short_after_cuts", "too_much_cut"


def limit_rules(min_chars: int, max_cut_ratio: float) -> list[dict[str, object]]:
    """The rule table of a stage that cuts: index 0 and 1 of the column `failed`."""
    one = {"lo": None, "hi": None, "lang": "*", "source": "", "tier": 0}
    short = {"name": SHORT, "signal": SHORT, "lo": float(min_chars)}
    return [one | short, one | {"name": MUCH, "signal": MUCH, "hi": max_cut_ratio}]


def cut_documents(
    batch: pa.RecordBatch,
    spans: Spans,
    reasons: Sequence[str],
    stage: str,
    source: str,
    min_chars: int,
    max_cut_ratio: float,
) -> Mapped:
    """A batch without the spans (bytes of its texts; reasons: their names by number). Of a document that changes at
    least `min_chars` code points must stay, white space at its ends left out, and at most `max_cut_ratio` of its words
    may go."""
    everything = np.ones(batch.num_rows, bool)
    if not len(spans):
        return Mapped(batch, everything, nothing_dropped(), {}, {SIDE: pa.RecordBatch.from_pylist([], schema=CUT)})
    texts, pieces = cut(batch["text"], spans)
    changed = np.unique(spans.documents)
    chars = np.asarray(pc.utf8_length(pc.utf8_trim_whitespace(texts.take(pa.array(changed)))))
    shares = np.zeros(len(changed), np.float32)
    if max_cut_ratio < 1:
        shares = word_shares(batch["text"], changed, spans, pieces)
    short, much = chars < min_chars, shares > np.float32(max_cut_ratio)
    gone = short | much
    keep = everything.copy()
    keep[changed[gone]] = False
    dropped = dropped_rows(
        batch,
        changed[gone],
        stage,
        reason=[SHORT if few else MUCH for few in short[gone]],
        value=np.where(short, chars, shares)[gone].tolist(),
        lo=[float(min_chars) if few else None for few in short[gone]],
        hi=[None if few else max_cut_ratio for few in short[gone]],
        failed=[
            [number for number, failed in enumerate(pair) if failed] for pair in np.column_stack((short, much))[gone]
        ],
    )
    lists, rows = kept_cuts(batch, spans, pieces, keep, reasons)
    stays = keep[spans.documents]
    counters: dict[str, int] = {}
    languages = batch["lang"].to_pylist()
    # Rows of one language and reason, summed: document by document would be slow.
    for number in np.unique(spans.reasons).tolist():
        sizes = np.bincount(
            spans.documents[stays & (spans.reasons == number)],
            spans.lengths[stays & (spans.reasons == number)],
            batch.num_rows,
        )
        for row in np.flatnonzero(sizes).tolist():
            name = f"cut/{source}/{languages[row]}/bytes/{reasons[number]}"
            counters[name] = counters.get(name, 0) + int(sizes[row])
    columns = {"text": texts, "cuts": lists}
    changed_batch = pa.record_batch([columns.get(n, batch[n]) for n in batch.schema.names], schema=batch.schema)
    return Mapped(changed_batch, keep, dropped, counters, {SIDE: rows})


def word_shares(column: pa.Array, changed: np.ndarray, spans: Spans, pieces: pa.Array) -> np.ndarray:
    """Words of what is cut / words of the text, at most 1, float32 for each changed document; 0 without words."""
    from filters.text import TextView  # its tables take 0.3 s, and few recipes limit what may be cut

    cut_words = np.bincount(spans.documents, TextView(pieces).words.per_doc, len(column))[changed]
    words = TextView(column.take(pa.array(changed))).words.per_doc
    # A span may end inside a word, which then counts on both sides.
    return np.minimum(np.divide(cut_words, words, out=np.zeros(len(changed)), where=words > 0), 1).astype(np.float32)


def kept_cuts(
    batch: pa.RecordBatch, spans: Spans, pieces: pa.Array, keep: np.ndarray, reasons: Sequence[str]
) -> tuple[pa.Array, pa.RecordBatch]:
    """(the column `cuts` with the spans added, the rows of the side file)."""
    old, names = spans_of(batch["cuts"])
    characters = in_characters(batch["text"], spans)
    shifted = Spans(characters.documents, characters.starts, characters.ends, characters.reasons + len(names))
    composed = compose(old, shifted)
    new = composed.spans
    every = union(old, new)
    labels = pa.array([*names, *reasons], pa.string())
    texts = pieces.take(pa.array(composed.which))
    whole = new.lengths == characters.lengths[composed.which]
    if not whole.all():
        parts = texts.to_pylist()
        for row in np.flatnonzero(~whole).tolist():
            start = int(composed.inside[row])
            parts[row] = parts[row][start : start + int(new.lengths[row])]
        texts = pa.array(parts, pa.string())
    rows = pa.record_batch(
        [
            batch["doc_id"].take(pa.array(new.documents)),
            pa.array(new.starts),
            pa.array(new.ends),
            labels.take(pa.array(new.reasons)),
            pc.if_else(pa.array(keep[new.documents]), texts, pa.scalar(None, pa.string())),
        ],
        schema=CUT,
    )
    structs = pa.StructArray.from_arrays(
        [pa.array(every.starts), pa.array(every.ends), labels.take(pa.array(every.reasons))],
        fields=list(CUTS.value_type),
    )
    offsets = np.searchsorted(every.documents, np.arange(batch.num_rows + 1)).astype(np.int32)
    null = np.asarray(pc.is_null(batch["cuts"])) & (np.diff(offsets) == 0)
    lists = pa.ListArray.from_arrays(pa.array(offsets), structs, type=CUTS, mask=pa.array(null))
    return lists, rows


def spans_of(cuts: pa.Array) -> tuple[Spans, list[str]]:
    """The spans of a column `cuts`, and the names of their reasons by number."""
    flat = pc.list_flatten(cuts)
    encoded = flat.field("reason").dictionary_encode()
    columns = [pc.list_parent_indices(cuts), flat.field("start"), flat.field("end"), encoded.indices]
    arrays = [np.asarray(column).astype(np.int64) for column in columns]
    return Spans(*arrays), encoded.dictionary.to_pylist()
