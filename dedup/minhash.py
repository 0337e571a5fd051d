"""Texts in, MinHash signatures, band hashes and detection probabilities out. Each permutation of 32 bits is
`(x ^ mask) * odd` of the low half of the 64-bit shingle hash: as good as independent permutations there, because the
input is already a random-looking hash, and cheap, because eight or sixteen go through one vector register. A document
without shingles has no signature: it is False in the second result, and its row must be left out.
"""

from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from dedup.characters import character_table
from dedup.hashing import mix64
from dedup.runs import run_shingles
from dedup.shingles import MAX_BYTES, capped, shingle_document

SKETCH_BITS = 96  # any preset has as many permutations
_BLOCK = 2048  # shingles that stay in the first-level cache while all permutations pass over them
_WEYL = 0x9E3779B97F4A7C15
_STEP = np.uint64(_WEYL)


def signatures(
    column: pa.Array, permutations: int = 126, seed: int = 1, max_bytes: int = MAX_BYTES, by_runs: bool = False
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """MinHash signatures uint32[n, permutations], and bool[n]: whether the document has shingles at all."""
    data, starts, stops = capped(column, max_bytes)
    masks, factors = _permutations(permutations, seed)
    values = np.empty((len(column), permutations), np.uint32)
    scratch = np.empty(int((stops - starts).max(initial=0)) + 1, np.uint64)
    filled = np.empty(len(column), np.bool_)
    _sign_rows(data, starts, stops, character_table(), by_runs, masks, factors, scratch, values, filled)
    return values, filled


def band_hashes(values: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """Hash of each band uint64[n, bands], the band's number mixed in; surplus permutations are not used."""
    if values.shape[1] < bands * rows:
        raise ValueError(f"{bands} bands of {rows} rows need {bands * rows} permutations, not {values.shape[1]}")
    out = np.empty((len(values), bands), np.uint64)
    _band_rows(np.ascontiguousarray(values), rows, out)
    return out


def sketches(values: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One bit of each of the first SKETCH_BITS values, uint64[n, 2]: equal values have equal bits, others in half of
    the cases, so that two documents of Jaccard s share (1 + s) / 2 of their bits (b-bit MinHash, Li & König 2010)."""
    if values.shape[1] < SKETCH_BITS:
        raise ValueError(f"a sketch needs {SKETCH_BITS} permutations, not {values.shape[1]}")
    # The values are minima, so their high bits are zero; the product brings all bits to the top.
    bits = values[:, :SKETCH_BITS] * np.uint32(0x9E3779B1) >= np.uint32(1 << 31)
    packed = np.zeros((len(values), 16), np.uint8)
    packed[:, : SKETCH_BITS // 8] = np.packbits(bits, axis=1, bitorder="little")
    return packed.view("<u8")


def estimate(sketch: NDArray[np.uint64], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Estimated Jaccard of rows left[i] and right[i] of sketches; its standard deviation is below 0.1."""
    differing = np.bitwise_count(sketch[left] ^ sketch[right]).sum(axis=1, dtype=np.int64)
    return 1.0 - 2.0 * differing / SKETCH_BITS


def detection(similarity: float, bands: int, rows: int) -> float:
    """Probability that two documents of this Jaccard similarity share a band."""
    return 1.0 - (1.0 - similarity**rows) ** bands


@cache
def _permutations(count: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Masks and odd factors of the permutations: the halves of a splitmix64 sequence that starts at the mixed seed."""
    start = int(mix64(np.uint64(seed)))
    words = [int(mix64(np.uint64((start + i * _WEYL) % (1 << 64)))) for i in range(1, count + 1)]
    masks = np.array([word & 0xFFFFFFFF for word in words], np.uint32)
    factors = np.array([word >> 32 | 1 for word in words], np.uint32)
    return masks, factors


@njit(cache=True, nogil=True)
def _sign_rows(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    table: NDArray[np.uint32],
    by_runs: bool,
    masks: NDArray[np.uint32],
    factors: NDArray[np.uint32],
    scratch: NDArray[np.uint64],
    values: NDArray[np.uint32],
    filled: NDArray[np.bool_],
) -> None:
    """Shingle a document into scratch, then take the minima block by block: the inner loop is one vector reduction."""
    block = np.empty(_BLOCK, np.uint32)
    for row in range(starts.size):
        if by_runs:
            count = run_shingles(data, starts[row], stops[row], table, scratch, 0)
        else:
            count = shingle_document(data, starts[row], stops[row], table, scratch, 0)
        filled[row] = count > 0
        values[row, :] = np.uint32(0xFFFFFFFF)
        for first in range(0, count, _BLOCK):
            size = min(_BLOCK, count - first)
            for i in range(size):
                block[i] = np.uint32(scratch[first + i])
            for j in range(masks.size):
                mask, factor, least = masks[j], factors[j], values[row, j]
                for i in range(size):
                    least = min(least, np.uint32((block[i] ^ mask) * factor))
                values[row, j] = least


@njit(cache=True, nogil=True)
def _band_rows(values: NDArray[np.uint32], rows: int, out: NDArray[np.uint64]) -> None:
    for document in range(out.shape[0]):
        for band in range(out.shape[1]):
            h = np.uint64(band)
            for row in range(band * rows, (band + 1) * rows):
                h = mix64(h + _STEP) ^ np.uint64(values[document, row])
            out[document, band] = mix64(h + _STEP)
