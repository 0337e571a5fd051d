"""Running a task: a chain of stages in, committed manifest rows out, with no file between map stages that do not store.

A job is either one stage that reads and writes files, or a pass: an entry or a stored shard, then map stages through
which batches flow in memory. The pass commits once, with the rows of all its stages, after their books balance.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.hashing import mix64
from manifests.absent import hidden, without_pandas
from manifests.balance import row_faults
from manifests.fingerprint import fingerprint
from manifests.shards import ShardWriter, read_batches
from manifests.storage import Storage, StorageError, open_storage
from manifests.store import Shard, commit
from stages.base import Mapped, Mapper, MapStage, Reader, Stage, Task, UserError, folder
from stages.dropped import dropped_rows, nothing_dropped
from stages.fetch import changed
from stages.forget import commit_key, open_list, without
from stages.output import Output, Place, peak_rss, reset_peak, versions_text
from stages.schema import DOC, DROPPED

# What a single odd document can raise in a kernel; anything else is a fault of the machine or of the code.
DOCUMENT_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError)


class OutOfBalance(StorageError):
    """A task whose books do not balance; it cannot commit."""


@dataclass(frozen=True)
class Step:
    """One stage of a job; `stored` says whether its documents are written."""

    stage: Stage
    stage_id: str
    stored: bool = True

    @property
    def folder(self) -> str:
        return folder(self.stage.name, self.stage_id)


@dataclass(frozen=True)
class Job:
    """A chain of steps over one root; every task of the job goes through all of them. forget: digest of the list of
    what is to be forgotten, which lies in the root; "" for none."""

    steps: tuple[Step, ...]
    root: str
    forget: str = ""

    @property
    def name(self) -> str:
        return self.steps[-1].stage.name

    def keys(self, task: Task) -> list[str]:
        """Task key of each step; the last one names the commit."""
        keys = [task.key]
        for step in self.steps[1:]:
            keys.append(fingerprint(step.stage_id, [(keys[-1], "docs")]))
        return keys


class JobWorker:
    """A job opened in one process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.storage: Storage = open_storage(job.root)
        without_pandas()
        if any("numba" in step.stage.libraries for step in job.steps):
            start_kernels()
        self.workers: list[Any] = [step.stage.open(self.storage) for step in job.steps]
        self.forget = open_list(self.storage, job.forget)
        self.forgotten: list[bytes] = []  # of the task that runs

    def run(self, task: Task) -> list[Shard]:
        """Run one task and commit it; nothing of it is visible if this raises."""
        reset_peak()
        start = time.perf_counter()
        self.forgotten = []
        keys = self.job.keys(task)
        outs = [
            Output(self.storage, self._place(step, key, keys[-1], task))
            for step, key in zip(self.job.steps, keys, strict=True)
        ]
        done = False
        try:
            first = self.job.steps[0].stage
            if first.entry or first.is_map:
                self._run_pass(task, outs)
            else:
                self.workers[0].run(task, outs[0])
            seconds, peak = time.perf_counter() - start, peak_rss()
            rows = [out.finish(seconds, peak) for out in outs]
            done = True
        finally:
            if not done:
                for out in outs:
                    out.abandon()
        for step, part in zip(self.job.steps, rows, strict=True):
            if wrong := row_faults(part):
                raise OutOfBalance(f"stage {step.stage.name}, task {task.key}: " + "; ".join(wrong))
        key = commit_key(keys[-1], self.forgotten)
        final = [replace(row, commit_key=key) for part in rows for row in part]
        return commit(self.storage, self.job.steps[-1].folder, key, final)

    def close(self) -> None:
        """Let go of what the workers hold (child processes)."""
        for worker in self.workers:
            closing = getattr(worker, "close", None)
            if closing:
                closing()

    def _place(self, step: Step, key: str, commit_key: str, task: Task) -> Place:
        inputs = tuple(row.digest for row in task.inputs) + tuple(m.digest for m in task.merged)
        if task.file:
            inputs = (task.file.digest,)
        versions = versions_text(step.stage.versions)
        return Place(
            step.stage.name, step.stage_id, step.folder, key, commit_key, task.source, task.snapshot, inputs, versions
        )

    def _run_pass(self, task: Task, outs: list[Output]) -> None:
        steps = [Running(s, w, o, task) for s, w, o in zip(self.job.steps, self.workers, outs, strict=True)]
        for batch in self._enter(task, steps):
            for step in steps:
                if not batch.num_rows:
                    break
                batch = step.take(batch)

    def _enter(self, task: Task, steps: list["Running"]) -> Iterator[pa.RecordBatch]:
        """Batches for the first map step: from the entry, which then is no step any more, or from a stored shard."""
        if not self.job.steps[0].stage.entry:
            path = task.inputs[0].path
            if path is None:
                raise StorageError(f"task {task.key}: its documents are not stored")
            yield from read_batches(self.storage, path)
            return
        entry = steps.pop(0)
        reader: Reader = entry.worker
        for kept, gone, gone_bytes in reader.batches(task, entry.out):
            if self.forget:
                kept, gone, gone_bytes, ids = without(kept, gone, gone_bytes, self.forget, entry.step.stage.name)
                self.forgotten += ids
            entry.put(kept, gone, gone_bytes)
            yield kept
        # The task's key speaks of the content that was listed.
        if task.file and changed(task.file):
            raise UserError(f"{task.file.uri} changed while it was read; run the same command again")


@cache
def start_kernels() -> None:
    """Let numba load what it needs for any kernel, without SciPy, which it would import in case one calls BLAS."""
    with hidden("scipy.linalg", "cffi"):
        mix64(np.uint64(0))


class Running:
    """One step of a pass while a task runs through it."""

    def __init__(self, step: Step, worker: Any, out: Output, task: Task) -> None:
        self.step, self.worker, self.out, self.source = step, worker, out, task.source
        stage = step.stage
        footer = stage.footer() if isinstance(stage, MapStage) else {}
        self.docs = out.file("docs", "docs", DOC, stored=step.stored, codec=stage.codec)
        self.dropped = out.file("dropped", "dropped", DROPPED, metadata=footer)
        self.sides: dict[str, ShardWriter] = {}
        if isinstance(stage, MapStage):
            for name, schema in stage.sides().items():
                self.sides[name] = out.file(name, "side", schema, metadata=footer)
            worker.begin(task)

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Send a batch through the step; gives the documents that stay."""
        mapped = self._transform(batch)
        before, after = lengths(batch["text"]), lengths(mapped.batch["text"])
        was, now = batch["lang"].to_pylist(), mapped.batch["lang"].to_pylist()
        self.out.tally("in", was, before)
        for old, new, size in zip(was, now, before.tolist(), strict=True):
            if old != new:
                self.out.counters[f"moved/{self.source}/{old}/{new}/docs"] += 1
                self.out.counters[f"moved/{self.source}/{old}/{new}/bytes"] += size
        keep = mapped.keep
        self.out.counters.update(mapped.counters)
        # A stage may count what it cut itself, by reason; that it counted all of it is checked before the commit.
        if not any(name.startswith("cut/") for name in mapped.counters):
            for lang, size in zip(now, np.where(keep, before - after, 0).tolist(), strict=True):
                if size:
                    self.out.counters[f"cut/{self.source}/{lang}/bytes/{self.step.stage.name}"] += size
        for name, rows in mapped.sides.items():
            self.sides[name].write(rows)
        kept = mapped.batch if keep.all() else mapped.batch.filter(pa.array(keep))
        self.put(kept, mapped.dropped, before[~keep])
        return kept

    def put(self, kept: pa.RecordBatch, gone: pa.RecordBatch, gone_bytes: np.ndarray) -> None:
        """Write and count what stays and what goes."""
        self.docs.write(kept)
        self.dropped.write(gone)
        self.out.tally("kept", kept["lang"].to_pylist(), lengths(kept["text"]))
        if len(gone_bytes) != gone.num_rows:
            raise OutOfBalance(
                f"stage {self.step.stage.name}: {len(gone_bytes)} documents went, {gone.num_rows} dropped rows say why"
            )
        for lang, reason, size in zip(
            gone["lang"].to_pylist(), gone["reason"].to_pylist(), gone_bytes.tolist(), strict=True
        ):
            self.out.counters[f"dropped/{self.source}/{lang}/docs/{reason}"] += 1
            self.out.counters[f"dropped/{self.source}/{lang}/bytes/{reason}"] += size

    def _transform(self, batch: pa.RecordBatch) -> Mapped:
        """The stage's decision on the documents that it holds for; the others pass through in their places."""
        stage, mapper = self.step.stage, self.worker
        assert isinstance(stage, MapStage)
        meant = np.ones(batch.num_rows, bool)
        for column, wanted in (("lang", stage.lang), ("source", stage.sources)):
            if wanted:
                meant &= pc.is_in(batch[column], pa.array(wanted, pa.string())).to_numpy(zero_copy_only=False)
        if not meant.any():
            return Mapped(batch, np.ones(batch.num_rows, bool), nothing_dropped())
        if meant.all():
            return guarded(mapper, stage.name, batch)
        mapped = guarded(mapper, stage.name, batch.filter(pa.array(meant)))
        keep = np.ones(batch.num_rows, bool)
        keep[meant] = mapped.keep
        both = pa.concat_batches([mapped.batch, batch.filter(pa.array(~meant))])
        origin = np.concatenate([np.flatnonzero(meant), np.flatnonzero(~meant)])
        return replace(mapped, batch=both.take(pa.array(np.argsort(origin))), keep=keep)


def guarded(mapper: Mapper, stage: str, batch: pa.RecordBatch) -> Mapped:
    """Transform a batch; a document that breaks the kernel goes with the reason `error:<type>`, alone."""
    try:
        return mapper.transform(batch)
    except DOCUMENT_ERRORS as error:
        if batch.num_rows == 1:
            gone = dropped_rows(batch, np.zeros(1, np.int64), stage, f"error:{type(error).__name__}")
            return Mapped(batch, np.zeros(1, bool), gone)
    half = batch.num_rows // 2
    first, second = guarded(mapper, stage, batch.slice(0, half)), guarded(mapper, stage, batch.slice(half))
    return Mapped(
        pa.concat_batches([first.batch, second.batch]),
        np.concatenate([first.keep, second.keep]),
        pa.concat_batches([first.dropped, second.dropped]),
        Counter(first.counters) + Counter(second.counters),
        joined(first.sides, second.sides),
    )


def joined(first: Mapping[str, pa.RecordBatch], second: Mapping[str, pa.RecordBatch]) -> dict[str, pa.RecordBatch]:
    """Side rows of two batches, one after the other; a document that broke the kernel has none."""
    names = sorted({*first, *second})
    return {name: pa.concat_batches([rows[name] for rows in (first, second) if name in rows]) for name in names}


def lengths(text: pa.Array) -> np.ndarray:
    """UTF-8 bytes of each text, int64[n]; 0 for null."""
    return pc.binary_length(text).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
