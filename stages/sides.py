"""The exchange: tasks over side tables, and their rows as numpy columns.

Documents are visited in (snapshot, priority, doc_id) order everywhere, so an earlier snapshot's survivors never change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from dedup.hashing import route
from manifests.fingerprint import fingerprint
from manifests.ordering import ordered
from manifests.shards import PARTITIONS, read_partitions
from manifests.storage import Storage, open_storage
from manifests.store import MERGED, RowGroups, Shard, decode
from stages.base import Merged, Plan, Task, UserError, folder, rows_digest
from stages.schema import ID


def range_tasks(plan: Plan, output: str, bytes_per_task: int, cumulative: bool = True) -> list[Task]:
    """Tasks over ranges of row groups of a side output, for each snapshot that has new rows.

    The task for snapshot g reads the side files of all snapshots up to g, or with cumulative=False of g alone. The
    number of ranges is a power of two that follows the bytes of the rows, so it does not depend on the number of
    workers. Its key follows from what is in the range: rows elsewhere that change or go, as in a takedown, run no other
    range again.
    """
    tasks = []
    rows = plan.rows(output)
    held = {s: part_digests(r for r in rows if r.snapshot == s) for s in plan.snapshots}
    for snapshot in plan.snapshots:
        if not any(r.snapshot == snapshot and r.rows for r in rows):
            continue
        until = plan.until(snapshot)
        read = until if cumulative else (snapshot,)
        merged = plan.merged(output, read)
        total = sum(int(packed(r)["bytes"].sum()) for r in rows if r.snapshot in read)
        count = ranges(total, bytes_per_task)
        width = PARTITIONS // count
        for start in range(0, PARTITIONS, width):
            inside = [(s, held[s][start : start + width]) for s in read]
            key = fingerprint(plan.stage_id, until, inside, start, width)
            parts = (start, start + width)
            tasks.append(Task(key, (), merged, parts, snapshot, until, size=total // count))
    return tasks


def part_digests(rows: Iterable[Shard]) -> list[str]:
    """For each row group, a digest over what some side files hold in it, in any order; "" for nothing."""
    held: list[list[str]] = [[] for _ in range(PARTITIONS)]
    for row in rows:
        for part in np.flatnonzero(packed(row)["rows"]).tolist():
            held[part].append(row.row_groups[part].digest)
    return [fingerprint(sorted(digests)) if digests else "" for digests in held]


def ranges(total: int, bytes_per_task: int) -> int:
    """Number of ranges of equal width, a power of two, that so many bytes of side rows are cut into."""
    return min(PARTITIONS, 1 << max(0, (total - 1) // bytes_per_task).bit_length())


def routed_tasks(plan: Plan, output: str, only_named: bool) -> list[Task]:
    """One task per shard of documents, with the side rows of an output that are addressed to it.

    With only_named, a shard that no side row could name gets no task, and one task is made for each snapshot that names
    it; otherwise a shard reads the side files of its own snapshot. UserError for rows addressed to no shard.
    """
    docs = plan.rows("docs")
    parts = {row.task_key: home_of(row) >> 54 for row in docs}
    groups: dict[tuple[str, int], list[str]] = {}
    for side in plan.rows(output):
        for part in np.flatnonzero(packed(side)["rows"]).tolist():
            groups.setdefault((side.snapshot or "", part), []).append(side.row_groups[part].digest)
    if {part for _, part in groups} - set(parts.values()):
        raise UserError(
            f"{output} are about documents that the stages in `after` do not give; "
            "let sign, shingles and apply take the documents of one and the same stage"
        )
    merged = {snapshot: plan.merged(output, [snapshot]) for snapshot in plan.snapshots}
    tasks = []
    for row in docs:
        part, own = parts[row.task_key], row.snapshot or ""
        for snapshot in plan.snapshots[plan.snapshots.index(own) :] if only_named else [own]:
            named = sorted(groups.get((snapshot, part), []))
            if named or not only_named:
                key = fingerprint(plan.stage_id, snapshot, [(row.task_key, row.output, row.digest)], named)
                until = plan.until(snapshot)
                tasks.append(Task(key, (row,), merged[snapshot], (part, part + 1), snapshot, until, size=row.bytes))
    return tasks


def read_rows(storage: Storage, merged: Merged) -> list[Shard]:
    """The manifest rows that a reference means; UserError when the manifest has changed under a running job."""
    rows = [
        row
        for row in decode(storage.get(f"{merged.folder}/{MERGED}"))
        if row.output == merged.output and row.snapshot in merged.snapshots and folder_of(row) == merged.folder
    ]
    if rows_digest(rows) != merged.digest:
        raise UserError(f"{merged.folder}: its manifest changed during the run; is another run writing to this root?")
    return sorted(rows, key=lambda row: row.task_key)


@lru_cache(maxsize=16)
def side_files(root: str, merged: Merged) -> tuple["SideFile", ...]:
    """The side files that a reference means; remembered, since each of up to 1,024 tasks needs the same."""
    return tuple(
        SideFile(row.path, row.snapshot or "", packed(row)["rows"], packed(row)["bytes"], slot_of(row))
        for row in read_rows(open_storage(root), merged)
        if row.path is not None and row.rows
    )


def files_of(storage: Storage, task: Task, output: str) -> list["SideFile"]:
    """The side files of an output that a task reads."""
    return [side for m in task.merged if m.output == output for side in side_files(storage.uri, m)]


def packed(row: Shard) -> np.ndarray:
    """The row groups of a side file as records, see RowGroups."""
    groups = row.row_groups
    return groups.packed if isinstance(groups, RowGroups) else RowGroups(groups).packed


def folder_of(row: Shard) -> str:
    """Folder of the stage that a row belongs to."""
    return folder(row.stage, row.stage_id)


def slot_of(side: Shard) -> int:
    """Ten bits of a hash of the key of the task that wrote a file: what decides with which others it is gathered."""
    return route(side.task_key) >> 54


def home_of(docs: Shard) -> int:
    """Hash under which rows for the documents of a shard travel."""
    return route(docs.task_key)


def pieces(
    storage: Storage, task: Task, output: str, parts: tuple[int, int] | None = None, columns: list[str] | None = None
) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Rows of an output in a range (the task's), file by file, and the rank of the snapshot that each comes from."""
    parts = parts or task.parts
    for side in files_of(storage, task, output):
        if side.rows[slice(*parts)].any():
            table = read_partitions(storage, side.path, parts, columns)
            yield table, np.full(table.num_rows, task.snapshots.index(side.snapshot), np.uint16)


def load(storage: Storage, task: Task, output: str, schema: pa.Schema) -> tuple[pa.Table, np.ndarray]:
    """All rows of an output in the task's range, with their ranks."""
    return together(pieces(storage, task, output), schema)


def together(found: Iterable[tuple[pa.Table, np.ndarray]], schema: pa.Schema) -> tuple[pa.Table, np.ndarray]:
    """The rows of several pieces, with their ranks."""
    tables, ranks = [schema.empty_table()], [np.zeros(0, np.uint16)]
    for table, rank in found:
        tables.append(table)
        ranks.append(rank)
    return pa.concat_tables(tables).combine_chunks(), np.concatenate(ranks)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A numeric column as numpy."""
    return table[name].to_numpy()


def bytes_of(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Lengths int64[n] and the bytes, end to end, of a binary column without nulls; slices are honoured."""
    _, bounds, data = column.buffers()
    if not len(column) or bounds is None:
        return np.zeros(0, np.int64), np.zeros(0, np.uint8)
    offsets = np.frombuffer(bounds, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return np.diff(offsets), np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]


def id_words(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Ids as two big-endian words, uint64[n, 2], whose row order is the order of the bytes."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.zeros((0, 2), np.uint64)
    words = np.frombuffer(buffer, ">u8", 2 * len(column), 16 * column.offset)
    return words.astype(np.uint64).reshape(-1, 2)


def id_array(words: np.ndarray) -> pa.Array:
    """Ids from their words."""
    data = pa.py_buffer(np.ascontiguousarray(words, ">u8"))
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(words), [None, data])


def visit_words(rank: np.ndarray, priority: np.ndarray, ids: np.ndarray) -> list[np.ndarray]:
    """Words uint64[n] that sort documents in visiting order, see `manifests.ordering`."""
    return [
        rank.astype(np.uint64),
        priority.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63),
        ids[:, 0],
        ids[:, 1],
    ]


def visit_numbers(rank: np.ndarray, priority: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of each row's document in visiting order, int64[n], and for each number one row that has it.

    Rows of one document share a number.
    """
    order, fresh = ordered(visit_words(rank, priority, ids))
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(fresh) - 1
    return number, order[fresh]


@dataclass(frozen=True)
class SideFile:
    """One file in the exchange layout: path, snapshot of its rows, rows and bytes of each row group, int64[1024], and
    slot, see `slot_of`."""

    path: str
    snapshot: str
    rows: np.ndarray
    sizes: np.ndarray
    slot: int
