"""Encoding: texts in, token ids out, and back byte for byte. The ids are SentencePiece's own, several times as fast.

The one difference is U+2581, which SentencePiece takes for a space: it is written as its three byte pieces. Models that
normalise, or are no plain BPE with byte pieces, are left to the library, and their texts may come back changed.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from sentencepiece import SentencePieceProcessor

from dedup.hashing import string_buffers
from tokenizer.merge import encode
from tokenizer.model import BYTE, read_model
from tokenizer.pairs import tables

WHOLE_BYTES = 1 << 22  # what the library is given at once: its time grows faster than its input


def char_start(text: bytes | memoryview, end: int) -> int:
    """The last place up to `end` where a character of a UTF-8 text starts or the text ends."""
    if end >= len(text):
        return len(text)
    while text[end] & 0xC0 == 0x80:
        end -= 1
    return end


class Tokenizer:
    """A SentencePiece model, opened for encoding; see tokenizer.opened.Encoder.

    exact: every text comes back byte for byte. A dummy prefix is added and taken away here, so it does not stand in the
    way.
    """

    def __init__(self, model: bytes) -> None:
        read = read_model(model)
        self.digest, self.exact, self.eod = read.digest, read.exact, read.eod
        self.size = len(read.pieces)
        self.dtype = np.dtype(np.uint16 if self.size <= 1 << 16 else np.uint32)
        self.byte_ids = np.array([i for i, piece in enumerate(read.pieces) if piece.type == BYTE], self.dtype)
        self.forced = 0  # cuts at places that are not proven safe, so far
        self._prefix = read.exact and read.dummy_prefix
        self._spellings = [piece.bytes() for piece in read.pieces]
        if read.exact:
            self._tables = tables(read.pieces)
            self._lead = int(self._tables.symbols[ord(" ")]) if self._prefix else -1
        else:
            self._model = SentencePieceProcessor(model_proto=model)

    def encode(self, text: bytes) -> np.ndarray:
        """Token ids of one text, without the end of document."""
        return self._encode(np.frombuffer(text, np.uint8), np.array([0, len(text)]))[0][:-1]

    def encode_documents(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a string column, each text with its end of document, and int64[n + 1] offsets into them."""
        return self._encode(*string_buffers(texts))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some ids; control pieces have none."""
        numbers = np.asarray(ids, np.int64).tolist()
        if not self.exact:
            return str(self._model.decode(numbers)) if numbers else ""
        text = b"".join(map(self._spellings.__getitem__, numbers))
        return text.removeprefix(b" " if self._prefix else b"").decode(errors="replace")

    def _encode(self, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.exact:
            return self._encode_whole(data, offsets)
        t = self._tables
        # No text has more ids than bytes, but for its end and what is put before it.
        ids = np.empty(offsets[-1] - offsets[0] + 2 * len(offsets), np.int32)
        ends = np.zeros(len(offsets), np.int64)
        self.forced += encode(
            data,
            offsets,
            t.symbols,
            t.keys,
            t.values,
            t.ascii,
            t.byte_ids,
            t.size,
            t.words,
            t.known,
            self._lead,
            self.eod,
            ids,
            ends,
        )
        return ids[: ends[-1]].astype(self.dtype), ends

    def _encode_whole(self, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        view, bounds, documents = data.data, offsets.tolist(), []
        for a, b in zip(bounds, bounds[1:], strict=False):
            parts = (self._model.encode(part.decode(), return_type="numpy") for part in self._parts(bytes(view[a:b])))
            documents.append(np.concatenate([*parts, [self.eod]]).astype(self.dtype))
        ids = np.concatenate([np.zeros(0, self.dtype), *documents])
        return ids, np.cumsum([0, *map(len, documents)])

    def _parts(self, text: bytes) -> Iterator[bytes]:
        """The text in one part, or cut after each 4 MiB."""
        start = 0
        while len(text) - start > WHOLE_BYTES:
            end = char_start(text, start + WHOLE_BYTES)
            yield text[start:end]
            start = end
            self.forced += 1
        yield text[start:]
