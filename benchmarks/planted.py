"""What was planted in a crowd (see crowd.py): documents and what a program kept in, how well it did out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.jaccard import jaccard_sorted
from dedup.shingles import shingle_sets

THRESHOLD = 0.8


@dataclass(frozen=True)
class Pairs:
    """All pairs among a document and its copies: ids, exact Jaccard, and which are planted."""

    left: list[str]
    right: list[str]
    score: np.ndarray
    planted: np.ndarray


def pairs_of(folder: Path) -> Pairs:
    """The exact Jaccard of all pairs of a document and its copies."""
    lines = (folder / "planted.tsv").read_text(encoding="utf-8").splitlines()
    stars: dict[str, list[str]] = {}
    for copy, origin in (line.split("\t") for line in lines):
        stars.setdefault(origin, [origin]).append(copy)
    left, right, planted = [], [], []
    for members in stars.values():
        for i, first in enumerate(members):
            for second in members[i + 1 :]:
                left.append(first)
                right.append(second)
                planted.append(i == 0)
    return Pairs(left, right, similarities(folder, left, right), np.array(planted))


def similarities(folder: Path, left: list[str], right: list[str]) -> np.ndarray:
    """Exact Jaccard of pairs of documents."""
    documents = pq.read_table(folder / "docs", columns=["id", "text"], use_threads=False)
    documents = documents.filter(pc.is_in(documents["id"], pa.array(sorted({*left, *right}), pa.string())))
    row = {name: at for at, name in enumerate(documents["id"].to_pylist())}
    offsets, hashes = [np.zeros(1, np.int64)], [np.zeros(0, np.uint64)]
    for batch in documents.to_batches():
        some, sets = shingle_sets(batch["text"])
        offsets.append(some[1:] + offsets[-1][-1])
        hashes.append(sets)
    ends = [np.array([row[name] for name in names], np.int64) for names in (left, right)]
    return jaccard_sorted(np.concatenate(offsets), np.concatenate(hashes), *ends)


def quality(pairs: Pairs, every: frozenset[str], kept: frozenset[str]) -> tuple[float, float, int]:
    """Shares found and right, and documents lost, see NOTES of dedup_scale."""
    twins: dict[str, set[str]] = {}
    hits = planted = 0
    for at in np.flatnonzero(pairs.score >= THRESHOLD).tolist():
        a, b = pairs.left[at], pairs.right[at]
        twins.setdefault(a, set()).add(b)
        twins.setdefault(b, set()).add(a)
        planted += int(pairs.planted[at])
        hits += int(pairs.planted[at]) and (a not in kept or b not in kept)
    removed = every - kept
    right = sum(name in twins for name in removed)
    lost = sum(not twins.get(name, set()) & kept for name in removed)
    return hits / planted, right / len(removed), lost
