"""Data files: record batches in, one Parquet file with fixed row groups and its digests out.

Row groups are cut at places that depend on the rows alone (by bytes, by tokens, or by partition), so the same rows
arriving in other batches give the same file. A file is written beside its final place and named after its content.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.digest import ContentDigest, combine, range_digests
from manifests.hashed_file import HashedFile
from manifests.ordering import table_order
from manifests.storage import Storage, disk_errors
from manifests.store import COMPRESSION, RowGroup, RowGroups

MIB = 1 << 20
TEXT_GROUP_BYTES = 64 * MIB
TOKEN_GROUP_TOKENS = 1 << 18
PARTITIONS = 1024
BATCH_BYTES = 8 * MIB
SINK_BYTES = MIB  # written at once
HASHES = frozenset(  # columns of side files
    "key rest content doc_id pivot later earlier kept_id sketch0 sketch1 shingles".split()
)


@dataclass(frozen=True)
class Written:
    """A finished data file, by its path relative to the root."""

    path: str | None
    digest: str
    sha256: str | None
    rows: int
    bytes: int
    row_groups: RowGroups


class ShardWriter:
    """Writes one data file; `close` moves it to `{folder}/{task_key}.{digest}.parquet`.

    limit: a row group ends with the row that brings its weight to the limit. The weight of a row is its uncompressed
    bytes, or the length of the list column `count` where one is named. With stored=False nothing is written, and the
    digests are those that the file would have.
    """

    def __init__(
        self,
        storage: Storage,
        schema: pa.Schema,
        limit: int = TEXT_GROUP_BYTES,
        count: str | None = None,
        stored: bool = True,
        codec: str = "zstd",
    ) -> None:
        self.storage, self.schema, self.limit, self.count = storage, schema, limit, count
        self.local: Path = storage.scratch() / f"{uuid4().hex}.parquet"
        self.writer: pq.ParquetWriter | None = None
        if stored:
            with disk_errors(self.local):
                self.file = HashedFile(self.local)
                self.sink = pa.BufferedOutputStream(pa.PythonFile(self.file, "w"), SINK_BYTES)
                self.writer = pq.ParquetWriter(self.sink, schema, **parquet_options(schema, codec))
        self.groups: list[RowGroup] = []
        self.pending: list[pa.RecordBatch] = []
        self.weight = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows in order."""
        weights = row_tokens(batch, self.count) if self.count else row_bytes(batch)
        start = 0
        while start < batch.num_rows:
            total = np.cumsum(weights[start:])
            end = start + int(np.searchsorted(total, self.limit - self.weight, "left")) + 1
            self.pending.append(batch.slice(start, end - start))
            if end > batch.num_rows:
                self.weight += int(total[-1])
                return
            self.cut()
            start = end

    def cut(self) -> None:
        """End the row group here, even if it is empty."""
        batches, self.pending, self.weight = self.pending, [], 0
        table = pa.Table.from_batches(batches, schema=self.schema).combine_chunks()
        digest = ContentDigest(self.schema)
        digest.update(table)
        tokens = int(row_tokens(table, self.count).sum()) if self.count else 0
        self.put(table, RowGroup(table.num_rows, int(row_bytes(table).sum()), tokens, digest.hexdigest()))

    def put(self, table: pa.Table, group: RowGroup) -> None:
        """Add a whole row group, described already."""
        self.groups.append(group)
        if self.writer:
            with disk_errors(self.local):
                self.writer.write_table(table, row_group_size=max(1, table.num_rows))

    def close(self, folder: str, task_key: str, metadata: dict[str, str]) -> Written:
        """Finish the file and move it to its place; `metadata` goes into the Parquet footer."""
        if self.pending:
            self.cut()
        digest = combine(self.schema, [group.digest for group in self.groups])
        rows = sum(group.rows for group in self.groups)
        if not self.writer:
            return Written(None, digest, None, rows, 0, RowGroups(self.groups))
        if metadata:
            self.writer.add_key_value_metadata(metadata)
        with disk_errors(self.local):
            self.writer.close()
            self.sink.close()
        path = f"{folder}/{task_key}.{digest}.parquet"
        size = self.local.stat().st_size
        self.storage.put_file(self.local, path)
        return Written(path, digest, self.file.sha256.hexdigest(), rows, size, RowGroups(self.groups))

    def abandon(self) -> None:
        """Remove what was written so far."""
        if self.writer:
            with contextlib.suppress(OSError, pa.ArrowException):  # on a full disk
                self.writer.close()
                self.sink.close()
        self.local.unlink(missing_ok=True)


def write_partitions(
    writer: ShardWriter, table: pa.Table, key: str, span: tuple[int, int] = (0, PARTITIONS), in_order: bool = False
) -> None:
    """Write a side file in the exchange layout: 1,024 row groups by the top 10 bits of `key`, sorted inside; or the row
    groups [span[0], span[1]) of one, of which the table has the rows.

    Rows are sorted by all columns, `key` first and then in schema order, so their order is a function of the set of
    rows; with in_order they come so.
    """
    table = table.combine_chunks()
    if not in_order:
        table = table.take(pa.array(table_order(table, key))).combine_chunks()
    parts = table[key].to_numpy() >> np.uint64(54)
    bounds = np.searchsorted(parts, np.arange(span[0], span[1] + 1)).tolist()
    weight = np.concatenate([[0], np.cumsum(row_bytes(table))])
    for start, stop, digest in zip(bounds, bounds[1:], range_digests(table, bounds), strict=False):
        group = RowGroup(stop - start, int(weight[stop] - weight[start]), 0, digest)
        writer.put(table.slice(start, stop - start), group)


def read_batches(
    storage: Storage, path: str, columns: list[str] | None = None, limit: int = BATCH_BYTES
) -> Iterator[pa.RecordBatch]:
    """Rows of a data file in order, in batches of about `limit` uncompressed bytes. Where a batch ends depends on how
    the file was encoded too, so no stage may decide by it."""
    with opened(storage, path) as file:
        for group in range(file.num_row_groups):
            # Arrow decodes so many rows at once; a whole row group grows its buffers from nothing again and again.
            rows = max(1, limit * file.metadata.row_group(group).num_rows // max(1, column_bytes(file, group, columns)))
            for batch in file.iter_batches(rows, [group], columns, use_threads=False):
                yield from slices(batch, limit)


def column_bytes(file: pq.ParquetFile, group: int, columns: list[str] | None) -> int:
    """Uncompressed bytes of some columns of a row group, or of all."""
    metadata = file.metadata.row_group(group)
    chunks = [metadata.column(i) for i in range(metadata.num_columns)]
    return sum(c.total_uncompressed_size for c in chunks if not columns or c.path_in_schema.split(".")[0] in columns)


def read_partitions(storage: Storage, path: str, parts: tuple[int, int], columns: list[str] | None = None) -> pa.Table:
    """Rows of the row groups [parts[0], parts[1]) of a side file."""
    with opened(storage, path) as file:
        return read_groups(file, parts, columns)


@contextlib.contextmanager
def opened(storage: Storage, path: str) -> Iterator[pq.ParquetFile]:
    """A data file, open. Arrow reads a local one itself: through Python all that is read is copied once more."""
    with storage.open(path) as source:
        local = isinstance(source, io.BufferedReader) and isinstance(source.raw, io.FileIO)
        with pa.OSFile(os.fspath(source.name)) if local else source as stream, pq.ParquetFile(stream) as file:
            yield file


def read_groups(file: pq.ParquetFile, parts: tuple[int, int], columns: list[str] | None = None) -> pa.Table:
    """Rows of the row groups [parts[0], parts[1]) of an open side file."""
    groups = [g for g in range(*parts) if file.metadata.row_group(g).num_rows]
    if not groups:
        schema = file.schema_arrow
        return (pa.schema([schema.field(c) for c in columns]) if columns else schema).empty_table()
    return file.read_row_groups(groups, columns=columns, use_threads=False)


def slices(batch: pa.RecordBatch, limit: int) -> Iterator[pa.RecordBatch]:
    """The batch in pieces of at most `limit` bytes, or one row where a row is larger."""
    total = np.cumsum(row_bytes(batch))
    start = 0
    while start < batch.num_rows:
        before = int(total[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + limit, "right")))
        yield batch.slice(start, end - start)
        start = end


def row_bytes(batch: pa.RecordBatch | pa.Table) -> np.ndarray:
    """Uncompressed bytes of each row, int64[n]: values of strings and lists, widths of the rest."""
    total = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            total += pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        elif pa.types.is_list(kind):
            width = 16 if pa.types.is_nested(kind.value_type) else kind.value_type.bit_width // 8
            total += width * pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        else:
            total += kind.bit_width // 8
    return total


def row_tokens(batch: pa.RecordBatch | pa.Table, column: str) -> np.ndarray:
    """Length of each row's token list, int64[n]."""
    return pc.list_value_length(batch.column(column)).to_numpy(zero_copy_only=False).astype(np.int64)


def parquet_options(schema: pa.Schema, codec: str = "zstd") -> dict:
    """Writer options: dictionaries for short strings that repeat, statistics for numbers only.

    Side files, which have a `key`, hold hashes, which no codec makes smaller, and for the rest LZ4, which is quick.
    """
    repeating = {"source", "snapshot", "lang", "script", "host", "archive", "charset", "stage", "reason", "method"}
    options = {"use_dictionary": [name for name in schema.names if name in repeating], "store_schema": True}
    if "key" in schema.names:
        codecs = {name: "none" if name in HASHES else "lz4" for name in schema.names}
        return options | {"compression": codecs, "write_statistics": ["key"]}
    numbers = [f.name for f in schema if pa.types.is_primitive(f.type)]
    options |= COMPRESSION if codec == "zstd" else {"compression": codec}
    return options | {"write_statistics": numbers or False}
