"""Signatures: documents in, two side tables out: content hashes for `exact`, band hashes for `match`.

No text leaves this stage. Both tables come from one read of the text; a shard with very many documents writes several
files of each, so that memory is bounded.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.hashing import content_hash
from dedup.minhash import SKETCH_BITS, band_hashes, detection, signatures, sketches
from dedup.shingles import MAX_BYTES
from manifests.ordering import ordered
from manifests.shards import read_batches, write_partitions
from manifests.storage import Storage
from stages import prefer
from stages.base import Plan, Stage, Task, docs_tasks
from stages.output import Output
from stages.schema import BANDS, CONTENT
from stages.sides import home_of, id_array, id_words, visit_words

DOCS_PER_FILE = 200_000
SCRIPT, RUNS = "script", "runs"
CURVE = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True)
class Sign(Stage):
    """bands x rows: 18 x 7 proposes 98.6 % of pairs at Jaccard 0.8 (1 - (1 - s^rows)^bands). normalise: content hashes
    ignore white space and width. shingles: "script", by the majority script of the document, or "runs", those of each
    run of a kind of script. priority: which of duplicates stays after the snapshot and the source's priority: "quality"
    (the highest value of the signal `quality`), "length" (the longest text), "date" (the latest); "-length" and so on
    the other way round. What is said here holds for `shingles`, `verify` and `cluster` too."""

    bands: int = 18
    rows: int = 7
    seed: int = 1
    normalise: bool = False
    max_bytes: int = MAX_BYTES
    shingles: str = SCRIPT
    priority: tuple[str, ...] = ()
    quality: str = ""
    use: ClassVar[str] = "sign"
    version: ClassVar[int] = 4
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    def __post_init__(self) -> None:
        if self.shingles not in (SCRIPT, RUNS):
            raise ValueError(f'shingles must be "{SCRIPT}" or "{RUNS}", not {self.shingles!r}')
        prefer.check(self.priority, self.quality)

    @cached_property
    def versions(self) -> dict[str, str]:
        """Version of each library that decides the output; of those of signals where one is asked for."""
        if not self.quality:
            return super().versions
        from stages.filter import Filter  # its tables take 0.3 s

        return super().versions | Filter(self.name).versions

    @property
    def by_runs(self) -> bool:
        """Whether each run of a kind of script is shingled for itself."""
        return self.shingles == RUNS

    def tasks(self, plan: Plan) -> list[Task]:
        prefer.check_sources(self.priority, [file.source for file in plan.files])
        return docs_tasks(plan)

    def open(self, storage: Storage) -> "Signing":
        return Signing(self, storage)

    def curve(self) -> str:
        """Which share of pairs the bands propose, by the Jaccard similarity of the pair; one line for people."""
        shares = (f"{s:.2f}: {detection(s, self.bands, self.rows):.3f}" for s in CURVE)
        return f"{self.name}: {self.bands} bands x {self.rows} rows propose, of pairs at Jaccard {', '.join(shares)}"


class Signing:
    """Signs one shard of documents at a time."""

    def __init__(self, stage: Sign, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        home = np.uint64(home_of(task.inputs[0]))
        parts: list[tuple[np.ndarray, ...]] = []
        count = 0
        columns = list(dict.fromkeys(["doc_id", "lang", "text", *prefer.columns(self.stage.priority)]))
        for batch in read_batches(self.storage, task.inputs[0].path or "", columns):
            sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
            for kind in ("in", "kept"):
                out.tally(kind, batch["lang"].to_pylist(), sizes)
            parts.append(self._sign(batch))
            count += batch.num_rows
            if count >= DOCS_PER_FILE:
                self._write(parts, home, out)
                parts, count = [], 0
        if parts or not task.inputs[0].rows:
            self._write(parts, home, out)

    def _sign(self, batch: pa.RecordBatch) -> tuple[np.ndarray, ...]:
        stage = self.stage
        content = content_hash(batch["text"], stage.normalise)
        permutations = max(stage.bands * stage.rows, SKETCH_BITS)
        values, filled = signatures(batch["text"], permutations, stage.seed, stage.max_bytes, stage.by_runs)
        bands = band_hashes(values, stage.bands, stage.rows)
        priority = prefer.sort_keys(batch, stage.priority, stage.quality)
        return content, bands, filled, sketches(values), priority, id_words(batch["doc_id"])

    def _write(self, parts: list[tuple[np.ndarray, ...]], home: np.uint64, out: Output) -> None:
        if not parts:
            for output, schema in (("content", CONTENT), ("bands", BANDS)):
                write_partitions(out.file(output, "side", schema), schema.empty_table(), "key")
            return
        content, bands, filled, sketch, priority, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
        n = len(ids)
        homes = np.full(n, home)
        columns = [content[:, 0], content[:, 1], priority, id_array(ids), homes]
        write_partitions(out.file("content", "side", CONTENT), pa.table(columns, schema=CONTENT), "key")
        # A document without shingles matches nothing, not even another one without.
        rows, keys = np.repeat(np.flatnonzero(filled), self.stage.bands), bands[filled].ravel()
        # Of rows with one key, the order of the other columns is an order of documents: one word in place of six.
        place = np.empty(n, np.uint64)
        place[ordered([content[:, 0], *visit_words(np.zeros(n), priority, ids)])[0]] = np.arange(n)
        order, _ = ordered([keys, place[rows]])
        rows = rows[order]
        columns = [keys[order], content[rows, 0], priority[rows], id_array(ids[rows]), homes[rows]]
        columns += [sketch[rows, 0], sketch[rows, 1].astype(np.uint32)]
        write_partitions(out.file("bands", "side", BANDS), pa.table(columns, schema=BANDS), "key", in_order=True)
        out.counters["side/documents/in"] += n
        out.counters["side/documents/out/signed"] += int(filled.sum())
        out.counters["side/documents/out/without_shingles"] += int((~filled).sum())
