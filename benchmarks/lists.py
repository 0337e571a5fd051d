"""Block lists of 5 million hosts: seconds and resident memory of compiling one, of opening it again, and of eight
processes that share it; look-ups and bad words per second beside the plain way in Python (a set of hosts, a regular
expression). The surprise: each measurement is a process of its own. Run: python -m benchmarks.lists [HOSTS]"""

import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.measure import table, verdict
from filters.catalogue import SIGNALS
from filters.lexicon import lexicon
from filters.text import TextView
from manifests.asset import Asset
from stages.lists import HARMFUL, open_lists

HOSTS = 5_000_000
URLS = 200_000
WORKERS = 8
SECONDS_BAR, MEMORY_BAR = 10.0, 500.0
ENDINGS = ("com", "net", "org", "co.uk", "com.cn", "cn", "de", "xyz")


def host(number: int) -> str:
    """A host of the usual length, another for each number."""
    word = f"{number * 0x9E3779B97F4A7C15 % (1 << 16 + number % 40):x}"
    return f"{'m.' if number % 9 == 0 else ''}x{word}-{number}.{ENDINGS[number % len(ENDINGS)]}"


def urls() -> list[str]:
    """Half of them blocked by their parents."""
    return [f"https://www.{host(i * 7)}/path/{i}/page.html?id={i}" for i in range(0, URLS, 2)] + [
        f"https://news{i}.example{i}.com.cn/2024/{i}.html" for i in range(0, URLS, 2)
    ]


def opened(asset: Asset, results: "Queue[tuple[float, float, float, int]]", barrier: Callable[[], int]) -> None:
    """Open a list and look URLs up; reports wall and CPU seconds, private and proportional memory (MB), hits."""
    start, cpu = time.perf_counter(), time.process_time()
    lists = open_lists([("url_blocklist", asset)], HARMFUL)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    column = pa.array(urls(), pa.string())
    found = SIGNALS["url_category_count"](TextView(pa.array([""] * len(column)), {"url": column}, lists))
    barrier()
    memory = psutil.Process().memory_full_info()
    results.put((seconds, cpu, memory.pss / 1e6, int(found.sum())))
    barrier()


def processes(asset: Asset, count: int) -> tuple[list[tuple[float, float, float, int]], float]:
    """Reports of processes that open a list at the same time, and the most that the largest ever held (MB)."""
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(count)
    workers = [context.Process(target=opened, args=(asset, results, barrier.wait)) for _ in range(count)]
    for worker in workers:
        worker.start()
    most = 0.0
    while any(worker.is_alive() for worker in workers):
        most = max([most, *(rss(worker.pid) for worker in workers)])
        time.sleep(0.02)
    return [results.get(timeout=60) for _ in workers], most


def rss(pid: int | None) -> float:
    """Resident MB of a process, 0 when it has gone."""
    try:
        return psutil.Process(pid).memory_info().rss / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def rate(work: Callable[[], object], units: float) -> float:
    """Units per CPU second, the best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return units / best


def compare_urls(asset: Asset, hosts: set[str]) -> tuple[float, float]:
    """URLs per CPU second: ours, and a set of hosts asked for every parent (no public suffixes, no prefixes)."""
    listed = urls()
    lists = open_lists([("url_blocklist", asset)], HARMFUL)
    texts, column = pa.array([""] * len(listed)), pa.array(listed, pa.string())

    def plain() -> list[bool]:
        return [any(parent in hosts for parent in parents(url.split("/")[2])) for url in listed]

    def ours() -> np.ndarray:
        return SIGNALS["url_category_count"](TextView(texts, {"url": column}, lists))

    assert ours().tolist() == [float(found) for found in plain()]
    return rate(ours, len(listed)), rate(plain, len(listed))


def parents(name: str) -> Iterator[str]:
    """A host and its parents."""
    while name:
        yield name
        name = name.partition(".")[2]


def compare_words() -> list[list[str]]:
    """MB of text per CPU second by language: ours, and a regular expression of the same 400 words."""
    rng = random.Random(1)
    letters = {"en": "etaoinshrdlucmfw", "zh": "的一是不了人我在有他这中大来上国"}
    rows = []
    for lang, alphabet in letters.items():
        words = ["".join(rng.choices(alphabet, k=rng.randrange(2, 9))) for _ in range(30_000)]
        listed = sorted(set(rng.sample(words, 400)))
        text = (" " if lang == "en" else "，").join(rng.choices(words, k=300_000))
        column, size = pa.array([text] * 4, pa.string()), 4 * len(text.encode()) / 1e6
        edge = r"\b" if lang == "en" else ""
        pattern = re.compile(f"{edge}(?:{'|'.join(sorted(listed, key=len, reverse=True))}){edge}")
        lists = {"bad_words": lexicon(listed)}

        def ours(column: pa.Array = column, lists: dict = lists) -> np.ndarray:
            return SIGNALS["bad_word_count"](TextView(column, None, lists))

        assert ours()[0] == len(pattern.findall(text))
        speeds = rate(ours, size), rate(lambda p=pattern, t=text: p.findall(t), size / 4)
        rows.append([lang, *(f"{speed:.1f}" for speed in speeds), f"{speeds[0] / speeds[1]:.0f}x"])
    return rows


def main() -> int:
    """Print the tables; 1 when a bar is missed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else HOSTS
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GLASSPILE_ASSETS"] = str(Path(folder, "assets"))
        file = Path(folder, "hosts.txt")
        with open(file, "w", encoding="ascii") as lines:
            lines.writelines(f"{host(i)}\n" for i in range(count))
        with open(file, "rb") as raw:
            asset = Asset(str(file), sha256(raw.read()).hexdigest())
        rows, peaks = [], []
        for name, workers in (("compile and open", 1), ("open", 1), (f"{WORKERS} open at once", WORKERS)):
            reports, most = processes(asset, workers)
            peaks.append(most)
            worst = [max(values) for values in zip(*reports, strict=True)]
            total = sum(report[2] for report in reports)
            row = [f"{worst[0]:.2f}", f"{worst[1]:.2f}", f"{most:.0f}", f"{total / workers:.0f}", str(worst[3])]
            rows.append([name, *row])
            if name == "compile and open":
                cold = worst[0]
        entries = [np.load(path, mmap_mode="r") for path in Path(folder, "assets", "compiled").glob("*.npy")]
        print(
            f"{count:,} hosts, {file.stat().st_size / 1e6:.0f} MB of text; compiled {entries[0].nbytes / 1e6:.0f} MB,"
        )
        print(
            f"{entries[0].shape[1]:,} different hashes. pss: memory with shared pages divided by those who share them."
        )
        print(table(("", "seconds", "CPU s", "peak rss MB", "pss MB each", "blocked URLs"), rows))
        ours, plain = compare_urls(asset, {host(i) for i in range(count)})
        print(f"\nURLs per CPU second: ours {ours:,.0f}, set of hosts {plain:,.0f}")
    print(table(("bad words, MB per CPU second", "ours", "re", "ratio"), compare_words()))
    print(verdict("seconds until a new list can be used", cold, SECONDS_BAR, at_least=False))
    print(verdict("peak rss of a process, MB", max(peaks), MEMORY_BAR, at_least=False))
    return int(cold > SECONDS_BAR or max(peaks) > MEMORY_BAR)


if __name__ == "__main__":
    sys.exit(main())
