"""Shingles of the script runs of a document: UTF-8 bytes in, hashes out, for texts in which two languages share a page.

A run is a longest stretch whose characters of words are all of scripts without spaces, or none of them; what belongs to
no word counts to the run before it, and at the beginning to the first. A run of the first kind gives shingles of five
characters that are no white space, any other of five lower-cased words, one of 1 to 4 units a shingle of them all. A
text with a single run has the same shingles as by its majority script.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.characters import ASCII_END, CODE, ONE, SPACE_BIT, SPACELESS_BIT, WORD_BIT, decode
from dedup.hashing import mix64

SHINGLE = 5
UNIT = np.uint64(0x9FB21C651E98DF25)
WORD_SEED, CHARACTER_SEED = np.uint64(0x8EBC6AF09C88C6E3), np.uint64(0x589965CC75374CC3)
_ZERO = np.uint64(0)
_P1, _P2, _P3, _P4, _P5 = (np.uint64(pow(0xD6E8FEB86659FD93, k, 1 << 64)) for k in range(1, 6))


@njit(cache=True, nogil=True)
def shingled(out: NDArray[np.uint64], at: int, count: int, seed: np.uint64) -> int:
    """Replace the units out[at:at + count] by the hashes of the shingles that begin there, and return their end: a
    polynomial in the units, mixed. The seed's power tells lengths apart, the seed the two kinds of unit."""
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
def run_shingles(
    data: NDArray[np.uint8], start: int, stop: int, table: NDArray[np.uint32], out: NDArray[np.uint64], at: int
) -> int:
    """Write the shingle hashes of data[start:stop] to out[at:] (room: one per byte, and one) and return their end."""
    i, last = np.uint64(start), np.uint64(stop)
    first = k = at  # of the run, and of the next unit
    begun, characters, unit, in_word = False, True, _ZERO, False
    while i < last:
        code = np.uint64(data[i])
        if code < ASCII_END:
            i += ONE
        else:
            code, i = decode(data, i, last)
        info = np.uint64(table[code])
        spaceless, word = info >> SPACELESS_BIT > _ZERO, info >> WORD_BIT & ONE > _ZERO
        if (spaceless or word) and not (begun and spaceless == characters):
            if in_word:
                out[k], unit, in_word = unit, _ZERO, False
                k += 1
            if begun:
                first = k = int(shingled(out, first, k - first, CHARACTER_SEED if characters else WORD_SEED))
            elif not spaceless:
                k = first
            begun, characters = True, bool(spaceless)
        if characters:
            out[k] = code
            k += int(np.int64(info >> SPACE_BIT & ONE ^ ONE))
        elif word:
            unit, in_word = (unit + (info & CODE)) * UNIT, True
        elif in_word:
            out[k], unit, in_word = unit, _ZERO, False
            k += 1
    if in_word:
        out[k] = unit
        k += 1
    return shingled(out, first, k - first, CHARACTER_SEED if characters else WORD_SEED) if begun else at
