"""Questions that the manifest rows of a complete run answer without opening a data file: a root in, counts out.

All numbers come from the counters that the tasks committed. The surprising thing is the language of a document: it is
"?" until the stage `language` has run, so the share of a language that is left is taken from where its documents were
first known as such.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from manifests.balance import total
from manifests.latest import Run
from manifests.store import Shard

UNKNOWN = "?"
OTHER = "other"
GROUPS = ("all", "en", "zh", OTHER)


@dataclass(frozen=True)
class Amount:
    """Documents and bytes of text."""

    docs: int
    bytes: int


@dataclass(frozen=True)
class Kept:
    """What a stage kept of one language group; `share` of the documents it decided about, None where it saw none."""

    docs: int
    bytes: int
    share: float | None


@dataclass(frozen=True)
class StageKept:
    """One line of the funnel: by language group, and `unknown` for documents without a language yet."""

    stage: str
    groups: dict[str, Kept]
    unknown: int


@dataclass(frozen=True)
class Reason:
    """Why documents went at a stage (or, with `cut`, why text was cut out of documents that stayed)."""

    stage: str
    reason: str
    cut: bool
    groups: dict[str, Amount]


@dataclass(frozen=True)
class Stream:
    """The token shards of one source and language."""

    source: str
    lang: str
    tokens: int
    docs: int
    shards: int


@dataclass(frozen=True)
class Archives:
    """Bytes of the archives of a source: all that were read, and those in ranges that held no readable record."""

    source: str
    read: int
    lost: int


@dataclass(frozen=True)
class Funnel:
    """From input to tokens: what each stage kept, why the rest went, what is left of each language."""

    recipe: str
    root: str
    stages: tuple[StageKept, ...]
    left: StageKept
    reasons: tuple[Reason, ...]
    files: int
    duplicate_files: int
    archives: tuple[Archives, ...]
    streams: tuple[Stream, ...]


def group(lang: str) -> str:
    """The column of the tables that a language is counted in; "?" where it is not known yet."""
    return lang if lang in ("en", "zh", UNKNOWN) else OTHER


def funnel(run: Run) -> Funnel:
    """Documents, bytes and kept share after each stage, by language group."""
    counts = run.counts
    kept_by = {name: by_group(c, "kept") for name, c in counts.items()}
    lines = []
    for stage in run.docs_stages():
        gone = by_group(counts[stage.stage], "dropped")
        lines.append(line(stage.stage, kept_by[stage.stage], gone))
    # Documents that came in, and those that the stage `language` gave to a language or took from one.
    start: Counter[tuple[str, str]] = Counter()
    for stage in run.entries():
        start.update(by_group(counts[stage.stage], "in"))
    for stage in run.docs_stages():
        start.update(moves(counts[stage.stage]))
    end: Counter[tuple[str, str]] = Counter()
    for stage in run.leaves():
        end.update(kept_by[stage.stage])
    gone = Counter({key: start[key] - end[key] for key in start})
    fetched = total(run.inputs())
    return Funnel(
        run.stages[0].recipe,
        run.stages[0].root,
        tuple(lines),
        line("all stages", end, gone),
        tuple(reason for stage in run.docs_stages() for reason in reasons(stage.stage, counts[stage.stage])),
        fetched["files"],
        fetched["duplicate_input"],
        tuple(archives(counts.values())),
        tuple(streams(run)),
    )


def line(stage: str, kept: Counter[tuple[str, str]], gone: Counter[tuple[str, str]]) -> StageKept:
    """One line of the funnel from counts by (group, unit)."""
    groups = {}
    for name in GROUPS:
        docs, lost = kept[name, "docs"], gone[name, "docs"]
        groups[name] = Kept(docs, kept[name, "bytes"], docs / (docs + lost) if docs + lost else None)
    return StageKept(stage, groups, kept[UNKNOWN, "docs"] + gone[UNKNOWN, "docs"])


def by_group(counts: Counter[str], kind: str) -> Counter[tuple[str, str]]:
    """Sums of the counters of one kind by (language group, unit); the group `all` is the sum over all languages."""
    sums: Counter[tuple[str, str]] = Counter()
    for name, value in counts.items():
        found, *rest = name.split("/")
        if found == kind:
            sums[group(rest[1]), rest[2]] += value
            sums["all", rest[2]] += value
    return sums


def moves(counts: Counter[str]) -> Counter[tuple[str, str]]:
    """What each language group gained by identification, by (group, unit)."""
    sums: Counter[tuple[str, str]] = Counter()
    for name, value in counts.items():
        if name.startswith("moved/"):
            _, _, old, new, unit = name.split("/")
            sums[group(old), unit] -= value
            sums[group(new), unit] += value
    return sums


def reasons(stage: str, counts: Counter[str]) -> list[Reason]:
    """The reasons of one stage, the most frequent first; cuts come after documents that went."""
    found: defaultdict[tuple[bool, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    for name, value in counts.items():
        kind, *rest = name.split("/", 4)
        if kind in ("dropped", "cut"):
            _, lang, unit, reason = rest
            found[kind == "cut", reason][group(lang), unit] += value
            found[kind == "cut", reason]["all", unit] += value
    made = []
    for (cut, reason), sums in found.items():
        groups = {name: Amount(sums[name, "docs"], sums[name, "bytes"]) for name in (*GROUPS, UNKNOWN)}
        made.append(Reason(stage, reason, cut, groups))
    return sorted(made, key=lambda r: (r.cut, -r.groups["all"].docs, -r.groups["all"].bytes, r.reason))


def archives(counters: Iterable[Counter[str]]) -> list[Archives]:
    """Archive bytes by source."""
    sums: Counter[str] = Counter()
    for counts in counters:
        sums.update({name: value for name, value in counts.items() if name.startswith("archive/")})
    sources = sorted({name.split("/")[1] for name in sums})
    return [Archives(s, sums[f"archive/{s}/read"], sums[f"archive/{s}/lost"]) for s in sources]


def streams(run: Run) -> list[Stream]:
    """Tokens by source and language, as training names them."""
    found: defaultdict[tuple[str, str], list[Shard]] = defaultdict(list)
    for stage in run.stages:
        for row in run.rows[stage.stage]:
            if row.kind == "tokens":
                found[row.source or "", row.lang or ""].append(row)
    return [
        Stream(source, lang, sum(r.tokens or 0 for r in rows), sum(r.rows for r in rows), len(rows))
        for (source, lang), rows in sorted(found.items())
    ]
