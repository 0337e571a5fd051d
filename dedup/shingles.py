"""Texts in, 64-bit hashes of their shingles out, straight from the UTF-8 bytes. A document's majority script chooses
them: 5 characters without white space where words are not set apart (Han, Kana, Thai, Lao, Burmese, Khmer), else 5
lower-cased words (`\\w+`). A document of 1 to 4 units has one shingle of them all; one without units has none, and so
matches nothing.

Majority: each character of a script without spaces is one unit, each run of other word characters is one unit; the
larger count wins, a tie goes to words. White space, word characters and lower case are Python's (`\\s`, `\\w`,
`str.lower`), so `unicodedata.unidata_version` decides; two letters differ from `str.lower`: U+0130 becomes a plain "i",
and a final sigma is a sigma.
"""

import re
from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from dedup.hashing import mix64, string_buffers

SHINGLE = 5
# A page of 60 MB would take 8 bytes of memory per character and the time of 10,000 ordinary documents, and so large a
# set hardly changes by the edits that matter. 1 MiB is a long book; two longer texts are compared by their beginnings.
MAX_BYTES = 1 << 20

# Unsigned 64 bits throughout: numba would turn a mixture with signed integers into floats.
_ZERO, _ONE, _SIX, _ASCII_END = (np.uint64(x) for x in (0, 1, 6, 0x80))
_LOW10 = np.uint64(0x3FF)
_WORD_BIT, _SPACE_BIT, _SPACELESS_BIT = np.uint64(29), np.uint64(30), np.uint64(31)
_CODE, _CODE_END, _REPLACEMENT = np.uint64(0x1FFFFF), np.uint64(0x110000), np.uint64(0xFFFD)
_UNIT = np.uint64(0x9FB21C651E98DF25)
_WORD_SEED, _CHARACTER_SEED = np.uint64(0x8EBC6AF09C88C6E3), np.uint64(0x589965CC75374CC3)
_P1, _P2, _P3, _P4, _P5 = (np.uint64(pow(0xD6E8FEB86659FD93, k, 1 << 64)) for k in range(1, 6))
_SPACELESS_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han: iteration mark, closing mark, zero
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),  # Han, supplementary planes
)


def shingle_hashes(column: pa.Array, max_bytes: int = MAX_BYTES) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Offsets int64[n + 1] and the hashes of all shingles in text order; of a text, the first max_bytes count."""
    data, starts, stops = capped(column, max_bytes)
    offsets = np.zeros(len(column) + 1, np.int64)
    # One hash per byte is the bound; pages of it that are never written are never resident.
    hashes = np.empty(int((stops - starts).sum()) + 1, np.uint64)
    used = _shingle_rows(data, starts, stops, character_table(), offsets, hashes)
    return offsets, hashes[:used].copy()


def shingle_sets(column: pa.Array, max_bytes: int = MAX_BYTES) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Offsets int64[n + 1] and the sorted distinct shingle hashes of each document."""
    offsets, hashes = shingle_hashes(column, max_bytes)
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        hashes[start:stop].sort()
    used = unique_rows(offsets, hashes)
    return offsets, hashes[:used].copy()


def capped(column: pa.Array, max_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Bytes of a string column with the start and stop of each text, no text longer than max_bytes."""
    data, offsets = string_buffers(column)
    starts, ends = offsets[:-1], offsets[1:]
    stops = np.minimum(ends, starts + max_bytes)
    for row in np.flatnonzero(stops < ends):
        while stops[row] > starts[row] and data[stops[row]] & 0xC0 == 0x80:
            stops[row] -= 1
    return data, starts, stops


@cache
def character_table() -> NDArray[np.uint32]:
    """For each code point: its lower case (21 bits) and the flags word, space, script without spaces."""
    text = "".join(map(chr, range(0x110000)))
    lower = text.replace("\u0130", "i").lower().replace("\u03c2", "\u03c3")
    table = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), np.uint32).copy()
    for bit, pattern in ((_WORD_BIT, r"\w+"), (_SPACE_BIT, r"\s+")):
        for match in re.finditer(pattern, text):
            table[match.start() : match.end()] |= np.uint32(1 << int(bit))
    for first, last in _SPACELESS_RANGES:
        table[first : last + 1] |= np.uint32(1 << int(_SPACELESS_BIT))
    return table


@njit(cache=True, nogil=True)
def shingle_document(
    data: NDArray[np.uint8], start: int, stop: int, table: NDArray[np.uint32], out: NDArray[np.uint64], at: int
) -> int:
    """Write the shingle hashes of data[start:stop] to out[at:] (room: one per byte, and one) and return their end.

    The units are written first, then replaced in place by the hash of the shingle that begins there: a polynomial in
    its units, mixed. The seed's power tells lengths apart, the seed the two kinds of unit.
    """
    high = 0
    for i in range(start, stop, 16):
        high += data[i] >= 0xE3  # Han and Kana begin so; typographic quotes do not
    by_characters = high * 16 * 8 > stop - start  # a guess, so that most texts are read only once
    for _ in range(2):
        if by_characters:
            end, balance = _character_units(data, start, stop, table, out, at)
        else:
            end, balance = _word_units(data, start, stop, table, out, at)
        if by_characters == (balance > 0):
            break
        by_characters = not by_characters
    count = int(end) - at
    seed = _CHARACTER_SEED if by_characters else _WORD_SEED
    for i in range(at, at + count - SHINGLE + 1):
        h = seed * _P5 + out[i] * _P4 + out[i + 1] * _P3 + out[i + 2] * _P2 + out[i + 3] * _P1 + out[i + 4]
        out[i] = mix64(h)
    if count == 0 or count >= SHINGLE:
        return at + max(count - SHINGLE + 1, 0)
    h = seed
    for i in range(at, at + count):
        h = h * _P1 + out[i]
    out[at] = mix64(h)
    return at + 1


@njit(cache=True, nogil=True)
def _word_units(
    data: NDArray[np.uint8], start: int, stop: int, table: NDArray[np.uint32], out: NDArray[np.uint64], at: int
) -> tuple[np.int64, np.int64]:
    """Hash of each word; returns (end, majority balance). No branch at word borders: they cannot be predicted.

    The hash so far is stored at each character, and the position moves on at the first character after a word. All
    arithmetic is unsigned, which also spares the test for negative indices.
    """
    unit, word, run, balance = _ZERO, _ZERO, _ZERO, _ZERO
    i, last, k = np.uint64(start), np.uint64(stop), np.uint64(at)
    while i < last:
        code = np.uint64(data[i])
        if code < _ASCII_END:
            i += _ONE
        else:
            code, i = _decode(data, i, last)
        info = np.uint64(table[code])
        before, word = word, info >> _WORD_BIT & _ONE
        k += before & (word ^ _ONE)
        unit = (unit + (info & _CODE)) * _UNIT & (_ZERO - word)
        out[k] = unit
        spaceless = info >> _SPACELESS_BIT
        before, run = run, word & (spaceless ^ _ONE)
        balance += spaceless - (run & (before ^ _ONE))
    return np.int64(k + word), np.int64(balance)


@njit(cache=True, nogil=True)
def _character_units(
    data: NDArray[np.uint8], start: int, stop: int, table: NDArray[np.uint32], out: NDArray[np.uint64], at: int
) -> tuple[np.int64, np.int64]:
    """Code point of each character that is not white space; returns (end, majority balance)."""
    run, balance = _ZERO, _ZERO
    i, last, k = np.uint64(start), np.uint64(stop), np.uint64(at)
    while i < last:
        code = np.uint64(data[i])
        if code < _ASCII_END:
            i += _ONE
        else:
            code, i = _decode(data, i, last)
        info = np.uint64(table[code])
        out[k] = code
        k += info >> _SPACE_BIT & _ONE ^ _ONE
        spaceless = info >> _SPACELESS_BIT
        before, run = run, info >> _WORD_BIT & (spaceless ^ _ONE)
        balance += spaceless - (run & (before ^ _ONE))
    return np.int64(k), np.int64(balance)


@njit(cache=True, nogil=True)
def _decode(data: NDArray[np.uint8], i: np.uint64, last: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Code point at data[i] (not ASCII) and the next position; below last and the table's end, whatever the bytes."""
    lead = data[i]
    size = np.uint64(2 if lead < 0xE0 else 3 if lead < 0xF0 else 4)
    if i + size > last:
        return _REPLACEMENT, last
    code = np.uint64(lead & 0x1F) << _SIX | np.uint64(data[i + _ONE] & 0x3F)
    if lead < 0xE0:
        return code, i + size
    code = (code & _LOW10) << _SIX | np.uint64(data[i + np.uint64(2)] & 0x3F)
    if lead < 0xF0:
        return code, i + size
    code = code << _SIX | np.uint64(data[i + np.uint64(3)] & 0x3F)
    return (code if code < _CODE_END else _REPLACEMENT), i + size


@njit(cache=True, nogil=True)
def _shingle_rows(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    table: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> int:
    at = 0
    for row in range(starts.size):
        at = shingle_document(data, starts[row], stops[row], table, out, at)
        offsets[row + 1] = at
    return at


@njit(cache=True, nogil=True)
def unique_rows(offsets: NDArray[np.int64], hashes: NDArray[np.uint64]) -> int:
    """Drop repeats inside each sorted row, in place (offsets too); returns the number of hashes left."""
    at, start = 0, 0
    for row in range(offsets.size - 1):
        stop, begin = offsets[row + 1], at
        for i in range(start, stop):
            if at == begin or hashes[i] != hashes[at - 1]:
                hashes[at] = hashes[i]
                at += 1
        offsets[row + 1] = at
        start = stop
    return at
