"""Probes: a sample of the run's own documents in, how many edited copies of them the search for near duplicates finds
out, by their true similarity. Copies exist in memory alone: they enter no shard, no count and no hash.

Each copy goes through the kernels of `sign`, `match` and `verify` with the fields that these stages have in the same
recipe. Its true similarity is computed without them, in plain Python, so that a kernel that is wrong on some machine
shows in the recall or the precision of the run, and not in the next corpus.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.candidates import bucket_pairs
from dedup.hashing import content_hash, route
from dedup.jaccard import jaccard_sorted, overlap
from dedup.minhash import SKETCH_BITS, band_hashes, detection, signatures, sketches
from dedup.shingles import shingle_sets
from manifests.fingerprint import fingerprint, not_identity
from manifests.gone import ranks
from manifests.shards import read_batches
from manifests.storage import Storage
from manifests.store import Shard
from stages.base import Plan, Stage, Task, UserError
from stages.edits import LOWEST, containment, edited, jaccard, shingles
from stages.match import Match
from stages.output import Output
from stages.schema import ID, PROBES
from stages.sides import id_words, read_rows
from stages.sign import Sign
from stages.verify import JACCARD, Verify

LANGUAGES = 4  # the most frequent ones are probed
# One document in ONE_IN: 1 % of the time of a run from web pages, 4 % of one that only deduplicates; a few in any case.
ONE_IN = 200
LEAST = 100
MOST_SHARDS = 64
MOST_CHARS = 2_000  # of a document: longer ones are probed by their beginning, which costs less and is found alike
CHUNK = 250  # documents searched at once
APART = np.uint64(0x9E3779B97F4A7C15)
Sums = list[dict[str, float]]  # counts of PROBES by range of similarity


@dataclass(frozen=True)
class Probe(Stage):
    """documents: the most that are probed of each of the most frequent languages; 0 turns probes off. `after` names the
    stage whose documents are signed, and the `verify` whose search is probed."""

    documents: int = 2_000
    seed: int = 1
    # Filled in by the recipe; the ids of the stages above are part of this one's id, and theirs say the same.
    sign: Sign | None = field(default=None, metadata=not_identity())
    match: Match | None = field(default=None, metadata=not_identity())
    verify: Verify | None = field(default=None, metadata=not_identity())
    use: ClassVar[str] = "probe"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    def tasks(self, plan: Plan) -> list[Task]:
        merged = plan.merged("docs", plan.snapshots)
        if not self.documents or not any(row.rows for row in plan.rows("docs")):
            return []
        return [Task(fingerprint(plan.stage_id, [(m.folder, m.output, m.digest) for m in merged]), merged=merged)]

    def open(self, storage: Storage) -> "Probing":
        return Probing(self, storage)


class Probing:
    """Makes the copies, searches for them, and counts."""

    def __init__(self, stage: Probe, storage: Storage) -> None:
        if not (stage.sign and stage.match and stage.verify):
            raise UserError(f"stage {stage.name}: `after` must name the documents and a `verify`")
        self.stage, self.storage = stage, storage
        self.sign, self.match, self.threshold = stage.sign, stage.match, stage.verify.threshold
        self.jaccard = stage.verify.measure == JACCARD
        self.bits = self.match.limits

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        edges = bins(self.threshold)
        sums: dict[str, Sums] = {}
        rows = [row for merged in task.merged for row in read_rows(self.storage, merged) if row.rows and row.path]
        wanted = quotas(rows, self.stage.documents)
        for lang, texts in self._pairs(chosen_shards(rows, wanted), wanted, out.counters):
            self._count(texts, edges, sums.setdefault(lang, [dict.fromkeys(PROBES.names[4:], 0) for _ in edges[1:]]))
        table = [
            {"lang": lang, "low": low, "high": high, "similar": low >= self.threshold}
            | {name: counts[name] for name in PROBES.names[4:]}
            for lang, found in sorted(sums.items())
            for low, high, counts in zip(edges, edges[1:], found, strict=False)
        ]
        for row in table:
            for name in ("pairs", "proposed", "likely", "verified"):
                out.counters[f"probe/{row['lang']}/{name}"] += int(row[name])
        out.file("probes", "side", PROBES).write(pa.RecordBatch.from_pylist(table, schema=PROBES))

    def _sample(self, shards: Sequence[Shard], wanted: Mapping[str, int]) -> dict[bytes, str]:
        """Languages of the documents with the smallest hashes of each language."""
        batches = [batch for row in shards for batch in read_batches(self.storage, row.path or "", ["doc_id", "lang"])]
        table = pa.Table.from_batches(batches)
        words, langs = id_words(table["doc_id"]), table["lang"].to_numpy()
        rank = ranks(table["doc_id"].combine_chunks(), self.stage.seed)
        found: dict[bytes, str] = {}
        for lang, count in wanted.items():
            rows = np.flatnonzero(langs == lang)
            best = rows[np.lexsort((words[rows, 1], words[rows, 0], rank[rows]))[:count]]
            found |= dict.fromkeys(table["doc_id"].take(pa.array(best)).to_pylist(), lang)
        return found

    def _pairs(
        self, shards: Sequence[Shard], wanted: Mapping[str, int], counters: Counter[str]
    ) -> Iterator[tuple[str, list[str]]]:
        """Documents of one language, each followed by its edited copy, some at a time."""
        chosen = self._sample(shards, wanted)
        ids = pa.array(sorted(chosen), ID)
        waiting: dict[str, list[str]] = {}
        for row in shards:
            for batch in read_batches(self.storage, row.path or "", ["doc_id", "text"]):
                meant = batch.filter(pc.is_in(batch["doc_id"], ids))
                for doc_id, text in zip(meant["doc_id"].to_pylist(), meant["text"].to_pylist(), strict=True):
                    text = text[:MOST_CHARS]
                    copy = edited(text, random.Random(int.from_bytes(doc_id) ^ self.stage.seed))
                    counters["probes" if copy else "probes_too_short"] += 1
                    some = waiting.setdefault(chosen[doc_id], [])
                    some += [text, copy] if copy else []
                    if len(some) >= 2 * CHUNK:
                        yield chosen[doc_id], waiting.pop(chosen[doc_id])
        yield from waiting.items()

    def _count(self, texts: list[str], edges: list[float], sums: Sums) -> None:
        """Search for the copies among some documents, each followed by its copy."""
        column, sign = pa.array(texts, pa.string()), self.sign
        content = content_hash(column, sign.normalise)[:, 0]
        values, filled = signatures(
            column, max(sign.bands * sign.rows, SKETCH_BITS), sign.seed, sign.max_bytes, sign.by_runs
        )
        rows = np.repeat(np.flatnonzero(filled), sign.bands)
        # Each document is searched with its own copy alone: others among them may be copies of each other.
        apart = (rows >> 1).astype(np.uint64) * APART
        key = band_hashes(values, sign.bands, sign.rows)[filled].ravel() + apart
        order = np.lexsort((rows, content[rows], key))
        columns = key[order], content[rows][order], rows[order], self.match.representatives
        proposed, pairs = bucket_pairs(*columns), bucket_pairs(*columns, sketches(values)[rows][order], *self.bits)
        measure = jaccard_sorted if self.jaccard else overlap
        sets = shingle_sets(column, sign.max_bytes, sign.by_runs)
        score = measure(*sets, pairs.later, pairs.earlier).astype(np.float32)
        found = {
            "proposed": set(proposed.earlier.tolist()),
            "likely": set(pairs.earlier.tolist()),
            "verified": set(pairs.earlier[score >= np.float32(self.threshold)].tolist()),
        }
        for first in range(0, len(texts), 2):
            if content[first] == content[first + 1]:
                continue  # an exact copy to `sign`: nothing is searched
            both = [shingles(text, sign.by_runs) for text in texts[first : first + 2]]
            proposed_by = jaccard(*both)
            similarity = proposed_by if self.jaccard else containment(*both)
            at = min(
                int(np.searchsorted(np.array(edges, np.float32), np.float32(similarity), "right")) - 1, len(sums) - 1
            )
            sums[at]["pairs"] += 1
            sums[at]["expected"] += detection(proposed_by, sign.bands, sign.rows)
            for name, numbers in found.items():
                sums[at][name] += first in numbers


def quotas(rows: Sequence[Shard], most: int) -> dict[str, int]:
    """How many documents of each of the most frequent languages are probed."""
    counts = sorted(languages(rows).items(), key=lambda item: (-item[1], item[0]))[:LANGUAGES]
    return {lang: min(most, max(LEAST, count // ONE_IN)) for lang, count in sorted(counts)}


def chosen_shards(rows: Sequence[Shard], wanted: Mapping[str, int]) -> list[Shard]:
    """Shards in the order of their hashed keys until each language has enough documents."""
    have: Counter[str] = Counter()
    chosen: list[Shard] = []
    for row in sorted(rows, key=lambda row: (route(row.task_key), row.digest)):
        counts = languages([row])
        if len(chosen) < MOST_SHARDS and any(counts[lang] and have[lang] < wanted[lang] for lang in wanted):
            chosen.append(row)
            have += counts
    return chosen


def languages(rows: Sequence[Shard]) -> Counter[str]:
    """Documents by language, from the counters of the tasks that wrote them."""
    found: Counter[str] = Counter()
    for row in rows:
        for name, value in row.counters:
            kind, *rest = name.split("/")
            if kind == "kept" and rest[2] == "docs":
                found[rest[1]] += value
    return found


def bins(threshold: float) -> list[float]:
    """Ends of the ranges of similarity, ascending from 0 to 1; the threshold is one."""
    steps = [round(LOWEST + 0.05 * i, 2) for i in range(11)]
    return sorted({0.0, *steps, threshold} if 0 < threshold < 1 else {0.0, *steps})
