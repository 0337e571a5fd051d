"""Spans that are cut out of texts: flat arrays of spans of a batch in; texts without them, the pieces cut out and
the spans as places in the first text out. The surprise: a place counts bytes of the text at hand while spans are sought
and cut, and code points of the text as it was read when they are kept. `compose` leads from one to the other past all
earlier cuts, and splits a span inside which an earlier cut lies, so that kept spans never overlap."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

PLACE_BITS = 40  # a document and a place in it make one sortable number; texts are shorter than 2**31 bytes


@dataclass(frozen=True)
class Spans:
    """Spans of a batch's documents, int64[n] each: sorted by document and start, none empty, no two sharing a place."""

    documents: Ints
    starts: Ints
    ends: Ints
    reasons: Ints  # numbers that the caller gives a meaning

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def lengths(self) -> Ints:
        """Bytes or code points of each span."""
        return self.ends - self.starts

    def take(self, rows: NDArray[np.bool_] | Ints) -> "Spans":
        """Some of the spans, in order."""
        return Spans(self.documents[rows], self.starts[rows], self.ends[rows], self.reasons[rows])


def disjoint(documents: Ints, starts: Ints, ends: Ints, reasons: Ints) -> Spans:
    """Any spans in the order of `Spans`, clipped where they overlap: a place belongs to the span that starts first, of
    those that start together to the one with the lowest reason. Overlapping spans of one reason become one span."""
    order = np.lexsort((-ends, reasons, starts, documents))
    documents, starts, ends, reasons = documents[order], starts[order], ends[order], reasons[order]
    base = documents << PLACE_BITS
    covered = np.concatenate((np.zeros(1, np.int64), np.maximum.accumulate(base + ends)))[: len(base)]
    clipped = covered > base + starts
    starts = np.where(clipped, covered - base, starts)
    left = starts < ends
    spans = Spans(documents[left], starts[left], ends[left], reasons[left])
    joins = clipped[left]
    joins[1:] &= (spans.documents[1:] == spans.documents[:-1]) & (spans.reasons[1:] == spans.reasons[:-1])
    joins[1:] &= spans.starts[1:] == spans.ends[:-1]
    joins[:1] = False
    first = np.flatnonzero(~joins)
    last = np.concatenate((first[1:], np.array([len(joins)], np.int64)))[: len(first)] - 1
    return Spans(spans.documents[first], spans.starts[first], spans.ends[last], spans.reasons[first])


def flat(column: pa.Array) -> tuple[Bytes, Ints]:
    """(data, offsets) of a string column: text d is data[offsets[d]:offsets[d + 1]]; nothing is copied but offsets."""
    _, offsets, data = column.buffers()
    found = np.frombuffer(offsets, np.int32) if offsets else np.zeros(column.offset + 1, np.int32)
    part = found[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return np.frombuffer(data or b"", np.uint8), part


def cut(column: pa.Array, spans: Spans) -> tuple[pa.Array, pa.Array]:
    """(texts without the spans, text of each span); spans in bytes that begin and end between characters."""
    data, offsets = flat(column)
    first, last = offsets[spans.documents] + spans.starts, offsets[spans.documents] + spans.ends
    # Every other stretch of the batch's bytes is a span: stretch 2k + 1 is span k.
    bounds = np.concatenate((offsets[:1], np.column_stack((first, last)).ravel(), offsets[-1:]))
    stretches = _strings(bounds, data)
    odd = np.arange(len(bounds) - 1) % 2 == 1
    kept = stretches.filter(pa.array(~odd))
    removed = np.concatenate((np.zeros(1, np.int64), np.cumsum(spans.lengths)))
    ends = offsets - removed[np.searchsorted(spans.documents, np.arange(len(offsets)))] - offsets[0]
    data, bounds = flat(kept)
    return _strings(ends, data[bounds[0] : bounds[-1]]), stretches.filter(pa.array(odd))


def _strings(offsets: Ints, data: Bytes) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)


def in_characters(column: pa.Array, spans: Spans) -> Spans:
    """The same spans, counted in code points instead of bytes."""
    data, offsets = flat(column)
    begins = (data[offsets[0] : offsets[-1]] & 0xC0) != 0x80
    before = np.zeros(len(begins) + 1, np.int32)
    np.cumsum(begins.astype(np.int32), out=before[1:])
    origin = offsets[spans.documents] - offsets[0]
    starts, ends = (before[origin + place] - before[origin] for place in (spans.starts, spans.ends))
    return Spans(spans.documents, starts.astype(np.int64), ends.astype(np.int64), spans.reasons)


@dataclass(frozen=True)
class Composed:
    """New spans as pieces of the first text; piece i begins `inside[i]` characters into the new span `which[i]`."""

    spans: Spans
    which: Ints
    inside: Ints


def compose(old: Spans, new: Spans) -> Composed:
    """`new`, in characters of the texts that are left when `old` is cut out, as spans of the first texts: between the
    earlier cuts, never over them. `old` and the result together are all that is missing."""
    running = np.concatenate((np.zeros(1, np.int64), np.cumsum(old.lengths)))
    documents = np.searchsorted(old.documents, new.documents)  # the first earlier cut of each new span's document
    gone = running[:-1] - running[np.searchsorted(old.documents, old.documents)]
    places = old.starts - gone  # where in the text that was left an earlier cut lies
    keys = (old.documents << PLACE_BITS) + places
    base = new.documents << PLACE_BITS
    first = np.searchsorted(keys, base + new.starts, side="right")
    last = np.maximum(np.searchsorted(keys, base + new.ends, side="left"), first)
    counts = last - first + 1
    which = np.repeat(np.arange(len(new)), counts)
    number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    later = first[which] + number  # the earlier cut that ends the piece, but for the last one
    padded = np.concatenate((places, np.zeros(1, np.int64)))
    starts = np.where(number == 0, new.starts[which], padded[later - 1])
    ends = np.where(number == counts[which] - 1, new.ends[which], padded[later])
    shift = running[later] - running[documents[which]]
    pieces = Spans(new.documents[which], starts + shift, ends + shift, new.reasons[which])
    left = starts < ends
    return Composed(pieces.take(left), which[left], (starts - new.starts[which])[left])


def union(old: Spans, new: Spans) -> Spans:
    """Spans that share no place, in one order."""
    both = [np.concatenate(pair) for pair in zip(_arrays(old), _arrays(new), strict=True)]
    order = np.lexsort((both[1], both[0]))
    return Spans(*(values[order] for values in both))


def _arrays(spans: Spans) -> tuple[Ints, Ints, Ints, Ints]:
    return spans.documents, spans.starts, spans.ends, spans.reasons
