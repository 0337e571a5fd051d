"""Whether the manifests of a run agree: merged rows and the objects that the tasks committed in, differences out.

The objects are the truth. Readers use `manifests/{stage}.parquet`, a later run takes as done what the stage folders'
own merged files say; a difference in either would be believed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import pyarrow as pa

from manifests.storage import Entry, Storage
from manifests.store import MERGED, SUFFIX, Shard, decode

THREADS = 4


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. kind: manifest, data, balance, flow, orphan or root."""

    kind: str
    where: str
    what: str


def check_manifests(
    storage: Storage, stages: set[tuple[str, str]], rows: Iterable[Shard], listing: list[Entry]
) -> list[Fault]:
    """Faults of the rows of some stages (name, id), and of the merged files in the folders they were committed to."""
    faults: list[Fault] = []
    objects = {e.path.rsplit("/", 1)[-1].removesuffix(SUFFIX): e.path for e in listing if e.path.endswith(SUFFIX)}
    merged = by_commit(row for row in rows if row.kind != "input")
    for key in sorted(merged.keys() - objects.keys()):
        faults.append(Fault("manifest", merged[key][0].stage, f"the task committed as {key} has no manifest object"))
    keys = sorted(merged.keys() & objects.keys())
    with ThreadPoolExecutor(THREADS) as pool:
        loaded = dict(zip(keys, pool.map(lambda key: load_rows(storage, objects[key]), keys), strict=True))
    for key, (final, wrong) in loaded.items():
        faults += wrong
        if not wrong:
            meant = [row for row in final if (row.stage, row.stage_id) in stages]
            faults += differences("manifests/", merged[key], meant)
    present = {entry.path for entry in listing}
    for path in sorted({f"{objects[key].rpartition('/')[0]}/{MERGED}" for key in keys} & present):
        folder_rows, wrong = load_rows(storage, path)
        faults += wrong
        for key, found in by_commit(folder_rows).items():
            if key in loaded and not loaded[key][1]:
                faults += differences(path, found, loaded[key][0])
    return faults


def load_rows(storage: Storage, path: str) -> tuple[list[Shard], list[Fault]]:
    """The rows of a manifest file, or none and what is wrong with it."""
    try:
        return decode(storage.get(path)), []
    except FileNotFoundError:
        return [], [Fault("manifest", path, "is missing")]
    except (pa.ArrowException, OSError, TypeError, ValueError, KeyError) as error:
        return [], [Fault("manifest", path, f"cannot be read: {first_line(error)}")]


def differences(where: str, merged: list[Shard], final: list[Shard]) -> Iterator[Fault]:
    """The rows of one commit in a merged file against those of its manifest object, both of the same stages."""
    have, want = {label(row): row for row in merged}, {label(row): row for row in final}
    for key in sorted(have.keys() | want.keys()):
        place = f"{where}{key[0]}.parquet" if where.endswith("/") else where
        what = f"output {key[2]} of task {key[1]}"
        if key not in have:
            yield Fault("manifest", place, f"{what} is committed, but its row is missing")
        elif key not in want:
            yield Fault("manifest", place, f"{what} has a row, but was not committed")
        elif have[key] != want[key]:
            wrong = [f.name for f in fields(Shard) if getattr(have[key], f.name) != getattr(want[key], f.name)]
            yield Fault("manifest", place, f"{what} differs from what was committed in {', '.join(wrong)}")
    if len(have) != len(merged):
        yield Fault("manifest", where, f"{len(merged) - len(have)} rows of commit {merged[0].commit_key} stand twice")


def label(row: Shard) -> tuple[str, str, str, str, str]:
    """What tells the rows of one commit apart."""
    return row.stage, row.task_key, row.output, row.lang or "", row.path or row.digest


def by_commit(rows: Iterable[Shard]) -> dict[str, list[Shard]]:
    """Rows by the key of their commit, in order."""
    found: defaultdict[str, list[Shard]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.commit_key):
        found[row.commit_key].append(row)
    return dict(found)


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
