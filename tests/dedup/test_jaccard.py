"""Exact similarity of sorted hash sets, by hand, against Python sets, and against the evaluation data's own values."""

import csv
import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.jaccard import containment, jaccard_sorted
from dedup.shingles import shingle_sets

hash_sets = st.sets(st.integers(0, 20) | st.integers(2**64 - 5, 2**64 - 1), max_size=15)


def packed(sets):
    rows = [np.array(sorted(s), np.uint64) for s in sets]
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return offsets, np.concatenate([*rows, np.array([], np.uint64)])


@pytest.mark.parametrize(
    ("a", "b", "jaccard", "contained"),
    [
        ({1, 2, 3}, {2, 3, 4}, 2 / 4, 2 / 3),
        ({1, 2}, {1, 2, 3, 4}, 2 / 4, 1.0),
        ({1, 2}, {1, 2}, 1.0, 1.0),
        ({1}, {2}, 0.0, 0.0),
        ({1}, set(), 0.0, 0.0),
        (set(), {1}, 0.0, 0.0),
        (set(), set(), 0.0, 0.0),  # two empty documents are not alike
    ],
)
def test_by_hand(a, b, jaccard, contained):
    pair = np.array([0]), np.array([1])
    assert jaccard_sorted(*packed([a, b]), *pair).tolist() == [jaccard]
    assert containment(*packed([a, b]), *pair).tolist() == [contained]


@settings(max_examples=100, deadline=None)
@given(st.lists(hash_sets, min_size=1, max_size=6))
def test_all_pairs_against_python_sets(sets):
    left, right = (axis.ravel() for axis in np.indices((len(sets), len(sets))))
    pairs = [(sets[i], sets[j]) for i, j in zip(left, right, strict=True)]
    assert jaccard_sorted(*packed(sets), left, right).tolist() == [len(a & b) / max(len(a | b), 1) for a, b in pairs]
    assert containment(*packed(sets), left, right).tolist() == [len(a & b) / max(len(a), 1) for a, b in pairs]


def test_gold_pairs_of_real_documents(shared_data):
    """2,247 pairs of documents, en and zh, with their exact Jaccard to four digits."""
    with gzip.open(shared_data / "dup" / "pydocs-versions.jsonl.gz", "rt", encoding="utf-8") as f:
        documents = [json.loads(line) for line in f]
    row = {document["id"]: i for i, document in enumerate(documents)}
    with open(shared_data / "dup" / "pydocs-pairs.tsv", encoding="utf-8") as f:
        gold = list(csv.DictReader(f, delimiter="\t"))
    left, right = (np.array([row[pair[key]] for pair in gold]) for key in ("id_a", "id_b"))
    found = jaccard_sorted(*shingle_sets(pa.array([d["text"] for d in documents])), left, right)
    assert np.abs(found - [float(pair["jaccard5"]) for pair in gold]).max() < 5.1e-5
