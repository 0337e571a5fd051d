"""Verified edges between documents in, who is removed for whom out. Documents are numbered by priority, 0 first; a
document is removed exactly when it has an edge to an earlier one that is kept. A chain therefore removes nothing by
itself: in 0 - 1 - 2 with no edge 0 - 2, document 1 goes and 2 stays.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def resolve(
    n: int, later: NDArray[np.int64], earlier: NDArray[np.int64], score: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of n documents the kept one that it is removed for (-1: it is kept itself) and that edge's score (NaN).

    Of several kept neighbours the best score is named, then the lowest number. An edge may be given more than once.
    """
    _check(n, later, earlier)
    if not len(later) == len(earlier) == len(score):
        raise ValueError("columns of different length")
    if not (later > earlier).all():
        raise ValueError("an edge must go from a later document to an earlier one")
    if np.isnan(score).any():
        raise ValueError("an edge without a score is not verified")
    by_later = np.argsort(later, kind="stable")
    kept_by, best = np.full(n, -1, np.int64), np.full(n, np.nan)
    _resolve(later, earlier, score, by_later, kept_by, best)
    return kept_by, best


def _check(n: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    for ends in (a, b):
        if len(ends) and not 0 <= int(ends.min()) <= int(ends.max()) < n:
            raise ValueError(f"document numbers must be in [0, {n})")


@njit(cache=True, nogil=True)
def _resolve(
    later: NDArray[np.int64],
    earlier: NDArray[np.int64],
    score: NDArray[np.float64],
    by_later: NDArray[np.int64],
    kept_by: NDArray[np.int64],
    best: NDArray[np.float64],
) -> None:
    """All edges to documents before v are decided when v's own edges are met, so one pass in order is enough."""
    for edge in by_later:
        v, u = later[edge], earlier[edge]
        if kept_by[u] >= 0:
            continue
        if kept_by[v] < 0 or score[edge] > best[v] or (score[edge] == best[v] and u < kept_by[v]):
            kept_by[v] = u
            best[v] = score[edge]
