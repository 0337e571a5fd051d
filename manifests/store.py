"""Manifest rows and how they are committed: one Parquet object per task, created only if absent.

A manifest is the only state. A task is done when its manifest object exists; what the object says never changes,
since a second commit of the same task must carry the same digests or is refused.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.storage import Storage, StorageError

LAYOUT = 1
SUFFIX = ".manifest.parquet"
MERGED = "merged.parquet"
# Codec of everything but the data columns; level 3 is zstd's own default.
COMPRESSION = {"compression": "zstd", "compression_level": 3}


class CommitConflict(StorageError):
    """A task was run twice and gave two different contents."""


@dataclass(frozen=True)
class RowGroup:
    """One row group of a data file: rows, uncompressed bytes, tokens (0 unless a token shard) and content digest."""

    rows: int
    bytes: int
    tokens: int
    digest: str


class RowGroups(Sequence[RowGroup]):
    """The row groups of a file, packed into 40 bytes each: a side file has 1,024, and a run has thousands of files."""

    __slots__ = ("packed",)
    FIELDS = np.dtype([("rows", "<i8"), ("bytes", "<i8"), ("tokens", "<i8"), ("digest", "V16")])

    def __init__(self, groups: Iterable[RowGroup] = ()) -> None:
        plain = [(g.rows, g.bytes, g.tokens, bytes.fromhex(g.digest)) for g in groups]
        self.packed = np.array(plain, self.FIELDS)

    @classmethod
    def of(cls, packed: np.ndarray) -> "RowGroups":
        """Row groups from their packed form."""
        made = cls()
        made.packed = packed
        return made

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, index: int) -> RowGroup: ...
    @overload
    def __getitem__(self, index: slice) -> "RowGroups": ...
    def __getitem__(self, index: int | slice) -> "RowGroup | RowGroups":
        if isinstance(index, slice):
            return RowGroups.of(self.packed[index])
        rows, size, tokens, digest = self.packed[index].tolist()
        return RowGroup(rows, size, tokens, digest.hex())

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.packed.tobytes())


@dataclass(frozen=True)
class Shard:
    """One manifest row: what one task wrote for one output of one stage (DESIGN: kind docs, dropped, side, ...)."""

    stage: str
    stage_id: str
    task_key: str
    commit_key: str  # the manifest object that holds the row: the key of the last task of its pass
    kind: str
    output: str
    digest: str
    rows: int
    path: str | None = None
    sha256: str | None = None
    bytes: int = 0
    source: str | None = None
    snapshot: str | None = None
    lang: str | None = None
    tokens: int | None = None
    row_groups: Sequence[RowGroup] = RowGroups()
    counters: tuple[tuple[str, int], ...] = ()
    inputs: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_rss: int = 0
    host: str = ""
    versions: str = ""
    layout: int = LAYOUT

    def count(self) -> dict[str, int]:
        """The counters as a dictionary."""
        return dict(self.counters)


GROUP = pa.struct([("rows", pa.int64()), ("bytes", pa.int64()), ("tokens", pa.int64()), ("digest", pa.string())])
ROW = pa.schema(
    [
        ("stage", pa.string()),
        ("stage_id", pa.string()),
        ("task_key", pa.string()),
        ("commit_key", pa.string()),
        ("kind", pa.string()),
        ("output", pa.string()),
        ("digest", pa.string()),
        ("rows", pa.int64()),
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("source", pa.string()),
        ("snapshot", pa.string()),
        ("lang", pa.string()),
        ("tokens", pa.int64()),
        ("row_groups", pa.list_(GROUP)),
        ("counters", pa.map_(pa.string(), pa.int64())),
        ("inputs", pa.list_(pa.string())),
        ("seconds", pa.float64()),
        ("peak_rss", pa.int64()),
        ("host", pa.string()),
        ("versions", pa.string()),
        ("layout", pa.int32()),
    ]
)


def encode(rows: list[Shard], metadata: dict[str, str] | None = None) -> bytes:
    """Parquet bytes of manifest rows, in the order given."""
    table = pa.table([_column(rows, field) for field in ROW], schema=ROW)
    if metadata:
        table = table.replace_schema_metadata(metadata)
    sink = io.BytesIO()
    pq.write_table(table, sink, **COMPRESSION)
    return sink.getvalue()


def decode(data: bytes) -> list[Shard]:
    """Manifest rows of Parquet bytes."""
    table = read_bytes(data).combine_chunks()
    groups = _row_groups(table["row_groups"].combine_chunks()) if table.num_rows else []
    plain = table.drop_columns(["row_groups"]).to_pylist()
    return [_shard(row, some) for row, some in zip(plain, groups, strict=True)]


def read_bytes(data: bytes) -> pa.Table:
    """Table of Parquet bytes, read without threads: those of pq.read_table can abort a process that ends soon after."""
    with pq.ParquetFile(io.BytesIO(data)) as file:
        return file.read(use_threads=False)


def manifest_path(folder: str, task_key: str) -> str:
    """Where the manifest object of a task lies, relative to the root."""
    return f"{folder}/{task_key}{SUFFIX}"


def commit(storage: Storage, folder: str, task_key: str, rows: list[Shard]) -> list[Shard]:
    """Make a task's rows final; gives the rows that are committed, which may be those of an earlier, equal run."""
    path = manifest_path(folder, task_key)
    if storage.put_if_absent(path, encode(rows)):
        return rows
    earlier = decode(storage.get(path))
    if _contents(earlier) != _contents(rows):
        raise CommitConflict(
            f"{path}: this task was committed before with another content. A stage is not deterministic, or its "
            "code changed without a new version; move the corpus root aside and run again."
        )
    return earlier


def committed(storage: Storage, folder: str, keys: set[str]) -> dict[str, list[Shard]]:
    """Rows of those tasks in `keys` that are committed: one listing, the merged file, and what it does not hold yet."""
    present = {
        name.removesuffix(SUFFIX)
        for entry in storage.list(folder + "/")
        if (name := entry.path.rsplit("/", 1)[-1]).endswith(SUFFIX)
    } & keys
    done: dict[str, list[Shard]] = {}
    for row in read_merged(storage, folder):
        if row.commit_key in present:
            done.setdefault(row.commit_key, []).append(row)
    for key in sorted(present - set(done)):
        done[key] = decode(storage.get(manifest_path(folder, key)))
    return done


def read_merged(storage: Storage, folder: str) -> list[Shard]:
    """Rows of a stage folder's merged file; empty when there is none."""
    try:
        return decode(storage.get(f"{folder}/{MERGED}"))
    except FileNotFoundError:
        return []


def _column(rows: list[Shard], field: pa.Field) -> pa.Array:
    values = [getattr(row, field.name) for row in rows]
    if field.name != "row_groups":
        return pa.array(values, field.type)
    groups = [value if isinstance(value, RowGroups) else RowGroups(value) for value in values]
    packed = np.concatenate([np.zeros(0, RowGroups.FIELDS), *(g.packed for g in groups)])
    offsets = np.cumsum([0, *map(len, groups)]).astype(np.int32)
    text = packed["digest"].tobytes().hex().encode()
    starts = pa.py_buffer(np.arange(0, len(text) + 1, 32, dtype=np.int32))
    digests = pa.StringArray.from_buffers(len(packed), starts, pa.py_buffer(text))
    numbers = [pa.array(packed[name]) for name in ("rows", "bytes", "tokens")]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([*numbers, digests], fields=list(GROUP)))


def _row_groups(column: pa.ListArray) -> list[RowGroups]:
    groups, offsets = column.values, column.offsets.to_numpy()
    packed = np.zeros(len(groups), RowGroups.FIELDS)
    for name in ("rows", "bytes", "tokens"):
        packed[name] = groups.field(name).to_numpy()
    packed["digest"] = np.frombuffer(bytes.fromhex("".join(groups.field("digest").to_pylist())), "V16")
    return [RowGroups.of(packed[a:b]) for a, b in zip(offsets, offsets[1:], strict=False)]


def _shard(row: dict[str, Any], groups: RowGroups) -> Shard:
    return Shard(**row | {"row_groups": groups, "counters": tuple(row["counters"]), "inputs": tuple(row["inputs"])})


def _contents(rows: list[Shard]) -> list[tuple[str, ...]]:
    return sorted((row.stage, row.kind, row.output, row.lang or "", row.digest) for row in rows)
