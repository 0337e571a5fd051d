"""The stage `tokens` against SentencePiece itself: documents in; MB of UTF-8 per second out, en and zh side by side.

One core: the stage, with reading, writing, digests and commit, against SentencePiece's own batch encoding of strings
that lie in memory; then every id is compared. Two actors against one, in turns, and memory over a stream of texts made
by repetition with edits. CPU seconds decide, but for the two actors: there the wall clock does, and what other programs
took of the machine is printed beside it.
Run: python -m benchmarks.tokenize [MB of the stream, 5000]
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable

import psutil
import pyarrow.parquet as pq
import ray
from sentencepiece import SentencePieceProcessor

from benchmarks.measure import SHARED, in_turns, median, pin, table, verdict
from benchmarks.texts import COLLECTIONS, READ, batch_of, documents, edited, parts, shard
from manifests.runs import check_layout
from manifests.storage import open_storage
from manifests.store import Shard
from pipeline.ray_pool import RayExecutor
from stages.base import Plan, Task, Upstream
from stages.output import Output, Place
from stages.passes import Job, JobWorker, Step
from stages.tokens import Tokens
from tokenizer.model import SPACE, read_model
from tokenizer.sample import Sample, Shares
from tokenizer.train import train

PIECES = 64_000
SAMPLE = 20 << 20
LOAD = 24e6  # bytes of each language in a shard
ROUNDS = 5
SHARDS, SMALL_LOAD = 16, 12e6  # of each language, for two actors: the last of them that one works on alone is short
BARS = {"en": 2.0, "zh": 0.9}
SCALING_BAR, GROWTH_BAR = 1.8, 64.0  # times, MB
STREAM_MB = 5_000


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
    streams = {lang: parts(texts, SMALL_LOAD) for lang, texts in bench.texts.items()}
    batches = {(lang, n): batch_of(next(streams[lang]), lang) for n in range(SHARDS) for lang in streams}
    tasks = [bench.task(shard(bench.storage, f"two-{lang}-{n}", iter([b]))) for (lang, n), b in batches.items()]
    del batches
    executor = RayExecutor("local", bench.storage.uri, actors=2)
    both = executor.slots

    def once(actors: int) -> tuple[float, float, float]:
        """Wall seconds, CPU seconds of the busiest actor, and share of the machine that others had."""
        executor.slots = both[:actors]
        busy, ours, start = machine(), [spent(pid) for pid in pids], time.perf_counter()
        for task, result in executor.map(bench.job, tasks):
            assert isinstance(result, list), (task.key, result)
        wall = time.perf_counter() - start
        took = [spent(pid) - before for pid, before in zip(pids, ours, strict=True)]
        return wall, max(took), (machine() - busy - sum(took)) / (wall * len(os.sched_getaffinity(0)))

    try:
        pids = ray.get([slot.actor.pid.remote() for slot in both])
        list(executor.map(bench.job, tasks[:4]))  # the tokenizer is opened
        found = in_turns({"1": lambda _: once(1), "2": lambda _: once(2)}, ROUNDS)
    finally:
        executor.slots = both
        executor.close()
    walls, cpus, others = ({n: median([r[i] for r in rounds]) for n, rounds in found.items()} for i in range(3))
    rows = [[n, f"{walls[n]:.1f}", f"{cpus[n]:.1f}", f"{others[n]:.0%}"] for n in found]
    print(table(["actors", "wall, s", "CPU of the busiest actor, s", "of the machine for others"], rows))
    print(f"times the busiest actor's CPU fell with a second one: {cpus['1'] / cpus['2']:.2f}")
    wall = walls["1"] / walls["2"]
    print(verdict("two actors are faster than one by", wall, SCALING_BAR))
    return wall >= SCALING_BAR


def spent(pid: int) -> float:
    """CPU seconds of a process so far."""
    return sum(psutil.Process(pid).cpu_times()[:2])


def machine() -> float:
    """CPU seconds that all programs of this machine have used on the cores that this one may use."""
    each = psutil.cpu_times(percpu=True)
    return sum(each[core].user + each[core].nice + each[core].system for core in os.sched_getaffinity(0))


def flat(bench: Bench, most: float) -> bool:
    """Print the memory of one process over a stream of shards; gives whether it stays flat."""
    streams = {lang: parts(texts, LOAD) for lang, texts in bench.texts.items()}
    process, start = psutil.Process(), time.process_time()
    done, number = 0.0, 0
    tenths: list[float] = []  # the most resident MB of each
    while done < most * 1e6:
        peak = 0
        until = most * 1e5 * (len(tenths) + 1)
        while done < until or number % 2:  # as many shards of one language as of the other
            lang = ("en", "zh")[number % 2]
            made = edited(next(streams[lang]), number)
            row = shard(bench.storage, f"flat-{number}", iter([batch_of(made, lang)]))
            done += sum(len(text.encode()) for text in made)
            del made
            for written in bench.worker.run(bench.task(row)):
                if written.path:
                    bench.storage.delete(written.path)
            bench.storage.delete(row.path or "")
            peak = max(peak, process.memory_info().rss)
            number += 1
        tenths.append(peak / 1e6)
        took = time.process_time() - start
        print(f"{done / 1e6:6,.0f} MB of text, {took:5.0f} s of CPU with the edits: {tenths[-1]:,.0f} MB", flush=True)
    growth = max(tenths[-2:]) - max(tenths[:2])
    print(verdict("growth of memory from the first fifth to the last, MB", growth, GROWTH_BAR, at_least=False))
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
