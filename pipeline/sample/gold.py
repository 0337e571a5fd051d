"""The gold table of a sample crawl: one row per planted record with the fate that follows from what was planted, its
files, and the comparison with what a run did. A cluster of copies has the fate `one_of`: exactly one member must
survive, and which one is the pipeline's choice."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ABSENT = ("absent", "", "")
UNSEEN_FATES = frozenset({"lost", "ignored"})  # a run says nothing of these records, and that is right
NEAR_CATEGORIES = frozenset({"near-copy", "mirror"})
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("url", pa.string()),
        ("warc_type", pa.string()),
        ("category", pa.string()),
        ("detail", pa.string()),
        ("lang", pa.string()),
        ("script", pa.string()),
        ("fate", pa.string()),
        ("fates", pa.list_(pa.string())),
        ("stages", pa.list_(pa.string())),
        ("reasons", pa.list_(pa.string())),
        ("group", pa.string()),
        ("main_sha", pa.string()),
        ("text", pa.string()),
    ]
)


@dataclass(frozen=True)
class Fate:
    """`fate` is the expected one (or `one_of` for a cluster), `fates` all acceptable ones; no stages or reasons means
    that any will do."""

    fate: str
    fates: tuple[str, ...]
    stages: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class GoldRow:
    file: str
    offset: int  # of the record's gzip member
    length: int  # of that member, in bytes
    url: str | None
    warc_type: str
    category: str
    detail: str
    lang: str | None
    script: str | None
    fate: str
    fates: tuple[str, ...]
    stages: tuple[str, ...]
    reasons: tuple[str, ...]
    group: str | None
    main_sha: str | None
    text: str | None  # planted main text, paragraphs joined by newlines


@dataclass(frozen=True)
class CategoryScore:
    category: str
    rows: int
    right: int
    wrong: tuple[str, ...]  # a few `url: what happened`

    @property
    def share(self) -> float:
        return self.right / self.rows


@dataclass(frozen=True)
class NearScore:
    """Near copies of one language: `planted` should go, `removed` went, `true` is their overlap."""

    lang: str
    planted: int
    removed: int
    true: int

    @property
    def recall(self) -> float:
        return self.true / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        return self.true / self.removed if self.removed else 1.0


@dataclass(frozen=True)
class Comparison:
    categories: tuple[CategoryScore, ...]
    near: tuple[NearScore, ...]

    def __str__(self) -> str:
        lines = [f"{'category':<20} {'rows':>5} {'right':>7}"]
        lines += [f"{c.category:<20} {c.rows:>5} {c.share:>7.1%}" for c in self.categories]
        lines += [f"{'near copies':<20} {'recall':>7} {'precision':>9}"]
        lines += [f"{n.lang:<20} {n.recall:>7.1%} {n.precision:>9.1%}" for n in self.near]
        return "\n".join(lines)


def write_gold(rows: Sequence[GoldRow], out: Path) -> None:
    """`gold.parquet` (zstd) and `gold.jsonl` with the same rows."""
    plain = [asdict(row) for row in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema=SCHEMA), out / "gold.parquet", compression="zstd")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain)
    (out / "gold.jsonl").write_text(text, encoding="utf-8", newline="\n")


def read_gold(out: Path) -> list[GoldRow]:
    return [_from_plain(row) for row in pq.read_table(out / "gold.parquet").to_pylist()]


def _from_plain(row: Mapping[str, Any]) -> GoldRow:
    values: list[Any] = [tuple(row[name]) if isinstance(row[name], list) else row[name] for name in SCHEMA.names]
    return GoldRow(*values)


def compare(gold: Sequence[GoldRow], fates: Mapping[str, tuple[str, str, str]]) -> Comparison:
    """Share of right fates by category, and near-copy recall and precision by language.

    `fates` maps a URL to (fate, stage, reason) with the fates kept, dropped, duplicate; a URL that a run never saw is
    left out of it."""
    surplus = _surplus(gold, fates)
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for row in gold:
        if row.url is None:
            continue
        seen = fates.get(row.url, ABSENT)
        total[row.category] += 1
        if _acceptable(row, seen) and row.url not in surplus:
            right[row.category] += 1
        elif len(wrong.setdefault(row.category, [])) < 5:
            wrong[row.category].append(f"{row.url}: expected {'|'.join(row.fates)}, was {' '.join(seen)}")
    categories = (CategoryScore(c, total[c], right[c], tuple(wrong.get(c, ()))) for c in sorted(total))
    return Comparison(tuple(categories), tuple(_near_scores(gold, fates)))


def _acceptable(row: GoldRow, seen: tuple[str, str, str]) -> bool:
    fate, stage, reason = seen
    if seen == ABSENT:
        return not UNSEEN_FATES.isdisjoint(row.fates)
    if fate not in row.fates:
        return False
    if fate == "dropped" and row.stages and not any(stage == s or stage.startswith(f"{s}-") for s in row.stages):
        return False
    return not (fate == "dropped" and row.reasons) or reason in row.reasons


def _clusters(gold: Sequence[GoldRow]) -> dict[str, list[GoldRow]]:
    clusters: dict[str, list[GoldRow]] = {}
    for row in gold:
        if row.group is not None:
            clusters.setdefault(row.group, []).append(row)
    return clusters


def _surplus(gold: Sequence[GoldRow], fates: Mapping[str, tuple[str, str, str]]) -> set[str]:
    """Survivors beyond the first of their cluster, and one member of each cluster that has no survivor."""
    surplus: set[str] = set()
    for members in _clusters(gold).values():
        kept = [row.url for row in members if row.url and fates.get(row.url, ABSENT)[0] == "kept"]
        surplus.update(kept[1:] if kept else [row.url for row in members[:1] if row.url])
    return surplus


def _near_scores(gold: Sequence[GoldRow], fates: Mapping[str, tuple[str, str, str]]) -> list[NearScore]:
    planted: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    true: Counter[str] = Counter()
    for row in gold:
        duplicate = row.url is not None and fates.get(row.url, ABSENT)[0] == "duplicate"
        if row.lang and row.fate in ("kept", "one_of") and row.category != "exact-copy":
            removed[row.lang] += duplicate
    for members in _clusters(gold).values():
        lang = members[0].lang
        if lang is None or members[0].category not in NEAR_CATEGORIES:
            continue
        gone = sum(fates.get(row.url or "", ABSENT)[0] == "duplicate" for row in members)
        planted[lang] += len(members) - 1
        true[lang] += min(gone, len(members) - 1)
    return [NearScore(lang, planted[lang], removed[lang], true[lang]) for lang in sorted(planted)]
