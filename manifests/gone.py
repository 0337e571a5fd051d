"""The rows of dropped documents: which went where, and why; dropped files of a run in, plain records out.

Files are read one row group and few columns at a time, and only the rows that are meant become Python objects. The
names of the rules that a document failed stand in the footer of the file that holds its row.
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.agreement import first_line
from manifests.latest import Run, number
from manifests.storage import Storage, StorageError
from manifests.store import Shard


@dataclass(frozen=True)
class RuleFailed:
    """A rule that a document failed: the range [lo, hi] keeps, None is open."""

    name: str
    signal: str
    lo: float | None
    hi: float | None
    lang: str
    source: str
    tier: int = 0


@dataclass(frozen=True)
class Dropped:
    """One document that went."""

    doc_id: str
    source: str
    source_id: str | None
    url: str | None
    lang: str
    stage: str
    reason: str
    value: float | None
    lo: float | None
    hi: float | None
    failed: tuple[RuleFailed, ...]
    kept_id: str | None
    score: float | None
    archive: str | None
    offset: int | None
    length: int | None
    text: str | None


@dataclass(frozen=True)
class DroppedSample:
    """Some of the dropped documents that were asked for, how many there are, and what in their texts the rule objects
    to: spans of characters for each."""

    total: int
    documents: tuple[Dropped, ...]
    marks: tuple[tuple[tuple[int, int], ...], ...] = ()


def sample(run: Run, stage: str, rule: str, lang: str, count: int, seed: int) -> DroppedSample:
    """Dropped documents chosen by a hash of (seed, doc_id), those whose text was kept first; "" asks for all.

    A rule matches the documents whose reason it is, and those that failed it beside the reason.
    """
    names = [s.stage for s in run.stages]
    if stage and stage not in names:
        near = get_close_matches(stage, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
        raise StorageError(f"--stage {stage}: the run has no such stage; {hint}")
    total = 0
    best: list[tuple[int, int, str, Dropped]] = []
    for shard in dropped_shards(run, stage):
        for table, rules in groups(run.storage, shard):
            chosen = table.filter(matches(table, rules, rule, lang))
            total += chosen.num_rows
            rank = ranks(chosen["doc_id"].combine_chunks(), seed)
            bare = pc.is_null(chosen["text"]).to_numpy(zero_copy_only=False)
            for row in np.lexsort((rank, bare))[:count].tolist():
                record = dropped(chosen.slice(row, 1).to_pylist()[0], rules)
                best.append((int(bare[row]), int(rank[row]), record.doc_id, record))
            best = heapq.nsmallest(count, best, key=lambda item: item[:3])
    return DroppedSample(total, tuple(item[-1] for item in best))


def dropped_shards(run: Run, stage: str = "") -> list[Shard]:
    """The stored files of dropped documents that have rows, of one stage or of all, in the order of the run."""
    stages = [s.stage for s in run.stages if stage in ("", s.stage)]
    return [row for name in stages for row in run.rows[name] if row.output == "dropped" and row.rows and row.path]


def groups(
    storage: Storage, shard: Shard, columns: Sequence[str] | None = None
) -> Iterator[tuple[pa.Table, tuple[RuleFailed, ...]]]:
    """The rows of a data file group by group, and the rules of its footer."""
    with opened(storage, shard) as file:
        rules = footer_rules(file)
        for group in range(file.num_row_groups):
            if file.metadata.row_group(group).num_rows:
                yield file.read_row_group(group, columns=columns, use_threads=False), rules


@contextmanager
def opened(storage: Storage, shard: Shard) -> Iterator[pq.ParquetFile]:
    """A data file that a manifest row names; StorageError when it is not there or not readable."""
    with readable(shard), storage.open(shard.path or "") as source, pq.ParquetFile(source) as file:
        yield file


@contextmanager
def readable(shard: Shard) -> Iterator[None]:
    """What fails inside while a data file is read becomes a StorageError that names it."""
    try:
        yield
    except (FileNotFoundError, pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{shard.path}: cannot be read ({first_line(error)}); `verify` lists all that is damaged"
        ) from error


def footer_rules(file: pq.ParquetFile) -> tuple[RuleFailed, ...]:
    """The rule table of a filter's file; empty for other stages."""
    text = (file.metadata.metadata or {}).get(b"rules")
    names = RuleFailed.__dataclass_fields__
    rows: Any = json.loads(text) if text else []
    return tuple(
        RuleFailed(**{name: rule.get(name) for name in names} | {"tier": rule.get("tier", 0)}) for rule in rows
    )


def matches(table: pa.Table, rules: tuple[RuleFailed, ...], rule: str, lang: str) -> pa.Array:
    """Which rows are of a language and failed a rule (or went for that reason); "" asks for all."""
    found = np.ones(table.num_rows, bool)
    if rule:
        found &= np.asarray(pc.equal(table["reason"], rule))
        numbers = [i for i, r in enumerate(rules) if r.name == rule]
        if numbers:
            failed = table["failed"].combine_chunks()
            hit = pc.is_in(pc.list_flatten(failed), pa.array(numbers, pa.uint16()))
            found[np.asarray(pc.list_parent_indices(failed).filter(hit))] = True
    if lang:
        found &= np.asarray(pc.equal(table["lang"], lang))
    return pa.array(found)


def ranks(ids: pa.Array, seed: int) -> np.ndarray:
    """A pseudo-random uint64 for each doc_id (itself a hash), the same in every run: splitmix64 of id xor seed."""
    raw = np.frombuffer(b"".join(ids.to_pylist()), ">u8")[::2].astype(np.uint64)
    x = raw ^ np.uint64(seed * 0x9E3779B97F4A7C15 % (1 << 64))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def dropped(row: dict[str, Any], rules: tuple[RuleFailed, ...]) -> Dropped:
    """A record from one row of a dropped file."""
    return Dropped(
        **row
        | {
            "doc_id": row["doc_id"].hex(),
            "value": number(row["value"]),
            "lo": number(row["lo"]),
            "hi": number(row["hi"]),
            "failed": tuple(rules[i] for i in row["failed"] or ()),
            "kept_id": row["kept_id"].hex() if row["kept_id"] else None,
            "score": number(row["score"]),
        }
    )
