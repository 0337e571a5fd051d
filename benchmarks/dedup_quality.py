"""Recall and precision of duplicate removal on versions of real documents whose exact Jaccard is known, English and
Chinese side by side: the share of pairs that the bands propose, against the detection curve, and what goes in the end.
It runs the recipe `dedup` with both of its settings. Run: python -m benchmarks.dedup_quality

Only pairs of two contents that no document before them has are proposed by the bands: the others are exact copies.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import SHARED, table, verdict
from dedup.minhash import detection
from manifests.gone import groups
from manifests.latest import Run, open_run
from manifests.pairs import files, write_pairs
from manifests.storage import open_storage
from pipeline.driver import Driver
from pipeline.local import LocalExecutor
from pipeline.recipe import load_recipe
from stages.sign import Sign

TEXTS, PAIRS = SHARED / "dup" / "pydocs-versions.jsonl.gz", SHARED / "dup" / "pydocs-pairs.tsv"
BINS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.01)
RECALL = 98.0  # per cent of the pairs at the threshold and above
# Threshold and what the recipe's head says about it.
SETTINGS = {
    0.8: (),
    0.7: ("sign.bands=25", "sign.rows=5", "verify.threshold=0.7", "match.floor=0.4"),
}
LANGUAGES = ("en", "zh")
Pair = frozenset[str]


def gold() -> dict[Pair, tuple[str, float]]:
    """Language and exact Jaccard of pairs of own ids."""
    with PAIRS.open(encoding="utf-8") as lines:
        next(lines)
        rows = [line.rstrip("\n").split("\t") for line in lines]
    return {frozenset((a, b)): (lang, float(jaccard)) for a, b, lang, jaccard in rows}


def proposals(run: Run) -> tuple[set[Pair], set[str]]:
    """Pairs that `match` proposed, and the documents whose content is not that of one before."""
    names: dict[bytes, str] = {}
    for shard in files(run, "read", "docs"):
        for rows, _ in groups(run.storage, shard, ["doc_id", "source_id"]):
            names |= dict(zip(rows["doc_id"].to_pylist(), rows["source_id"].to_pylist(), strict=True))
    pairs = set()
    for shard in files(run, "match", "candidates"):
        for rows, _ in groups(run.storage, shard, ["doc_id", "pivot"]):
            pairs |= set(zip(rows["doc_id"].to_pylist(), rows["pivot"].to_pylist(), strict=True))
    copies = set()
    for shard in files(run, "exact", "verdicts"):
        for rows, _ in groups(run.storage, shard, ["doc_id"]):
            copies |= set(rows["doc_id"].to_pylist())
    met = {frozenset((names[a], names[b])) for a, b in pairs if a != b}
    return met, {name for doc, name in names.items() if doc not in copies}


def curve(known: dict[Pair, tuple[str, float]], run: Run, sign: Sign, floor: float) -> str:
    """Share of pairs proposed by Jaccard, and in theory: the mean of the detection curve over the same pairs."""
    met, firsts = proposals(run)
    rows = []
    for low, high in zip(BINS, BINS[1:], strict=False):
        cells = [f"{low:g}-{min(high, 1.0):g}"]
        for lang in LANGUAGES:
            some = {p: j for p, (of, j) in known.items() if of == lang and low <= j < high and p <= firsts}
            theory = np.mean([detection(j, sign.bands, sign.rows) for j in some.values()]) if some else 0.0
            found = sum(pair in met for pair in some)
            cells += [str(len(some)), *([f"{found / len(some):.1%}", f"{theory:.1%}"] if some else ["-", "-"])]
        rows.append(cells)
    name = f"Jaccard ({sign.bands} x {sign.rows}, floor {floor:g})"
    return table([name, *(f"{lang} {what}" for lang in LANGUAGES for what in ("pairs", "proposed", "theory"))], rows)


def final(
    known: dict[Pair, tuple[str, float]], lines: list[dict], threshold: float
) -> list[tuple[str, float, float, bool]]:
    """Checks of what went: (what, value, bar, whether at least that much)."""
    gone = {line["a"] for line in lines}
    checks = [
        ("documents that went and are named as kept", float(len(gone & {line["b"] for line in lines})), 0.0, False)
    ]
    for lang in LANGUAGES:
        similar = [pair for pair, (of, jaccard) in known.items() if of == lang and jaccard >= threshold]
        recall = sum(bool(pair & gone) for pair in similar) / len(similar)
        checks.append((f"recall at {threshold:g}, %, {lang}", 100 * recall, RECALL, True))
        judged = [known.get(frozenset((line["a"], line["b"]))) for line in lines if line["a"].startswith(f"{lang}:")]
        below = sum(pair is None or pair[1] < threshold for pair in judged)
        checks.append((f"of {len(judged)} removals below {threshold:g}, {lang}", float(below), 0.0, False))
    return checks


def main() -> int:
    """Run both settings, print curve and checks; 1 where a check is missed."""
    if not (TEXTS.exists() and PAIRS.exists()):
        print("not measured: the documents are not here")
        return 0
    known, missed = gold(), 0
    for threshold, settings in SETTINGS.items():
        with tempfile.TemporaryDirectory() as scratch:
            recipe = load_recipe("dedup", ["read.max_bytes=100000000", *settings], [str(TEXTS)])
            Driver(recipe, open_storage(f"{scratch}/root"), LocalExecutor, quiet=True).run()
            run = open_run(f"{scratch}/root")
            write_pairs(run, f"{scratch}/pairs.jsonl")
            lines = [
                json.loads(line) for line in Path(f"{scratch}/pairs.jsonl").read_text(encoding="utf-8").splitlines()
            ]
            (sign,) = [stage for stage in recipe.stages if isinstance(stage, Sign)]
            (floor,) = [stage.floor for stage in recipe.stages if stage.use == "match"]
            print(curve(known, run, sign, floor))
            for what, value, bar, at_least in final(known, lines, threshold):
                print(verdict(what, value, bar, at_least))
                missed += value < bar if at_least else value > bar
            print()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
