"""The stage `tokens` against SentencePiece itself: documents in; MB of UTF-8 per second out, en and zh side by side.

One core: the stage, with reading, writing, digests and commit, against SentencePiece's own batch encoding of strings
that lie in memory; then every id is compared. Two actors against one, and memory over a stream of texts made by
repetition with edits. CPU seconds decide, since they hold on a machine that others use too.
Run: python -m benchmarks.tokenize [MB of the stream, 5000]
"""

import gzip
import hashlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from sentencepiece import SentencePieceProcessor

from benchmarks.measure import SHARED, in_turns, median, pin, table, verdict
from manifests.runs import check_layout
from manifests.storage import Storage, open_storage
from manifests.store import Shard
from pipeline.ray_pool import RayExecutor
from stages.base import Plan, Task, Upstream
from stages.output import Output, Place
from stages.passes import Job, JobWorker, Step
from stages.schema import DOC
from stages.tokens import Tokens
from tokenizer.model import SPACE, read_model
from tokenizer.sample import Sample, Shares
from tokenizer.train import train

COLLECTIONS = {
    "en": ("tfdocs.en-snapshot", "novels.en"),
    "zh": ("tfdocs.zh-cn", "pingcap-docs.zh", "laws.zh", "cmrc-wikipedia.zh"),
}
PIECES = 64_000
SAMPLE = 20 << 20
LOAD = 24e6  # bytes of each language in a shard
MOST_CHARS = 16_000  # of a document: whole novels are cut, as pages are not that long
ROUNDS = 5
SHARDS = 8  # of each language, for two actors
BARS = {"en": 2.0, "zh": 0.9}
SCALING_BAR, GROWTH_BAR = 1.8, 64.0  # times, MB
STREAM_MB, SETTLED = 5_000, 0.2
READ = "0" * 16


def documents(lang: str) -> list[str]:
    """Texts of a language, the collections shuffled together."""
    texts = []
    for name in COLLECTIONS[lang]:
        with gzip.open(SHARED / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            whole = [json.loads(line)["text"] for line in lines]
        texts += [text[i : i + MOST_CHARS] for text in whole for i in range(0, len(text), MOST_CHARS)]
    random.Random(lang).shuffle(texts)
    return texts


def batch_of(texts: list[str], lang: str) -> pa.RecordBatch:
    """The texts as documents."""
    fixed = {"source": "bench", "snapshot": "1", "lang": lang, "priority": 0, "archive": "a.warc.gz", "length": 1}
    rows = [
        fixed | {"doc_id": hashlib.blake2b(f"{lang}/{i}".encode(), digest_size=16).digest(), "text": text, "offset": i}
        for i, text in enumerate(texts)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DOC)


def shard(storage: Storage, key: str, batches: Iterator[pa.RecordBatch]) -> Shard:
    """A shard of documents as a stage before would leave it."""
    out = Output(storage, Place("read", READ, f"read-{READ}", key, key, "bench", "1", (), "{}"))
    writer = out.file("docs", "docs", DOC)
    for batch in batches:
        writer.write(batch)
    return out.finish(0.0, 0)[0]


def parts(texts: list[str], size: float) -> Iterator[list[str]]:
    """The texts in lists of about `size` bytes, over and over."""
    chosen: list[str] = []
    total = 0
    while True:
        for text in texts:
            chosen.append(text)
            total += len(text.encode())
            if total >= size:
                yield chosen
                chosen, total = [], 0


def edited(texts: list[str], seed: int) -> list[str]:
    """The texts with every fiftieth word, or character in text without spaces, made anew."""
    chance = random.Random(seed)
    made = []
    for text in texts:
        words = text.split(" ") if text.count(" ") * 12 > len(text) else list(text)
        for i in range(chance.randrange(50), len(words), 50):
            words[i] = words[i][::-1] + str(chance.randrange(1000)) if len(words[i]) > 1 else chance.choice(words)
        made.append((" " if len(words) < len(text) else "").join(words))
    return made


class Bench:
    """A root with a tokenizer, and the job that encodes shards of documents in it."""

    def __init__(self, root: str) -> None:
        self.storage = open_storage(root)
        self.texts = {lang: documents(lang) for lang in COLLECTIONS}
        sample = Sample(Shares(SAMPLE))
        for lang, texts in self.texts.items():
            sample.add(batch_of(texts, lang))
        start = time.process_time()
        self.model = train(sample.texts(), PIECES).model
        print(f"trained on 2 x {SAMPLE >> 20} MiB in {time.process_time() - start:.0f} s of CPU")
        place = Place("vocab", READ, f"vocab-{READ}", "m", "m", "", "", (), "{}")
        self.raw = SentencePieceProcessor(model_proto=self.model)
        check_layout(self.storage)
        self.storage.put("t.model", self.model)
        digest, size = read_model(self.model).digest, self.raw.piece_size()
        self.row = Output(self.storage, place).shard("model", "tokenizer", digest, size, "t.model")
        stage = Tokens("tokens")
        self.job = Job((Step(stage, stage.stage_id([READ])),), self.storage.uri)
        self.worker = JobWorker(self.job)

    def task(self, documents: Shard) -> Task:
        """The task that encodes a shard."""
        step = self.job.steps[0]
        above = (Upstream("read", READ, (documents,)), Upstream("vocab", READ, (self.row,)))
        (task,) = step.stage.tasks(Plan(step.stage_id, above, ("1",)))
        return task


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def one_core(bench: Bench) -> bool:
    """Print the speed of the stage and of SentencePiece, compare all ids; gives whether the bars are met."""
    rows, fine, wrong, compared = [], True, 0, 0
    for lang, texts in bench.texts.items():
        chosen = next(parts(texts, LOAD))
        size = sum(len(text.encode()) for text in chosen) / 1e6
        task = bench.task(shard(bench.storage, f"one-{lang}", iter([batch_of(chosen, lang)])))
        sides = {
            "stage": lambda n, t=task: cpu(lambda: bench.worker.run(t)),
            "SentencePiece": lambda n, c=chosen: cpu(lambda: bench.raw.encode(c, num_threads=1)),
        }
        bench.worker.run(task)
        seconds = in_turns(sides, ROUNDS)
        ratio = median(seconds["SentencePiece"]) / median(seconds["stage"])
        rows.append([lang, *(f"{size / median(seconds[name]):.2f}" for name in sides), f"{ratio:.2f}"])
        fine &= ratio >= BARS[lang]
        (row,) = [row for row in bench.worker.run(task) if row.kind == "tokens"]
        with bench.storage.open(row.path or "") as file:
            found = pq.read_table(file)["tokens"].to_pylist()
        for text, ids in zip(chosen, found, strict=True):
            if SPACE not in text:
                compared += 1
                wrong += ids[:-1] != bench.raw.encode(text)
        print(verdict(f"{lang}: times SentencePiece's speed", ratio, BARS[lang]))
    print(table(["lang", "stage, MB/s of CPU", "SentencePiece, MB/s of CPU", "ratio"], rows))
    print(
        f"{'MISSED' if wrong else 'met'}: ids of {compared:,} documents compared with SentencePiece's, {wrong} differ"
    )
    return fine and not wrong


def two_actors(bench: Bench) -> bool:
    """Print how encoding speeds up with a second actor; gives whether the bar is met."""
    tasks = []
    for lang, texts in bench.texts.items():
        stream = parts(texts, LOAD)
        for n in range(SHARDS):
            made = edited(next(stream), n)
            tasks.append(bench.task(shard(bench.storage, f"two-{lang}-{n}", iter([batch_of(made, lang)]))))
    walls: dict[int, list[float]] = {}
    cpus: dict[int, list[float]] = {}
    for actors in (1, 2):
        executor = RayExecutor("local", bench.storage.uri, actors=actors)
        try:
            pids = ray.get([slot.actor.pid.remote() for slot in executor.slots])
            list(executor.map(bench.job, tasks[:: len(tasks) // 4]))  # the tokenizer is opened
            for _ in range(3):
                before = [sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids]
                start = time.perf_counter()
                for task, result in executor.map(bench.job, tasks):
                    assert isinstance(result, list), (task.key, result)
                walls.setdefault(actors, []).append(time.perf_counter() - start)
                spent = [sum(psutil.Process(pid).cpu_times()[:2]) - b for pid, b in zip(pids, before, strict=True)]
                cpus.setdefault(actors, []).append(max(spent))
        finally:
            executor.close()
    rows = [[str(n), f"{median(walls[n]):.1f}", f"{median(cpus[n]):.1f}"] for n in (1, 2)]
    print(table(["actors", "wall, s", "CPU of the busiest actor, s"], rows))
    wall, busy = (median(found[1]) / median(found[2]) for found in (walls, cpus))
    print(f"times the busiest actor's CPU fell with a second one: {busy:.2f}")
    print(verdict("two actors are faster than one by", wall, SCALING_BAR))
    return wall >= SCALING_BAR


def flat(bench: Bench, most: float) -> bool:
    """Print the memory of one process over a stream of shards; gives whether it stays flat."""
    streams = {lang: parts(texts, LOAD) for lang, texts in bench.texts.items()}
    done, sizes = 0.0, []
    process = psutil.Process()
    number = 0
    while done < most * 1e6:
        lang = ("en", "zh")[number % 2]
        made = edited(next(streams[lang]), number)
        row = shard(bench.storage, f"flat-{number}", iter([batch_of(made, lang)]))
        done += sum(len(text.encode()) for text in made)
        del made
        for written in bench.worker.run(bench.task(row)):
            if written.path:
                bench.storage.delete(written.path)
        bench.storage.delete(row.path or "")
        sizes.append((done, process.memory_info().rss))
        number += 1
    settled = max(rss for at, rss in sizes if at <= max(SETTLED * done, sizes[0][0]))
    last = max(rss for at, rss in sizes if at > (1 - SETTLED) * done)
    growth = (last - settled) / 1e6
    after = f"RSS {settled / 1e6:,.0f} MB after a fifth, {last / 1e6:,.0f} MB at the end"
    print(f"{done / 1e6:,.0f} MB in {number} shards: {after}")
    print(verdict("growth of memory in MB", growth, GROWTH_BAR, at_least=False))
    return growth <= GROWTH_BAR


def main() -> int:
    """Measure and print; 1 when a bar is missed."""
    if not SHARED.is_dir():
        print(f"the texts are not in {SHARED}")
        return 0
    pin(2)
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as root:
        bench = Bench(root)
        results = [one_core(bench), two_actors(bench), flat(bench, float(sys.argv[1]) if sys.argv[1:] else STREAM_MB)]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
