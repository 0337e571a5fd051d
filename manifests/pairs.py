"""Removed documents with the ones that stay in their place: a run in, pairs out, all of them as JSON lines or some of
them side by side.

Nothing is guessed about a pair: both texts are those of the documents that the removing stage read, which is where they
were compared. Only what is shown is read; of the rest, narrow columns.
"""

import heapq
import json
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.gone import groups, opened, ranks
from manifests.latest import Run, number
from manifests.query import group
from manifests.runs import RunStage
from manifests.search import THREADS
from manifests.storage import StorageError
from manifests.store import Shard
from manifests.textdiff import Difference, differences

BANDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
UNGRADED = {"exact_duplicate": "exact", "url_duplicate": "url"}  # bands of their own: reason -> name
ID = pa.binary(16)


@dataclass(frozen=True)
class Side:
    """One document of a pair; `name` is its URL, or the source's own id."""

    doc_id: str
    name: str | None
    chars: int | None


@dataclass(frozen=True)
class Pair:
    """A removed document and the one that stays; `differences` is None where the texts are not there any more."""

    band: str
    lang: str
    method: str
    score: float | None
    removed: Side
    kept: Side
    differences: tuple[Difference, ...] | None


@dataclass(frozen=True)
class Written:
    """A file of pairs."""

    file: str
    pairs: int


def removing(run: Run) -> list[RunStage]:
    """The stages that remove documents for the sake of others; StorageError where the recipe has none."""
    found = [stage for stage in run.stages if stage.use == "apply" and not stage_cuts(run, stage)]
    if not found:
        raise StorageError(f"{run.storage.uri}: no stage of this run removes duplicates; a recipe needs `apply` for it")
    return found


def stage_cuts(run: Run, stage: RunStage) -> bool:
    """Whether a stage cuts passages out of documents instead."""
    return any(row.output == "cuts" for row in run.rows[stage.stage])


def removed(run: Run, stage: RunStage, columns: Sequence[str], lang: str = "") -> Iterator[pa.Table]:
    """The documents that a stage removed for the sake of others, some columns, row group by row group."""
    needed = list(dict.fromkeys([*columns, "kept_id", "lang"]))
    for shard in files(run, stage.stage, "dropped"):
        for table, _ in groups(run.storage, shard, needed):
            chosen = pc.is_valid(table["kept_id"])
            table = table.filter(pc.and_(chosen, pc.equal(table["lang"], lang)) if lang else chosen)
            if table.num_rows:
                yield table


def files(run: Run, stage: str, output: str) -> list[Shard]:
    """The stored files of one output of a stage that have rows."""
    return [row for row in run.rows[stage] if row.output == output and row.rows and row.path]


def above(run: Run, stage: RunStage) -> list[Shard]:
    """The documents that a stage read."""
    return [row for name in stage.after for row in files(run, name, "docs")]


def write_pairs(run: Run, file: str, lang: str = "") -> Written:
    """Every removal as a JSON line {a: removed, b: kept, score, method}. Documents are named by the
    source's own id where there is one, else by their doc_id."""
    count = 0
    try:
        with Path(file).open("w", encoding="utf-8") as out:
            for stage in removing(run):
                names = kept_names(run, stage, lang)
                for table in removed(run, stage, ["doc_id", "source_id", "score", "reason"], lang):
                    for row in table.to_pylist():
                        kept = names.get(row["kept_id"]) or row["kept_id"].hex()
                        line = {"a": row["source_id"] or row["doc_id"].hex(), "b": kept}
                        line |= {"score": number(row["score"]), "method": row["reason"]}
                        out.write(json.dumps(line, ensure_ascii=False) + "\n")
                        count += 1
    except OSError as error:
        raise StorageError(f"--pairs {file}: cannot be written: {error.strerror}") from error
    return Written(file, count)


def kept_names(run: Run, stage: RunStage, lang: str) -> dict[bytes, str]:
    """The source's own ids of the documents that stay in the place of others, by doc_id."""
    columns = [pc.unique(table["kept_id"]) for table in removed(run, stage, [], lang)]
    wanted = np.unique(np.concatenate([np.zeros(0, "S16"), *(sortable(column) for column in columns)]))
    names: dict[bytes, str] = {}
    for shard in files(run, stage.stage, "docs") if len(wanted) else ():
        for table, _ in groups(run.storage, shard, ["doc_id", "source_id"]):
            ids = sortable(table["doc_id"].combine_chunks())
            at = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
            hit = pc.and_(pa.array(wanted[at] == ids), pc.is_valid(table["source_id"]))
            table = table.filter(hit)
            names |= dict(zip(table["doc_id"].to_pylist(), table["source_id"].to_pylist(), strict=True))
    return names


def sortable(ids: pa.Array) -> np.ndarray:
    """Ids as S16, which sort as their bytes do."""
    return np.frombuffer(b"".join(ids.to_pylist()), "S16")


def sample_pairs(run: Run, lang: str, each: int, seed: int) -> list[Pair]:
    """So many pairs of every band of scores and language group, by a hash of (seed, doc_id), low bands first."""
    found = []
    for stage in removing(run):
        best: dict[tuple[int, str], list[tuple[int, bytes, dict[str, Any]]]] = {}
        for table in removed(run, stage, ["doc_id", "source_id", "url", "reason", "score"], lang):
            rank = ranks(table["doc_id"].combine_chunks(), seed)
            keys = [*zip(bands(table).tolist(), map(group, table["lang"].to_pylist()), strict=True)]
            order = np.argsort(rank)
            for key in sorted(set(keys)):
                rows = [row for row in order.tolist() if keys[row] == key][:each]
                some = [
                    (int(rank[row]), table["doc_id"][row].as_py(), table.slice(row, 1).to_pylist()[0]) for row in rows
                ]
                best[key] = heapq.nsmallest(each, best.get(key, []) + some, key=lambda item: item[:2])
        rows = [(key, row) for key in sorted(best) for _, _, row in best[key]]
        texts = texts_of(run, above(run, stage), {row[name] for _, row in rows for name in ("doc_id", "kept_id")})
        found += [pair(band, row, texts) for (band, _), row in rows]
    return found


def bands(table: pa.Table) -> np.ndarray:
    """Number of the band of each score, int64[n]; those of UNGRADED come after all others."""
    score = table["score"].fill_null(0.0).to_numpy()
    found = np.searchsorted(np.array(BANDS, np.float32), score, "right") - 1
    own = pc.index_in(table["reason"], pa.array(list(UNGRADED))).fill_null(-1).to_numpy()
    return np.where(own >= 0, len(BANDS) + own, np.clip(found, 0, len(BANDS) - 1))


def band_name(band: int) -> str:
    """A band as it is shown."""
    if band >= len(BANDS):
        return list(UNGRADED.values())[band - len(BANDS)]
    return "1" if band == len(BANDS) - 1 else f"{BANDS[band]:g}-{BANDS[band + 1]:g}"


def pair(band: int, row: dict[str, Any], texts: dict[bytes, dict[str, Any]]) -> Pair:
    """A removed row with both texts."""
    a, b = texts.get(row["doc_id"]), texts.get(row["kept_id"])
    return Pair(
        band_name(band),
        row["lang"],
        row["reason"],
        number(row["score"]),
        Side(row["doc_id"].hex(), row["url"] or row["source_id"], len(a["text"]) if a else None),
        Side(row["kept_id"].hex(), (b["url"] or b["source_id"]) if b else None, len(b["text"]) if b else None),
        tuple(differences(a["text"], b["text"])) if a and b else None,
    )


def compared(run: Run, rows: Sequence[dict[str, Any]]) -> dict[bytes, tuple[Difference, ...]]:
    """Where documents differ from those that stay in their place, by doc_id; rows: of dropped files. What is not stored
    any more is left out."""
    found = {}
    for stage in run.stages:
        pairs = [(row["doc_id"], row["kept_id"]) for row in rows if row["stage"] == stage.stage and row["kept_id"]]
        try:
            texts = texts_of(run, above(run, stage), {doc_id for pair in pairs for doc_id in pair})
        except StorageError:
            continue
        for a, b in pairs:
            if a in texts and b in texts:
                found[a] = tuple(differences(texts[a]["text"], texts[b]["text"]))
    return found


def texts_of(run: Run, shards: Sequence[Shard], ids: Collection[bytes]) -> dict[bytes, dict[str, Any]]:
    """Text, URL and own id of some documents, by doc_id; of row groups without one of them, only the ids are read."""
    wanted = pa.array(sorted(ids), ID)

    def look(shard: Shard) -> list[dict[str, Any]]:
        found = []
        with opened(run.storage, shard) as file:
            for index in range(file.num_row_groups):
                hits = pc.is_in(file.read_row_group(index, columns=["doc_id"], use_threads=False)["doc_id"], wanted)
                if pc.any(hits).as_py():
                    columns = ["doc_id", "source_id", "url", "text"]
                    found += file.read_row_group(index, columns=columns, use_threads=False).filter(hits).to_pylist()
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        return {row["doc_id"]: row for rows in pool.map(look, shards if ids else ()) for row in rows}
