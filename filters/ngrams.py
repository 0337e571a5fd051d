"""The inference of a fastText classifier with hierarchical softmax: ranges of a UTF-8 buffer come in, the label and its
probability go out. The surprise: the hashes of the 2 to 4-grams are rolled, one pass over the bytes for all of them,
which is many times as fast as fastText with the same n-grams. Two habits of fastText are left out: a literal `</s>`
does not end a text, and a word that begins with `__label__` is a word."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

DIM = 16  # length of a vector; a constant, so that loops over it are unrolled
BASIS = np.uint32(2166136261)  # FNV-1a; fastText extends the sign of each byte before the xor
PRIME = np.uint32(16777619)
AFTER_BEGIN = np.uint32(((2166136261 ^ ord("<")) * 16777619) & 0xFFFFFFFF)  # hash of "<", which begins every word
END_OF_WORD = np.uint32(ord(">"))
ONE = np.uint64(1)
LOG_FLOOR = 1e-5  # fastText adds it before each logarithm


class Tables(NamedTuple):
    """The arrays of a model, as the kernels take them."""

    word_hashes: NDArray[np.uint32]  # open addressing; a word is known by its 32-bit hash, its letters are not compared
    word_rows: NDArray[np.uint32]  # 0: empty slot, since row 0 is the end of the text
    bucket_bits: NDArray[np.uint32]  # one bit per n-gram bucket, set if it survived pruning: small enough for the cache
    bucket_rows: NDArray[np.uint16]
    rows: NDArray[np.float32]  # [n, DIM], dequantised
    nodes: NDArray[np.float32]  # [labels - 1, DIM]: node i of the tree, counted from the leaves on, has row i - labels
    left: NDArray[np.int32]  # children of node i; a child below the number of labels is a leaf
    right: NDArray[np.int32]


@njit(cache=True, nogil=True)
def is_space(byte: int) -> bool:
    """What separates words for fastText: ASCII white space and NUL."""
    return byte == 32 or 9 <= byte <= 13 or byte == 0


@njit(cache=True, nogil=True)
def add_features(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    tables: Tables,
    scratch: NDArray[np.uint32],
    hidden: NDArray[np.float32],
) -> int:
    """Adds to hidden the rows of the words and 2 to 4-grams of data[start:end]; returns their number.

    The scratch holds 4 * (end - start) + 8 hashes at least: a word of one byte and its space make 6 n-grams and 1 word.
    """
    # Unsigned indices throughout: numba checks signed ones for being negative.
    i, stop = np.uint64(start), np.uint64(end)
    n = np.uint64(0)  # n-gram hashes at the front of scratch; rows of words come in from its end
    top = np.uint64(len(scratch))
    mask = np.uint32(len(tables.word_hashes) - 1)
    while i < stop:
        if is_space(data[i]):
            i += ONE
            continue
        word, one, two, three = BASIS, AFTER_BEGIN, BASIS, BASIS  # hashes of the word, of its last 1, 2, 3 characters
        seen = 1  # characters, with the "<" before the word
        while i < stop and not is_space(data[i]):
            next1, next2, next3, next4 = BASIS, one, two, three
            while True:
                byte = np.uint32(np.int32(np.int8(data[i])))
                word = np.uint32((word ^ byte) * PRIME)
                next1 = np.uint32((next1 ^ byte) * PRIME)
                next2 = np.uint32((next2 ^ byte) * PRIME)
                next3 = np.uint32((next3 ^ byte) * PRIME)
                next4 = np.uint32((next4 ^ byte) * PRIME)
                i += ONE
                if i >= stop or (data[i] & 0xC0) != 0x80:
                    break
            # Written always, counted only when the word is long enough: no branch to guess wrong.
            scratch[n] = next2
            n += ONE
            scratch[n] = next3
            n += np.uint64(seen > 1)
            scratch[n] = next4
            n += np.uint64(seen > 2)
            one, two, three = next1, next2, next3
            seen += 1
        scratch[n] = np.uint32((one ^ END_OF_WORD) * PRIME)
        n += ONE
        scratch[n] = np.uint32((two ^ END_OF_WORD) * PRIME)
        n += ONE
        scratch[n] = np.uint32((three ^ END_OF_WORD) * PRIME)
        n += np.uint64(seen > 2)
        slot = word & mask
        while tables.word_rows[slot]:
            if tables.word_hashes[slot] == word:
                top -= ONE
                scratch[top] = tables.word_rows[slot]
                break
            slot = (slot + np.uint32(1)) & mask
    found = np.uint64(0)
    buckets = np.uint32(len(tables.bucket_rows))
    for k in range(n):
        bucket = np.uint32(scratch[k] % buckets)
        scratch[found] = bucket
        found += np.uint64((tables.bucket_bits[bucket >> np.uint32(5)] >> (bucket & np.uint32(31))) & np.uint32(1))
    for k in range(found):
        row = np.uint64(tables.bucket_rows[scratch[k]])
        for d in range(DIM):
            hidden[d] += tables.rows[row, d]
    for k in range(top, len(scratch)):
        row = np.uint64(scratch[k])
        for d in range(DIM):
            hidden[d] += tables.rows[row, d]
    return len(scratch) - int(top) + int(found)


@njit(cache=True, nogil=True)
def best_label(hidden: NDArray[np.float32], tables: Tables) -> tuple[int, float]:
    """(label, probability) of the most probable leaf: depth first, the likelier child first, hopeless branches cut."""
    labels = len(tables.left) + 1
    nodes = np.empty(labels + 1, np.int64)
    scores = np.empty(labels + 1, np.float64)
    nodes[0], scores[0] = 2 * labels - 2, 0.0
    depth = 1
    best, best_score = 0, -np.inf
    while depth:
        depth -= 1
        node, score = nodes[depth], scores[depth]
        if score <= best_score:
            continue
        if node < labels:
            best, best_score = node, score
            continue
        inner = node - labels
        dot = np.float32(0)
        for d in range(DIM):
            dot += tables.nodes[inner, d] * hidden[d]
        to_right = 1.0 / (1.0 + np.exp(-np.float64(dot)))
        left = tables.left[inner], score + np.log(1.0 - to_right + LOG_FLOOR)
        right = tables.right[inner], score + np.log(to_right + LOG_FLOOR)
        worse, better = (left, right) if to_right > 0.5 else (right, left)
        nodes[depth], scores[depth] = worse
        nodes[depth + 1], scores[depth + 1] = better
        depth += 2
    return best, min(1.0, np.exp(best_score))
