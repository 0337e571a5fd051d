"""Pairing in pieces: however few rows fit into memory, the same pairs come out, but for copies that `exact` removes."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import match
from stages.base import Task
from stages.match import Match, Matching, runs
from stages.schema import BANDS

SNAPSHOTS = ("1", "2")
HOT = 7 << 60
Parts = list[tuple[tuple[int, int], bool]]
WHOLE: Parts = [((0, 1024), False)]


class Out:
    """What `match` writes to, kept in memory."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.rows: list[dict] = []
        self.files = 0
        self.reads: list[tuple[tuple[int, int], object]] = []

    def file(self, *_: object) -> SimpleNamespace:
        self.files += 1
        return SimpleNamespace(put=lambda table, _group: self.rows.extend(table.to_pylist()))

    @property
    def pairs(self) -> set[tuple[int, int]]:
        return {(row["doc_id"][-1], row["pivot"][-1]) for row in self.rows if row["doc_id"] != row["pivot"]}

    @property
    def own(self) -> set[int]:
        return {row["pivot"][-1] for row in self.rows if row["doc_id"] == row["pivot"]}


def bands(rows: list[tuple[int, int, int, int]]) -> pa.Table:
    """Rows (key, content, document, sketch), sorted by key as in a side file."""
    columns = {
        "key": [row[0] for row in rows],
        "content": [row[1] for row in rows],
        "priority": [0] * len(rows),
        "doc_id": [bytes([0] * 15 + [row[2]]) for row in rows],
        "home": [row[2] % 3 for row in rows],
        "sketch0": [(1 << row[3]) - 1 for row in rows],
        "sketch1": [0] * len(rows),
    }
    return pa.table(columns, schema=BANDS).sort_by("key")


def paired(
    files: list[pa.Table], piece_rows: int, representatives: int, rows_per_file: int = 1 << 21, parts: Parts = WHOLE
) -> tuple[Out, list[int]]:
    """What `match` makes of some files, the last one of the newest snapshot, read in some parts; and the rows that it
    held at a time."""
    held: list[int] = []
    out = Out()

    def pieces(
        _storage: object, _task: Task, _output: str, parts: tuple[int, int] = (0, 1024), columns: object = None
    ) -> Iterator[tuple[pa.Table, np.ndarray]]:
        out.reads.append((parts, columns))
        for number, table in enumerate(files):
            part = table["key"].to_numpy() >> np.uint64(54)
            rows = table.filter(pa.array((part >= parts[0]) & (part < parts[1])))
            yield rows, np.full(rows.num_rows, number == len(files) - 1, np.uint16)

    def held_together(*arguments: object) -> tuple[pa.Table, np.ndarray]:
        table, rank = together(*arguments)
        held.append(table.num_rows)
        return table, rank

    together = match.together
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match, "pieces", pieces)
        patch.setattr(match, "parts_of", lambda *_: parts)
        patch.setattr(match, "together", held_together)
        patch.setattr(match, "PIECE_ROWS", piece_rows)
        patch.setattr(match, "ROWS_PER_FILE", rows_per_file)
        stage = Match(name="match", representatives=representatives)
        Matching(stage, None).run(Task("k", snapshots=SNAPSHOTS), out)
    return out, held


documents = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 40)), max_size=24)
borders = st.sets(st.sampled_from([1, 64, 128, 192]))
large = st.lists(st.booleans(), min_size=5, max_size=5)


@settings(max_examples=100, deadline=None)
@given(documents, st.integers(1, 6), st.integers(1, 3), st.integers(1, 5), borders, large)
def test_pieces_change_nothing_but_copies(
    found: list[tuple[int, int, int]],
    representatives: int,
    files: int,
    piece_rows: int,
    borders: set[int],
    large: list[bool],
) -> None:
    parts = list(zip(pairwise(sorted({0, 1024} | borders)), large, strict=False))
    rows = [(key << 60, content, number, sketch) for number, (key, content, sketch) in enumerate(found)]
    tables = [bands(rows[i::files]) for i in range(files)]
    whole, _ = paired(tables, 1 << 20, representatives)
    cut, _ = paired(tables, piece_rows, representatives, rows_per_file=3, parts=parts)
    place = {row[2]: ((row[2] % files == files - 1), row[2]) for row in rows}
    first: dict[tuple[int, int], int] = {}
    for number in sorted(place, key=lambda n: place[n]):
        first.setdefault(rows[number][:2], number)
    originals = set(first.values())
    assert {pair for pair in cut.pairs if set(pair) <= originals} == whole.pairs
    for out in (whole, cut):
        assert out.own == {pivot for _, pivot in out.pairs}
        assert out.counters["side/bands/in"] == len(rows)
    once, _ = paired(tables, piece_rows, representatives, rows_per_file=3)  # where parts end changes nothing at all
    assert (once.rows, once.counters, once.files) == (cut.rows, cut.counters, cut.files)
    assert cut.counters["side/bands/out/shared"] == whole.counters["side/bands/out/shared"]


def test_a_hash_that_everyone_has_is_never_in_memory_as_a_whole() -> None:
    files = [bands([(HOT, 10 * f + i, 10 * f + i, 0) for i in range(10)] + [(1, f, 10 * f, 0)]) for f in range(4)]
    out, held = paired(files, 12, 3, parts=[((0, 1024), True)])
    assert max(held) <= 3 + 10
    assert out.pairs == {(30 + i, 0) for i in range(10)}  # the newest snapshot's, with the first of all
    assert out.counters["bucket_overflow"] == (40 - 3) + (4 - 3)
    assert out.counters["side/bands/out/shared"] == 44


def test_small_parts_are_read_once_and_paired_together() -> None:
    files = [bands([(key << 60, 2 * key + f, f, 0) for key in range(4)]) for f in range(2)]
    for borders in ([0, 1024], [0, 64, 200, 1024]):
        parts = list(pairwise(borders))
        out, held = paired(files, 1 << 20, 3, parts=[(part, False) for part in parts])
        assert out.reads == [(part, None) for part in parts]
        assert held == [8]
        assert out.pairs == {(1, 0)} and len(out.rows) == 2  # not once for each hash


def test_large_parts_are_read_by_their_hashes_first() -> None:
    files = [bands([(key << 60, 2 * key + f, f, 0) for key in range(4)]) for f in range(2)]
    out, _ = paired(files, 1 << 20, 3, parts=[((0, 64), True), ((64, 1024), False)])
    assert out.reads == [((0, 64), ["key"]), ((0, 64), None), ((64, 1024), None)]
    assert out.pairs == {(1, 0)}


def test_runs() -> None:
    values, counts = runs(np.array([0, 0, 3, 5, 5, 5], np.uint64))
    assert (values.tolist(), counts.tolist()) == ([0, 3, 5], [2, 1, 3])
    assert [part.tolist() for part in runs(np.zeros(0, np.uint64))] == [[], []]
