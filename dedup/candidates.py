"""Rows (band hash, content hash, document) in sorted order in, pairs of documents that share a bucket out. A bucket of
m members proposes at most 32 m pairs, each member with the first 32 in order, so a boilerplate bucket of a million
costs linear work; what that leaves out is counted.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.shingles import unique_rows

REPRESENTATIVES = 32


class Pairs(NamedTuple):
    later: NDArray[np.int64]  # document numbers, later > earlier, sorted and without repeats
    earlier: NDArray[np.int64]
    overflow: int  # members, over all buckets, that met the representatives but not each other
    largest: int  # members of the largest bucket, equal contents counted once


def bucket_pairs(
    bucket: NDArray[np.uint64],
    content: NDArray[np.uint64],
    order: NDArray[np.int64],
    representatives: int = REPRESENTATIVES,
) -> Pairs:
    """Candidate pairs of documents; row i puts document order[i] (0 is visited first, below 2^32) into bucket[i].

    Rows are sorted by (bucket, content, order). Of documents with one content only the first takes part: the others
    are removed by the exact stage. A caller short of memory cuts its rows between buckets and calls several times.
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
    used, overflow, largest = _bucket_pairs(bucket, content, order, edges, representatives, members, keys)
    if used < 0:
        raise ValueError("rows are not sorted by (bucket, content, order)")
    keys = keys[:used]
    keys.sort()
    keys = keys[: unique_rows(np.array([0, used]), keys)]
    later = (keys >> np.uint64(32)).astype(np.int64)
    return Pairs(later, (keys & np.uint64(0xFFFFFFFF)).astype(np.int64), int(overflow), int(largest))


@njit(cache=True, nogil=True)
def _bucket_pairs(
    bucket: NDArray[np.uint64],
    content: NDArray[np.uint64],
    order: NDArray[np.int64],
    edges: NDArray[np.int64],
    limit: int,
    members: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> tuple[int, int, int]:
    """Write later << 32 | earlier to keys; returns (written, overflow, largest), or written = -1: rows not sorted."""
    first = np.empty(limit, np.int64)  # the lowest document numbers of the bucket, ascending
    used = overflow = largest = 0
    for k in range(edges.size - 1):
        start, stop = edges[k], edges[k + 1]
        if start > 0 and bucket[start] < bucket[start - 1]:
            return -1, 0, 0
        size = kept = 0
        for i in range(start, stop):
            if i > start and content[i] == content[i - 1]:
                if order[i] < order[i - 1]:
                    return -1, 0, 0
                continue
            if i > start and content[i] < content[i - 1]:
                return -1, 0, 0
            members[size] = order[i]
            size += 1
            if kept < limit or order[i] < first[kept - 1]:
                kept = min(kept + 1, limit)
                at = kept - 1
                while at > 0 and first[at - 1] > order[i]:
                    first[at] = first[at - 1]
                    at -= 1
                first[at] = order[i]
        for m in range(size):
            for r in range(kept):
                if first[r] >= members[m]:
                    break
                keys[used] = np.uint64(members[m]) << np.uint64(32) | np.uint64(first[r])
                used += 1
        overflow += size - kept
        largest = max(largest, size)
    return used, overflow, largest
