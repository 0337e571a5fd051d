"""The rules of matrix, gopher, c4 and fineweb on one pinned core, against datatrove's four filters and dolma's tagger:
real documents in; MB of UTF-8 per second out, en and zh side by side. Also the memory that measuring takes, and the
time to compile the kernels. Every rule is put to every document, none leaves early. Chinese is measured without the
tier of the word segmenter, and once with it. dolma finds words by white space, so a Chinese document is a few long
words to it and costs next to nothing: its ratio for zh compares unequal work. Run: python -m benchmarks.filters
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks.measure import CHECKOUT, SHARED, in_turns, median, pin, table, verdict
from benchmarks.minhash import documents, up_to
from benchmarks.peers import DATATROVE, DOLMA, PINS, Peer, trouble
from filters.decide import decide
from filters.rules import EVERY, Rule, load_rules

ROUNDS = 5
LOAD = {"Glasspile": 16e6, "with the segmenter": 4e6, "datatrove": 0.5e6, "dolma": 2e6}
SEGMENTER_TIER = 3
FLOORS = {"en": 12.0, "zh": 8.0}
BARS = {("datatrove", "en"): 50.0, ("datatrove", "zh"): 24.0, ("dolma", "en"): 8.0, ("dolma", "zh"): 8.0}
WORKSPACE = 64.0  # MiB
COLD, WARM = 20.0, 2.0  # seconds of CPU
# Peak memory of a process that measures texts of so many MB in one batch.
PEAK = """
import sys, pyarrow as pa
from benchmarks.filters import measure, rules
from benchmarks.minhash import documents, up_to
lang, size = sys.argv[1], float(sys.argv[2])
texts = up_to(documents(lang) * 8, size)
column = pa.array(texts, pa.string())
measure(column.slice(0, 20), lang, rules(lang))
open("/proc/self/clear_refs", "w").write("5")
peak = lambda key: next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key)) / 1024
before = peak("VmRSS")
measure(column, lang, rules(lang))
print(peak("VmHWM") - before)
"""
# CPU seconds until every rule of both languages has been put to a document for the first time.
COMPILE = """
import sys, time, pyarrow as pa
start = time.process_time()
from benchmarks.filters import measure, rules
imported = time.process_time()
for lang, text in (("en", "The tea is hot. It was made with care."), ("zh", "茶是热的。泡得很用心。")):
    measure(pa.array([text]), lang, rules(lang))
print(time.process_time() - imported)
"""


def rules(lang: str, segmenter: bool = False) -> tuple[Rule, ...]:
    """The rules of the four tables that hold for a language."""
    found: list[Rule] = []
    for name in (f"matrix-{lang}", "gopher", "c4", "fineweb"):
        found += load_rules((CHECKOUT / "pipeline" / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))
    return tuple(rule for rule in found if rule.lang in (EVERY, lang) and (segmenter or rule.tier != SEGMENTER_TIER))


def measure(column: pa.Array, lang: str, wanted: Sequence[Rule]) -> float:
    """Seconds of CPU to put every rule to every document."""
    beside = {"url": pa.nulls(len(column), pa.string()), "lang_score": pa.array([1.0] * len(column), pa.float32())}
    start = time.process_time()
    decide(column, [lang] * len(column), wanted, beside)
    return time.process_time() - start


def theirs(peer: Peer, file: Path) -> float:
    """Seconds of CPU of a peer."""
    command = [str(peer.python), str(PINS / "filters_run.py"), peer.name, str(file)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def said(program: str, *arguments: str, cache: Path | None = None) -> float:
    """The number that a Python program of ours prints, run in a new process."""
    env = os.environ | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    command = [sys.executable, "-c", program, *arguments]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env=env).stdout)


def speeds(lang: str, folder: Path, peers: Sequence[Peer]) -> dict[str, float]:
    """MB/s of every side, taken in turns."""
    texts = documents(lang)
    sides: dict[str, Callable[[int], float]] = {}
    sizes: dict[str, float] = {}
    for name in ("Glasspile", *(["with the segmenter"] if lang == "zh" else []), *(peer.name for peer in peers)):
        part = up_to(texts, LOAD[name])
        sizes[name] = sum(len(text.encode()) for text in part) / 1e6
        peer = next((peer for peer in peers if peer.name == name), None)
        if peer:
            file = folder / f"{name}-{lang}.jsonl"
            file.write_text("".join(json.dumps({"lang": lang, "text": t}) + "\n" for t in part), encoding="utf-8")
            sides[name] = lambda _, peer=peer, file=file: theirs(peer, file)
        else:
            column, wanted = pa.array(part, pa.string()), rules(lang, name != "Glasspile")
            measure(column.slice(0, 20), lang, wanted)
            sides[name] = lambda _, column=column, wanted=wanted: measure(column, lang, wanted)
    return {name: sizes[name] / median(took) for name, took in in_turns(sides, ROUNDS).items()}


def main() -> int:
    """Print the tables; 1 when a bar is missed."""
    pin(1)
    if not SHARED.exists():
        print("not measured: the texts are not here")
        return 0
    peers = []
    for peer in (DATATROVE, DOLMA):
        if wrong := trouble(peer):
            print(f"not measured: {peer.name}: {wrong}")
        else:
            peers.append(peer)
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as scratch:
        found = {lang: speeds(lang, Path(scratch), peers) for lang in FLOORS}
        cold = said(COMPILE, cache=Path(scratch) / "kernels")
        warm = said(COMPILE, cache=Path(scratch) / "kernels")
    head = [f"MB/s of CPU time, median of {ROUNDS}", *found, *(f"ours / it, {lang}" for lang in found)]
    rows = []
    for name in dict.fromkeys(name for one in found.values() for name in one):
        values = [one.get(name) for one in found.values()]
        ratios = [one["Glasspile"] / one[name] if name in one else None for one in found.values()]
        rows.append([name, *("-" if v is None else f"{v:,.2f}" for v in values)])
        rows[-1] += ["-" if r is None else f"{r:,.1f}x" for r in ratios]
    print(table(head, rows))
    print(", ".join(f"{lang}: {len(rules(lang))} rules" for lang in found))
    checks = [(f"rules, MB/s, {lang}", found[lang]["Glasspile"], bar, True) for lang, bar in FLOORS.items()]
    checks += [
        (f"times {name}, {lang}", found[lang]["Glasspile"] / found[lang][name], bar, True)
        for (name, lang), bar in BARS.items()
        if name in found[lang]
    ]
    for lang in FLOORS:
        checks += [
            (f"workspace, MiB, batch of {mb} MB, {lang}", said(PEAK, lang, f"{mb}e6"), WORKSPACE, False)
            for mb in (4, 64)
        ]
    checks += [
        ("CPU seconds to compile, empty cache", cold, COLD, False),
        ("CPU seconds to load, warm cache", warm, WARM, False),
    ]
    for what, value, bar, at_least in checks:
        print(verdict(what, value, bar, at_least))
    return int(any(value < bar if at_least else value > bar for _, value, bar, at_least in checks))


if __name__ == "__main__":
    sys.exit(main())
