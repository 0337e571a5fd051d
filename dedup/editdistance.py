"""Lines that differ by few characters from an earlier line of their text: texts in, the sentences that repeat one out.

Lines are compared that share enough blocks of a few characters, which loses none: an edit breaks one block. Then come
the characters in common as a multiset, and a banded edit distance decides. The surprise: lines that differ in a number,
1 and 2 or 一 and 二, are never similar: in tables, lists and statutes the number is what the line says."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.hashing import mix64
from dedup.sentences import sentences
from dedup.spans import Ints, Spans
from filters.codepoints import ALPHA, CLASSES, DIGIT, HAN, SPACE, TRAITS, decode
from filters.codepoints import NUMERIC as NUMERAL

Bytes = NDArray[np.uint8]
Codes = NDArray[np.int32]

MAX_RATIO = 0.3
MAX_LINES = 20_000  # of a text: later ones are compared with these, so that work per line has an end
_BUCKETS = 256
_ONE = np.uint64(1)
_ORDINAL = ord("第")
_FACTOR = np.uint64(0x9FB21C651E98DF25)


def block_chars(ratio: float, exact_chars: int) -> int:
    """Characters of a block so short that every line has more of them than it may suffer edits, at least 1."""
    shortest = exact_chars + 1
    for chars in range(exact_chars + 1, exact_chars + 200):
        longer = chars
        while longer + 1 - chars <= int(ratio * (longer + 1)):
            longer += 1
        shortest = min(shortest, chars // (int(ratio * longer) + 1))
    return max(shortest, 1)


@njit(cache=True, nogil=True)
def edit_distance(a: Codes, b: Codes, limit: int, rows: NDArray[np.int32]) -> int:
    """Levenshtein distance of two texts, or limit + 1 where it is larger; rows int32[2, len(b) + 1] is room to work."""
    n, m = len(a), len(b)
    if abs(n - m) > limit:
        return limit + 1
    before, now = rows[0], rows[1]
    for j in range(min(m, limit) + 1):
        before[j] = j
    for i in range(1, n + 1):
        low, high = max(1, i - limit), min(m, i + limit)
        now[low - 1] = i if low == 1 else limit + 1
        best = now[low - 1]
        for j in range(low, high + 1):
            value = before[j - 1] + (a[i - 1] != b[j - 1])
            if j < i + limit:  # the cell above lies in the band
                value = min(value, before[j] + 1)
            value = min(value, now[j - 1] + 1)
            now[j] = value
            best = min(best, value)
        if best > limit:
            return limit + 1
        before, now = now, before
    return min(before[m], limit + 1)


def similar_lines(
    data: Bytes, offsets: Ints, ratio: float, min_chars: int, exact_chars: int, guard: bool = True
) -> Spans:
    """The sentences and lines of each text, data[offsets[d]:offsets[d + 1]], that repeat an earlier one that stays, in
    bytes of the text.

    ratio: edit distance / characters of the longer line up to which two are similar; where the shorter has at most
    exact_chars characters they must be equal; lines of fewer than min_chars are not looked at. White space at both
    ends of a line does not count. guard: lines without an ideograph, such as code, stay, and so do those that begin
    with a mark, a number or 第 and a number: headings, list items, rows of tables, turns of a dialogue."""
    if not 0 <= ratio <= MAX_RATIO:
        raise ValueError(f"ratio must lie between 0 and {MAX_RATIO}")
    pieces = sentences(data, offsets)
    out = np.empty((len(pieces), 3), np.int64)
    block = block_chars(ratio, exact_chars)
    used = _similar(data, offsets, pieces, ratio, min_chars, exact_chars, guard, block, MAX_LINES, CLASSES, TRAITS, out)
    found = out[:used]
    return Spans(found[:, 0], found[:, 1], found[:, 2], np.zeros(used, np.int64))


@njit(cache=True, nogil=True)
def _similar(
    data: Bytes,
    offsets: Ints,
    pieces: Ints,
    ratio: float,
    min_chars: int,
    exact_chars: int,
    guard: bool,
    block: int,
    max_lines: int,
    classes: Bytes,
    traits: Bytes,
    out: Ints,
) -> int:
    """Fills out (document, start, end) and returns how many."""
    used = p = 0
    common = np.zeros(_BUCKETS, np.int32)
    power = _ONE
    for _ in range(block - 1):
        power *= _FACTOR
    while p < len(pieces):
        d, q = pieces[p, 0], p
        longest = np.int64(0)
        while q < len(pieces) and pieces[q, 0] == d:
            longest = max(longest, pieces[q, 2] - pieces[q, 1])
            q += 1
        codes = np.empty(offsets[d + 1] - offsets[d], np.int32)
        starts, lengths = np.empty(q - p, np.int64), np.empty(q - p, np.int64)
        numerals, hashes = np.empty(q - p, np.uint64), np.empty(q - p, np.uint64)
        size = 4
        while size < 2 * (q - p):
            size *= 2
        table = np.full(size, -1, np.int64)  # of lines that stay, by hash
        # Chains of the blocks of lines that stay, by hash; links and owners are written before they are read.
        slots = 4
        while slots < len(codes) // block:
            slots *= 2
        chains = np.full(slots, -1, np.int64)
        links, owners = np.empty(len(codes) // block + 1, np.int64), np.empty(len(codes) // block + 1, np.int64)
        blocks = kept = end = 0
        counts, touched = np.zeros(q - p, np.int64), np.empty(q - p, np.int64)
        rows = np.empty((0, 0), np.int32)
        for k in range(p, q):
            n, numbers, h = _decode_line(data, pieces[k, 1], pieces[k, 2], codes, end, classes, traits)
            if n < min_chars:
                continue
            begins = pieces[k, 1] == offsets[d] or data[pieces[k, 1] - 1] == 10
            if guard and _guarded(codes[end : end + n], begins, classes, traits):
                continue
            line = codes[end : end + n]
            twin = False
            slot = np.int64(h & np.uint64(size - 1))
            while table[slot] >= 0 and not twin:
                j = table[slot]
                twin = hashes[j] == h and lengths[j] == n and _equal(line, codes[starts[j] : starts[j] + n])
                slot = (slot + 1) & (size - 1)
            if not twin and n > exact_chars and ratio > 0:
                met = 0
                g = np.uint64(0)
                for i in range(n):
                    g = g * _FACTOR + np.uint64(line[i]) + _ONE
                    if i < block - 1:
                        continue
                    b = chains[np.int64(mix64(g) & np.uint64(slots - 1))]
                    g -= (np.uint64(line[i - block + 1]) + _ONE) * power
                    while b >= 0:
                        j = owners[b]
                        if abs(n - lengths[j]) <= int(ratio * max(n, lengths[j])):
                            if counts[j] == 0:
                                touched[met] = j
                                met += 1
                            counts[j] += 1
                        b = links[b]
                for t in range(met):
                    j = touched[t]
                    m, shared = lengths[j], counts[j]
                    counts[j] = 0
                    limit = int(ratio * max(n, m))
                    if twin or numerals[j] != numbers or shared < m // block - limit:
                        continue
                    other = codes[starts[j] : starts[j] + m]
                    if _in_common(line, other, common) < max(n, m) - limit:
                        continue
                    if rows.shape[1] < longest + 1:
                        rows = np.empty((2, longest + 1), np.int32)
                    twin = edit_distance(line, other, limit, rows) <= limit
            if twin:
                out[used, 0], out[used, 1], out[used, 2] = d, pieces[k, 1] - offsets[d], pieces[k, 2] - offsets[d]
                used += 1
                continue
            slot = np.int64(h & np.uint64(size - 1))
            while table[slot] >= 0:
                slot = (slot + 1) & (size - 1)
            table[slot] = kept
            starts[kept], lengths[kept], numerals[kept], hashes[kept] = end, n, numbers, h
            if n > exact_chars and kept < max_lines:
                for first in range(0, n - block + 1, block):
                    g = np.uint64(0)
                    for i in range(first, first + block):
                        g = g * _FACTOR + np.uint64(line[i]) + _ONE
                    slot = np.int64(mix64(g) & np.uint64(slots - 1))
                    owners[blocks], links[blocks] = kept, chains[slot]
                    chains[slot] = blocks
                    blocks += 1
            kept += 1
            end += n
        p = q
    return used


@njit(cache=True, nogil=True)
def _decode_line(
    data: Bytes, start: int, stop: int, codes: Codes, at: int, classes: Bytes, traits: Bytes
) -> tuple[int, np.uint64, np.uint64]:
    """Writes the code points of a line to codes[at:], white space at its ends left out; returns their number, the hash
    of its numerals and that of the line."""
    n = filled = 0  # filled: up to the last character that is no white space
    numbers, h = np.uint64(0), np.uint64(0)
    kept_hash = h
    i = start
    while i < stop:
        code, width = decode(data, i)
        i += width
        space = classes[code] & SPACE != 0
        if space and n == 0:
            continue
        codes[at + n] = code
        n += 1
        h = mix64(h + np.uint64(code) + _ONE)
        if not space:
            filled, kept_hash = n, h
            if traits[code] & NUMERAL or classes[code] & DIGIT:
                numbers = mix64(numbers + np.uint64(code) + _ONE)
    return filled, numbers, kept_hash


@njit(cache=True, nogil=True)
def _guarded(line: Codes, begins: bool, classes: Bytes, traits: Bytes) -> bool:
    """Whether a piece of text that may begin a line is one that recurs on purpose."""
    if begins:
        if classes[line[0]] & ALPHA == 0 or classes[line[0]] & DIGIT or traits[line[0]] & NUMERAL:
            return True
        if line[0] == _ORDINAL and len(line) > 1 and traits[line[1]] & NUMERAL:
            return True
    for code in line:
        if classes[code] & HAN:
            return False
    return True


@njit(cache=True, nogil=True)
def _equal(a: Codes, b: Codes) -> bool:
    for i in range(len(a)):
        if a[i] != b[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _in_common(a: Codes, b: Codes, counts: Codes) -> int:
    """Characters that two lines share as multisets, or more where two fall into one bucket; counts: zeros, before and
    after."""
    for code in a:
        counts[code & (_BUCKETS - 1)] += 1
    shared = 0
    for code in b:
        counts[code & (_BUCKETS - 1)] -= 1
        shared += counts[code & (_BUCKETS - 1)] >= 0
    for code in a:
        counts[code & (_BUCKETS - 1)] = 0
    for code in b:
        counts[code & (_BUCKETS - 1)] = 0
    return shared
