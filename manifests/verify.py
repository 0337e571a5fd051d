"""The proof of a corpus: a root in, every fault of its latest complete run out.

Each data file is read twice, as bytes for its sha256 and as rows for its content digest, so that a damaged disk and a
fault of the Parquet library show apart. Results of other recipes below the same root are no fault; a file that no
committed manifest names is an orphan, which a killed task leaves behind.
"""

import contextlib
import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.agreement import Fault, check_manifests, first_line, load_rows
from manifests.balance import flow_faults, row_faults, total
from manifests.digest import ContentDigest, combine
from manifests.latest import Run, read_stages
from manifests.runs import RUN, root_hash
from manifests.shards import row_bytes, row_tokens
from manifests.storage import Entry, Storage, StorageError, open_storage
from manifests.store import MERGED, SUFFIX, RowGroup, Shard, committed
from manifests.superseded import superseded

THREADS = 4
CHUNK = 1 << 22
READ_BYTES = 16 << 20
SCRATCH_SECONDS = 86_400  # longer than any task writes to one file
STAGE_FOLDER = re.compile(r"[a-z0-9][a-z0-9_-]*-[0-9a-f]{16}")
# What pyarrow raises for bytes that are not the file that was written.
UNREADABLE = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True)
class Verified:
    """What was looked at, what is wrong, and the root hash as the manifest rows give it."""

    root: str
    tokens: str
    faults: tuple[Fault, ...]
    files: int
    bytes: int
    removed: tuple[str, ...]
    other_folders: int
    other_bytes: int


def verify(uri: str, gc: bool = False) -> Verified:
    """Check everything; with gc, orphans are removed, and what holds documents that the run forgot, so no run may write
    to the root meanwhile. In a damaged root nothing is sought that is to be forgotten."""
    storage = open_storage(uri)
    stages = read_stages(storage)
    faults: list[Fault] = []
    rows: dict[str, list[Shard]] = {}
    for stage in stages:
        rows[stage.stage], wrong = load_rows(storage, f"manifests/{stage.stage}.parquet")
        faults += wrong
    run = Run(storage, tuple(stages), rows)
    everything = [row for part in rows.values() for row in part]
    listing = storage.list("")
    faults += check_manifests(storage, {(stage.stage, stage.stage_id) for stage in stages}, everything, listing)
    sizes = {entry.path: entry.size for entry in listing}
    stored = {row.path: row for row in everything if row.path and row.kind != "input"}
    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(lambda row: list(check_file(storage, row, sizes)), stored.values()):
            faults += found
    faults += check_books(run)
    root, tokens = root_hash(everything), root_hash(everything, ("tokens",))
    for name, given, recorded in (("root", root, stages[0].root), ("tokens", tokens, stages[0].tokens)):
        if given != recorded:
            faults.append(Fault("root", RUN, f"{name} is recorded as {recorded}, the manifest rows give {given}"))
    removed = []
    lost = orphans(run, listing, faults)
    old_commits = superseded(run, sizes) if not faults else []
    for entry in lost:
        if gc:
            storage.delete(entry.path)
            removed.append(entry.path)
        else:
            faults.append(Fault("orphan", entry.path, f"{entry.size:,} bytes, no manifest names it; --gc removes it"))
    for old in old_commits:
        if gc:
            # The manifest first: what a kill leaves then is an orphan.
            for path in (old.manifest, *old.files):
                storage.delete(path)
            removed += [old.manifest, *old.files]
        else:
            what = f"with {len(old.files):,} files holds documents that are forgotten since; --gc removes it"
            faults.append(Fault("forgotten", old.manifest, what))
    if gc:
        removed += sweep(storage.scratch())
    current = {f"{stage.stage}-{stage.stage_id}" for stage in stages}
    others = [e for e in listing if is_stage_file(e.path) and e.path.split("/")[0] not in current]
    return Verified(
        root,
        tokens,
        tuple(faults),
        len(stored),
        sum(row.bytes for row in stored.values()),
        tuple(removed),
        len({entry.path.split("/")[0] for entry in others}),
        sum(entry.size for entry in others if entry.path not in removed),
    )


def sweep(scratch: Path) -> list[str]:
    """Remove temporary files and folders that killed processes left: those not written to for a day."""
    old = []
    for path in sorted(scratch.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # of a run with another root, which has just removed it
            if time.time() - newest(path) > SCRATCH_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                old.append(path)
    return [str(path) for path in old]


def newest(path: Path) -> float:
    """When a file, or anything in a folder, was written to last."""
    return max(found.stat().st_mtime for found in (path, *path.rglob("*")))


def check_file(storage: Storage, row: Shard, sizes: dict[str, int]) -> Iterator[Fault]:
    """What is wrong with one stored object: absent, other bytes, other rows."""
    path = row.path or ""
    if path not in sizes:
        yield Fault("data", path, f"is missing; the manifest of {row.stage} names it")
        return
    if sizes[path] != row.bytes:
        yield Fault("data", path, f"has {sizes[path]:,} bytes, not {row.bytes:,}")
    try:
        with storage.open(path) as source:
            sha256 = hashlib.sha256()
            while chunk := source.read(CHUNK):
                sha256.update(chunk)
            if sha256.hexdigest() != row.sha256:
                yield Fault("data", path, f"its sha256 is {sha256.hexdigest()}, not {row.sha256}")
            if path.endswith(".parquet"):
                source.seek(0)
                with pq.ParquetFile(source) as file:
                    yield from check_rows(file, row)
    except (*UNREADABLE, StorageError) as error:
        yield Fault("data", path, f"cannot be read: {first_line(error)}")


def check_rows(file: pq.ParquetFile, row: Shard) -> Iterator[Fault]:
    """Where the rows of a file differ from its manifest row, row group by row group and as a whole."""
    path, schema = row.path or "", file.schema_arrow
    empty = measured(schema.empty_table(), schema, row.tokens is not None)
    found = [measured(t, schema, row.tokens is not None) if t.num_rows else empty for t in row_groups(file)]
    if len(found) != len(row.row_groups):
        yield Fault("data", path, f"has {len(found):,} row groups, not {len(row.row_groups):,}")
    for i, (have, want) in enumerate(zip(found, row.row_groups, strict=False)):
        for field in fields(RowGroup):
            if getattr(have, field.name) != getattr(want, field.name):
                what = f"{field.name} is {getattr(have, field.name)}, not {getattr(want, field.name)}"
                yield Fault("data", path, f"row group {i}: {what}")
    rows, tokens = sum(group.rows for group in found), sum(group.tokens for group in found)
    if rows != row.rows:
        yield Fault("data", path, f"has {rows:,} rows, not {row.rows:,}")
    if row.tokens is not None and tokens != row.tokens:
        yield Fault("data", path, f"has {tokens:,} tokens, not {row.tokens:,}")
    if combine(schema, [group.digest for group in found]) != row.digest:
        yield Fault("data", path, f"its content is not that of digest {row.digest}")


def row_groups(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """Every row group in order. A side file has 1,024 small ones, so as many are read at once as READ_BYTES allow."""
    sizes = [
        (group.num_rows, group.total_byte_size) for group in map(file.metadata.row_group, range(file.num_row_groups))
    ]
    start = 0
    while start < len(sizes):
        end, total = start + 1, sizes[start][1]
        while end < len(sizes) and total + sizes[end][1] <= READ_BYTES:
            total += sizes[end][1]
            end += 1
        table = file.read_row_groups(list(range(start, end)), use_threads=False).combine_chunks()
        first = 0
        for rows, _ in sizes[start:end]:
            yield table.slice(first, rows)
            first += rows
        start = end


def measured(table: pa.Table, schema: pa.Schema, tokens: bool) -> RowGroup:
    """What the manifest should say of a row group."""
    digest = ContentDigest(schema)
    digest.update(table)
    count = int(row_tokens(table, "tokens").sum()) if tokens else 0
    return RowGroup(table.num_rows, int(row_bytes(table).sum()), count, digest.hexdigest())


def check_books(run: Run) -> Iterator[Fault]:
    """Balance inside each stage, and flow from stage to stage along the documents."""
    docs = {stage.stage for stage in run.docs_stages()}
    for stage in run.stages:
        rows, counts = run.rows[stage.stage], run.counts[stage.stage]
        for what in row_faults(rows):
            yield Fault("balance", stage.stage, what)
        above = [name for name in stage.after if name in docs]
        takes_docs = stage.stage in docs or any(name.startswith("in/") for name in counts)
        # A stage without any row took nothing; that is right only for one that waits for side tables too.
        if above and (takes_docs or not rows and len(above) == len(stage.after)):
            for what in flow_faults(total(row for name in above for row in run.rows[name]), counts):
                yield Fault("flow", f"{', '.join(above)} -> {stage.stage}", what)


def orphans(run: Run, listing: list[Entry], faults: list[Fault]) -> list[Entry]:
    """Files in stage folders, of this recipe and of others, that no committed manifest names.

    While one manifest cannot be read nobody knows what it names: then there are none, and the fault is filed.
    """
    files = [entry for entry in listing if is_stage_file(entry.path)]
    keys: dict[str, set[str]] = {}
    for entry in files:
        folder, _, name = entry.path.partition("/")
        found = keys.setdefault(folder, set())
        if name.endswith(SUFFIX):
            found.add(name.removesuffix(SUFFIX))
    named = {row.path for part in run.rows.values() for row in part}
    readable = True
    for folder, present in sorted(keys.items()):
        try:
            named |= {row.path for rows in committed(run.storage, folder, present).values() for row in rows}
        except (*UNREADABLE, TypeError) as error:
            readable = False
            faults.append(Fault("manifest", folder, f"unreadable, so no orphans are told: {first_line(error)}"))
    own = (SUFFIX, f"/{MERGED}")
    return [entry for entry in files if entry.path not in named and not entry.path.endswith(own)] if readable else []


def is_stage_file(path: str) -> bool:
    """Whether a path lies in the folder of a stage."""
    folder, slash, _ = path.partition("/")
    return bool(slash) and STAGE_FOLDER.fullmatch(folder) is not None
