"""Windows of texts that occurred before: stretches with one anchor in, the windows of them that repeat another out.

No window is ever looked up by more than one anchor, and no hash decides: units do.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.hashing import mix64
from dedup.windows import BASE, ONE, Ints, Units

_HIGH = np.uint64(32)
SLOTS = 1 << 21  # of the table of windows; 12 bytes each
EMPTY = -1
SHORT, CROWDED = -1, -2


class Held(NamedTuple):
    """Stretches: r has windows[r] windows from units[starts[r]] on, its anchor before[r] units later."""

    units: Units
    starts: Ints
    windows: Ints
    before: Ints
    documents: Ints


class Repeats(NamedTuple):
    """Consecutive windows of a stretch that occurred before, in consecutive places of an earlier stretch."""

    rows: Ints
    first: Ints  # number of the first and the last of the windows in the stretch
    last: Ints
    earlier: Ints  # the earlier stretch, of which the windows are those at the same distance from the anchor


@njit(cache=True, nogil=True)
def utf8_bytes(units: Units, starts: Ints, counts: Ints) -> Ints:
    """Bytes in UTF-8 of counts[i] units from starts[i] on; a unit of one byte is one."""
    out = counts.copy()
    if units.itemsize > 1:
        for i in range(len(starts)):
            for j in range(starts[i], starts[i] + counts[i]):
                out[i] += np.int64(units[j] > 0x7F) + np.int64(units[j] > 0x7FF) + np.int64(units[j] > 0xFFFF)
    return out


def find_repeats(held: Held, order: Ints, groups: Ints, length: int, inside: bool, slots: int = SLOTS) -> Repeats:
    """The windows of `length` units that occurred before. order: stretches by anchor, then as they are visited; groups
    int64[g + 1]: bounds of the anchors in it. inside: whether an earlier occurrence in the same document counts; of
    equal windows the first decides.

    Memory is `slots`: where the different windows of an anchor are more, they are sought in several rounds."""
    rows, tags = np.empty(slots, np.int64), np.empty(slots, np.uint32)
    room = 2 * len(order) + 1024
    while True:
        out = np.empty((room, 4), np.int64)
        used = _find(held, order, groups, length, inside, rows, tags, out)
        if used != SHORT:
            found = out[:used]
            # Rounds leave the windows of a stretch in several pieces.
            found = found[np.lexsort((found[:, 1], found[:, 0]))]
            joins = (found[1:, [0, 3]] == found[:-1, [0, 3]]).all(axis=1) & (found[1:, 1] == found[:-1, 2] + 1)
            firsts = np.flatnonzero(np.append([True], ~joins)) if used else np.zeros(0, np.int64)
            lasts = np.append(firsts[1:], used) - 1 if used else firsts
            return Repeats(found[firsts, 0], found[firsts, 1], found[lasts, 2], found[firsts, 3])
        room *= 4


@njit(cache=True, nogil=True)
def _find(
    held: Held, order: Ints, groups: Ints, length: int, inside: bool, rows: Ints, tags: NDArray[np.uint32], out: Ints
) -> int:
    """Fills out (stretch, first window, last window, earlier stretch) and returns how many, or SHORT."""
    used = 0
    for g in range(len(groups) - 1):
        need = 0
        for r in range(groups[g], groups[g + 1]):
            need += held.windows[order[r]]
        size = 16
        while size < 2 * need and size < len(rows):
            size *= 2
        # Equal windows have one distance to the anchor and one tag: a round takes `span` distances and some tags.
        span, parts = length, 1
        begin = used
        while True:
            used = begin
            for nearest in range(0, length, span):
                for part in range(parts):
                    if used >= 0:
                        rows[:size] = EMPTY
                        used = _round(
                            held, order[groups[g] : groups[g + 1]], length, inside,
                            nearest, nearest + span, part, parts, rows[:size], tags, used, out,
                        )  # fmt: skip
            if used != CROWDED:
                break
            if span > 1:
                span = (span + 1) // 2
            else:
                parts *= 2
        if used == SHORT:
            return SHORT
    return used


@njit(cache=True, nogil=True)
def _round(
    held: Held,
    order: Ints,
    length: int,
    inside: bool,
    nearest: int,
    farthest: int,
    part: int,
    parts: int,
    rows: Ints,
    tags: NDArray[np.uint32],
    used: int,
    out: Ints,
) -> int:
    """The windows of a group that begin [nearest, farthest) units before the anchor; returns the new `used`, or
    SHORT: out is too short, or CROWDED: too many different windows for the table."""
    units, starts, windows, before, documents = held
    mask = len(rows) - 1
    room = len(rows) * 3 // 4
    power = ONE
    for _ in range(length - 1):
        power *= BASE
    filled = 0
    for row in order:
        first, last = max(0, before[row] - farthest + 1), min(windows[row] - 1, before[row] - nearest)
        if first > last:
            continue
        h = np.uint64(0)
        base = starts[row]
        for i in range(base + first, base + first + length - 1):
            h = h * BASE + np.uint64(units[i]) + ONE
        run, run_row = -2, -1  # the last window of the run that is open, and its earlier stretch
        for s in range(first, last + 1):
            h = h * BASE + np.uint64(units[base + s + length - 1]) + ONE
            mixed = mix64(h + np.uint64(before[row] - s))
            h -= (np.uint64(units[base + s]) + ONE) * power
            tag = np.uint32(mixed >> _HIGH)
            if parts > 1 and tag % parts != part:
                continue
            slot = np.int64(mixed & np.uint64(mask))
            found = EMPTY
            while rows[slot] != EMPTY:
                other = rows[slot]
                t = s - before[row] + before[other]
                if tags[slot] == tag and 0 <= t < windows[other]:
                    place = starts[other] + t
                    # The window before was the same there: one unit is new.
                    i = length - 1 if run == s - 1 and run_row == other else 0
                    while i < length and units[base + s + i] == units[place + i]:
                        i += 1
                    if i == length:
                        found = other
                        break
                slot = (slot + 1) & mask
            if found == EMPTY:
                if filled == room:
                    return CROWDED
                rows[slot], tags[slot] = row, tag
                filled += 1
            elif inside or documents[found] != documents[row]:
                if run == s - 1 and run_row == found:
                    out[used - 1, 2] = s
                else:
                    if used == len(out):
                        return SHORT
                    out[used, 0], out[used, 1], out[used, 2], out[used, 3] = row, s, s, found
                    used += 1
                run, run_row = s, found
    return used
