"""Encoding: texts in, token ids out, and back byte for byte. The ids are SentencePiece's own, several times as fast.

SentencePiece's BPE merges neighbours, so two neighbouring characters that stand together in no piece are never joined:
cutting a text between them changes no id. Texts are encoded in such parts, and words of texts with spaces are looked
up. The one difference is U+2581, which SentencePiece takes for a space: it is written as its three byte pieces.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from sentencepiece import SentencePieceProcessor

from dedup.hashing import string_buffers
from tokenizer.model import BYTE, SPACE, read_model, without_prefix

LOWER_BLOCK = SPACE.encode()
BLOCK_BYTES = 1 << 18  # what is taken apart into words at once
PART_BYTES = 1 << 12  # what SentencePiece is given at once: its time grows faster than its input
FORCED_BYTES = 1 << 20  # a run without any safe cut is cut after this much
WHOLE_BYTES = 1 << 22  # the same for models whose cuts cannot be proven safe
WORD_BYTES, WORDS = 32, 1 << 18  # what the cache of words holds
SPACED = 12  # bytes per space up to which looking up words pays
WORD = re.compile(rb" *+[^ ]++| +")
# The same, cut between ASCII letters and other ASCII characters too: "(don't" gives "(", "don", "'", "t".
SHORT_WORD = re.compile(rb" *+[A-Za-z]++(?![\x80-\xff])| *+[\x00-\x1f!-@\[-`{-\x7f]++(?![\x80-\xff])| *+[^ ]++| +")
WINDOW_BYTES = 512


def joined(pieces: Iterable[str]) -> frozenset[str]:
    """Every pair of neighbouring characters inside a piece: no other pair can be merged."""
    return frozenset(piece[i - 1 : i + 1] for piece in pieces for i in range(1, len(piece)))


def word_pattern(pairs: Iterable[str]) -> re.Pattern[bytes] | None:
    """How to take a text apart into words without cutting a pair that a piece joins; None where it cannot be done."""
    pattern = SHORT_WORD
    for pair in pairs:
        left, right = pair[0], pair[1]
        if right == SPACE and left != SPACE:
            return None
        if left != SPACE and left.isascii() and right.isascii() and left.isalpha() != right.isalpha():
            pattern = WORD
    return pattern


def char_start(text: bytes | memoryview, end: int) -> int:
    """The last place up to `end` where a character of a UTF-8 text starts or the text ends."""
    if end >= len(text):
        return len(text)
    while text[end] & 0xC0 == 0x80:
        end -= 1
    return end


class Words(dict[bytes, bytes]):
    """Ids of words, as bytes; those of a word that is not here are computed, and kept if it is short."""

    def __init__(self, encode: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.encode = encode

    def __missing__(self, word: bytes) -> bytes:
        ids = self.encode(word)
        if len(word) <= WORD_BYTES:
            if len(self) >= WORDS:
                self.clear()
            self[word] = ids
        return ids


class Tokenizer:
    """A SentencePiece model, opened for encoding.

    exact: every text comes back byte for byte. A dummy prefix is added and taken away here, so it does not stand in the
    way; models that normalise, or have no byte pieces, are not exact, and their texts are encoded whole.
    """

    def __init__(self, model: bytes) -> None:
        read = read_model(model)
        self.digest, self.exact, self.eod = read.digest, read.exact, read.eod
        self.size = len(read.pieces)
        self.dtype = np.dtype(np.uint16 if self.size <= 1 << 16 else np.uint32)
        self.byte_ids = np.array([i for i, piece in enumerate(read.pieces) if piece.type == BYTE], self.dtype)
        self.forced = 0  # cuts at places that are not proven safe, so far
        self._lead = b" " if read.exact and read.dummy_prefix else b""
        self._model = SentencePieceProcessor(model_proto=without_prefix(model) if self._lead else model)
        self._spellings = [piece.bytes() for piece in read.pieces]
        self._joined = joined(piece.text for piece in read.pieces if piece.spells)
        self._word = word_pattern(self._joined)
        by_byte = {piece.bytes(): i for i, piece in enumerate(read.pieces) if piece.type == BYTE}
        self._block = self._packed([by_byte[bytes([byte])] for byte in LOWER_BLOCK]) if read.exact else b""
        self._end = self._packed([self.eod])
        self._words = Words(self._encode_word)

    def encode(self, text: bytes) -> np.ndarray:
        """Token ids of one text, without the end of document."""
        return np.frombuffer(self._encode(text), self.dtype)

    def encode_documents(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a string column, each text with its end of document, and int64[n + 1] offsets into them."""
        data, offsets = string_buffers(texts)
        view, bounds = data.data, offsets.tolist()
        documents = [self._encode(bytes(view[a:b])) + self._end for a, b in zip(bounds, bounds[1:], strict=False)]
        sizes = [len(document) // self.dtype.itemsize for document in documents]
        return np.frombuffer(b"".join(documents), self.dtype), np.cumsum([0, *sizes])

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some ids; control pieces have none."""
        numbers = np.asarray(ids, np.int64).tolist()
        if not self.exact:
            return str(self._model.decode(numbers)) if numbers else ""
        return b"".join(map(self._spellings.__getitem__, numbers)).removeprefix(self._lead).decode(errors="replace")

    def _encode(self, text: bytes) -> bytes:
        if not self.exact:
            return b"".join(map(self._ids, self._whole(text)))
        if text:
            text = self._lead + text
        if self._word is None or text.count(b" ") * SPACED < len(text):
            return self._encode_word(text)
        blocks = self._cut(text, BLOCK_BYTES)
        return b"".join(b"".join(map(self._words.__getitem__, self._word.findall(block))) for block in blocks)

    def _encode_word(self, word: bytes) -> bytes:
        return self._block.join(
            b"".join(map(self._ids, self._cut(part, PART_BYTES))) for part in word.split(LOWER_BLOCK)
        )

    def _ids(self, text: bytes) -> bytes:
        return self._packed(self._model.encode(text, return_type="numpy"))

    def _packed(self, ids: Sequence[int] | np.ndarray) -> bytes:
        return np.asarray(ids).astype(self.dtype).tobytes()

    def _cut(self, text: bytes, size: int) -> Iterator[bytes]:
        """The text in parts of about `size` bytes; SentencePiece gives the parts the ids that it gives the whole."""
        start = 0
        while len(text) - start > size + size // 2:
            end = self._safe_end(text, start + size)
            yield text[start:end]
            start = end
        yield text[start:]

    def _safe_end(self, text: bytes, start: int) -> int:
        """The first place from `start` on where no piece joins the characters on both sides."""
        while start < len(text) and text[start] & 0xC0 == 0x80:
            start += 1
        left = char_start(text, start - 1)
        limit = min(start + FORCED_BYTES, len(text))
        while left < limit:
            window = text[left : char_start(text, left + WINDOW_BYTES)].decode()
            # A space looks like U+2581 inside; for a real U+2581 this is only more careful than need be.
            inside = window.replace(" ", SPACE)
            for i in range(1, len(window)):
                if inside[i - 1 : i + 1] not in self._joined:
                    return left + len(window[:i].encode())
            if left + len(window.encode()) == len(text):
                return len(text)
            left += len(window[:-1].encode())
        self.forced += 1
        return char_start(text, limit)

    def _whole(self, text: bytes) -> Iterator[bytes]:
        """The text in one part, or cut after each 4 MiB."""
        start = 0
        while len(text) - start > WHOLE_BYTES:
            end = char_start(text, start + WHOLE_BYTES)
            yield text[start:end]
            start = end
            self.forced += 1
        yield text[start:]
