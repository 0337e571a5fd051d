"""Windows of texts by anchor: units (bytes or code points) in, stretches of consecutive windows that share one out.

A window's anchor is the stretch of `length // 4` units in it with the lowest hash, the first of equals; it depends on
the window alone, so equal windows meet.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.hashing import mix64

Ints = NDArray[np.int64]
Units = NDArray[np.uint8] | NDArray[np.uint32]

BASE = np.uint64(0x9FB21C651E98DF25)
ONE = np.uint64(1)
# Where text repeats itself so soon, as a line of dashes does, every window would have an anchor of its own: see `_cut`.
PERIOD = 16
MIN_LENGTH, MAX_LENGTH = 8, 4096


class Stretches(NamedTuple):
    """Consecutive windows with one anchor, n of them; places count units of all texts, one after the other."""

    keys: NDArray[np.uint64]  # hash of the anchor
    documents: Ints
    starts: Ints  # first unit of the first window
    stops: Ints  # last unit of the last window, and one
    anchors: Ints  # first unit of the anchor


def longest(length: int) -> int:
    """Units of the longest stretch: as many windows as there are places for the anchor in one."""
    return 2 * length - length // 4


def cut_windows(units: Units, offsets: Ints, length: int) -> tuple[Stretches, int]:
    """(the windows of `length` units of all texts, units[offsets[d]:offsets[d + 1]], by anchor; windows left out, since
    they go on with what repeats itself within PERIOD units)."""
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise ValueError(f"a passage must have {MIN_LENGTH} to {MAX_LENGTH} units, not {length}")
    room = int(offsets[-1] - offsets[0]) + 1  # pages that are never written are never resident
    keys, out = np.empty(room, np.uint64), np.empty((room, 4), np.int64)
    count, periodic = _cut(units, offsets, length, length // 4, keys, out)
    return Stretches(keys[:count].copy(), *(column.copy() for column in out[:count].T)), periodic


@njit(cache=True, nogil=True)
def _cut(units: Units, offsets: Ints, length: int, gram: int, keys: NDArray[np.uint64], out: Ints) -> tuple[int, int]:
    """Fills keys and out (document, start, stop, anchor); returns how many, and the windows left out."""
    ring = 1
    while ring < length:
        ring *= 2
    places, values = np.empty(ring, np.int64), np.empty(ring, np.uint64)  # the lowest from each place on
    power = ONE
    for _ in range(gram - 1):
        power *= BASE
    n = periodic = 0
    for d in range(len(offsets) - 1):
        stop = offsets[d + 1]
        if stop - offsets[d] < length:
            continue
        h = np.uint64(0)
        for i in range(offsets[d], offsets[d] + gram - 1):
            h = h * BASE + np.uint64(units[i]) + ONE
        head = tail = 0
        begin = offsets[d]
        anchor = before = -1
        key = key_before = np.uint64(0)
        for i in range(offsets[d], stop - gram + 2):
            last = i == stop - gram + 1
            if not last:
                h = h * BASE + np.uint64(units[i + gram - 1]) + ONE
                value = mix64(h)
                h -= (np.uint64(units[i]) + ONE) * power
                while tail > head and values[(tail - 1) & (ring - 1)] > value:
                    tail -= 1
                places[tail & (ring - 1)], values[tail & (ring - 1)] = i, value
                tail += 1
            window = i - (length - gram)
            if window < offsets[d]:
                continue
            if not last and places[head & (ring - 1)] < window:
                head += 1
            if anchor == -1:
                anchor, key = places[head & (ring - 1)], values[head & (ring - 1)]
            elif last or places[head & (ring - 1)] != anchor:
                step = anchor - before
                if (
                    before >= 0
                    and key == key_before
                    and step < PERIOD
                    and _repeats(units, begin, window - 1 + length, step)
                ):
                    periodic += window - begin
                else:
                    keys[n] = mix64(key)  # lowest values are no even spread
                    out[n, 0], out[n, 1], out[n, 2], out[n, 3] = d, begin, window - 1 + length, anchor
                    n += 1
                before, key_before, begin = anchor, key, window
                anchor, key = places[head & (ring - 1)], values[head & (ring - 1)]
    return n, periodic


@njit(cache=True, nogil=True)
def _repeats(units: Units, start: int, stop: int, step: int) -> bool:
    """Whether each unit is that of `step` units before."""
    for i in range(start + step, stop):
        if units[i] != units[i - step]:
            return False
    return True


@njit(cache=True, nogil=True)
def copy_stretches(data: NDArray[np.uint8], starts: Ints, sizes: Ints, out: NDArray[np.uint8], places: Ints) -> None:
    """Fills sizes[i] bytes of out from places[i] on with those of data from starts[i] on."""
    for i in range(len(starts)):
        shift = starts[i] - places[i]
        for j in range(places[i], places[i] + sizes[i]):
            out[j] = data[j + shift]
