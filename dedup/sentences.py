"""Where sentences begin, Chinese and English alike: spans of texts in, the whole sentences in them out, and texts cut
into sentences. A line break begins one, and so does what follows a stop: at once behind 。！？…, after white space
behind . ! ? The surprise: a border depends on the character behind it and on stops, marks and white space before it,
on nothing else, so that two copies of a passage have the same borders wherever they stand."""

from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from dedup.hashing import string_buffers
from dedup.spans import Ints, Spans, disjoint
from filters.codepoints import CLASSES, SPACE, decode
from filters.text import TextView
from filters.trimming import KEPT, cut_lines

Bytes = NDArray[np.uint8]

STOPS = "。！？｡；…"  # end a sentence wherever they stand
SPACED_STOPS = ".!?"  # with white space behind them: neither in 3.14 nor in a URL
CLOSERS = "\"')]}”’」』）】》"  # belong to the stop before them

NEITHER, STOP, SPACED_STOP, CLOSER = range(4)
_END = 0x10000


def _marks() -> Bytes:
    table = np.zeros(_END, np.uint8)
    for kind, marks in ((STOP, STOPS), (SPACED_STOP, SPACED_STOPS), (CLOSER, CLOSERS)):
        for mark in marks:
            table[ord(mark)] = kind
    return table


MARKS = _marks()
NEWLINE = 10


@njit(cache=True, nogil=True)
def _code_before(data: Bytes, first: int, place: int) -> tuple[Any, int]:
    """(code point that ends at `place`, its first byte); (-1, first) at the beginning."""
    i = place - 1
    while i >= first and data[i] & 0xC0 == 0x80:
        i -= 1
    return (decode(data, i)[0], i) if i >= first else (np.int64(-1), first)


@njit(cache=True, nogil=True)
def is_border(data: Bytes, first: int, stop: int, place: int, classes: Bytes, marks: Bytes) -> bool:
    """Whether a sentence of the text data[first:stop] begins, or the text ends, at `place`."""
    if place == first or place == stop:
        return True
    if data[place] & 0xC0 == 0x80:
        return False
    next_code = decode(data, place)[0]
    code, i = _code_before(data, first, place)
    if code == NEWLINE:
        return next_code != NEWLINE
    if classes[next_code] & SPACE:
        return False
    kind = marks[next_code] if next_code < _END else NEITHER
    spaced = False
    while code >= 0 and code != NEWLINE and classes[code] & SPACE:
        spaced = True
        code, i = _code_before(data, first, i)
    if not spaced and kind != NEITHER:
        return False
    while 0 <= code < _END and marks[code] == CLOSER:
        code, i = _code_before(data, first, i)
    if not 0 <= code < _END:
        return False
    return marks[code] == STOP or (spaced and marks[code] == SPACED_STOP)


def whole_sentences(texts: pa.Array, spans: Spans, whole: bool = True) -> Spans:
    """The longest stretch of whole sentences in each span, in bytes of each text, or with whole = False the longest of
    whole characters; spans without one are left out."""
    changed, rows = np.unique(spans.documents, return_inverse=True)
    data, offsets = string_buffers(texts.take(pa.array(changed)))
    if whole:
        borders = np.append(sentences(data, offsets)[:, 1], offsets[-1])
    else:
        borders = np.append(np.flatnonzero(data[: offsets[-1]] & 0xC0 != 0x80), offsets[-1])
    first, last = offsets[rows] + spans.starts, offsets[rows] + spans.ends
    starts = borders[np.searchsorted(borders, first)] - offsets[rows]
    ends = borders[np.searchsorted(borders, last, side="right") - 1] - offsets[rows]
    left = starts < ends
    return Spans(spans.documents[left], starts[left], ends[left], spans.reasons[left])


def sentences(data: Bytes, offsets: Ints) -> Ints:
    """int64[n, 3]: document, first byte and last byte + 1 of each sentence, which together are the texts."""
    out = np.empty((int(offsets[-1] - offsets[0]) + 1, 3), np.int64)
    return out[: _cut(data, offsets, CLASSES, MARKS, out)].copy()


@njit(cache=True, nogil=True)
def _cut(data: Bytes, offsets: Ints, classes: Bytes, marks: Bytes, out: Ints) -> int:
    n = 0
    for d in range(len(offsets) - 1):
        first, stop = offsets[d], offsets[d + 1]
        begin = i = first
        while i < stop:
            code, width = decode(data, i)
            i += width
            # A border has one of these before it, and most characters are none.
            plain = classes[code] & SPACE == 0 and (code >= _END or marks[code] == NEITHER)
            if i == stop or not plain and is_border(data, first, stop, i, classes, marks):
                out[n, 0], out[n, 1], out[n, 2] = d, begin, i
                n += 1
                begin = i
    return n


def tidy(texts: pa.Array, spans: Spans) -> Spans:
    """What goes when some spans of texts go, in the order of `Spans`: with a line that goes as a whole its line break,
    as when lines are trimmed, and no other break, so that the text that stays has the lines and paragraphs it had.
    Spans may touch; where they overlap the first one counts."""
    spans = disjoint(spans.documents, spans.starts, spans.ends, spans.reasons)
    changed, rows = np.unique(spans.documents, return_inverse=True)
    view = TextView(texts.take(pa.array(changed)))
    begins, ends = view.lines.spans.T
    first, last = view.offsets[rows] + spans.starts, view.offsets[rows] + spans.ends
    lowest = np.searchsorted(ends, first, side="right")
    counts = np.maximum(np.searchsorted(begins, last, side="left") - lowest, 0)
    span = np.repeat(np.arange(len(spans)), counts)
    line = lowest[span] + np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts, stops = np.maximum(first[span], begins[line]), np.minimum(last[span], ends[line])
    whole = np.bincount(line, stops - starts, len(begins)) == ends - begins
    reason = np.full(len(begins), KEPT, np.int64)
    reason[line[::-1]] = spans.reasons[span[::-1]]
    reason[~whole] = KEPT
    out = np.empty((int(whole.sum()), 4), np.int64)
    cut_lines(view.data, view.offsets, view.lines.offsets, view.lines.spans, reason, out)
    part = ~whole[line]
    origin = view.offsets[rows[span[part]]]
    parts = (rows[span[part]], starts[part] - origin, stops[part] - origin, spans.reasons[span[part]])
    row, start, stop, why = (np.concatenate(pair) for pair in zip(out.T, parts, strict=True))
    return disjoint(changed[row], start, stop, why)
