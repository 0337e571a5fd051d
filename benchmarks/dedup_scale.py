"""Deduplication at scale: crowds of documents with planted copies in; speed, memory, precision and recall out.

Glasspile's recipe `dedup` on one pinned core against datatrove's four MinHash stages and rensa's deduplicator, over the
same documents of the smallest size; then how the time per document grows, and what a boilerplate block that three in
ten documents share does. Run: python -m benchmarks.dedup_scale [DOCUMENTS ...] [--large]
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.crowd import BOILERPLATE, write
from benchmarks.measure import SHARED, Usage, folder_bytes, in_turns, median, pin, run, table, verdict
from benchmarks.peers import DATATROVE, PINS, RENSA, trouble
from benchmarks.planted import THRESHOLD, planted, quality, similarities
from manifests import runs
from manifests.balance import total
from manifests.shards import read_batches
from manifests.storage import open_storage

MEMORY = "2GiB"
ROUNDS = 3  # of the sides that take seconds
SHARE = 0.3
BARS = {"datatrove": 30.0, "rensa": 2.0}
COUNTERS = ("bucket_overflow", "pairs", "pairs_unlikely", "clusters", "largest_cluster")
GROWTH, SLOWER = 1.15, 2.0
NOTES = """\
CPU time of one pinned core, from the start of the process to its end; memory is that of the process and all below it,
sampled every 50 ms. Equal: documents, core, 5-grams of words or characters. datatrove and rensa read JSON lines (their
environments have no Parquet reader), datatrove writes the texts that stay uncompressed, rensa writes ids alone and
keeps everything in memory. Glasspile writes the documents twice, verifies each pair, keeps a row for each removed
document and digests all that it writes. A start takes it 1.6 s (imports, compiled kernels), so that larger inputs are
faster by the byte; they are compared with the speed of the others on the smallest, since datatrove needs hours.
found: planted copies whose exact Jaccard with what they were copied from is at least 0.8, and of which one of the two
was removed. right: removed documents that have such a twin among the copies of one document. lost: removed documents
without such a twin among what stays."""


@dataclass(frozen=True)
class Side:
    """One run of one program."""

    usage: Usage
    kept: frozenset[str]
    counts: Mapping[str, int]


def ours(folder: Path, place: Path) -> Side:
    """One run of Glasspile."""
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "run", "dedup", "--in", str(folder / "docs"), "--out", str(place)]
    command += ["--ray", "off", "--quiet", "--set", "docs.kind=parquet", "--set", f"run.memory={MEMORY}"]
    usage = run(command, {}, folder / "log")
    storage = open_storage(str(place))
    counts = total(row for stage in ("match", "cluster") for row in runs.read_rows(storage, stage))
    kept = [
        name
        for row in runs.read_rows(storage, "apply")
        if row.output == "docs" and row.path
        for batch in read_batches(storage, row.path, ["source_id"])
        for name in batch["source_id"].to_pylist()
    ]
    return Side(usage, frozenset(kept), counts)


def unlike(folder: Path, place: Path, names: set[str]) -> int:
    """Of our removed documents among `names`, those whose texts are less similar to the kept one's than they should."""
    storage = open_storage(str(place))

    def rows(stage: str, output: str, columns: list[str]) -> list[dict]:
        paths = [row.path for row in runs.read_rows(storage, stage) if row.output == output and row.path]
        return [r for path in paths for batch in read_batches(storage, path, columns) for r in batch.to_pylist()]

    gone = [row for row in rows("apply", "dropped", ["source_id", "kept_id"]) if row["source_id"] in names]
    wanted = {row["kept_id"] for row in gone}
    kept = {
        row["doc_id"]: row["source_id"]
        for row in rows("read", "docs", ["doc_id", "source_id"])
        if row["doc_id"] in wanted
    }
    score = similarities(folder, [row["source_id"] for row in gone], [kept[row["kept_id"]] for row in gone])
    return int((score < THRESHOLD).sum())


def theirs(name: str, python: Path, lines: Path, place: Path) -> Side:
    """One run of a peer."""
    shutil.rmtree(place, ignore_errors=True)
    usage = run([str(python), str(PINS / "dedup_run.py"), name, str(lines), str(place)], {}, lines / "log")
    files = sorted(place.glob("*/kept/*.jsonl")) or [place / "kept.jsonl"]
    kept = [json.loads(line)["id"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return Side(usage, frozenset(kept), {})


def as_lines(folder: Path) -> Path:
    """The documents of a crowd as JSON lines, one folder for each language."""
    for file in sorted((folder / "docs").glob("*.parquet")):
        documents = pq.read_table(file, use_threads=False).to_pylist()
        for lang in ("en", "zh"):
            path = folder / "lines" / lang / f"{file.stem}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            own = (
                json.dumps(document, ensure_ascii=False) + "\n" for document in documents if document["lang"] == lang
            )
            path.write_text("".join(own), encoding="utf-8")
    return folder / "lines"


def compare(folder: Path, size: int) -> tuple[list[tuple[str, float, float]], dict[str, float]]:
    """All programs over one crowd; gives the bars (name, value, bar) and the MB/s of each."""
    lines = as_lines(folder)
    quick: dict[str, Callable[[int], Side]] = {"Glasspile": lambda _: ours(folder, folder / "ours")}
    if wrong := trouble(RENSA):
        print(f"not measured: rensa: {wrong}")
    else:
        quick["rensa"] = lambda _: theirs("rensa", RENSA.python, lines, folder / "rensa")
    sides = in_turns(quick, ROUNDS)
    if wrong := trouble(DATATROVE):
        print(f"not measured: datatrove: {wrong}")
    else:
        sides["datatrove"] = [theirs("datatrove", DATATROVE.python, lines, folder / "datatrove")]
    pairs, every = planted(folder)
    rows, bars, speed, marks = [], [], {}, {}
    for name, some in sides.items():
        cpu = median([side.usage.cpu_seconds for side in some])
        wall = median([side.usage.seconds for side in some])
        rss = max(side.usage.peak_rss for side in some)
        found, right, lost = marks[name] = quality(pairs, every, some[0].kept)
        speed[name] = size / 1e6 / cpu
        rows.append([name, f"{wall:.1f}", f"{cpu:.1f}", f"{speed[name]:.2f}", f"{rss / 1e6:,.0f}"])
        rows[-1] += [f"{len(every) - len(some[0].kept):,}", f"{found:.4f}", f"{right:.4f}", f"{lost:,}"]
    head = ["", "wall s", "CPU s", "MB/s of CPU", "peak RSS, MB", "removed", "found", "right", "lost"]
    print(table(head, rows), flush=True)
    for name in set(sides) - {"Glasspile"}:
        bars.append((f"times as fast as {name}", speed["Glasspile"] / speed[name], BARS[name]))
        for at, what in enumerate(("found", "right")):
            bars.append((f"{what}, less that of {name}", marks["Glasspile"][at] - marks[name][at], 0.0))
    return sorted(bars), speed


def boilerplate(scratch: Path, documents: int, cpu: float, size: int) -> int:
    """The same number of documents where three in ten share a block; gives the number of bars missed."""
    folder = scratch / "boilerplate"
    share = write(documents, folder, SHARE) / size
    side = ours(folder, folder / "ours")
    pairs, every = planted(folder)
    block = {name for name in every if name.startswith(BOILERPLATE)}
    found, _, _ = quality(pairs, every, side.kept)
    print(f"\n{len(block):,} of {len(every):,} documents share a block: CPU {side.usage.cpu_seconds:.1f} s, ", end="")
    print(f"peak RSS {side.usage.peak_rss / (1 << 30):.2f} GiB, found {found:.4f}; ", end="")
    print(", ".join(f"{name} {side.counts[name]:,}" for name in COUNTERS if name in side.counts))
    slower, glued = side.usage.cpu_seconds / share / cpu, unlike(folder, folder / "ours", block)
    print(f"{len(block - side.kept):,} of them removed")
    print(verdict("time per byte, against the crowd without", slower, SLOWER, False))
    print(verdict("documents removed for the block alone", glued, 0, False))
    print(verdict("bucket_overflow", side.counts.get("bucket_overflow", 0), 1))
    return (slower > SLOWER) + (glued > 0) + (not side.counts.get("bucket_overflow"))


def main() -> int:
    """Measure and print; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=int, nargs="*", default=[100_000])
    parser.add_argument("--large", action="store_true")
    given = parser.parse_args()
    sizes = sorted({*given.documents, *([1_000_000] if given.large else [])})
    pin(1)
    if not SHARED.exists():
        print("not measured: the texts are not here")
        return 0
    missed = 0

    def judge(name: str, value: float, bar: float, at_least: bool = True) -> None:
        nonlocal missed
        missed += not (value >= bar if at_least else value <= bar)
        print(verdict(name, value, bar, at_least), flush=True)

    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as scratch:
        folder = Path(scratch) / "first"
        write(2_000, folder)
        ours(folder, folder / "ours")  # compiles kernels
        plain: list[tuple[int, float, int]] = []  # documents, CPU seconds, bytes
        for documents in sizes:
            folder = Path(scratch) / str(documents)
            size = write(documents, folder)
            print(f"\n{documents:,} documents, {size / 1e6:,.0f} MB of text\n")
            if documents == sizes[0]:
                bars, speed = compare(folder, size)
                cpu = size / 1e6 / speed.pop("Glasspile")
                for bar in bars:
                    judge(*bar)
            else:
                side = ours(folder, folder / "ours")
                cpu = side.usage.cpu_seconds
                found, right, lost = quality(*planted(folder), side.kept)
                disk = folder_bytes(folder / "ours") / 1e6
                print(f"wall {side.usage.seconds:.1f} s, CPU {cpu:.1f} s, {size / 1e6 / cpu:.1f} MB/s, ", end="")
                print(f"found {found:.4f}, right {right:.4f}, lost {lost}, disk {disk:,.0f} MB")
                judge("peak RSS, GiB", side.usage.peak_rss / (1 << 30), 2.0, False)
                for name, other in sorted(speed.items()):
                    judge(f"times as fast as {name} on {sizes[0]:,}", size / 1e6 / cpu / other, BARS[name])
                before = plain[-1]
                tenfold = np.log10(documents / before[0])
                growth = (cpu / documents * before[0] / before[1]) ** (1 / tenfold)
                judge("time per document, per tenfold", growth, GROWTH, False)
            plain.append((documents, cpu, size))
            shutil.rmtree(folder)
        missed += boilerplate(Path(scratch), *plain[-1])
    print(f"\n{NOTES}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
