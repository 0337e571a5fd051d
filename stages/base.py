"""What a stage is: a frozen set of fields that is its identity, a way to cut work into tasks, a way to run one.

A map stage turns a batch of documents into the documents that stay, those that go, and counters; other stages read and
write whole files. Nothing here knows about Ray or about the order in which tasks run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import ClassVar, Protocol
from unicodedata import unidata_version

import numpy as np
import pyarrow as pa

from manifests.fingerprint import STAGE_ID_BYTES, fingerprint, not_identity
from manifests.shards import PARTITIONS
from manifests.storage import Storage
from manifests.store import Shard
from stages.output import Output

MEMORY = 4 << 30
RESIDENT = 512 << 20  # of a worker before it has read anything: interpreter, libraries, compiled kernels, model files


class UserError(Exception):
    """Something that the user can mend; the message is one sentence that says what, where and how."""


@dataclass(frozen=True)
class Source:
    """One `[[source]]` of a recipe; everything but `inputs` and `root` is part of its documents' identity."""

    name: str
    kind: str  # warc, jsonl or parquet
    inputs: tuple[str, ...] = field(metadata=not_identity())
    snapshot: str = "1"
    priority: int = 0
    fields: tuple[tuple[str, str], ...] = ()  # our column -> the source's field
    trust_lang: bool = False


@dataclass(frozen=True)
class InputFile:
    """One input of a source as `fetch` found it; `digest` is its content digest, or the ETag of a remote object;
    `mtime_ns` is its date where that tells whether it has changed since."""

    source: Source
    path: str  # relative to the source's root
    size: int
    digest: str
    uri: str = field(metadata=not_identity())
    mtime_ns: int | None = field(default=None, metadata=not_identity())

    @property
    def key(self) -> str:
        """Identity of the input as a task of `fetch`."""
        return fingerprint("fetch", self)


@dataclass(frozen=True)
class Merged:
    """Reference to side files of one upstream stage: its merged manifest, and a digest over the rows meant."""

    folder: str
    output: str
    snapshots: tuple[str, ...]  # snapshots whose rows are meant, oldest first
    digest: str


@dataclass(frozen=True)
class Task:
    """One unit of work: small, since it crosses the object store; files are named by manifest rows or `Merged`."""

    key: str
    inputs: tuple[Shard, ...] = ()
    merged: tuple[Merged, ...] = ()
    parts: tuple[int, int] = (0, PARTITIONS)
    snapshot: str = ""
    snapshots: tuple[str, ...] = ()  # up to and including `snapshot`, oldest first: what ranks documents
    file: InputFile | None = None
    size: int = 0  # bytes to read: larger tasks start first

    @property
    def source(self) -> str:
        """Name of the source that the task's documents belong to; "" for a task over several."""
        return self.file.source.name if self.file else next((s.source or "" for s in self.inputs), "")


@dataclass(frozen=True)
class Upstream:
    """A finished upstream stage as planning sees it."""

    name: str
    stage_id: str
    rows: tuple[Shard, ...]

    @property
    def folder(self) -> str:
        return folder(self.name, self.stage_id)

    def of(self, output: str) -> list[Shard]:
        """The rows of one output, sorted by task key."""
        return sorted((r for r in self.rows if r.output == output and r.stage == self.name), key=lambda r: r.task_key)


@dataclass(frozen=True)
class Plan:
    """What a stage may look at to cut its tasks: its id, its upstreams, and the snapshots, oldest first."""

    stage_id: str
    upstreams: tuple[Upstream, ...]
    snapshots: tuple[str, ...]
    files: tuple[InputFile, ...] = ()
    memory: int = MEMORY  # bytes that a worker may hold

    def bytes_per_task(self, memory_per_byte: float) -> int:
        """Side rows of a task that needs so many bytes of memory for each of their bytes."""
        return max(1, int((self.memory - RESIDENT) / memory_per_byte))

    def rows(self, output: str) -> list[Shard]:
        """Rows of an output over all upstreams, sorted by task key."""
        return sorted((r for u in self.upstreams for r in u.of(output)), key=lambda r: r.task_key)

    def merged(self, output: str, snapshots: Sequence[str]) -> tuple[Merged, ...]:
        """References to the side files of an output within some snapshots, one per upstream that has them."""
        found = []
        for upstream in self.upstreams:
            rows = [r for r in upstream.of(output) if r.snapshot in snapshots]
            if rows:
                found.append(Merged(upstream.folder, output, tuple(snapshots), rows_digest(rows)))
        return tuple(found)

    def until(self, snapshot: str) -> tuple[str, ...]:
        """The snapshots up to and including one."""
        return self.snapshots[: self.snapshots.index(snapshot) + 1]


@dataclass(frozen=True)
class Stage:
    """Base of all stages; the fields are the identity, except those marked otherwise."""

    name: str
    after: tuple[str, ...] = field(default=(), metadata=not_identity())
    use: ClassVar[str]
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()  # distributions whose version decides the output
    entry: ClassVar[str] = ""  # kind of source that enters here
    is_map: ClassVar[bool] = False
    codec: ClassVar[str] = "zstd"  # of the documents that it writes
    chained: ClassVar[bool] = True  # False: the id does not follow the upstream (a frozen model)

    def stage_id(self, upstream: Sequence[str]) -> str:
        """Identity of the stage in a recipe whose upstream stages have these ids."""
        ids = sorted(upstream) if self.chained else []
        return fingerprint(self.use, self.version, self, self.versions, ids, size=STAGE_ID_BYTES)

    @cached_property
    def versions(self) -> dict[str, str]:
        """Version of each library that decides the output; `unicode` means the character tables of this Python."""
        return {name: unidata_version if name == "unicode" else version(name) for name in self.libraries}

    def tasks(self, plan: Plan) -> list[Task]:
        """The tasks of the stage, in an order that depends on the inputs alone."""
        raise NotImplementedError(f"{self.use} does not plan tasks")

    def open(self, storage: Storage) -> "Worker | Mapper | Reader":
        """Load models and tables; called once in each process that runs the stage."""
        raise NotImplementedError(f"{self.use} does not run tasks")


class Worker(Protocol):
    """Runs whole tasks of a stage that is not a map stage."""

    def run(self, task: Task, out: Output) -> None:
        """Write the task's outputs and counters to `out`."""


@dataclass
class Mapped:
    """What a map stage made of a batch."""

    batch: pa.RecordBatch  # one row for each input row, columns possibly changed
    keep: np.ndarray  # bool[rows]
    dropped: pa.RecordBatch  # schema DROPPED, the rows that are not kept, in order
    counters: Mapping[str, int] = field(default_factory=dict)
    sides: Mapping[str, pa.RecordBatch] = field(default_factory=dict)  # rows of the stage's side files


class Mapper(Protocol):
    """Runs batches of a map stage."""

    def begin(self, task: Task) -> None:
        """Called before the first batch of a task."""

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Decide about each document of a batch; must not depend on how documents are cut into batches."""


class Reader(Protocol):
    """Runs the entry of a pass: an input file in, documents out."""

    def batches(self, task: Task, out: Output) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch, np.ndarray]]:
        """Batches of (DOC, DROPPED, text bytes of the dropped int64[n]); counts what came in on `out.counters`."""


@dataclass(frozen=True)
class MapStage(Stage):
    """Documents in, documents out. `lang`, `sources`: the languages and the sources whose documents the stage sees (all
    when empty); others pass through."""

    lang: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    store: bool | None = field(default=None, metadata=not_identity())  # None: only where it must be
    is_map: ClassVar[bool] = True

    def tasks(self, plan: Plan) -> list[Task]:
        return docs_tasks(plan)

    def footer(self) -> dict[str, str]:
        """What readers of the dropped rows and side files need, such as the rule table; kept in the Parquet footer."""
        return {}

    def sides(self) -> dict[str, pa.Schema]:
        """Side files that the stage writes next to its documents, by output name."""
        return {}


def folder(name: str, stage_id: str) -> str:
    """Folder of a stage below the root."""
    return f"{name}-{stage_id}"


def rows_digest(rows: Sequence[Shard]) -> str:
    """Digest over what some manifest rows hold, in any order."""
    return fingerprint(sorted((r.task_key, r.output, r.lang or "", r.snapshot or "", r.digest) for r in rows))


def file_tasks(plan: Plan, kinds: Sequence[str]) -> list[Task]:
    """One task per input file of the given kinds of source."""
    return [
        Task(fingerprint(plan.stage_id, [(f.key, "file", f.digest)]), file=f, snapshot=f.source.snapshot, size=f.size)
        for f in plan.files
        if f.source.kind in kinds
    ]


def docs_tasks(plan: Plan) -> list[Task]:
    """One task per stored shard of documents."""
    return [
        Task(
            fingerprint(plan.stage_id, [(row.task_key, row.output, row.digest)]),
            inputs=(row,),
            snapshot=row.snapshot or "",
            size=row.bytes,
        )
        for row in plan.rows("docs")
    ]
