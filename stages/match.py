"""Candidates: band hashes in, pairs of documents that may be similar out. Proposes only; `verify` decides.

A pair is named by its earlier document, the pivot: the rows say which shard must send the shingles of which document
to which pivot. Of equal contents only the first document takes part, since `exact` removes the others. Most bands have
one row: a range is read some row groups at a time, and the rows of hashes that several rows have wait until they are a
piece that fits into memory. Where one row group is large, its hashes are read first, then those rows. A band hash with
more rows than a piece is never in memory as a whole: its first documents are found, then the rest go by.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dedup.candidates import REPRESENTATIVES, bucket_pairs, crowd_bits
from dedup.minhash import SKETCH_BITS
from manifests.ordering import ordered
from manifests.shards import write_partitions
from manifests.storage import Storage
from stages.base import Plan, Stage, Task
from stages.output import Output
from stages.ranges import parts_of
from stages.schema import BANDS, CANDIDATES
from stages.sides import id_array, id_words, numbers, pieces, range_tasks, together, visit_numbers, visit_words

MEMORY_PER_BYTE = 6  # of worker memory, for a byte of band rows: measured 3.5 where a range is read at once
CROWDED, BOILERPLATE = 0.15, 0.25
PART_BYTES = 32 << 20  # band rows read at once, more where there are many files: see `parts_of`
PIECE_ROWS = 1 << 20  # paired at once
ROWS_PER_FILE = 1 << 21
Piece = tuple[pa.Table, np.ndarray]  # band rows, and the rank of the snapshot that each comes from
Rows = Callable[[], Iterable[Piece]]
Parts = tuple[int, int]


@dataclass(frozen=True)
class Match(Stage):
    """representatives: how many members of a bucket the others are compared with. floor: a pair whose Jaccard is
    estimated lower is not proposed, so that boilerplate in common costs no verification; the estimate's standard
    deviation is 0.06 at 0.8, so of the pairs at 0.8 one in a million is lost. Keep it 0.3 below the threshold. In a
    bucket with more members than representatives the floor is CROWDED higher: of the pairs at 0.8 one in 150 is lost
    there, and most of those meet in another bucket too. Where most of the representatives are not that near to each
    other, they share boilerplate, and the floor is BOILERPLATE higher: what is alike in more meets in a smaller bucket.
    """

    representatives: int = REPRESENTATIVES
    floor: float = 0.5
    use: ClassVar[str] = "match"
    version: ClassVar[int] = 4
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy")

    def bits(self, floor: float) -> int:
        """Bits in which the sketches of a pair may differ: Jaccard s is estimated as 1 - 2 * bits / SKETCH_BITS."""
        return sum(1.0 - 2.0 * bits / SKETCH_BITS >= floor for bits in range(SKETCH_BITS + 1)) - 1

    @property
    def limits(self) -> tuple[int, int, int]:
        """Bits in which the sketches of a pair may differ: in a small bucket, in a crowd, in a crowd of boilerplate."""
        return self.bits(self.floor), self.bits(self.floor + CROWDED), self.bits(self.floor + BOILERPLATE)

    def tasks(self, plan: Plan) -> list[Task]:
        return range_tasks(plan, "bands", plan.bytes_per_task(MEMORY_PER_BYTE))

    def open(self, storage: Storage) -> "Matching":
        return Matching(self, storage)


class Matching:
    """Pairs documents within one range of band hashes."""

    def __init__(self, stage: Match, storage: Storage) -> None:
        self.stage, self.storage = stage, storage

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        found, waiting = Candidates(out, len(task.snapshots) - 1), Waiting([])
        for parts, large in parts_of(self.storage, task, "bands", PART_BYTES):
            self._part(task, parts, large, waiting, found)
        self._pair(waiting, found)
        found.close()

    def _part(self, task: Task, parts: Parts, large: bool, waiting: "Waiting", found: "Candidates") -> None:
        """One part of the range. Where pieces end follows from all rows of the range, not from its parts."""
        read = partial(pieces, self.storage, task, "bands", parts)
        held = [] if large else list(read())
        rows: Rows = read if large else partial(iter, held)
        keys, counts = shared(read(columns=["key"]) if large else held, found.out)
        start = 0
        while start < len(keys):
            total = np.cumsum(counts[start:])
            count = int(np.searchsorted(total, PIECE_ROWS - waiting.rows, "right"))
            if count:
                waiting.pieces += having(rows(), keys[start : start + count])
                waiting.rows += int(total[count - 1])
            elif waiting.rows:
                self._pair(waiting, found)
            else:
                count = 1
                self._hot(rows, keys[start : start + 1], found)
            start += count

    def _pair(self, waiting: "Waiting", found: "Candidates") -> None:
        """Pairs within whole buckets, which wait no more."""
        table, rank = together(waiting.pieces, BANDS)
        waiting.pieces, waiting.rows = [], 0
        key, content, ids = numbers(table, "key"), numbers(table, "content"), id_words(table["doc_id"])
        number, row_of = visit_numbers(rank, numbers(table, "priority"), ids)
        order, _ = ordered([key, content, number.view(np.uint64)])
        columns = key[order], content[order], number[order], self.stage.representatives, sketches(table)[order]
        pairs = bucket_pairs(*columns, *self.stage.limits)
        home = numbers(table, "home")
        for start in range(0, len(pairs.keys), ROWS_PER_FILE):
            part = pairs._replace(keys=pairs.keys[start : start + ROWS_PER_FILE])
            later, earlier = row_of[part.later], row_of[part.earlier]
            found.add(rank[later], (home[later], ids[later]), (home[earlier], ids[earlier]))
        found.out.counters["pairs_unlikely"] += pairs.unlikely
        found.out.counters["bucket_overflow"] += pairs.overflow

    def _hot(self, rows_of: Rows, keys: np.ndarray, found: "Candidates") -> None:
        """Pairs within one bucket that is larger than a piece. Equal contents in different files all take part."""
        first, first_rank, more = BANDS.empty_table(), np.zeros(0, np.uint16), False
        for piece in having(rows_of(), keys):
            table, rank = together([(first, first_rank), piece], BANDS)
            rows = first_of_each(table, rank)
            more |= len(rows) > self.stage.representatives
            rows = rows[: self.stage.representatives]
            first, first_rank = table.take(pa.array(rows)), rank[rows]
        most, *limits = self.stage.limits
        if more:
            most = crowd_bits(sketches(first), np.arange(len(first)), *limits)
        self._meet(first, first_rank, first, np.arange(len(first)), (most, more), found)
        for table, rank in having(rows_of(), keys) if more else ():
            rows = first_of_each(table, rank)
            rows = rows[~np.isin(numbers(table, "content")[rows], numbers(first, "content"))]
            own = table.take(pa.array(rows))
            self._meet(own, rank[rows], first, np.full(len(rows), len(first)), (most, True), found)
            found.out.counters["bucket_overflow"] += len(rows)

    def _meet(
        self,
        table: pa.Table,
        rank: np.ndarray,
        first: pa.Table,
        limit: np.ndarray,
        bits: tuple[int, bool],
        found: "Candidates",
    ) -> None:
        """Pairs of each row with the first `limit` of a bucket's representatives; bits: in how many the sketches may
        differ, and whether the bucket is crowded; see `bucket_pairs`."""
        ids, home = id_words(table["doc_id"]), numbers(table, "home")
        pivots, pivot_home = id_words(first["doc_id"]), numbers(first, "home")
        apart = np.bitwise_count(sketches(table)[:, None] ^ sketches(first)[None]).sum(axis=2, dtype=np.int16)
        meets = np.arange(len(first)) < limit[:, None]
        apart[~meets] = SKETCH_BITS + 1
        good = apart <= bits[0]
        if bits[1]:
            rows = np.flatnonzero(good.any(axis=1))
            chosen = np.zeros_like(good)
            chosen[rows, good[rows].argmax(axis=1)] = True
            chosen[rows, apart[rows].argmin(axis=1)] = True
            good = chosen
        rows, at = np.nonzero(good)
        found.add(rank[rows], (home[rows], ids[rows]), (pivot_home[at], pivots[at]))
        found.out.counters["pairs_unlikely"] += int(meets.sum()) - len(rows)


@dataclass
class Waiting:
    """Rows of whole buckets, not yet paired."""

    pieces: list[Piece]
    rows: int = 0


class Candidates:
    """Candidates about new documents, in several files where there are many."""

    def __init__(self, out: Output, newest: int) -> None:
        self.out, self.newest = out, newest
        self.tables, self.rows, self.files = [CANDIDATES.empty_table()], 0, 0

    def add(self, rank: np.ndarray, later: tuple[np.ndarray, np.ndarray], pivot: tuple[np.ndarray, np.ndarray]) -> None:
        """Pairs of documents, each by home and id; `rank` is that of the later ones. A pivot meets itself too."""
        new = rank == self.newest
        home, ids = later[0][new], later[1][new]
        pivot_home, pivot_ids = pivot[0][new], pivot[1][new]
        order, fresh = ordered([pivot_ids[:, 0], pivot_ids[:, 1]])
        own = order[fresh]
        docs, pivots = np.concatenate([ids, pivot_ids[own]]), np.concatenate([pivot_ids, pivot_ids[own]])
        columns = [np.concatenate([home, pivot_home[own]]), id_array(docs), id_array(pivots)]
        self.tables.append(pa.table(columns, schema=CANDIDATES))
        self.rows += len(docs)
        self.out.counters["pairs"] += len(ids)
        if self.rows >= ROWS_PER_FILE:
            self._flush()

    def close(self) -> None:
        """End the last file; there is always one."""
        if self.rows or not self.files:
            self._flush()

    def _flush(self) -> None:
        write_partitions(self.out.file("candidates", "side", CANDIDATES), pa.concat_tables(self.tables), "key")
        self.tables, self.rows, self.files = [CANDIDATES.empty_table()], 0, self.files + 1


def shared(found: Iterable[Piece], out: Output) -> tuple[np.ndarray, np.ndarray]:
    """The hashes that several of some rows have, sorted, and the rows of each; counts those of all."""
    keys, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for table, _ in found:
        some, number = runs(numbers(table, "key"))
        keys.append(some)
        counts.append(number)
    every, number = np.concatenate(keys), np.concatenate(counts)
    order = np.argsort(every)
    every, files = runs(every[order])
    total = np.add.reduceat(number[order], np.cumsum(files) - files) if len(files) else number
    several = total > 1
    rows, not_alone = int(number.sum()), int(total[several].sum())
    out.counters["side/bands/in"] += rows
    out.counters["side/bands/out/shared"] += not_alone
    out.counters["side/bands/out/alone"] += rows - not_alone
    return every[several], total[several]


def having(found: Iterable[Piece], keys: np.ndarray) -> Iterator[Piece]:
    """Of some rows, sorted by hash, those with some hashes, sorted too."""
    for table, rank in found:
        key = numbers(table, "key")
        start, stop = np.searchsorted(key, keys[0]), np.searchsorted(key, keys[-1], "right")
        at = np.searchsorted(keys, key[start:stop])
        rows = start + np.flatnonzero(keys[at] == key[start:stop])
        yield table.take(pa.array(rows)), rank[rows]


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of a sorted array, and how often each comes, int64."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] ^ np.uint64(1)))
    return values[starts], np.diff(starts, append=len(values))


def first_of_each(table: pa.Table, rank: np.ndarray) -> np.ndarray:
    """The first row of each content, in visiting order."""
    visit = visit_words(rank, numbers(table, "priority"), id_words(table["doc_id"]))
    order, fresh = ordered([numbers(table, "content"), *visit])
    content = numbers(table, "content")[order]
    fresh[1:] = content[1:] != content[:-1]
    rows = order[fresh]
    return rows[ordered([word[rows] for word in visit])[0]]


def sketches(table: pa.Table) -> np.ndarray:
    """The sketches, uint64[n, 2]."""
    return np.stack([numbers(table, "sketch0"), numbers(table, "sketch1")], axis=1)
