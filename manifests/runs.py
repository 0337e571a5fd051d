"""The latest complete run of a root: its stages in order, their merged rows, and the root hash over what they hold.

`{root}/manifests/{stage}.parquet` has the manifest rows of a stage, `{root}/manifests/run.parquet` one row per stage.
Readers need nothing else; both are rewritten at the end of each complete run, whether or not anything was recomputed.
"""

import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.fingerprint import fingerprint
from manifests.storage import Storage, StorageError
from manifests.store import COMPRESSION, LAYOUT, Shard, decode, encode, read_bytes

RUN = "manifests/run.parquet"
LAYOUT_MARK = "manifests/LAYOUT"
# What a corpus consists of; side tables only carry decisions that show in these.
HASHED = ("docs", "dropped", "tokens", "model")

RUN_ROW = pa.schema(
    [
        ("order", pa.int32()),
        ("stage", pa.string()),
        ("use", pa.string()),
        ("stage_id", pa.string()),
        ("after", pa.list_(pa.string())),
        ("recipe", pa.string()),  # name
        ("text", pa.string()),  # the recipe as it was run
        ("root", pa.string()),  # hash over kept and dropped rows of every stage
        ("tokens", pa.string()),  # hash over the token shards
        ("layout", pa.int32()),
    ]
)


@dataclass(frozen=True)
class RunStage:
    """One stage of the latest complete run; the order is upstream before downstream, `fetch` first."""

    order: int
    stage: str
    use: str
    stage_id: str
    after: tuple[str, ...]
    recipe: str
    text: str
    root: str
    tokens: str
    layout: int = LAYOUT


def root_hash(rows: Iterable[Shard], kinds: Iterable[str] = HASHED) -> str:
    """Hash over what the rows of some kinds hold: no path, time, host, or order of tasks counts."""
    wanted = set(kinds)
    return fingerprint(sorted((r.stage, r.output, r.lang or "", r.digest) for r in rows if r.kind in wanted))


def check_layout(storage: Storage) -> None:
    """StorageError if the root was written by another layout version; marks a new root with ours."""
    if storage.put_if_absent(LAYOUT_MARK, str(LAYOUT).encode()):
        return
    found = storage.get(LAYOUT_MARK).decode(errors="replace").strip()
    if found != str(LAYOUT):
        raise StorageError(
            f"{storage.uri}: this corpus has layout {found}, this program writes layout {LAYOUT}; "
            "use another OUT, or the version that made it"
        )


def write_run(storage: Storage, stages: list[RunStage], rows: dict[str, list[Shard]]) -> None:
    """Publish a complete run: the rows of each stage by name, last the run itself; older stages are removed."""
    if _published(storage) == stages:
        return
    # Without this object there is no complete run: a kill below leaves no old hash over new rows.
    storage.delete(RUN)
    keep = {RUN, LAYOUT_MARK}
    for stage in stages:
        path = f"manifests/{stage.stage}.parquet"
        storage.put(path, encode(rows[stage.stage]))
        keep.add(path)
    table = pa.Table.from_pylist([asdict(stage) for stage in stages], schema=RUN_ROW)
    sink = io.BytesIO()
    pq.write_table(table, sink, **COMPRESSION)
    storage.put(RUN, sink.getvalue())
    for entry in storage.list("manifests/"):
        if entry.path not in keep:
            storage.delete(entry.path)


def read_run(storage: Storage) -> list[RunStage]:
    """Stages of the latest complete run; FileNotFoundError when no run was completed."""
    table = read_bytes(storage.get(RUN))
    return [RunStage(**(row | {"after": tuple(row["after"])})) for row in table.to_pylist()]


def _published(storage: Storage) -> list[RunStage]:
    """Stages of the latest complete run; empty when there is none."""
    try:
        return read_run(storage)
    except FileNotFoundError:
        return []


def read_rows(storage: Storage, stage: str) -> list[Shard]:
    """Manifest rows of one stage of the latest complete run."""
    return decode(storage.get(f"manifests/{stage}.parquet"))
