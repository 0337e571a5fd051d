"""What the engine itself costs: 10,000 tiny tasks, its share of a run over the sample crawl, two actors against one.

The engine's own seconds of a run are those in which no task is out (inputs, planning, merging, publishing), and for
each task what a tiny one costs: sending it, opening its output, one small file, one commit. What Python takes to start
and to import libraries, and Ray to stop, is printed beside it. Ray starts while forked processes run tasks: that costs
no seconds, but makes those tasks slower. Loading models and kernels counts as the stages'.
Run: python -m benchmarks.engine [TASKS]
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.measure import CHECKOUT, Sampler, in_turns, median, pin, table, verdict
from benchmarks.toy import Tiny
from manifests.storage import open_storage
from manifests.store import Shard
from pipeline.driver import Driver
from pipeline.executor import Executor, Failure
from pipeline.local import LocalExecutor
from pipeline.ray_pool import RayExecutor
from pipeline.recipe import Recipe, load_recipe, parse_recipe
from pipeline.sample.crawl import generate
from stages.base import Task
from stages.passes import Job

TASKS = 10_000
CORES = 2
SEED = 7
ROUNDS = 3
SCALING_RECORDS = 9_000  # three sample crawls: the start of an actor's first child, 1 to 2 s, should not decide
SETTLED = 0.2  # share of a run after which the driver's memory should not grow any more
SENT_BAR, GROWTH_BAR, SHARE_BAR, SCALING_BAR = 64.0, 64.0, 0.05, 1.8  # KiB, MB, of the wall time, times
EXTRACT = """
[[source]]
name = "web"
kind = "warc"
inputs = ["?"]

[[stage]]
use = "extract"
"""


class Observed:
    """An executor that keeps the clock: seconds in which tasks were out."""

    def __init__(self, inner: Executor) -> None:
        self.inner = inner
        self.mapping = 0.0
        self.tasks = 0

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """See Executor.map."""
        start = time.perf_counter()
        self.tasks += len(tasks)
        yield from self.inner.map(job, tasks)
        self.mapping += time.perf_counter() - start

    def close(self) -> None:
        """See Executor.close."""
        self.inner.close()


@dataclass(frozen=True)
class Run:
    """One run of a recipe over an empty root."""

    seconds: float
    observed: Observed
    memory: list[tuple[float, int]]

    @property
    def idle(self) -> float:
        """Seconds in which no task was out."""
        return self.seconds - self.observed.mapping

    @property
    def sent(self) -> float:
        """KiB through the object store per task."""
        inner = self.observed.inner
        return inner.sent / 1024 / self.observed.tasks if isinstance(inner, RayExecutor) else 0.0

    @property
    def growth(self) -> float:
        """MB by which the driver's memory grew after its first part."""
        end = self.memory[-1][0]
        return (self.memory[-1][1] - next(size for at, size in self.memory if at >= SETTLED * end)) / 1e6


def run(recipe: Recipe, actors: int) -> Run:
    """Run a recipe in an empty folder; 0 actors is the executor without Ray."""
    made: list[Observed] = []
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as root:

        def executor() -> Executor:
            made.append(Observed(RayExecutor("local", root, actors=actors) if actors else LocalExecutor()))
            return made[0]

        with Sampler(psutil.Process(), tree=False) as sampler:
            seconds = Driver(recipe, open_storage(root), executor, quiet=True).run().seconds
    return Run(seconds, made[0], sampler.rss)


def tiny_tasks(count: int) -> tuple[Run, bool]:
    """Print the cost of tiny tasks; gives the run on Ray, and whether the bars are met."""
    recipe = Recipe("tiny", "", (), (Tiny("tiny", count=count),))
    runs = {"local": run(recipe, 0), f"Ray, {CORES} actors": run(recipe, CORES)}
    head = [
        "executor",
        "tasks/s",
        "ms/task",
        "no task out, s",
        "object store, KiB/task",
        "driver RSS, MB",
        "grew by, MB",
    ]
    rows = []
    for name, one in runs.items():
        seconds, last = one.observed.mapping, one.memory[-1][1]
        cells = [count / seconds, seconds / count * 1e3, one.idle, one.sent, last / 1e6, one.growth]
        rows.append([name, *(f"{cell:,.1f}" for cell in cells)])
    print(f"{count:,} tiny tasks\n" + table(head, rows))
    on_ray = runs[f"Ray, {CORES} actors"]
    print(verdict("KiB through the object store per task", on_ray.sent, SENT_BAR, at_least=False))
    print(verdict("growth of the driver in MB", on_ray.growth, GROWTH_BAR, at_least=False))
    return on_ray, on_ray.sent <= SENT_BAR and on_ray.growth <= GROWTH_BAR


def share_of_sample(inputs: str, tiny: Run) -> bool:
    """Print the engine's part of `python -m pipeline run` over the sample crawl, from the start of its process to its
    end; gives whether the bar is met."""
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as folder:
        clock = Path(folder) / "clock.json"
        command = [sys.executable, "-m", "benchmarks.engine_run", str(clock), "run", "sample", "--in", inputs]
        command += ["--out", f"{folder}/root", "--actors", str(CORES), "--quiet"]
        started = time.time()
        subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
        ended = time.time()
        times = json.loads(clock.read_text(encoding="utf-8"))
        tasks = len(list(Path(folder).glob("root/*/*.manifest.parquet")))
    (made,), (main,), mapped = times["making"], times["main"], times["mapping"]
    per_task = tiny.observed.mapping / tiny.observed.tasks
    own = {
        "recipe, inputs, first plan": made[0] - main[0],
        "making the executor": mapped[0][0] - made[0],
        "between stages": sum(after - before for (_, before), (after, _) in itertools.pairwise(mapped)),
        "checks after the last stage, publishing": main[1] - mapped[-1][1],
        f"{tasks} tasks at {per_task * 1e3:.1f} ms": per_task * tasks,
    }
    process = {"starting Python, imports": main[0] - started, "end of the process, Ray's included": ended - main[1]}
    wall, engine = ended - started, sum(own.values())
    parts = own | {"the engine's own": engine} | process | {"whole run": wall}
    print(
        "\nsample crawl\n"
        + table(["part", "s", "share"], [[n, f"{s:.2f}", f"{s / wall:.1%}"] for n, s in parts.items()])
    )
    print(verdict("the engine's own share", engine / wall, SHARE_BAR, at_least=False))
    print(f"with the start and the end of its process: {(engine + sum(process.values())) / wall:.2f}")
    return engine / wall <= SHARE_BAR


def scaling(inputs: str) -> bool:
    """Print how extraction speeds up with a second actor; gives whether the bar is met."""
    recipe = parse_recipe(EXTRACT, "extract", [f"web.inputs={[inputs]}"])
    sides = {count: lambda _, count=count: run(recipe, count).observed.mapping for count in (1, CORES)}
    seconds = in_turns({f"{count}": side for count, side in sides.items()}, ROUNDS)
    print(f"\nextract stage, {SCALING_RECORDS:,} records, starting Ray not counted")
    rows = [[name, *(f"{s:.1f}" for s in each), f"{median(each):.1f}"] for name, each in seconds.items()]
    print(table(["actors", *(f"run {n + 1}, s" for n in range(ROUNDS)), "median, s"], rows))
    ratio = median(seconds["1"]) / median(seconds[f"{CORES}"])
    print(verdict("two actors are faster than one by", ratio, SCALING_BAR))
    return ratio >= SCALING_BAR


def main() -> int:
    """Measure and print; 1 when a bar is missed."""
    pin(CORES)
    # The actors import the toy stage from the checkout.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    tiny, small = tiny_tasks(int(sys.argv[1]) if sys.argv[1:] else TASKS)
    with tempfile.TemporaryDirectory(prefix="glasspile-bench-") as folder:
        generate(SEED, Path(folder) / "sample")
        generate(SEED, Path(folder) / "large", SCALING_RECORDS)
        scales = scaling(f"{folder}/large/*.warc.gz")
        run(load_recipe("sample", [f"web.inputs={[f'{folder}/sample/*.warc.gz']}"]), CORES)  # compiles kernels
        light = share_of_sample(f"{folder}/sample/*.warc.gz", tiny)
    return int(not (small and scales and light))


if __name__ == "__main__":
    sys.exit(main())
