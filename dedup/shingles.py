"""Texts in, 64-bit hashes of their shingles out, straight from the UTF-8 bytes. A document's majority script chooses
them: 5 characters without white space where words are not set apart (Han, Kana, Thai, Lao, Burmese, Khmer), else 5
lower-cased words (`\\w+`). A document of 1 to 4 units has one shingle of them all; one without units has none, and so
matches nothing.

Majority: each character of a script without spaces is one unit, each run of other word characters is one unit; the
larger count wins, a tie goes to words. What these are is said in `dedup.characters`. With by_runs each run of one kind
of script counts for itself, see `dedup.runs`.
"""

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from dedup.characters import ASCII_END, CODE, ONE, SPACE_BIT, SPACELESS_BIT, WORD_BIT, character_table, decode
from dedup.hashing import string_buffers
from dedup.runs import CHARACTER_SEED, UNIT, WORD_SEED, run_shingles, shingled

# A page of 60 MB would take 8 bytes of memory per character and the time of 10,000 ordinary documents, and so large a
# set hardly changes by the edits that matter. 1 MiB is a long book; two longer texts are compared by their beginnings.
MAX_BYTES = 1 << 20

_ZERO = np.uint64(0)


def shingle_hashes(
    column: pa.Array, max_bytes: int = MAX_BYTES, by_runs: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Offsets int64[n + 1] and the hashes of all shingles in text order; of a text, the first max_bytes count."""
    data, starts, stops = capped(column, max_bytes)
    offsets = np.zeros(len(column) + 1, np.int64)
    # One hash per byte is the bound; pages of it that are never written are never resident.
    hashes = np.empty(int((stops - starts).sum()) + 1, np.uint64)
    used = _shingle_rows(data, starts, stops, character_table(), by_runs, offsets, hashes)
    return offsets, hashes[:used].copy()


def shingle_sets(
    column: pa.Array, max_bytes: int = MAX_BYTES, by_runs: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Offsets int64[n + 1] and the sorted distinct shingle hashes of each document."""
    offsets, hashes = shingle_hashes(column, max_bytes, by_runs)
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


@njit(cache=True, nogil=True)
def shingle_document(
    data: NDArray[np.uint8], start: int, stop: int, table: NDArray[np.uint32], out: NDArray[np.uint64], at: int
) -> int:
    """Write the shingle hashes of data[start:stop] to out[at:] (room: one per byte, and one) and return their end.

    The units are written first, then replaced in place by the hash of the shingle that begins there.
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
    return shingled(out, at, int(end) - at, CHARACTER_SEED if by_characters else WORD_SEED)


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
        if code < ASCII_END:
            i += ONE
        else:
            code, i = decode(data, i, last)
        info = np.uint64(table[code])
        before, word = word, info >> WORD_BIT & ONE
        k += before & (word ^ ONE)
        unit = (unit + (info & CODE)) * UNIT & (_ZERO - word)
        out[k] = unit
        spaceless = info >> SPACELESS_BIT
        before, run = run, word & (spaceless ^ ONE)
        balance += spaceless - (run & (before ^ ONE))
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
        if code < ASCII_END:
            i += ONE
        else:
            code, i = decode(data, i, last)
        info = np.uint64(table[code])
        out[k] = code
        k += info >> SPACE_BIT & ONE ^ ONE
        spaceless = info >> SPACELESS_BIT
        before, run = run, info >> WORD_BIT & (spaceless ^ ONE)
        balance += spaceless - (run & (before ^ ONE))
    return np.int64(k), np.int64(balance)


@njit(cache=True, nogil=True)
def _shingle_rows(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    table: NDArray[np.uint32],
    by_runs: bool,
    offsets: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> int:
    at = 0
    for row in range(starts.size):
        if by_runs:
            at = run_shingles(data, starts[row], stops[row], table, out, at)
        else:
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


@njit(cache=True, nogil=True)
def copy_runs(
    source: NDArray[np.uint64],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    places: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> None:
    """Copy source[starts[i] : starts[i] + counts[i]] to out[places[i] :] for each i that has a place, not -1."""
    for i in range(starts.size):
        start, place = starts[i], places[i]
        for k in range(counts[i] if place >= 0 else 0):
            out[place + k] = source[start + k]
