"""What still holds forgotten documents: a run and a listing in; the commits of the root, of this recipe and of others,
that name a file with a document which the latest run forgot, out.

A takedown gives the tasks that held the document new commits. The old ones stay valid for whoever goes back, so they
must be looked for, and removed, on purpose.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.gone import opened
from manifests.latest import Run
from manifests.storage import Storage
from manifests.store import SUFFIX, Shard, committed, manifest_path

FORGOTTEN = "forgotten"
ID = pa.binary(16)
THREADS = 4


@dataclass(frozen=True)
class Superseded:
    """A commit that is not part of the latest run; `files`: those that no other commit names."""

    manifest: str
    files: tuple[str, ...]


def superseded(run: Run, paths: Iterable[str]) -> list[Superseded]:
    """The commits among some paths of the root that hold documents which the run forgot."""
    ids = forgotten_ids(run)
    if not ids:
        return []
    current = {row.path for rows in run.rows.values() for row in rows}
    keys: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.partition("/")
        if name.endswith(SUFFIX):
            keys.setdefault(folder, set()).add(name.removesuffix(SUFFIX))
    live = {(stage.stage, stage.stage_id, row.commit_key) for stage in run.stages for row in run.rows[stage.stage]}
    others: list[tuple[str, list[Shard]]] = []
    for folder, present in sorted(keys.items()):
        for key, rows in sorted(committed(run.storage, folder, present).items()):
            if not any((row.stage, row.stage_id, row.commit_key) in live for row in rows):
                others.append((manifest_path(folder, key), rows))
    wanted = pa.array(sorted(ids), ID)

    def stale(item: tuple[str, list[Shard]]) -> bool:
        return any(holds(run.storage, row, wanted) for row in item[1] if row.path not in current)

    with ThreadPoolExecutor(THREADS) as pool:
        old = [item for item, found in zip(others, pool.map(stale, others), strict=True) if found]
    gone = {manifest for manifest, _ in old}
    staying = current | {row.path for manifest, rows in others if manifest not in gone for row in rows}
    return [Superseded(manifest, files_of(rows, staying)) for manifest, rows in old]


def files_of(rows: Sequence[Shard], staying: set[str | None]) -> tuple[str, ...]:
    """The files of a commit that no other one names."""
    return tuple(sorted({row.path for row in rows if row.path and row.path not in staying}))


def forgotten_ids(run: Run) -> set[bytes]:
    """The documents that the run dropped because they are to be forgotten."""
    found: set[bytes] = set()
    for rows in run.rows.values():
        for row in rows:
            if row.output == "dropped" and row.rows and row.path:
                with opened(run.storage, row) as file:
                    for table in groups(file, ["doc_id", "reason"]):
                        meant = pc.equal(table["reason"], FORGOTTEN)
                        found |= set(table["doc_id"].filter(meant).to_pylist())
    return found


def holds(storage: Storage, row: Shard, wanted: pa.Array) -> bool:
    """Whether a file has a row about one of some documents; one that says that it was forgotten does not count."""
    if not row.rows or not row.path or not row.path.endswith(".parquet"):
        return False
    with opened(storage, row) as file:
        names = [field.name for field in file.schema_arrow if field.type == ID]
        said = ["reason"] if row.output == "dropped" else []
        for table in groups(file, [*names, *said]) if names else ():
            if said:
                table = table.filter(pc.not_equal(table["reason"], FORGOTTEN))
            if any(pc.any(pc.is_in(table[name], wanted)).as_py() for name in names):
                return True
    return False


def groups(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of a file, row groups that hold rows one at a time; of a side file, which has many, all at once."""
    filled = [g for g in range(file.num_row_groups) if file.metadata.row_group(g).num_rows]
    if file.num_row_groups > 64:
        yield file.read_row_groups(filled, columns=list(columns), use_threads=False)
        return
    for group in filled:
        yield file.read_row_group(group, columns=list(columns), use_threads=False)
