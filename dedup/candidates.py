"""Rows (band hash, content hash, document, sketch) in sorted order in, pairs of documents that share a bucket out. A
member meets the first 32 of its bucket, so a boilerplate bucket of a million costs linear work; what that leaves out is
counted. A pair whose sketches differ too much is counted and not proposed, and never stored. Where a bucket has more
members than that, they are copies of one page or share boilerplate: a member is paired only with the first and with the
nearest of those that it meets, and these must be nearer; nearer still where the representatives themselves mostly are
not near to each other, which tells boilerplate from copies.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.minhash import SKETCH_BITS
from dedup.shingles import unique_rows

REPRESENTATIVES = 32


class Pairs(NamedTuple):
    keys: NDArray[np.uint64]  # later << 32 | earlier, sorted and without repeats
    overflow: int  # members, over all buckets, that met the representatives but not each other
    largest: int  # members of the largest bucket, equal contents counted once
    unlikely: int  # meetings, over all buckets, that are not proposed

    @property
    def later(self) -> NDArray[np.int64]:
        """Document numbers, later > earlier."""
        return (self.keys >> np.uint64(32)).astype(np.int64)

    @property
    def earlier(self) -> NDArray[np.int64]:
        return (self.keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def bucket_pairs(
    bucket: NDArray[np.uint64],
    content: NDArray[np.uint64],
    order: NDArray[np.int64],
    representatives: int = REPRESENTATIVES,
    sketch: NDArray[np.uint64] | None = None,
    most: int = SKETCH_BITS,
    crowded: int = SKETCH_BITS,
    boilerplate: int = SKETCH_BITS,
) -> Pairs:
    """Candidate pairs of documents; row i puts document order[i] (0 is visited first, below 2^32) into bucket[i].

    Rows are sorted by (bucket, content, order). Of documents with one content only the first takes part: the others
    are removed by the exact stage. Sketches uint64[n, 2] that differ in more than `most` bits are no pair; where the
    bucket has more members than `representatives`, `crowd_bits` says in how many. A caller short of memory cuts its
    rows between buckets and calls several times.
    """
    if not len(bucket) == len(content) == len(order):
        raise ValueError("columns of different length")
    if len(order) and not 0 <= int(order.min()) <= int(order.max()) < 1 << 32:
        raise ValueError("document numbers must be in [0, 2^32)")
    edges = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] ^ np.uint64(1), append=bucket[-1:] ^ np.uint64(1)))
    sizes = np.diff(edges)
    full = np.minimum(sizes, representatives)
    bound = int((full * (full - 1) // 2 + (sizes - full) * representatives).sum())
    keys = np.empty(bound, np.uint64)  # pages that are never written are never resident
    members = np.empty(int(sizes.max(initial=0)), np.int64)
    if sketch is None:
        sketch = np.zeros((len(bucket), 2), np.uint64)
    bits = most, crowded, boilerplate
    used, *counts = _bucket_pairs(bucket, content, order, sketch, edges, representatives, bits, members, keys)
    if used < 0:
        raise ValueError("rows are not sorted by (bucket, content, order)")
    keys = keys[:used]
    keys.sort()
    keys = keys[: unique_rows(np.array([0, used]), keys)]
    return Pairs(keys, *map(int, counts))


@njit(cache=True, nogil=True)
def _bucket_pairs(
    bucket: NDArray[np.uint64],
    content: NDArray[np.uint64],
    order: NDArray[np.int64],
    sketch: NDArray[np.uint64],
    edges: NDArray[np.int64],
    limit: int,
    bits: tuple[int, int, int],
    members: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> tuple[int, int, int, int]:
    """Write later << 32 | earlier to keys; returns (written, overflow, largest, unlikely), written = -1: not sorted."""
    first = np.empty(limit, np.int64)  # rows of the lowest document numbers of the bucket, ascending
    used = overflow = largest = unlikely = 0
    for k in range(edges.size - 1):
        start, stop = edges[k], edges[k + 1]
        if start > 0 and bucket[start] < bucket[start - 1]:
            return -1, 0, 0, 0
        size = kept = 0
        for i in range(start, stop):
            if i > start and content[i] == content[i - 1]:
                if order[i] < order[i - 1]:
                    return -1, 0, 0, 0
                continue
            if i > start and content[i] < content[i - 1]:
                return -1, 0, 0, 0
            members[size] = i
            size += 1
            if kept < limit or order[i] < order[first[kept - 1]]:
                kept = min(kept + 1, limit)
                at = kept - 1
                while at > 0 and order[first[at - 1]] > order[i]:
                    first[at] = first[at - 1]
                    at -= 1
                first[at] = i
        most = crowd_bits(sketch, first[:kept], bits[1], bits[2]) if size > kept else bits[0]
        for m in range(size):
            i = members[m]
            distance, before = np.int64(most + 1), used
            for r in range(kept):
                j = first[r]
                if order[j] >= order[i]:
                    break
                apart = _apart(sketch, i, j)
                if apart > most or (size > kept and used > before and apart >= distance):
                    unlikely += 1
                    continue
                if size > kept and used > before:  # one that is nearer than the first: only the nearest stays
                    unlikely += int(used > before + 1)
                    used = before + 1
                distance = apart
                keys[used] = np.uint64(order[i]) << np.uint64(32) | np.uint64(order[j])
                used += 1
        overflow += size - kept
        largest = max(largest, size)
    return used, overflow, largest, unlikely


@njit(cache=True, nogil=True)
def crowd_bits(sketch: NDArray[np.uint64], rows: NDArray[np.int64], crowded: int, boilerplate: int) -> int:
    """Bits in which sketches may differ in a bucket with these representatives: `crowded` where at least half of their
    pairs differ in no more, else `boilerplate`."""
    near = 0
    for i in range(len(rows)):
        for j in range(i):
            if _apart(sketch, rows[i], rows[j]) <= crowded:
                near += 1
    return crowded if 4 * near >= len(rows) * (len(rows) - 1) else boilerplate


@njit(inline="always")
def _apart(sketch: NDArray[np.uint64], i: int, j: int) -> np.int64:
    return _ones(sketch[i, 0] ^ sketch[j, 0]) + _ones(sketch[i, 1] ^ sketch[j, 1])


@njit(inline="always")
def _ones(x: np.uint64) -> np.int64:
    """Number of bits that are set: sums over pairs, fours and bytes, then the sum of the bytes in the highest one."""
    x -= x >> np.uint64(1) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + (x >> np.uint64(2) & np.uint64(0x3333333333333333))
    x = x + (x >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64(x * np.uint64(0x0101010101010101) >> np.uint64(56))
