"""What the training order and its reader cost, against fixed bars: the peers store their order.

Random windows of 8,193 tokens from row groups of 256k, read by one thread; `locate` at sequence 10^9 of a corpus that
is described and not stored; the planner on a manifest of 10,000 shards; memory over 10,000 windows. Seconds are CPU
seconds where one thread works. Run: python -m benchmarks.order
"""

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.measure import pin, verdict
from manifests.shards import TOKEN_GROUP_TOKENS, ShardWriter
from manifests.storage import open_storage
from manifests.store import RowGroup, RowGroups, Shard, encode
from stages.schema import tokens_schema
from training.corpus import Corpus, Facts, Stream, TokenShard, open_corpus
from training.data import Reader
from training.phases import run_of
from training.plan import parse_plan

WINDOW = 8_193
WINDOWS = 10_000
GROUPS = 128  # in each of two shards: 67 M tokens, of which a reader keeps 4 M
SHARDS = 10_000
GROUPS_EACH = 100  # 262 B tokens in all
TOKENIZER = "0123456789abcdef0123456789abcdef"
SPEED_BAR, LOCATE_BAR, PLANNER_BAR, GROWTH_BAR = 1.0, 1.0, 2.0, 8.0  # M tokens/s, ms, s, MB
PLAN = """
[[phase]]
name = "fundamental"
tokens = {tokens}
sequence = 8192
batch = 1024
epochs = 50
mixture = {{ "web/en" = 2, "web/zh" = 1, "books/zh" = 0.3, "code/*" = 0.5 }}
"""


def stored(root: str) -> Corpus:
    """Two shards on disk, English and Chinese: ids as frequent as words (Zipf), documents of 100 to 3,000 tokens."""
    storage = open_storage(root)
    rng = np.random.Generator(np.random.Philox(7))
    rows = []
    for lang in ("en", "zh"):
        schema = tokens_schema(64_000)
        footer = {"tokenizer": TOKENIZER, "vocabulary": "64000", "eod": "5", "dtype": "uint16"}
        writer = ShardWriter(storage, schema, TOKEN_GROUP_TOKENS, "tokens")
        for _ in range(GROUPS):
            sizes = rng.integers(100, 3_000, 200)
            offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
            values = (rng.zipf(1.2, int(offsets[-1])) % 64_000).astype(np.uint16)
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
            ids = pa.array([rng.bytes(16) for _ in sizes], pa.binary(16))
            nulls = [pa.nulls(len(sizes), field.type) for field in list(schema)[2:]]
            writer.write(pa.record_batch([lists, ids, *nulls], schema=schema))
        writer.cut()
        counts = [{"rows": group.rows, "tokens": group.tokens} for group in writer.groups]
        made = writer.close("tokens", f"task-{lang}", footer | {"row_groups": json.dumps(counts)})
        rows.append(row("web", lang, f"task-{lang}", made.digest, made.path or "", made.row_groups))
    storage.put("manifests/tokens.parquet", encode(rows))
    return open_corpus(root)


def row(source: str, lang: str, key: str, digest: str, path: str, groups: RowGroups, rows: int = 1) -> Shard:
    """The manifest row of a token shard."""
    return Shard(
        "tokens", "0", key, key, "tokens", "tokens", digest, rows,
        path=path, source=source, lang=lang, row_groups=groups, inputs=("0" * 32, TOKENIZER),
    )  # fmt: skip


def described() -> Corpus:
    """4.5 T tokens in four streams: nothing but the counts of 340 M tokens a shard."""
    groups = np.full(1_300, TOKEN_GROUP_TOKENS + 700, np.int64)
    rows = np.full(1_300, 250, np.int64)
    streams = {}
    for name, shards in (("books/zh", 900), ("code/en", 2_200), ("web/en", 6_600), ("web/zh", 3_500)):
        files = tuple(TokenShard(f"{i:032x}", f"{i:032x}", f"{i}", rows, groups) for i in range(shards))
        streams[name] = Stream(name, files)
    return Corpus(open_storage("/nowhere"), streams, Facts(TOKENIZER, 64_000, 5, "uint16"))


def windows(corpus: Corpus) -> tuple[float, float]:
    """M tokens per CPU second over random windows, and MB between the medians of memory in both halves."""
    reader = Reader(corpus)
    rng = np.random.Generator(np.random.Philox(11))
    names = list(corpus.streams)
    firsts = rng.integers(0, min(s.tokens for s in corpus.streams.values()) - WINDOW, WINDOWS).tolist()
    sizes, speeds = [], []
    start = time.process_time()
    for i, first in enumerate(firsts, 1):
        assert len(reader.window(names[i % 2], first, WINDOW).tokens) == WINDOW
        if i % (WINDOWS // 10) == 0:
            sizes.append(psutil.Process().memory_info().rss / 1e6)
            speeds.append(WINDOWS // 10 * WINDOW / 1e6 / (time.process_time() - start))
            start = time.process_time()
    reader.close()
    print(f"resident MB after each tenth: {', '.join(f'{size:.0f}' for size in sizes)}")
    return statistics.median(speeds), statistics.median(sizes[5:]) - statistics.median(sizes[:5])


def locate(corpus: Corpus) -> float:
    """Milliseconds, median, from a sequence's number to its shard, row group and place, no two in one block."""
    run = run_of(parse_plan(PLAN.format(tokens=8.4e12)), [corpus])
    phase, times = run.order.phases[0], []
    phase.locate(0)
    for i in range(1_000):
        start = time.perf_counter()
        drawn = phase.locate(1_000_000_000 + 5_003 * i)
        corpus.streams[drawn.stream].place(drawn.first)
        times.append(1e3 * (time.perf_counter() - start))
    print(f"locate: worst of 1,000 {max(times):.2f} ms")
    return statistics.median(times)


def planner(root: str) -> float:
    """CPU seconds from a manifest of 10,000 shards, and as many rows of side files, to the planned order."""
    storage, rng = open_storage(root), np.random.Generator(np.random.Philox(13))
    real = open_corpus(root).streams["web/en"].shards[0]
    groups = [RowGroup(int(n), 1, int(t), "0" * 32) for n, t in zip(real.group_rows, real.group_tokens, strict=True)]
    rows = [row("web", "en", "task-en", real.digest, real.path, RowGroups(groups), int(real.group_rows.sum()))]
    side = np.zeros(1_024, RowGroups.FIELDS)
    side["rows"] = 5
    for i in range(SHARDS - 1):
        packed = np.zeros(GROUPS_EACH, RowGroups.FIELDS)
        packed["rows"], packed["tokens"] = 250, TOKEN_GROUP_TOKENS + rng.integers(0, 3_000, GROUPS_EACH)
        source, lang = (("web", "en"), ("web", "zh"), ("books", "zh"), ("code", "en"))[i % 4]
        rows.append(row(source, lang, f"{i:032x}", f"{i:032x}", f"t/{i}", RowGroups.of(packed), 250 * GROUPS_EACH))
        rows.append(
            Shard("tokens", "0", f"{i:032x}", "", "side", "places", "0" * 32, 5_120, row_groups=RowGroups.of(side))
        )
    storage.put("manifests/tokens.parquet", encode(rows))
    start = time.process_time()
    run_of(parse_plan(PLAN.format(tokens=200e9)), [open_corpus(root)])
    return time.process_time() - start


def main() -> int:
    """All measurements; status 1 where a bar is missed."""
    pin(1)
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as root:
        corpus = stored(root)
        size = sum(path.stat().st_size for path in Path(root).rglob("*.parquet"))
        tokens = sum(stream.tokens for stream in corpus.streams.values())
        print(f"{tokens:,} tokens in {size / 1e6:.0f} MB, {size / tokens:.2f} bytes a token; Python {sys.version[:6]}")
        speed, growth = windows(corpus)
        found = locate(described())
        planned = planner(root)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = [
        verdict("random windows of 8,193 tokens, M tokens per CPU second", speed, SPEED_BAR),
        verdict("growth of memory between the halves of 10,000 windows, MB", growth, GROWTH_BAR, at_least=False),
        verdict("locate at sequence 10^9, ms", found, LOCATE_BAR, at_least=False),
        verdict(f"planner on {SHARDS:,} shards, CPU s", planned, PLANNER_BAR, at_least=False),
    ]
    print("\n".join(lines))
    print(f"peak of the whole benchmark: {peak:.0f} MB")
    return int(any(line.startswith("MISSED") for line in lines))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
