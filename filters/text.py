"""A batch of documents seen as flat UTF-8 bytes: an Arrow string column comes in, counts per document and flat segments
(words, lines, paragraphs, sentences) come out, each computed on first use and at most once. The surprise: nothing is
copied, so a view is only as good as its bytes are valid UTF-8, which is checked once on entry."""

import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import methodcaller
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters import segment
from filters.codepoints import CLASSES, EXPANSIONS, FOLDS, TRAITS
from filters.segment import Bytes, Ints

# Kernels need about six times the bytes of their view; a batch is measured in pieces of this size, which stay in cache.
PIECE_BYTES = 4 << 20
_LONG = 256  # code points; the interpreter reorders n marks in n² steps
_DELETED = str.maketrans("", "", string.punctuation)

Measured = TypeVar("Measured")


def decomposed(text: str) -> str:
    """NFD of a text, in n log n steps where one letter has any number of marks (Unicode, section 3.11)."""
    if len(text) <= _LONG:
        return unicodedata.normalize("NFD", text)
    parts = "".join(unicodedata.normalize("NFD", c) for c in text)
    runs = groupby(parts, lambda c: unicodedata.combining(c) > 0)
    return "".join("".join(sorted(run, key=unicodedata.combining) if marks else run) for marks, run in runs)


@dataclass(frozen=True)
class Segments:
    """Flat segments of a batch: those of document d are offsets[d] to offsets[d + 1] of the other arrays."""

    offsets: Ints  # int64[n_docs + 1]
    hashes: NDArray[np.uint64]  # [n], of the folded word or of the stripped text
    lengths: NDArray[np.int32]  # [n], code points
    spans: Ints  # int64[n, 2], first and last + 1 byte in the view's data; empty for words

    @property
    def per_doc(self) -> Ints:
        """Segments in each document, int64[n_docs]."""
        return np.diff(self.offsets)

    @property
    def documents(self) -> Ints:
        """The document of each segment, int64[n]."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.per_doc)

    def sum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum over each document's segments, [n_docs]: int64 of integers and booleans, float64 of floats.

        Floats are added document by document: a running sum over the batch would make a value depend on neighbours."""
        if values.dtype.kind == "f":
            return np.bincount(self.documents, values, len(self.offsets) - 1)
        running = np.concatenate((np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)))
        return running[self.offsets[1:]] - running[self.offsets[:-1]]


class TextView:
    """Zero-copy view of an Arrow string column; every segmentation is computed at most once.

    beside: columns next to the text, such as `url`; lists: word and URL lists that a stage has opened, by name."""

    def __init__(
        self,
        column: pa.Array | pa.ChunkedArray,
        beside: Mapping[str, pa.Array] | None = None,
        lists: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if not pa.types.is_string(column.type):
            raise TypeError(f"a text column must be of type string, not {column.type}")
        if column.null_count:
            raise ValueError(f"a text column must not hold nulls, this one has {column.null_count}")
        column.validate(full=True)
        _, offsets, data = column.buffers()
        self.column, self.beside, self.lists = column, beside or {}, lists or {}
        # int32 in the buffer; absent in an empty array that some producers make
        first = np.frombuffer(offsets, np.int32) if offsets else np.zeros(column.offset + 1, np.int32)
        self.offsets: Ints = first[column.offset : column.offset + len(column) + 1].astype(np.int64)
        self.data: Bytes = np.frombuffer(data if data else b"", np.uint8)
        self._memo: dict[Callable[[TextView], Any], Any] = {}

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pieces(self, limit: int = PIECE_BYTES) -> Iterator["TextView"]:
        """Views of consecutive documents, in order, each of at most `limit` bytes or of one document."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.offsets, self.offsets[first] + limit, side="right")) - 1
            last = max(last, first + 1)
            yield self._view(methodcaller("slice", first, last - first))
            first = last

    def take(self, rows: NDArray[np.bool_] | Ints) -> "TextView":
        """A view of some of the documents; their bytes are copied, and measured anew."""
        chosen = pa.array(np.flatnonzero(rows) if rows.dtype == np.bool_ else rows, pa.int64())
        return self._view(methodcaller("take", chosen))

    def _view(self, part: Callable[[pa.Array], pa.Array]) -> "TextView":
        return TextView(part(self.column), {name: part(column) for name, column in self.beside.items()}, self.lists)

    def once(self, measure: Callable[["TextView"], Measured]) -> Measured:
        """measure(self), kept: how kernels outside this module share one result between signals."""
        if measure not in self._memo:
            self._memo[measure] = measure(self)
        return self._memo[measure]

    @cached_property
    def _counts(self) -> Ints:
        out = np.zeros((len(self), segment.COLUMNS), np.int64)
        segment.count_characters(self.data, self.offsets, CLASSES, out)
        return out

    @property
    def chars(self) -> Ints:
        """Code points, int64[n]; like all counts below, from one pass over the bytes."""
        return self._counts[:, segment.CHARS]

    @property
    def alpha(self) -> Ints:
        """Letters of any script, ideographs among them."""
        return self._counts[:, segment.ALPHAS]

    @property
    def digits(self) -> Ints:
        """Digits, full-width ones among them; the ideographs 一二三 are not."""
        return self._counts[:, segment.DIGITS]

    @property
    def han(self) -> Ints:
        """CJK ideographs."""
        return self._counts[:, segment.HANS]

    @property
    def punct(self) -> Ints:
        """Punctuation of any script, and the ASCII symbols."""
        return self._counts[:, segment.PUNCTS]

    @property
    def spaces(self) -> Ints:
        """White space of any kind, newlines among it."""
        return self._counts[:, segment.SPACES]

    @property
    def curly(self) -> Ints:
        """{ and }."""
        return self._counts[:, segment.CURLIES]

    @property
    def symbols(self) -> Ints:
        """Hash marks, and ellipses as three dots or one character."""
        return self._counts[:, segment.SYMBOLS]

    @property
    def raw_words(self) -> Ints:
        """WordPunct tokens (\\w+ or [^\\w\\s]+), each ideograph being one."""
        return self._counts[:, segment.RAW_WORDS]

    @property
    def latin_words(self) -> Ints:
        """Raw words that hold a letter A-Z or a-z."""
        return self._counts[:, segment.LATIN_WORDS]

    @property
    def raw_lines(self) -> Ints:
        """Lines with the blank ones among them; a newline ends a line, it does not begin one."""
        return self._counts[:, segment.RAW_LINES]

    def _room(self) -> tuple[Ints, NDArray[np.uint64], NDArray[np.int32]]:
        """Arrays for as many segments as the bytes could hold (one in two, and one more per document); what a kernel
        leaves untouched takes address space, not memory."""
        most = int(self.offsets[-1] - self.offsets[0]) // 2 + len(self) + 1
        return np.zeros(len(self) + 1, np.int64), np.empty(most, np.uint64), np.empty(most, np.int32)

    @cached_property
    def words(self) -> Segments:
        """RedPajama-V2's normalised words (ASCII punctuation deleted, lower case, NFD, split at white space), except
        that each Han ideograph is a word of its own and, in a stretch with ideographs, other marks delimit."""
        return self._words(split_han=True)

    @cached_property
    def joined_words(self) -> Segments:
        """RedPajama-V2's normalised words: as words, but ideographs neither are words nor part them."""
        return self._words(split_han=False) if self.han.any() else self.words

    def _words(self, split_han: bool) -> Segments:
        ends, hashes, lengths = self._room()
        odd = np.empty((len(hashes), 3), np.int64)
        tables = (CLASSES, TRAITS, FOLDS, EXPANSIONS)
        odds = segment.cut_words(self.data, self.offsets, split_han, *tables, ends, hashes, lengths, odd)
        for word, first, last in odd[:odds]:  # rare: whole words have to be folded, not letters
            text = bytes(self.data[first:last]).decode().translate(_DELETED).lower()
            hashes[word] = segment.hash_of(decomposed(text))
        return Segments(ends, hashes[: ends[-1]], lengths[: ends[-1]], np.empty((0, 2), np.int64))

    @cached_property
    def lines(self) -> Segments:
        """Lines that are not blank, stripped."""
        return self._segments(segment.LINES)

    @cached_property
    def paragraphs(self) -> Segments:
        """Stretches of text between blank lines, stripped."""
        return self._segments(segment.PARAGRAPHS)

    @cached_property
    def sentences(self) -> Segments:
        """RedPajama-V2's sentences, which 。 ！ ？ end too; a newline does not."""
        return self._segments(segment.SENTENCES)

    def _segments(self, mode: int) -> Segments:
        ends, hashes, lengths = self._room()
        spans = np.empty((len(hashes), 2), np.int64)
        segment.cut_segments(self.data, self.offsets, CLASSES, mode, ends, hashes, lengths, spans)
        return Segments(ends, hashes[: ends[-1]], lengths[: ends[-1]], spans[: ends[-1]])

    def starts_with(self, segments: Segments, marks: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which segments (with spans) begin with one of the marks, bool[n]."""
        return self._match(segments, marks, at_end=False)

    def ends_with(self, segments: Segments, marks: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which segments (with spans) end with one of the marks, bool[n]."""
        return self._match(segments, marks, at_end=True)

    def _match(self, segments: Segments, marks: tuple[str, ...], at_end: bool) -> NDArray[np.bool_]:
        start, end = segments.spans[:, 0], segments.spans[:, 1]
        found = np.zeros(len(segments.spans), np.bool_)
        for mark in marks:
            pattern = mark.encode()
            candidates = np.flatnonzero(end - start >= len(pattern))
            first = end[candidates] - len(pattern) if at_end else start[candidates]
            for j, byte in enumerate(pattern):
                same = self.data[first + j] == byte
                candidates, first = candidates[same], first[same]
            found[candidates] = True
        return found
