"""Data files: row groups are cut where the rows say, whatever the batches; digests are those of what a file holds."""

import errno
import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import shards
from manifests.digest import ContentDigest, combine
from manifests.hashed_file import HashedFile
from manifests.local import LocalStorage
from manifests.shards import (
    ShardWriter,
    Written,
    read_batches,
    row_bytes,
    slices,
)
from manifests.storage import OutOfDisk

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("tokens", pa.list_(pa.uint16()))])


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path))


def documents(count: int, seed: int = 1) -> pa.Table:
    """Texts of 0 to 60 bytes in two languages with 0 to 9 tokens, some null."""
    rng = random.Random(seed)
    rows = [
        {
            "id": i,
            "text": None if i % 17 == 0 else rng.choice(["word ", "字"]) * rng.randint(0, 12),
            "tokens": [rng.randrange(65_536) for _ in range(rng.randint(0, 9))],
        }
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def written(
    storage: LocalStorage,
    batches: Iterable[pa.RecordBatch],
    limit: int = 1 << 20,
    count: str | None = None,
    stored: bool = True,
) -> Written:
    """The file of some batches."""
    writer = ShardWriter(storage, SCHEMA, limit, count, stored)
    for batch in batches:
        writer.write(batch)
    return writer.close("folder", "key", {})


def cuts(table: pa.Table, sizes: Iterable[int]) -> list[pa.RecordBatch]:
    """The table in batches of some sizes in turn, each a slice with an offset."""
    whole = table.combine_chunks().to_batches()[0]
    batches, start = [], 0
    for size in sizes:
        batches.append(whole.slice(start, size))
        start += size
    return [*batches, whole.slice(start)]


def reference_groups(table: pa.Table, limit: int, tokens: bool = False) -> list[int]:
    """Rows of each group: one ends with the row that brings it to the limit."""
    groups, rows, weight = [], 0, 0
    for row in table.to_pylist():
        rows += 1
        weight += len(row["tokens"]) if tokens else 8 + len((row["text"] or "").encode()) + 2 * len(row["tokens"])
        if weight >= limit:
            groups.append(rows)
            rows, weight = 0, 0
    return groups + ([rows] if rows else [])


@pytest.mark.parametrize(
    "limit, count", [(1, None), (37, None), (500, None), (10**9, None), (25, "tokens"), (1, "tokens")]
)
def test_row_groups_are_cut_equally_for_any_batches(storage: LocalStorage, limit: int, count: str | None) -> None:
    table = documents(120)
    expected = reference_groups(table, limit, tokens=bool(count))
    rng = random.Random(limit)
    batchings: list[list[int]] = [[], [1] * 119, [0, 60, 0], [7] * 17, [rng.randint(0, 30) for _ in range(3)]]
    files = [written(storage, cuts(table, sizes), limit, count) for sizes in batchings]
    for file in files:
        assert [group.rows for group in file.row_groups] == expected
        assert file == files[0]
    assert files[0].rows == 120
    if count:
        tokens = pq.read_table(storage.root / (files[0].path or ""))["tokens"].to_pylist()
        assert sum(group.tokens for group in files[0].row_groups) == sum(len(row) for row in tokens)


@pytest.mark.parametrize("at_once", [64, 1 << 20])
def test_the_file_holds_what_was_written_and_its_digests(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(shards, "SINK_BYTES", at_once)
    table = documents(120)
    file = written(storage, cuts(table, [50]), limit=500)
    assert file.path == f"folder/key.{file.digest}.parquet"
    data = (storage.root / file.path).read_bytes()
    assert (file.sha256, file.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    parquet = pq.ParquetFile(storage.root / file.path)
    assert parquet.read(use_threads=False).equals(table)
    digests = []
    for number, group in enumerate(file.row_groups):
        rows = parquet.read_row_group(number, use_threads=False)
        digest = ContentDigest(SCHEMA)
        digest.update(rows)
        digests.append(digest.hexdigest())
        assert (group.rows, group.digest) == (rows.num_rows, digests[-1])
        assert group.bytes == int(row_bytes(rows).sum())
    assert file.digest == combine(SCHEMA, digests)
    assert parquet.num_row_groups == len(digests) > 5


def test_a_file_that_is_not_stored_has_the_same_digests(storage: LocalStorage) -> None:
    table = documents(90)
    kept, only = (written(storage, cuts(table, [40]), limit=300, stored=stored) for stored in (True, False))
    assert (only.digest, only.rows, only.row_groups) == (kept.digest, kept.rows, kept.row_groups)
    assert (only.path, only.sha256, only.bytes) == (None, None, 0)
    assert [entry.path for entry in storage.list("")] == [kept.path]


def test_files_without_rows_and_files_given_up(storage: LocalStorage) -> None:
    """No row, one empty batch: the same empty file, which differs from a file with another schema."""
    nothing, empty = written(storage, []), written(storage, documents(3).slice(0, 0).to_batches())
    assert nothing == empty
    assert pq.read_table(storage.root / (nothing.path or "")).schema.names == SCHEMA.names
    assert combine(SCHEMA.remove(0), []) != nothing.digest
    writer = ShardWriter(storage, SCHEMA)
    writer.write(documents(5).to_batches()[0])
    writer.abandon()
    assert list(storage.scratch().iterdir()) == []


@pytest.mark.parametrize("writes", range(6))
def test_a_disk_that_fills_up_while_a_file_is_written(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """The writes of row groups, of the footer and of what was waiting at the end each fail in turn."""
    left = iter(range(writes))
    real = HashedFile.write

    def write(self: HashedFile, data: bytes) -> int:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(HashedFile, "write", write)
    monkeypatch.setattr(shards, "SINK_BYTES", 4096)
    writer = ShardWriter(storage, SCHEMA, limit=1000)
    with pytest.raises(OutOfDisk):
        writer.write(documents(500).to_batches()[0])
        writer.close("folder", "key", {})
    writer.abandon()
    assert list(storage.scratch().iterdir()) == []
    assert list(storage.list("")) == []


def test_the_footer_does_not_count_and_neither_do_names_of_tasks(storage: LocalStorage) -> None:
    writers = [ShardWriter(storage, SCHEMA) for _ in range(2)]
    for writer in writers:
        writer.write(documents(5).to_batches()[0])
    one = writers[0].close("folder", "one", {"rules": "[]"})
    two = writers[1].close("folder", "two", {})
    assert one.digest == two.digest
    assert pq.ParquetFile(storage.root / (one.path or "")).metadata.metadata[b"rules"] == b"[]"


@pytest.mark.parametrize("codec, name", [("zstd", "ZSTD"), ("lz4", "LZ4")])
def test_the_codec_does_not_count(storage: LocalStorage, codec: str, name: str) -> None:
    writer = ShardWriter(storage, SCHEMA, codec=codec)
    writer.write(documents(5).to_batches()[0])
    file = writer.close("folder", codec, {})
    assert file.digest == written(storage, documents(5).to_batches()).digest
    group = pq.ParquetFile(storage.root / (file.path or "")).metadata.row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {name}


@pytest.mark.parametrize("limit", [1, 40, 1000, 10**9])
def test_batches_are_read_by_bytes_in_order(storage: LocalStorage, limit: int) -> None:
    table = documents(120)
    file = written(storage, cuts(table, []), limit=700)
    batches = list(read_batches(storage, file.path or "", limit=limit))
    assert pa.Table.from_batches(batches).equals(table)
    assert all(batch.num_rows == 1 or row_bytes(batch).sum() <= limit for batch in batches)
    assert sum(batch.num_rows for batch in slices(table.to_batches()[0], limit)) == 120
    (ids,) = {tuple(batch.schema.names) for batch in read_batches(storage, file.path or "", ["id"])}
    assert ids == ("id",)


def test_bytes_of_rows() -> None:
    """Values of strings and lists, widths of the rest; slices have the bytes of their own rows."""
    schema = pa.schema(
        [
            ("a", pa.int32()),
            ("b", pa.string()),
            ("c", pa.list_(pa.struct([("x", pa.int64()), ("y", pa.int64())]))),
            ("d", pa.binary(16)),
        ]
    )
    rows = [
        {"a": 1, "b": "中", "c": [], "d": b"0" * 16},
        {"a": None, "b": None, "c": None, "d": None},
        {"a": 2, "b": "ab", "c": [{"x": 1, "y": 2}] * 2, "d": b"1" * 16},
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    assert row_bytes(batch).tolist() == [23, 20, 54]
    assert row_bytes(batch.slice(2)).tolist() == [54]
    assert row_bytes(batch).dtype == np.int64
