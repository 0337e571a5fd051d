"""Rows of shingle sets: the sets of some documents, in the order of other columns, as bytes."""

import random

import numpy as np
import pytest

from stages.shingles import Sent, eighths, sets_in

NONE = np.zeros((0, 2), np.uint64)


def sent(sets: list[list[int]], which: list[int]) -> Sent:
    """Rows that name some sets, one set perhaps several times."""
    lengths = np.array([len(s) for s in sets], np.int64)
    starts = np.cumsum(lengths) - lengths
    hashes = np.array([h for s in sets for h in s], np.uint64)
    rows = np.array(which, np.int64)
    return Sent(NONE, NONE, np.zeros(0), starts[rows], lengths[rows], hashes)


@pytest.mark.parametrize("seed", range(20))
def test_some_sets_in_another_order(seed: int) -> None:
    rng = random.Random(seed)
    parts, plain = [], []
    for _ in range(rng.randint(1, 4)):
        sets = [[rng.getrandbits(64) for _ in range(rng.choice([0, 1, 5, 300]))] for _ in range(rng.randint(1, 6))]
        which = [rng.randrange(len(sets)) for _ in range(rng.randint(0, 9))]
        parts.append(sent(sets, which))
        plain += [sets[i] for i in which]
    order = rng.sample(range(len(plain)), rng.randint(0, len(plain)))
    counts = np.concatenate([part.counts for part in parts])
    found = sets_in(np.array(order, np.int64), parts, counts)
    found.validate(full=True)
    assert [np.frombuffer(row, "<u8").tolist() for row in found.to_pylist()] == [plain[i] for i in order]


def test_eighths_of_the_row_groups() -> None:
    keys = np.array([0, (1 << 61) - 1, 1 << 61, 5 << 61, (1 << 64) - 1], np.uint64)
    found = [(span, keys[part].tolist()) for span, part in eighths(keys)]
    assert [span for span, _ in found] == [(128 * i, 128 * i + 128) for i in range(8)]
    assert [len(some) for _, some in found] == [2, 1, 0, 0, 0, 1, 0, 1]
    assert sum([some for _, some in found], []) == keys.tolist()
    assert [part for _, part in eighths(keys[:0])] == [slice(0, 0)] * 8
