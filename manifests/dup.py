"""What the removal of duplicates did: a run in; removals by method, language and host, sizes of clusters, and what the
run's own probes say about its recall out.

The surprising thing: of the files that `cluster` writes, one for each snapshot, the last alone is read, since it holds
the documents of all.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.gone import groups
from manifests.latest import Run, number
from manifests.pairs import Pair, files, removed, removing, sample_pairs, texts_of
from manifests.query import GROUPS, Reason, group, reasons
from manifests.runs import RunStage

LARGEST = 3  # clusters that are named
HOST = r"^[^:/?#]+://(?:[^/?#]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)"


@dataclass(frozen=True)
class Sizes:
    """Clusters of low to high documents, the kept one among them."""

    low: int
    high: int
    clusters: int
    documents: int


@dataclass(frozen=True)
class Large:
    """The document that a large cluster left."""

    size: int
    doc_id: str
    name: str | None


@dataclass(frozen=True)
class Clusters:
    """What one `cluster` stage found, in all languages."""

    stage: str
    sizes: tuple[Sizes, ...]
    largest: tuple[Large, ...]


@dataclass(frozen=True)
class Host:
    """Documents that a host lost as duplicates, and those of it that stay."""

    host: str
    removed: int
    kept: int


@dataclass(frozen=True)
class Probed:
    """Edited copies of documents of one language whose true Jaccard is in [low, high): how many share a band, in theory
    and in fact, how many of these pass the floor of `match`, and how many are verified."""

    stage: str
    lang: str
    low: float
    high: float
    similar: bool
    pairs: int
    expected: float
    proposed: int
    likely: int
    verified: int


@dataclass(frozen=True)
class Duplicates:
    """All that is known about the duplicates of a run."""

    recipe: str
    root: str
    documents: dict[str, int]  # that came to where duplicates go, by language group
    methods: tuple[Reason, ...]
    search: dict[str, int]
    clusters: tuple[Clusters, ...]
    hosts: tuple[Host, ...]
    pairs: tuple[Pair, ...]
    probes: tuple[Probed, ...]


def duplicates(run: Run, lang: str = "", each: int = 1, hosts: int = 10, seed: int = 0) -> Duplicates:
    """The answer of `dup`. lang: only its hosts, pairs and probes; each: pairs of every band and language group."""
    stages = removing(run)
    came: Counter[str] = Counter()
    for stage in stages:
        for name, value in run.counts[stage.stage].items():
            if name.startswith("in/") and name.endswith("/docs"):
                came.update({group(name.split("/")[2]): value, "all": value})
    return Duplicates(
        run.stages[0].recipe,
        run.stages[0].root,
        {name: came[name] for name in GROUPS},
        tuple(reason for stage in stages for reason in reasons(stage.stage, run.counts[stage.stage])),
        searched(run),
        tuple(clusters(run, stage) for stage in run.stages if stage.use == "cluster"),
        tuple(top_hosts(run, stages, lang, hosts)),
        tuple(sample_pairs(run, lang, each, seed)),
        tuple(probed(run, lang)),
    )


def searched(run: Run) -> dict[str, int]:
    """How many pairs each step of the search left."""
    found: Counter[str] = Counter()
    for stage in run.stages:
        if stage.use in ("match", "verify"):
            found.update(run.counts[stage.stage])
    names = {
        "pairs compared": found["side/pairs/in"],
        "similar": found["side/pairs/out/verified"],
        "meetings in a bucket of two that were unlikely by their sketches": found["pairs_unlikely"],
        "members of full buckets that met only its first documents": found["bucket_overflow"],
    }
    return names if found else {}


def clusters(run: Run, stage: RunStage) -> Clusters:
    """Sizes by powers of two, and the largest clusters; in memory is one row group at a time."""
    sides = sorted(files(run, stage.stage, "clusters"), key=lambda row: snapshot_order(row.snapshot or ""))
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    largest: list[tuple[int, bytes]] = []
    for side in sides[-1:]:
        for table, _ in groups(run.storage, side, ["kept_id", "size"]):
            size = table["size"].to_numpy()
            for power, part in ((p, size[bits(size) == p]) for p in np.unique(bits(size)).tolist()):
                sums[power][0] += len(part)
                sums[power][1] += int(part.sum())
            top = np.argsort(-size, kind="stable")[:LARGEST]
            largest += zip((-size[top]).tolist(), table["kept_id"].take(pa.array(top)).to_pylist(), strict=True)
            largest = sorted(largest)[:LARGEST]
    docs = [row for s in run.stages if stage.stage in s.after for row in files(run, s.stage, "docs")]
    names = texts_of(run, docs, [kept for _, kept in largest])
    return Clusters(
        stage.stage,
        tuple(Sizes((1 << p - 1) + 1, 1 << p, *sums[p]) for p in sorted(sums)),
        tuple(Large(-size, kept.hex(), named(names.get(kept))) for size, kept in largest),
    )


def bits(size: np.ndarray) -> np.ndarray:
    """The power of two that is the first to hold each size."""
    return np.ceil(np.log2(size)).astype(np.int64)


def named(row: dict[str, str | None] | None) -> str | None:
    """URL of a document, or the source's own id."""
    return (row["url"] or row["source_id"]) if row else None


def snapshot_order(label: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key of snapshots, as recipes order them: numbers inside a label count as numbers."""
    parts = [part for part in re.split(r"(\d+)", label) if part]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], label


def top_hosts(run: Run, stages: list[RunStage], lang: str, count: int) -> list[Host]:
    """The hosts that lost most documents."""
    gone: Counter[str] = Counter()
    for stage in stages:
        for table in removed(run, stage, ["url"], lang):
            gone.update(counted(hosts_of(table["url"].combine_chunks())))
    top = sorted(gone, key=lambda host: (-gone[host], host))[:count]
    stay: Counter[str] = Counter()
    # A document passes every stage, so only the last one tells what stays.
    for shard in files(run, stages[-1].stage, "docs") if top else ():
        for table, _ in groups(run.storage, shard, ["host", "lang"]):
            table = table.filter(pc.equal(table["lang"], lang)) if lang else table
            stay.update(counted(table["host"].filter(pc.is_in(table["host"], pa.array(top)))))
    return [Host(host, gone[host], stay[host]) for host in top]


def hosts_of(urls: pa.Array) -> pa.Array:
    """Lower-case hosts without ports, those of `read` and `extract`; null where there is none."""
    found = pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, HOST), "host"))
    return pc.utf8_trim(found, "[]")


def counted(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs; nulls and "" do not count."""
    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist() if row["values"]}


def probed(run: Run, lang: str) -> list[Probed]:
    """What the probes of the run found, by language and similarity."""
    found = []
    for stage in run.stages:
        for side in files(run, stage.stage, "probes") if stage.use == "probe" else ():
            for table, _ in groups(run.storage, side):
                for row in table.to_pylist():
                    if lang in ("", row["lang"]):
                        ends = {name: number(row[name]) for name in ("low", "high")}
                        found.append(Probed(stage.stage, **row | ends))
    return sorted(found, key=lambda row: (row.stage, row.lang, row.low))
