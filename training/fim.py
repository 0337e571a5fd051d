"""Fill-in-the-middle: the document pieces of a window in, the same window with some pieces turned round out.

Pieces are transformed after slicing, so the order stays plain arithmetic; each transformed piece grows by its three
marks, and what no longer fits at the window's end is pushed out and counted. Choices are hashes of a piece's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.permute import round_keys
from training.plan import Fim

MARKS = 3
SHORTEST = 3  # tokens: one each for prefix, middle and suffix


@dataclass(frozen=True)
class Turned:
    """A window after the transformation, as long as before."""

    tokens: np.ndarray  # [n]
    starts: np.ndarray  # int64[m]: where the pieces that are left begin
    pushed_out: np.ndarray  # int64[pieces]: tokens of each piece, marks included, that no longer fit


def turn(
    tokens: np.ndarray,
    starts: np.ndarray,
    documents: np.ndarray,
    first: int,
    fim: Fim,
    eod: int,
    label: Sequence[object],
) -> Turned:
    """Transform the pieces of a window.

    starts, documents: int64[pieces], where in the window each piece begins, and the first token of its document in the
    stream. first: the window's first token in the stream. label: seed, data set, phase, stream and epoch.
    """
    ends = np.append(starts[1:], len(tokens))
    parts = []
    for start, end, document in zip(starts.tolist(), ends.tolist(), documents.tolist(), strict=True):
        keys = round_keys("fim", *label, document, first + start)
        parts.append(turned_piece(tokens[start:end], fim, eod, keys))
    sizes = np.array([len(part) for part in parts])
    edges = np.minimum(np.cumsum(sizes), len(tokens))
    begins = np.concatenate([[0], edges[:-1]])
    return Turned(np.concatenate(parts)[: len(tokens)], begins[begins < len(tokens)], sizes - (edges - begins))


def turned_piece(piece: np.ndarray, fim: Fim, eod: int, keys: Sequence[int]) -> np.ndarray:
    """One piece, transformed or not; its end of document stays at its end.

    Prefix first: <prefix> P <suffix> S <middle> M. Suffix first: <prefix> <suffix> S <middle> P M, the second variant
    of Bavarian et al. 2022 (arXiv 2207.14255). Both cuts are drawn evenly from all places between tokens.
    """
    end = len(piece) - 1 if len(piece) and piece[-1] == eod else len(piece)
    if end < SHORTEST or not chosen(keys[0], fim.rate):
        return piece
    a, b = sorted(key % (end + 1) for key in keys[2:4])
    before, middle, after, tail = piece[:a], piece[a:b], piece[b:end], piece[end:]
    prefix, suffix, mark = (np.array([i], piece.dtype) for i in fim.marks)
    if chosen(keys[1], fim.spm):
        return np.concatenate([prefix, suffix, after, mark, before, middle, tail])
    return np.concatenate([prefix, before, suffix, after, mark, middle, tail])


def chosen(key: int, share: float) -> bool:
    """Whether a 64-bit hash falls below a share of its range."""
    return key < share * 2.0**64
