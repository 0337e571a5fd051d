"""What was planted in a crowd (see crowd.py): documents and what a program kept in, how well it did out. Of a crowd
that is too large for memory, a share of the documents is judged, each with all of its copies."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.hashing import route
from dedup.jaccard import jaccard_sorted
from dedup.shingles import shingle_sets

THRESHOLD = 0.8
JUDGED = 1_000_000  # documents, about


@dataclass(frozen=True)
class Pairs:
    """All pairs among a document and its copies: ids, exact Jaccard, and which are planted."""

    left: list[str]
    right: list[str]
    score: np.ndarray
    planted: np.ndarray


def planted(folder: Path) -> tuple[Pairs, frozenset[str]]:
    """The exact Jaccard of all pairs of a document and its copies, and the ids of all documents that are judged."""
    lines = (folder / "planted.tsv").read_text(encoding="utf-8").splitlines()
    origins = dict(line.split("\t") for line in lines)
    every = pq.read_table(folder / "docs", columns=["id"], use_threads=False)["id"].to_pylist()
    share = JUDGED / max(JUDGED, len(every))
    judged = [name for name in every if route(origins.get(name, name)) < share * 2**64]
    stars: dict[str, list[str]] = {}
    for copy in judged:
        if copy in origins:
            stars.setdefault(origins[copy], [origins[copy]]).append(copy)
    left, right, first_ones = [], [], []
    for members in stars.values():
        for i, first in enumerate(members):
            for second in members[i + 1 :]:
                left.append(first)
                right.append(second)
                first_ones.append(i == 0)
    return Pairs(left, right, similarities(folder, left, right), np.array(first_ones)), frozenset(judged)


def similarities(folder: Path, left: list[str], right: list[str]) -> np.ndarray:
    """Exact Jaccard of pairs of documents."""
    wanted, parts = pa.array(sorted({*left, *right}), pa.string()), []
    for file in sorted((folder / "docs").glob("*.parquet")):
        some = pq.read_table(file, columns=["id", "text"], use_threads=False)
        parts.append(some.filter(pc.is_in(some["id"], wanted)))
    documents = pa.concat_tables(parts)
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
