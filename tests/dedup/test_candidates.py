"""Candidate pairs from sorted buckets, against sets and sorting in plain Python."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.candidates import bucket_pairs


def columns(rows):
    bucket, content, order = zip(*sorted(rows), strict=True) if rows else ((), (), ())
    return np.array(bucket, np.uint64), np.array(content, np.uint64), np.array(order, np.int64)


def reference(rows, representatives):
    """(pairs, overflow, largest) by the definition."""
    pairs, overflow, largest = set(), 0, 0
    for bucket in {row[0] for row in rows}:
        first = {}
        for _, content, order in sorted(row for row in rows if row[0] == bucket):
            first.setdefault(content, order)
        members = sorted(first.values())
        met = members[: 1 if len(members) > representatives else None]  # all are equally near
        pairs |= {(m, r) for r in met for m in members if r < m}
        overflow += max(0, len(members) - representatives)
        largest = max(largest, len(members))
    return sorted(pairs), overflow, largest


BY_HAND = [  # rows (bucket, content, document), representatives, pairs (later, earlier)
    ([(1, 10, 0), (1, 11, 1), (1, 12, 2)], 32, [(1, 0), (2, 0), (2, 1)]),
    ([(1, 10, 0), (1, 11, 1), (1, 12, 2), (1, 13, 3)], 2, [(1, 0), (2, 0), (3, 0)]),
    ([(1, 10, 5), (1, 10, 2), (1, 11, 3)], 32, [(3, 2)]),  # 5 is a copy of 2
    ([(1, 10, 0), (1, 11, 1), (2, 10, 0), (2, 11, 1)], 32, [(1, 0)]),  # two buckets, one pair
    ([(1, 10, 0), (2, 11, 1)], 32, []),
    ([], 32, []),
]


@pytest.mark.parametrize(("rows", "representatives", "expected"), BY_HAND)
def test_by_hand(rows, representatives, expected):
    pairs = bucket_pairs(*columns(rows), representatives)
    assert list(zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True)) == expected


row_sets = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 25)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(row_sets, st.integers(1, 5))
def test_any_buckets(rows, representatives):
    pairs = bucket_pairs(*columns(rows), representatives)
    found = list(zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True))
    assert (found, pairs.overflow, pairs.largest) == reference(rows, representatives)


def test_hashes_and_document_numbers_use_all_their_bits():
    rows = [(2**64 - 1, 2**64 - 1, 2**32 - 1), (2**64 - 1, 2**63, 2**32 - 2), (0, 0, 1)]
    pairs = bucket_pairs(*columns(rows))
    assert (pairs.later.tolist(), pairs.earlier.tolist()) == ([2**32 - 1], [2**32 - 2])


def test_a_huge_bucket_costs_linear_work():
    n = 100_000
    pairs = bucket_pairs(np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64), np.arange(n)[::-1].copy())
    assert (pairs.later.tolist(), set(pairs.earlier.tolist())) == (list(range(1, n)), {0})
    assert (pairs.overflow, pairs.largest) == (n - 32, n)
    assert pairs.unlikely == 32 * 31 // 2 + (n - 32) * 32 - (n - 1)


def sketch_reference(sketches, representatives, most, crowded, boilerplate):
    """Pairs of documents 0, 1, ... in one bucket."""
    pairs, limit = set(), most
    if len(sketches) > representatives:
        apart = [(a ^ b).bit_count() for a, b in combinations(sketches[:representatives], 2)]
        limit = crowded if 2 * sum(bits <= crowded for bits in apart) >= len(apart) else boilerplate
    for m, own in enumerate(sketches):
        met = [(own ^ other).bit_count() for other in sketches[: min(m, representatives)]]
        near = [r for r, apart in enumerate(met) if apart <= limit]
        if near and len(sketches) > representatives:
            near = [near[0], min(near, key=lambda r: (met[r], r))]
        pairs |= {(m, r) for r in near}
    return sorted(pairs)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 15), max_size=12), st.integers(1, 12), st.tuples(*[st.integers(0, 4)] * 3))
def test_sketches_decide_and_in_a_crowd_the_first_and_the_nearest_count(found, representatives, bits):
    n = len(found)
    words = np.array([[s & 3, s >> 2 << 62] for s in found], np.uint64).reshape(n, 2)
    rows = np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64), np.arange(n)
    pairs = bucket_pairs(*rows, representatives, words, *bits)
    expected = sketch_reference(found, representatives, *bits)
    assert list(zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True)) == expected
    full = min(n, representatives)
    assert pairs.unlikely + len(expected) == full * (full - 1) // 2 + (n - full) * full


CROWDS = [  # sketches in a bucket, bits that may differ (crowded, boilerplate), pairs (later, earlier)
    ([0b0, 0b1, 0b11], (1, 0), [(1, 0), (2, 1)]),  # copies: the two are near to each other
    ([0b0, 0b11, 0b1, 0b11], (1, 0), [(3, 1)]),  # boilerplate: they are not
    ([0b0, 0b11], (1, 0), []),  # no crowd; `most` is 1
]


@pytest.mark.parametrize(("found", "bits", "expected"), CROWDS)
def test_a_crowd_whose_representatives_are_not_near_is_boilerplate(found, bits, expected):
    words = np.array([[sketch, 0] for sketch in found], np.uint64)
    n = len(found)
    pairs = bucket_pairs(np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64), np.arange(n), 2, words, 1, *bits)
    assert list(zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True)) == expected


@pytest.mark.parametrize("rows", [[(2, 0, 0), (1, 0, 1)], [(1, 2, 0), (1, 1, 1)], [(1, 1, 1), (1, 1, 0)]])
def test_unsorted_rows_are_refused(rows):
    bucket, content, order = (np.array(column) for column in zip(*rows, strict=True))
    with pytest.raises(ValueError, match="not sorted"):
        bucket_pairs(bucket.astype(np.uint64), content.astype(np.uint64), order)


def test_document_numbers_out_of_range_are_refused():
    for order in (-1, 2**32):
        with pytest.raises(ValueError, match="document numbers"):
            bucket_pairs(np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.array([order]))
