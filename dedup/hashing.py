"""Hashes of keys, spans and texts: bytes and Arrow string columns in, unsigned integers out. `content_hash` and `route`
are BLAKE2b and may be stored for ever; `mix64` and `hash_span` are quick kernels, good against accident, not against
malice. Where a text is asked for "normalised", all its white space is gone: "中 文" equals "中文".
"""

import hashlib
import re
import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

PARTITION_BITS = 10
_MULTIPLIER = np.uint64(0x9FB21C651E98DF25)
_ONE = np.uint64(1)
_WIDE = re.compile("[\u3000\uff00-\uffef]+")
_LONG_RUN = 64  # combining marks; the interpreter puts n of them in order in n² steps


@njit(cache=True, nogil=True)
def mix64(x: np.uint64) -> np.uint64:
    """Bijective finaliser of 64 bits (splitmix64, variant 13 of Stafford): each input bit reaches each output bit."""
    x = np.uint64(x)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def hash_span(data: NDArray[np.uint8], start: int, stop: int, seed: np.uint64) -> np.uint64:
    """64-bit hash of data[start:stop]: a polynomial in the bytes, then `mix64`."""
    h = np.uint64(seed)
    for i in range(start, stop):
        h = (h + np.uint64(data[i]) + _ONE) * _MULTIPLIER
    return mix64(h)


@njit(cache=True, nogil=True)
def _hash_rows(data: NDArray[np.uint8], offsets: NDArray[np.int64], seed: np.uint64, out: NDArray[np.uint64]) -> None:
    for row in range(out.size):
        out[row] = hash_span(data, offsets[row], offsets[row + 1], seed)


def hash64(column: pa.Array, seed: int = 0) -> NDArray[np.uint64]:
    """Quick 64-bit hash of each text's UTF-8 bytes."""
    data, offsets = string_buffers(column)
    out = np.empty(len(column), np.uint64)
    _hash_rows(data, offsets, np.uint64(seed), out)
    return out


def route(key: str | bytes) -> int:
    """64-bit hash (first 8 bytes of BLAKE2b, big-endian) by which the rows that belong to a shard's key travel."""
    raw = key.encode() if isinstance(key, str) else key
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")


def partition(hashes: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Row group (0..1023) of each hash in a side file: its top 10 bits."""
    return (np.asarray(hashes, np.uint64) >> np.uint64(64 - PARTITION_BITS)).astype(np.uint16)


def content_hash(column: pa.Array, normalise: bool = False) -> NDArray[np.uint64]:
    """128-bit BLAKE2b of each text, uint64[n, 2] whose row order is the byte order of the digests.

    Normalised: full-width and half-width forms become the ordinary character, then NFC, then all white space is
    removed (typesetters put spaces between Han and Latin or leave them out). Case and everything else stay.
    """
    if normalise:
        texts = (_normalise(text).encode() for text in column.to_pylist())
        digests = [hashlib.blake2b(text, digest_size=16).digest() for text in texts]
    else:
        data, offsets = string_buffers(column)
        view, bounds = data.data, offsets.tolist()
        spans = zip(bounds, bounds[1:], strict=False)
        digests = [hashlib.blake2b(view[a:b], digest_size=16).digest() for a, b in spans]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)


def _normalise(text: str) -> str:
    narrow = _WIDE.sub(lambda match: match[0].translate(_width_table()), text)
    return "".join(unicodedata.normalize("NFC", _long_runs().sub(_in_order, narrow)).split())


@cache
def _long_runs() -> re.Pattern[str]:
    """Many characters in a row that are combining marks, or made of them alone as U+0F73 is."""
    every = ((code, unicodedata.normalize("NFD", chr(code))) for code in range(0x110000))
    marks = "".join(chr(code) for code, parts in every if all(map(unicodedata.combining, parts)))
    return re.compile(f"[{marks}]{{{_LONG_RUN},}}")


def _in_order(run: re.Match[str]) -> str:
    """Marks in canonical order (Unicode, section 3.11), in n log n steps."""
    parts = "".join(unicodedata.normalize("NFD", mark) for mark in run[0])
    return "".join(sorted(parts, key=unicodedata.combining))


@cache
def _width_table() -> dict[int, str]:
    """Full-width and half-width forms (U+FF00 block and U+3000): their <wide> or <narrow> decomposition."""
    table = {}
    for code in (0x3000, *range(0xFF00, 0xFFF0)):
        kind, _, target = unicodedata.decomposition(chr(code)).partition(" ")
        if kind in ("<wide>", "<narrow>"):
            table[code] = chr(int(target, 16))
    return table


def string_buffers(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The UTF-8 bytes of a string column without a copy, and int64[n + 1] offsets into them; slices are honoured."""
    if pa.types.is_string(column.type):
        kind, size = "i4", 4
    elif pa.types.is_large_string(column.type):
        kind, size = "i8", 8
    else:
        raise TypeError(f"expected a string column, got {column.type}")
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} texts are null")
    _, bounds, values = column.buffers()
    offsets = np.zeros(len(column) + 1, np.int64)
    if len(column) and bounds is not None:
        offsets[:] = np.frombuffer(bounds, kind, len(column) + 1, column.offset * size)
    data = np.frombuffer(values if values is not None else b"", np.uint8)
    data.flags.writeable = False  # whatever the buffer came from, one type and so one compilation of each kernel
    return data, offsets
