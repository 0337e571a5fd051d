"""Sorted distinct hashes per document (`shingle_sets`) and pairs of row numbers in, exact similarity per pair out. An
empty set is similar to nothing, not even to another empty set.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def jaccard_sorted(
    offsets: NDArray[np.int64], hashes: NDArray[np.uint64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Shared shingles / all shingles of rows left[i] and right[i]."""
    shared, sizes = _intersections(offsets, hashes, left, right), np.diff(offsets)
    return _share(shared, sizes[left] + sizes[right] - shared)


def containment(
    offsets: NDArray[np.int64], hashes: NDArray[np.uint64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of row left[i]'s shingles that row right[i] has too."""
    return _share(_intersections(offsets, hashes, left, right), np.diff(offsets)[left])


def overlap(
    offsets: NDArray[np.int64], hashes: NDArray[np.uint64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Shared shingles / those of the smaller of rows left[i] and right[i]."""
    sizes = np.diff(offsets)
    return _share(_intersections(offsets, hashes, left, right), np.minimum(sizes[left], sizes[right]))


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return part / np.maximum(whole, 1)


@njit(cache=True, nogil=True)
def _intersections(
    offsets: NDArray[np.int64], hashes: NDArray[np.uint64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Size of each intersection by merging; without branches, since which side is smaller cannot be predicted."""
    shared = np.zeros(left.size, np.int64)
    for pair in range(left.size):
        i, i_stop = offsets[left[pair]], offsets[left[pair] + 1]
        j, j_stop = offsets[right[pair]], offsets[right[pair] + 1]
        count = 0
        while i < i_stop and j < j_stop:
            a, b = hashes[i], hashes[j]
            count += a == b
            i += a <= b
            j += b <= a
        shared[pair] = count
    return shared
