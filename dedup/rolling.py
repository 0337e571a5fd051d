"""Passages that occur twice, found window by window: units of texts (bytes or code points) in, stretches of windows
that share an anchor out; then, of all stretches with one anchor, the windows that occurred before. A window's anchor is
the stretch of `length // 4` units in it with the lowest hash, the first of equals; it depends on the window alone, so
equal windows meet. The surprise: no window is ever looked up by more than one anchor, and no hash decides: units do."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.hashing import mix64

Ints = NDArray[np.int64]
Units = NDArray[np.uint8] | NDArray[np.uint32]

_BASE = np.uint64(0x9FB21C651E98DF25)
_ONE = np.uint64(1)
_HIGH = np.uint64(32)
# Where text repeats itself so soon, as a line of dashes does, every window would have an anchor of its own: see `_cut`.
PERIOD = 16
MIN_LENGTH, MAX_LENGTH = 8, 4096
SLOTS = 1 << 21  # of the table of windows; 12 bytes each
EMPTY = -1
SHORT, CROWDED = -1, -2


class Stretches(NamedTuple):
    """Consecutive windows with one anchor, n of them; places count units of all texts, one after the other."""

    keys: NDArray[np.uint64]  # hash of the anchor
    documents: Ints
    starts: Ints  # first unit of the first window
    stops: Ints  # last unit of the last window, and one
    anchors: Ints  # first unit of the anchor


class Repeats(NamedTuple):
    """Consecutive windows of a stretch that occurred before, in consecutive places of an earlier stretch."""

    rows: Ints
    first: Ints  # number of the first and the last of the windows in the stretch
    last: Ints
    earlier: Ints  # the earlier stretch, of which the windows are those at the same distance from the anchor


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
    power = _ONE
    for _ in range(gram - 1):
        power *= _BASE
    n = periodic = 0
    for d in range(len(offsets) - 1):
        stop = offsets[d + 1]
        if stop - offsets[d] < length:
            continue
        h = np.uint64(0)
        for i in range(offsets[d], offsets[d] + gram - 1):
            h = h * _BASE + np.uint64(units[i]) + _ONE
        head = tail = 0
        begin = offsets[d]
        anchor = before = -1
        key = key_before = np.uint64(0)
        for i in range(offsets[d], stop - gram + 2):
            last = i == stop - gram + 1
            if not last:
                h = h * _BASE + np.uint64(units[i + gram - 1]) + _ONE
                value = mix64(h)
                h -= (np.uint64(units[i]) + _ONE) * power
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


@njit(cache=True, nogil=True)
def utf8_bytes(units: Units, starts: Ints, counts: Ints) -> Ints:
    """Bytes in UTF-8 of counts[i] units from starts[i] on; a unit of one byte is one."""
    out = counts.copy()
    if units.itemsize > 1:
        for i in range(len(starts)):
            for j in range(starts[i], starts[i] + counts[i]):
                out[i] += np.int64(units[j] > 0x7F) + np.int64(units[j] > 0x7FF) + np.int64(units[j] > 0xFFFF)
    return out


def find_repeats(
    units: Units,
    starts: Ints,
    windows: Ints,
    before: Ints,
    documents: Ints,
    order: Ints,
    groups: Ints,
    length: int,
    inside: bool,
    slots: int = SLOTS,
) -> Repeats:
    """The windows that occurred before: stretch r has windows[r] windows from units[starts[r]] on, its anchor before[r]
    units later. order: stretches by anchor, then as they are visited; groups int64[g + 1]: bounds of the anchors in it.
    inside: whether an earlier occurrence in the same document counts; of equal windows the first decides.

    Memory is `slots`: where the different windows of an anchor are more, they are sought in several rounds."""
    rows, tags = np.empty(slots, np.int64), np.empty(slots, np.uint32)
    room = 2 * len(order) + 1024
    while True:
        out = np.empty((room, 4), np.int64)
        used = _find(units, starts, windows, before, documents, order, groups, length, inside, rows, tags, out)
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
    units: Units,
    starts: Ints,
    windows: Ints,
    before: Ints,
    documents: Ints,
    order: Ints,
    groups: Ints,
    length: int,
    inside: bool,
    rows: Ints,
    tags: NDArray[np.uint32],
    out: Ints,
) -> int:
    """Fills out (stretch, first window, last window, earlier stretch) and returns how many, or SHORT."""
    used = 0
    for g in range(len(groups) - 1):
        need = 0
        for r in range(groups[g], groups[g + 1]):
            need += windows[order[r]]
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
                            units, starts, windows, before, documents, order[groups[g] : groups[g + 1]], length, inside,
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
    units: Units,
    starts: Ints,
    windows: Ints,
    before: Ints,
    documents: Ints,
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
    mask = len(rows) - 1
    room = len(rows) * 3 // 4
    power = _ONE
    for _ in range(length - 1):
        power *= _BASE
    filled = 0
    for row in order:
        first, last = max(0, before[row] - farthest + 1), min(windows[row] - 1, before[row] - nearest)
        if first > last:
            continue
        h = np.uint64(0)
        base = starts[row]
        for i in range(base + first, base + first + length - 1):
            h = h * _BASE + np.uint64(units[i]) + _ONE
        run, run_row = -2, -1  # the last window of the run that is open, and its earlier stretch
        for s in range(first, last + 1):
            h = h * _BASE + np.uint64(units[base + s + length - 1]) + _ONE
            mixed = mix64(h + np.uint64(before[row] - s))
            h -= (np.uint64(units[base + s]) + _ONE) * power
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
