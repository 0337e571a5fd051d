"""Reading: sequences of the order in, their tokens and document boundaries out, from a folder or from S3.

One row group is decoded for most sequences, and a few are kept; readers are lent to threads one at a time, so nothing
is shared and memory is bounded by threads, caches and steps read ahead. Needs no torch: batches are numpy arrays.
"""

from collections import OrderedDict, deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.storage import StorageError
from training.corpus import Corpus, open_shard, spans
from training.fim import turn
from training.order import PhaseOrder, check_world
from training.phases import Run
from training.plan import Phase, matches

OPEN_FILES = 8
CACHE_TOKENS = 1 << 22  # tokens of decoded row groups that a reader keeps: 16 groups of 256k, 8 MiB as uint16
AHEAD = 3  # steps
THREADS = 2


@dataclass(frozen=True)
class Window:
    """Tokens [first, first + n) of a stream, and its pieces of documents: int64[pieces] each."""

    tokens: np.ndarray
    starts: np.ndarray  # where each piece begins in the window; the first is 0
    documents: np.ndarray  # first token of each piece's document, in the stream


@dataclass(frozen=True)
class Sequence:
    """One sequence as a step sees it: S + 1 tokens, since the labels are the inputs moved by one."""

    tokens: np.ndarray
    starts: np.ndarray
    pushed_out: np.ndarray  # int64[pieces]: tokens that fill-in-the-middle pushed over the end


@dataclass(frozen=True)
class Batch:
    """What one rank sees in one step: tokens [n, S + 1], and for each sequence its place in the step's batch, its
    stream and the places where documents begin (the first is 0): masks and per-stream losses are made of these."""

    step: int
    phase: str
    tokens: np.ndarray
    positions: np.ndarray
    streams: tuple[str, ...]
    starts: tuple[np.ndarray, ...]
    pushed_out: int


class Reader:
    """Reads windows of a corpus; for one thread at a time."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.files: OrderedDict[tuple[str, int], pq.ParquetFile] = OrderedDict()
        self.groups: OrderedDict[tuple[str, int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self.held = 0

    def window(self, stream: str, first: int, count: int) -> Window:
        """Tokens [first, first + count) of a stream."""
        found = self.corpus.streams[stream]
        tokens = np.empty(count, self.corpus.facts.dtype)
        starts, documents, filled = [], [], 0
        for shard, group, start, end in spans(found, first, count):
            values, offsets = self.group(stream, shard, group)
            tokens[filled : filled + end - start] = values[start:end]
            base = int(found.starts[shard] + found.shards[shard].starts[group])
            rows = offsets[np.searchsorted(offsets, start, "right") - 1 : np.searchsorted(offsets, end, "left")]
            starts.append(np.maximum(rows - start, 0) + filled)
            documents.append(rows + base)
            filled += end - start
        return Window(tokens, np.concatenate(starts), np.concatenate(documents))

    def group(self, stream: str, shard: int, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of a row group, and the place where each of its documents begins, and the end: int64[rows + 1]."""
        key = (stream, shard, group)
        if key in self.groups:
            self.groups.move_to_end(key)
            return self.groups[key]
        file = self.file(stream, shard)
        where = self.corpus.streams[stream].shards[shard].path
        try:
            lists = file.read_row_group(group, columns=["tokens"], use_threads=False)["tokens"].combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise StorageError(
                f"{where}: row group {group} cannot be read; check it with `manifests verify`"
            ) from error
        offsets = lists.offsets.to_numpy().astype(np.int64)
        made = lists.values.to_numpy()[offsets[0] : offsets[-1]], offsets - offsets[0]
        self.groups[key] = made
        self.held += len(made[0])
        while self.held > CACHE_TOKENS and len(self.groups) > 1:
            _, (old, _) = self.groups.popitem(last=False)
            self.held -= len(old)
        return made

    def file(self, stream: str, shard: int) -> pq.ParquetFile:
        """A shard, opened and compared with the manifest."""
        key = (stream, shard)
        if key in self.files:
            self.files.move_to_end(key)
            return self.files[key]
        file = open_shard(self.corpus.storage, self.corpus.streams[stream].shards[shard], self.corpus.facts)
        self.files[key] = file
        if len(self.files) > OPEN_FILES:
            self.files.popitem(last=False)[1].close()
        return file

    def close(self) -> None:
        """Close all files."""
        for file in self.files.values():
            file.close()
        self.files.clear()
        self.groups.clear()


def read_sequence(reader: Reader, phase: Phase, order: PhaseOrder, stream: str, epoch: int, sequence: int) -> Sequence:
    """One sequence of a phase, after fill-in-the-middle where the phase has it."""
    first = sequence * order.sequence
    window = reader.window(stream, first, order.sequence + 1)
    if phase.fim is None or not matches(stream, phase.fim.streams):
        return Sequence(window.tokens, window.starts, np.zeros_like(window.starts))
    label = (order.seed, order.data, phase.name, stream, epoch)
    eod = reader.corpus.facts.eod
    turned = turn(window.tokens, window.starts, window.documents, first, phase.fim, eod, label)
    return Sequence(turned.tokens, turned.starts, turned.pushed_out)


def batches(
    run: Run, step: int = 0, rank: int = 0, world: int = 1, microbatch: int = 1, threads: int = THREADS
) -> Generator[Batch, None, None]:
    """What a rank sees from a step on, to the end of the plan; a few steps are read ahead in threads."""
    check_world([phase.batch for phase in run.order.phases], world, microbatch)
    readers: dict[str, SimpleQueue[Reader]] = {}
    for corpus in run.corpora:
        lent = readers.setdefault(corpus.hash, SimpleQueue())
        for _ in range(threads if lent.empty() else 0):
            lent.put(Reader(corpus))
    pool = ThreadPoolExecutor(threads, "read")
    waiting: deque[Pending] = deque()
    try:
        for number in range(step, run.order.steps):
            waiting.append(Pending(run, number, rank, world, pool, readers))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        for lent in readers.values():
            while not lent.empty():
                lent.get().close()


class Pending:
    """A batch that is being read."""

    def __init__(
        self,
        run: Run,
        step: int,
        rank: int,
        world: int,
        pool: ThreadPoolExecutor,
        readers: dict[str, SimpleQueue[Reader]],
    ) -> None:
        self.order = run.order.phase_at(step)
        self.phase = next(phase for phase in run.plan.phases if phase.name == self.order.name)
        self.step = step
        self.lent = readers[self.order.data]
        self.draws = self.order.batch_at(step, rank, world)
        self.streams = tuple(self.order.sources[s].name for s in self.draws.streams.tolist())
        each = zip(self.streams, self.draws.epochs.tolist(), self.draws.sequences.tolist(), strict=True)
        self.parts: list[Future[Sequence]] = [pool.submit(self.read, *which) for which in each]

    def read(self, stream: str, epoch: int, sequence: int) -> Sequence:
        """One sequence, with a reader that is free."""
        reader = self.lent.get()
        try:
            return read_sequence(reader, self.phase, self.order, stream, epoch, sequence)
        finally:
            self.lent.put(reader)

    def result(self) -> Batch:
        """The batch, once all of it is read."""
        parts = [part.result() for part in self.parts]
        tokens = np.stack([part.tokens for part in parts])
        pushed_out = int(sum(part.pushed_out.sum() for part in parts))
        starts = tuple(part.starts for part in parts)
        return Batch(self.step, self.phase.name, tokens, self.draws.positions, self.streams, starts, pushed_out)
