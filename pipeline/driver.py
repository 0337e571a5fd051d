"""The driver: a recipe and a root in, a complete run out. It plans, skips what is committed, runs the rest, checks.

The driver keeps no state of its own: killed at any moment and started again, it finds in the manifests what is done.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from manifests import runs, store
from manifests.asset import assets_of
from manifests.balance import total
from manifests.storage import OutOfDisk, Storage
from manifests.store import Shard, committed
from pipeline import executor, takedown
from pipeline.checks import check_stage, documents
from pipeline.executor import Executor, Failure
from pipeline.gathering import gathering_nodes, over_gathered
from pipeline.plan import Graph, Node, graph
from pipeline.progress import StageProgress
from pipeline.recipe import Recipe
from stages import fetch
from stages.base import InputFile, Plan, Task, Upstream, UserError, folder
from stages.forget import list_path
from stages.passes import Job

DISK_CHECK_SECONDS = 2.0
FATAL = {kind.__name__: kind for kind in executor.FATAL}


class RunFailed(Exception):
    """Tasks were set aside; the failures are in `failures`."""

    def __init__(self, stage: str, failures: list[Failure]) -> None:
        super().__init__(f"stage {stage}: {len(failures)} of its tasks failed")
        self.stage, self.failures = stage, failures


@dataclass(frozen=True)
class StagePlan:
    """What one committing stage has to do: its passes, their tasks, and what is committed already."""

    node: Node
    work: tuple[tuple[Job, tuple[Task, ...]], ...]
    done: dict[str, list[Shard]] = field(repr=False)

    def todo(self) -> list[tuple[Job, list[Task]]]:
        """The tasks that are not committed, the largest first."""
        return [
            (job, sorted((t for t in tasks if job.keys(t)[-1] not in self.done), key=lambda t: (-t.size, t.key)))
            for job, tasks in self.work
        ]

    @property
    def tasks(self) -> int:
        return sum(len(tasks) for _, tasks in self.work)


@dataclass
class Result:
    """A complete run."""

    root: str
    tokens: str
    rows: dict[str, list[Shard]]
    ran: dict[str, int]  # tasks run by committing stage; 0 where everything was committed
    seconds: float


class Driver:
    """One run of a recipe over one root."""

    def __init__(
        self,
        recipe: Recipe,
        storage: Storage,
        executor: Callable[[], Executor],
        keep_going: bool = False,
        quiet: bool = False,
    ) -> None:
        self.recipe, self.storage, self.keep_going, self.quiet = recipe, storage, keep_going, quiet
        self.graph: Graph = graph(recipe)
        self.make_executor = executor
        self.executor: Executor | None = None
        self.rows: dict[str, list[Shard]] = {}
        self.checked = 0.0
        self.forget, self.forget_text = takedown.load_lists(recipe.limits.forget)

    def run(self) -> Result:
        """Bring the root up to date with the recipe; RunFailed, UserError or StorageError say what is in the way."""
        start = time.perf_counter()
        for stage in self.recipe.stages:
            for asset in assets_of(stage):
                asset.path()  # a missing model or list is an error before the run
        self.storage.probe()
        runs.check_layout(self.storage)
        self.check_disk()
        if self.forget_text:
            self.storage.put_if_absent(list_path(takedown.digest_of(self.forget_text)), self.forget_text.encode())
        files = self.fetch()
        ran = {}
        try:
            for target in self.graph.targets():
                plan = self.plan(target, files)
                for before in self.gatherings(plan):
                    ran[before.node.name] = self.run_stage(before)
                ran[target.name] = self.run_stage(self.over_gathered(plan))
        finally:
            if self.executor:
                self.executor.close()
        return self.publish(ran, start)

    def fetch(self) -> tuple[InputFile, ...]:
        """The inputs; their digests are remembered from the last run."""
        fetched = fetch.fetch(self.recipe.sources, self.remembered())
        self.rows[fetch.STAGE] = list(fetched.rows)
        self.write_merged(folder(fetch.STAGE, fetch.STAGE_ID), list(fetched.rows))
        return fetched.files

    def first_inputs(self) -> list[str]:
        """One input of each source, which every node must be able to read."""
        first = {row.source: row.path or "" for row in reversed(self.rows[fetch.STAGE])}
        return sorted(first.values())

    def remembered(self) -> list[Shard]:
        """The rows of fetch that an earlier run left, complete or not."""
        return store.read_merged(self.storage, folder(fetch.STAGE, fetch.STAGE_ID))

    def plan(self, target: Node, files: Sequence[InputFile]) -> StagePlan:
        """Tasks of every pass that ends in a target, and which of them are committed."""
        work = []
        for chain in self.graph.chains(target):
            head = chain[0]
            memory = self.recipe.limits.memory_bytes
            plan = Plan(head.step.stage_id, self.upstreams(head), self.recipe.snapshots, tuple(files), memory)
            # Documents are forgotten where they come in; no stage after that sees them.
            forget = takedown.digest_of(self.forget_text) if head.stage.entry else ""
            job = Job(tuple(node.step for node in chain), self.storage.uri, forget)
            work.append((job, tuple(head.stage.tasks(plan))))
        keys = [job.keys(task)[-1] for job, tasks in work for task in tasks]
        twice = [key for key, count in Counter(keys).items() if count > 1]
        if twice:
            raise UserError(f"stage {target.name}: two tasks have the key {twice[0]}; this is a fault of the stage")
        folder = target.step.folder
        entered = {job.keys(task)[-1] for job, tasks in work for task in tasks if job.forget}
        done = committed(self.storage, folder, set(keys) - entered)
        if entered:
            done |= takedown.committed_without(self.storage, folder, target.name, entered, self.forget)
        return StagePlan(target, tuple(work), done)

    def upstreams(self, node: Node) -> tuple[Upstream, ...]:
        """The finished, stored stages above a node."""
        above = [self.graph.node(name) for name in node.upstreams]
        return tuple(Upstream(n.name, n.step.stage_id, tuple(self.rows[n.name])) for n in above if n.step.stored)

    def gatherings(self, plan: StagePlan) -> list[StagePlan]:
        """What merges the side files that a stage reads, where there are very many."""
        references = {merged for _, tasks in plan.work for task in tasks for merged in task.merged}
        nodes = gathering_nodes(self.graph, self.rows, references, self.recipe.limits.gather)
        new = [node for node in nodes if node not in self.graph.nodes]
        for node in new:
            self.graph = self.graph.with_node(node)
        return [self.plan(node, ()) for node in new]

    def over_gathered(self, plan: StagePlan) -> StagePlan:
        """The plan with the same tasks over merged side files."""
        work = []
        for job, tasks in plan.work:
            known = {m: over_gathered(m, self.graph, self.rows) for m in {m for task in tasks for m in task.merged}}
            work.append((job, tuple(replace(t, merged=tuple(known[m] for m in t.merged)) for t in tasks)))
        return replace(plan, work=tuple(work))

    def run_stage(self, plan: StagePlan) -> int:
        """Run what a stage lacks; gives the number of tasks that ran."""
        todo = plan.todo()
        count = sum(len(tasks) for _, tasks in todo)
        failures: list[Failure] = []
        done = dict(plan.done)
        if count:
            size = sum(task.size for _, tasks in todo for task in tasks)
            if self.executor is None:
                self.executor = self.make_executor()
            with StageProgress(plan.node.name, count, size, self.quiet) as progress:
                for job, tasks in todo:
                    failures += self.run_tasks(job, tasks, done, progress)
                    if failures and not self.keep_going:
                        break
        if failures:
            raise RunFailed(" > ".join(step.stage.name for step in plan.work[0][0].steps), failures)
        self.write_merged(plan.node.step.folder, self.merge(plan, done))
        return count

    def run_tasks(
        self, job: Job, tasks: list[Task], done: dict[str, list[Shard]], progress: StageProgress
    ) -> list[Failure]:
        """Run the tasks of one pass; gives the failures, and files the rows of the others under their commit keys."""
        failures: list[Failure] = []
        assert self.executor is not None
        for task, result in self.executor.map(job, tasks):
            if isinstance(result, Failure):
                if result.fatal:
                    raise FATAL.get(result.error, UserError)(result.message)
                failures.append(result)
                if not self.keep_going:
                    break
                continue
            done[job.keys(task)[-1]] = result
            counts = total(result)
            progress.advance(task.size, documents(counts, "in"), documents(counts, "dropped"))
            self.check_disk()
        return failures

    def check_disk(self) -> None:
        """OutOfDisk before the disk is full, looked at no more often than every two seconds."""
        if time.monotonic() - self.checked < DISK_CHECK_SECONDS:
            return
        self.checked = time.monotonic()
        free = self.storage.free_bytes()
        if free is not None and free < self.recipe.limits.min_free:
            raise OutOfDisk(
                f"{self.storage.uri}: {free / 1e9:.2f} GB free, the run stops below "
                f"{self.recipe.limits.min_free / 1e9:.2f} GB; make room and run again, it goes on where it stopped"
            )

    def merge(self, plan: StagePlan, done: dict[str, list[Shard]]) -> list[Shard]:
        """File the rows under their stages and check the flow between stages; gives all rows of the passes."""
        ordered = [row for job, tasks in plan.work for task in tasks for row in done[job.keys(task)[-1]]]
        names = {node.name for chain in self.graph.chains(plan.node) for node in chain}
        for name in names:
            self.rows[name] = sorted(
                (row for row in ordered if row.stage == name), key=lambda r: (r.task_key, r.output, r.lang or "")
            )
        for name in sorted(names):
            check_stage(self.graph.node(name), self.graph, self.rows, self.recipe, self.storage)
        return sorted(ordered, key=lambda r: (r.commit_key, r.stage, r.output, r.lang or ""))

    def write_merged(self, folder: str, rows: list[Shard]) -> None:
        """Write the merged manifest of a stage folder, unless it says the same already."""
        if not _same(store.read_merged(self.storage, folder), rows):
            self.storage.put(f"{folder}/{store.MERGED}", store.encode(rows))

    def publish(self, ran: dict[str, int], start: float) -> Result:
        """Write what readers of the root open: the rows of each stage, the run, its hashes."""
        everything = [row for rows in self.rows.values() for row in rows]
        root, tokens = runs.root_hash(everything), runs.root_hash(everything, ("tokens",))
        names = [(fetch.STAGE, fetch.STAGE, fetch.STAGE_ID, ())] + [
            (node.name, node.stage.use, node.step.stage_id, node.upstreams) for node in self.graph.nodes
        ]
        stages = [
            runs.RunStage(i, name, use, stage_id, after, self.recipe.name, self.recipe.text, root, tokens)
            for i, (name, use, stage_id, after) in enumerate(names)
        ]
        runs.write_run(self.storage, stages, self.rows)
        return Result(root, tokens, self.rows, ran, time.perf_counter() - start)


def _same(old: Iterable[Shard], new: Iterable[Shard]) -> bool:
    return [(r.commit_key, r.output, r.digest) for r in old] == [(r.commit_key, r.output, r.digest) for r in new]
