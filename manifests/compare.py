"""Two runs compared: two roots in, what differs out, from the recipe down to the documents that only one has.

Only shards whose content digest the other run lacks are opened: equal shards hold equal documents, and a document is
in a run once.
"""

import difflib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.gone import dropped_shards, opened, ranks
from manifests.latest import Run
from manifests.runs import root_hash
from manifests.store import Shard

SAMPLE = 10


@dataclass(frozen=True)
class StageChange:
    """A stage whose identity or content differs; None where a run has no such stage."""

    stage: str
    id_a: str | None
    id_b: str | None
    content_a: str | None
    content_b: str | None


@dataclass(frozen=True)
class CountChange:
    """Documents kept or dropped at a stage in one language, where the two runs differ. reason: "" for kept."""

    stage: str
    lang: str
    kind: str
    reason: str
    a: int
    b: int


@dataclass(frozen=True)
class OnlyIn:
    """Documents that one run kept to the end and the other did not; where the other lost them, and some ids."""

    docs: int
    fates: dict[str, int]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """All that differs between runs a and b; `same` when both hold the same content, whatever their recipes."""

    same: bool
    root_a: str
    root_b: str
    recipe: tuple[str, ...]
    stages: tuple[StageChange, ...]
    counts: tuple[CountChange, ...]
    only_a: OnlyIn
    only_b: OnlyIn


def compare(a: Run, b: Run) -> Difference:
    """What differs between two runs."""
    first, second = a.stages[0], b.stages[0]
    recipe = difflib.unified_diff(
        first.text.splitlines(),
        second.text.splitlines(),
        f"a {first.recipe}",
        f"b {second.recipe}",
        n=1,
        lineterm="",
    )
    return Difference(
        first.root == second.root,
        first.root,
        second.root,
        tuple(recipe),
        tuple(stage_changes(a, b)),
        tuple(count_changes(a, b)),
        only_in(a, b),
        only_in(b, a),
    )


def names(a: Run, b: Run) -> list[str]:
    """Stages of both runs: those of a in its order, then what only b has."""
    return list(dict.fromkeys(stage.stage for run in (a, b) for stage in run.stages))


def stage_changes(a: Run, b: Run) -> list[StageChange]:
    """Stages that differ in identity or content."""
    ids = [{stage.stage: stage.stage_id for stage in run.stages} for run in (a, b)]
    hashes = [{name: root_hash(rows) for name, rows in run.rows.items()} for run in (a, b)]
    found = [
        StageChange(name, ids[0].get(name), ids[1].get(name), hashes[0].get(name), hashes[1].get(name))
        for name in names(a, b)
    ]
    return [change for change in found if (change.id_a, change.content_a) != (change.id_b, change.content_b)]


def count_changes(a: Run, b: Run) -> list[CountChange]:
    """Counts of documents by stage, language and reason that differ."""
    counts = [documents(run) for run in (a, b)]
    order = {name: i for i, name in enumerate(names(a, b))}
    keys = sorted(counts[0].keys() | counts[1].keys(), key=lambda key: (order[key[0]], *key[1:]))
    return [CountChange(*key, counts[0][key], counts[1][key]) for key in keys if counts[0][key] != counts[1][key]]


def documents(run: Run) -> Counter[tuple[str, str, str, str]]:
    """Documents by (stage, language, kept or dropped, reason), over all sources."""
    sums: Counter[tuple[str, str, str, str]] = Counter()
    for stage in run.docs_stages():
        for name, value in run.counts[stage.stage].items():
            kind, *rest = name.split("/", 4)
            if kind in ("kept", "dropped") and rest[2] == "docs":
                sums[stage.stage, rest[1], kind, rest[3] if kind == "dropped" else ""] += value
    return sums


def only_in(run: Run, other: Run) -> OnlyIn:
    """The documents that stay in `run` and not in `other`."""
    mine, theirs = run.corpus(), other.corpus()
    known = [{shard.digest for shard in shards} for shards in (mine, theirs)]
    here = ids_of(run, [shard for shard in mine if shard.digest not in known[1]])
    there = ids_of(other, [shard for shard in theirs if shard.digest not in known[0]])
    only = here.filter(pc.invert(pc.is_in(here, there)))
    fates: Counter[str] = Counter()
    for shard in dropped_shards(other) if len(only) else []:
        with opened(other.storage, shard) as file:
            table = file.read(columns=["doc_id", "reason"], use_threads=False)
        for reason in table["reason"].filter(pc.is_in(table["doc_id"], only)).to_pylist():
            fates[f"{shard.stage}: {reason}"] += 1
    unseen = len(only) - fates.total()
    if unseen:
        fates["never came in"] = unseen
    chosen = np.argsort(ranks(only, 0), kind="stable")[:SAMPLE]
    return OnlyIn(len(only), dict(fates.most_common()), tuple(value.hex() for value in only.take(chosen).to_pylist()))


def ids_of(run: Run, shards: list[Shard]) -> pa.Array:
    """The doc_ids of some shards, binary(16)."""
    found = [pa.array([], pa.binary(16))]
    for shard in shards:
        with opened(run.storage, shard) as file:
            found += file.read(columns=["doc_id"], use_threads=False)["doc_id"].chunks
    return pa.concat_arrays(found)
