"""Looking up sequences by hash: a state grows by one symbol at a time, so that all prefixes of a text cost one pass.
Sorted hashes and tables of prefixes come in, places and marks go out. The surprise: only hashes are compared. Two
sequences get one 64-bit state by chance with probability 2^-64, so that a look-up among 5 million entries is wrong once
in about 4e12; the hash is no defence against somebody who looks for collisions."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

SEED = np.uint64(0x243F6A8885A308D3)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)

NOTHING, PREFIX, ENTRY = 0, 1, 2  # marks of a prefix table; an entry may also begin a longer one


@njit(cache=True, nogil=True)
def extend(state: np.uint64, symbol: np.uint64) -> np.uint64:
    """The state after one more symbol: a bijection of the state for each symbol, and of the symbol for each state."""
    state = (np.uint64(state) ^ np.uint64(symbol)) * _FACTOR
    return state ^ (state >> _HALF)


@njit(cache=True, nogil=True)
def place_of(hashes: Hashes, wanted: np.uint64) -> int:
    """Index of a hash among sorted ones, or -1."""
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high) >> 1
        if hashes[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < len(hashes) and hashes[low] == wanted else -1


class Prefixes(NamedTuple):
    """All prefixes of some sequences, in an open hash table that is at most half full."""

    states: Hashes  # 0: empty slot
    marks: NDArray[np.uint8]


@njit(cache=True, nogil=True)
def mark_of(table: Prefixes, state: np.uint64) -> int:
    """NOTHING, PREFIX or ENTRY: what the sequence with this state is."""
    mask = np.uint64(len(table.states) - 1)
    slot = state & mask
    while table.states[slot]:
        if table.states[slot] == state:
            return table.marks[slot]
        slot = (slot + np.uint64(1)) & mask
    return NOTHING


def prefixes(sequences: Iterable[Sequence[int]]) -> Prefixes:
    """The table of some sequences of symbols; empty ones are left out."""
    marks: dict[int, int] = {}
    for sequence in sequences:
        state = SEED
        for symbol in sequence:
            state = np.uint64(extend(state, np.uint64(symbol)))  # numba gives a Python integer
            marks.setdefault(int(state), PREFIX)
        if len(sequence):
            marks[int(state)] = ENTRY
    slots = 1 << max(1, (2 * len(marks)).bit_length())
    table = Prefixes(np.zeros(slots, np.uint64), np.zeros(slots, np.uint8))
    for key in sorted(marks):
        slot = key & (slots - 1)
        while table.states[slot]:
            slot = (slot + 1) & (slots - 1)
        table.states[slot], table.marks[slot] = key, marks[key]
    return table
