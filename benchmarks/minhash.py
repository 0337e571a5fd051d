"""MinHash signatures on one pinned core, against rensa, datasketch and datatrove: real documents in; MB of UTF-8 per
second out, en and zh side by side. Every side starts from strings, makes its own shingles and has 128 permutations. The
peers take a share of the documents, since they would need minutes for all. Run: python -m benchmarks.minhash
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from benchmarks.measure import SHARED, in_turns, median, pin, table, verdict
from benchmarks.peers import DATATROVE, PINS, RENSA, trouble
from dedup.minhash import signatures

PERMUTATIONS = 128
ROUNDS = 5
FLOOR = 100.0  # MB/s, en
BARS = {"rensa": 8.0, "datasketch": 25.0, "datatrove": 100.0}
# Bytes that a side signs: long enough to be measured, short enough to be waited for.
LOAD = {"Glasspile": 24e6, "rensa": 12e6, "datasketch": 4e6, "datatrove": 0.6e6}
COLLECTIONS = {
    "en": ("tfdocs.en-snapshot", "novels.en"),
    "zh": ("tfdocs.zh-cn", "pingcap-docs.zh", "laws.zh", "cmrc-wikipedia.zh"),
}
MOST_CHARS = 16_000  # of a document: whole novels are cut, as pages are not that long


def documents(lang: str) -> list[str]:
    """Texts of a language, the collections dealt out in turn."""
    texts = []
    for name in COLLECTIONS[lang]:
        with gzip.open(SHARED / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            whole = [json.loads(line)["text"] for line in lines]
        texts.append([t[i : i + MOST_CHARS] for t in whole for i in range(0, len(t), MOST_CHARS)])
    most = max(map(len, texts))
    return [some[i] for i in range(most) for some in texts if i < len(some)]


def up_to(texts: list[str], size: float) -> list[str]:
    """The first texts whose bytes reach a size."""
    chosen, total = [], 0
    for text in texts:
        chosen.append(text)
        total += len(text.encode())
        if total >= size:
            break
    return chosen


def ours(texts: list[str]) -> float:
    """Seconds of CPU; the Arrow column is made before, as in a run it comes from a file."""
    column = pa.array(texts, pa.string())
    start = time.process_time()
    signatures(column, PERMUTATIONS)
    return time.process_time() - start


def theirs(python: Path | str, name: str, file: Path) -> float:
    """Seconds of CPU of a peer."""
    done = subprocess.run(
        [str(python), str(PINS / "minhash_run.py"), name, str(file)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> int:
    """Print the table; 1 when a bar is missed."""
    pin(1)
    if not SHARED.exists():
        print("not measured: the texts are not here")
        return 0
    missed = 0
    pythons: dict[str, Path | str] = {
        "rensa": RENSA.python,
        "datasketch": sys.executable,
        "datatrove": DATATROVE.python,
    }
    for name, peer in (("rensa", RENSA), ("datatrove", DATATROVE)):
        if wrong := trouble(peer):
            print(f"not measured: {name}: {wrong}")
            del pythons[name]
    speeds: dict[str, dict[str, float]] = {}
    signatures(pa.array(["compiled before it is timed"]), PERMUTATIONS)
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as scratch:
        for lang in COLLECTIONS:
            texts = documents(lang)
            sides: dict[str, Callable[[int], float]] = {}
            sizes = {}
            for name in ("Glasspile", *pythons):
                part = up_to(texts, LOAD[name])
                sizes[name] = sum(len(text.encode()) for text in part)
                if name == "Glasspile":
                    sides[name] = lambda _, part=part: ours(part)
                    continue
                file = Path(scratch) / f"{name}-{lang}.jsonl"
                file.write_text("".join(json.dumps({"lang": lang, "text": t}) + "\n" for t in part), encoding="utf-8")
                sides[name] = lambda _, name=name, file=file: theirs(pythons[name], name, file)
            seconds = in_turns(sides, ROUNDS)
            speeds[lang] = {name: sizes[name] / 1e6 / median(took) for name, took in seconds.items()}
    rows = [
        [name, *(f"{speeds[lang][name]:,.2f}" for lang in speeds)]
        + [f"{speeds[lang]['Glasspile'] / speeds[lang][name]:,.1f}x" for lang in speeds]
        for name in speeds["en"]
    ]
    print(table(["MB/s of CPU time, median of 5", "en", "zh", "ours / it, en", "ours / it, zh"], rows))
    checks = [("signatures, MB/s, en", speeds["en"]["Glasspile"], FLOOR)]
    checks += [
        (f"times {name}, {lang}", speeds[lang]["Glasspile"] / speeds[lang][name], BARS[name])
        for name in pythons
        for lang in speeds
    ]
    for what, value, bar in checks:
        print(verdict(what, value, bar))
        missed += value < bar
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
