"""A map stage that does as its texts say, passes of it over a file, and what they commit."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from manifests.balance import total
from manifests.fingerprint import not_identity
from manifests.shards import read_batches
from manifests.storage import Storage, open_storage
from manifests.store import Shard
from stages.base import Mapped, MapStage, Plan, Source, Task
from stages.dropped import dropped_rows
from stages.fetch import fetch
from stages.passes import Job, JobWorker, Step
from stages.read import Read
from stages.schema import DOC

# lang, text: a letter says what the stages below do with it.
TEXTS = [
    ("en", "one"),
    ("zh", "二 drop"),
    ("fr", "trois"),
    ("en", "drop four"),
    ("zh", "五 cut 尾"),
    ("en", "six cut tail"),
    ("zh", "七"),
    ("fr", "huit drop"),
]


@dataclass(frozen=True)
class Toy(MapStage):
    """Drops texts with "drop", cuts texts behind "cut", relabels "fr" as asked; `hurt` breaks on some texts."""

    relabel: str = "fr"
    hurt: Callable[[str], None] | None = field(default=None, metadata=not_identity())
    use: ClassVar[str] = "toy"

    def open(self, storage: Storage) -> "Toying":
        return Toying(self)


class Toying:
    def __init__(self, stage: Toy) -> None:
        self.stage = stage
        self.begun = 0

    def begin(self, task: Task) -> None:
        self.begun += 1

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        texts = batch["text"].to_pylist()
        for text in texts:
            if self.stage.hurt:
                self.stage.hurt(text)
        keep = np.array(["drop" not in text for text in texts])
        dropped = dropped_rows(batch, np.flatnonzero(~keep), self.stage.name, "said_so")
        cut = [text.partition(" cut ")[0] for text in texts]
        langs = [self.stage.relabel if lang == "fr" else lang for lang in batch["lang"].to_pylist()]
        kept = [lang if keep[i] else batch["lang"][i].as_py() for i, lang in enumerate(langs)]
        return Mapped(replaced(batch, text=cut, lang=kept), keep, dropped, {"seen": len(texts)})


def replaced(batch: pa.RecordBatch, **columns: list[str]) -> pa.RecordBatch:
    """The batch with other values in some text columns."""
    arrays = [pa.array(columns[n], pa.string()) if n in columns else batch[n] for n in DOC.names]
    return pa.record_batch(arrays, schema=DOC)


class Pass:
    """Files in a folder read as one source, and a pass over them in a root of its own."""

    def __init__(self, folder: Path, texts: list[tuple[str, str]] = TEXTS) -> None:
        self.folder = folder
        lines = [json.dumps({"id": i, "lang": lang, "text": text}) for i, (lang, text) in enumerate(texts)]
        (folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))

    def run(self, *stages: Toy, root: str = "root", stored: bool = False, attempts: int = 1) -> "Done":
        """Read and the stages as one pass; `stored` writes every stage's documents, not only those of the last."""
        source = Source("s", "jsonl", (str(self.folder / "in.jsonl"),), trust_lang=True)
        entry = Read(name="read")
        (task,) = entry.tasks(Plan("0", (), ("1",), fetch((source,), ()).files))
        steps = [Step(s, str(i), stored or i == len(stages)) for i, s in enumerate([entry, *stages])]
        worker = JobWorker(Job(tuple(steps), str(self.folder / root)))
        for _ in range(attempts):
            rows = worker.run(task)
        return Done(rows, open_storage(str(self.folder / root)))

    def files(self, root: str = "root") -> list[str]:
        """Everything below the root, unfinished files too."""
        return sorted(str(p.relative_to(self.folder / root)) for p in (self.folder / root).rglob("*") if p.is_file())


class Done:
    """The committed rows of a pass."""

    def __init__(self, rows: list[Shard], storage: Storage) -> None:
        self.rows, self.storage = rows, storage

    def of(self, stage: str, output: str) -> Shard:
        (row,) = [r for r in self.rows if (r.stage, r.output) == (stage, output)]
        return row

    def read(self, stage: str, output: str) -> list[dict]:
        path = self.of(stage, output).path
        assert path is not None
        return [row for batch in read_batches(self.storage, path) for row in batch.to_pylist()]

    def counts(self, stage: str) -> dict[str, int]:
        return dict(total(row for row in self.rows if row.stage == stage))

    def digests(self) -> list[tuple[str, str, str, int]]:
        return [(row.stage, row.output, row.digest, row.rows) for row in self.rows]
