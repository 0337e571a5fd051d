"""Signals of which function words occur: hashes of words come in, how many of a short list are among them comes out.
The surprise: one hash table holds the English and the Chinese words, since an ideograph is a word of its own. How large
a share of a text is stop words is measured in `filters.lexicon`."""

from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.catalogue import Values, signal
from filters.segment import Ints
from filters.text import TextView

GOPHER_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, appendix A.1
HAN_STOP_WORDS = ("的", "是", "在", "了", "不", "有", "和", "这")  # ours: what Gopher's eight are for English

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_BITS = 8  # log2 of the slots


@njit(cache=True, nogil=True)
def find_stop_words(
    offsets: Ints, hashes: NDArray[np.uint64], keys: NDArray[np.uint64], flags: Ints, seen: Ints
) -> None:
    """Fills seen[d] with the flags of all words of document d that are in the table; a flag of 0 is an empty slot."""
    for d in range(len(offsets) - 1):
        for w in range(offsets[d], offsets[d + 1]):
            slot = np.int64((hashes[w] * _FACTOR) >> np.uint64(64 - _BITS))
            while flags[slot]:
                if keys[slot] == hashes[w]:
                    seen[d] |= flags[slot]
                    break
                slot = (slot + 1) & ((1 << _BITS) - 1)


@cache
def _table() -> tuple[NDArray[np.uint64], Ints]:
    """Keys and flags by slot; word i of both lists has bit i."""
    words = (*GOPHER_STOP_WORDS, *HAN_STOP_WORDS)
    keys, flags = np.zeros(1 << _BITS, np.uint64), np.zeros(1 << _BITS, np.int64)
    for bit, key in enumerate(TextView(pa.array([" ".join(words)], pa.string())).words.hashes):
        slot = (int(key) * int(_FACTOR) & (1 << 64) - 1) >> 64 - _BITS
        while flags[slot]:
            slot = (slot + 1) % len(keys)
        keys[slot], flags[slot] = key, 1 << bit
    return keys, flags


def stop_words(t: TextView) -> Ints:
    """Which stop words each document holds, as bits; ask for it with t.once, signals share it."""
    seen = np.zeros(len(t), np.int64)
    find_stop_words(t.words.offsets, t.words.hashes, *_table(), seen)
    return seen


@signal
def stop_word_count(t: TextView) -> Values:
    """How many of Gopher's eight English stop words occur; for English only."""
    return np.bitwise_count(t.once(stop_words) & 0xFF).astype(np.float64)


@signal
def han_stop_word_count(t: TextView) -> Values:
    """How many of eight Chinese function words of one ideograph occur (ours); for Chinese only."""
    return np.bitwise_count(t.once(stop_words) >> 8).astype(np.float64)
