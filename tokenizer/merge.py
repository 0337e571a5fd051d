"""Byte-pair merging over flat UTF-8 bytes: texts and the tables of a vocabulary in, the ids of SentencePiece out.

Merging joins neighbours, so two characters that stand together in no piece never meet: a text falls apart between them,
and its parts, a few characters long, are merged one by one, the best pair first, the left one of equals.
"""

import heapq

import numpy as np
from numba import njit

from tokenizer.pairs import NEVER, WORD_BYTES, WORD_IDS, WORDS, spread, value_of

SHORT = 24  # characters of a part up to which looking through all pairs is quicker than a heap
PART_CHARS = 1 << 20  # a part that is longer is cut, which is counted


@njit(cache=True, nogil=True)
def encode(
    data: np.ndarray,
    offsets: np.ndarray,
    symbols: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    ascii: np.ndarray,
    byte_ids: np.ndarray,
    size: int,
    words: np.ndarray,
    known: np.ndarray,
    lead: int,
    end: int,
    out: np.ndarray,
    ends: np.ndarray,
) -> int:
    """Ids of the documents data[offsets[d]:offsets[d + 1]], each with the id `end`, into `out`; ends[d + 1] is where
    those of a document end. lead: symbol put before each text that is not empty, or -1. Gives the number of cuts."""
    n, cut, mask = 0, 0, np.uint64(len(keys) - 1)
    symbol, at = np.empty(PART_CHARS, np.int32), np.empty(PART_CHARS, np.int64)
    pair, after = np.empty(PART_CHARS, np.int64), np.empty(PART_CHARS, np.int32)
    for d in range(len(offsets) - 1):
        i, stop = offsets[d], offsets[d + 1]
        last, before, count = -1, 0, 0  # symbol and code point before this place, symbols of the part so far
        if lead >= 0 and i < stop:
            symbol[0], at[0], last, before, count = lead, -1, lead, 32, 1
        while True:
            now, code, step = -1, 0, 0
            if i < stop:
                code = int(np.int64(data[i]))
                step = 1 if code < 0x80 else 2 if code < 0xE0 else 3 if code < 0xF0 else 4
                step = min(step, stop - i)
                if step > 1:
                    code &= 0x7F >> step
                    for k in range(i + 1, i + step):
                        code = code << 6 | int(np.int64(data[k] & 0x3F))
                now = int(symbols[code]) if code < len(symbols) else -1
            value = np.int64(-1)
            if last >= 0 and now >= 0:
                if before | code < 128:
                    value = ascii[before << 7 | code]
                else:
                    key = np.uint64(last + 1) << np.uint64(32) | np.uint64(now + 1)
                    slot = spread(key) & mask
                    while keys[slot] != 0:
                        if keys[slot] == key:
                            value = values[slot]
                            break
                        slot = (slot + np.uint64(1)) & mask
            if count and (value < 0 or count == PART_CHARS):
                cut += int(value >= 0)
                start = at[0]
                if count == 1 and symbol[0] < size:
                    out[n] = symbol[0]
                    n += 1
                elif start < 0 or i - start > WORD_BYTES:
                    n = merge(symbol, at, pair, after, count, keys, values, data, byte_ids, size, out, n)
                else:
                    # No part holds a zero byte, so the packed bytes are the part.
                    low, high = np.uint64(0), np.uint64(0)
                    for k in range(start, min(i, start + 8)):
                        low = low << np.uint64(8) | np.uint64(data[k])
                    for k in range(start + 8, i):
                        high = high << np.uint64(8) | np.uint64(data[k])
                    place = spread(low ^ spread(high)) & np.uint64(WORDS - 1)
                    if words[place, 0] == low and words[place, 1] == high:
                        for k in range(known[place, 0]):
                            out[n] = known[place, k + 1]
                            n += 1
                    else:
                        first = n
                        n = merge(symbol, at, pair, after, count, keys, values, data, byte_ids, size, out, n)
                        if n - first <= WORD_IDS:
                            words[place, 0], words[place, 1], known[place, 0] = low, high, n - first
                            for k in range(n - first):
                                known[place, k + 1] = out[first + k]
                count = 0
            if i >= stop:
                break
            if now < 0:
                for k in range(i, i + step):
                    out[n] = byte_ids[data[k]]
                    n += 1
            else:
                if count:
                    pair[count - 1] = value
                symbol[count], at[count] = now, i
                count += 1
            last, before = now, code
            i += step
        out[n] = end
        n += 1
        ends[d + 1] = n
    return cut


@njit(cache=True, nogil=True)
def merge(
    symbol: np.ndarray,
    at: np.ndarray,
    pair: np.ndarray,
    after: np.ndarray,
    count: int,
    keys: np.ndarray,
    values: np.ndarray,
    data: np.ndarray,
    byte_ids: np.ndarray,
    size: int,
    out: np.ndarray,
    n: int,
) -> int:
    """Merge the first `count` symbols, pair[k] being the value of symbols k and k + 1, and write them; gives the new
    length of `out`. at: first byte of each, -1 for one that is not in the text."""
    if count > SHORT:
        count = merge_long(symbol, at, pair, after, count, keys, values)
    else:
        while count > 1:
            best, place = NEVER << 32, -1
            for k in range(count - 1):
                if pair[k] < best:
                    best, place = pair[k], k
            if place < 0:
                break
            symbol[place] = best & 0xFFFFFFFF
            count -= 1
            for k in range(place + 1, count):
                symbol[k], at[k] = symbol[k + 1], at[k + 1]
            for k in range(place, count - 1):
                pair[k] = pair[k + 1]
            if place:
                pair[place - 1] = value_of(keys, values, symbol[place - 1], symbol[place])
            if place < count - 1:
                pair[place] = value_of(keys, values, symbol[place], symbol[place + 1])
    for k in range(count):
        if symbol[k] < size:
            out[n] = symbol[k]
            n += 1
            continue
        # A character that stands in pieces but is none.
        i = at[k]
        byte = data[i]
        for j in range(i, i + (1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)):
            out[n] = byte_ids[data[j]]
            n += 1
    return n


@njit(cache=True, nogil=True)
def merge_long(
    symbol: np.ndarray,
    at: np.ndarray,
    pair: np.ndarray,
    after: np.ndarray,
    count: int,
    keys: np.ndarray,
    values: np.ndarray,
) -> int:
    """Merge many symbols with a heap of pairs, and close the gaps; gives how many are left."""
    before = np.empty(count, np.int32)
    heap = [(np.int64(0), np.int32(0)) for _ in range(0)]
    for k in range(count):
        before[k], after[k] = k - 1, k + 1
        if k < count - 1 and pair[k] < NEVER << 32:
            heap.append((pair[k] >> 32, np.int32(k)))
    heapq.heapify(heap)
    pair[count - 1] = NEVER << 32
    while heap:
        rank, place = heapq.heappop(heap)
        # What was pushed before a neighbour changed has another rank now, or is gone.
        if pair[place] >> 32 != rank:
            continue
        gone = after[place]
        symbol[place] = pair[place] & 0xFFFFFFFF
        follower = after[gone]
        after[place], pair[gone] = follower, NEVER << 32
        if follower < count:
            before[follower] = place
            pair[place] = value_of(keys, values, symbol[place], symbol[follower])
            if pair[place] < NEVER << 32:
                heapq.heappush(heap, (pair[place] >> 32, np.int32(place)))
        else:
            pair[place] = NEVER << 32
        left = before[place]
        if left >= 0:
            pair[left] = value_of(keys, values, symbol[left], symbol[place])
            if pair[left] < NEVER << 32:
                heapq.heappush(heap, (pair[left] >> 32, np.int32(left)))
    kept, k = 0, 0
    while k < count:
        symbol[kept], at[kept] = symbol[k], at[k]
        kept += 1
        k = after[k]
    return kept
