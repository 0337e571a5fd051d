"""The tokenizer of a corpus: documents in, one SentencePiece model out, or a copy of a model that the recipe names
(SentencePiece's, or a `tokenizer.json` of Hugging Face).

A model is frozen: the stage's id does not follow the stages above it, so documents that come later are encoded with the
tokenizer that is there. A higher `refresh` trains another one.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from manifests.asset import Asset
from manifests.fingerprint import fingerprint
from manifests.shards import MIB, read_batches
from manifests.storage import Storage
from stages.base import Plan, Stage, Task, UserError
from stages.output import Output
from stages.sides import read_rows
from tokenizer.huggingface import PACKAGE
from tokenizer.opened import Encoder, open_tokenizer, suffix
from tokenizer.sample import Sample, Shares
from tokenizer.train import STEP, train


@dataclass(frozen=True)
class Vocab(Stage):
    """size: most pieces of the model, specials and bytes among them. sample_bytes: text that a language gives to the
    training, which takes about 16 times as much memory. weights: languages (`zh`), sources (`books/*`) and streams
    (`books/zh`), and the part of sample_bytes that each gives, only those; all languages give alike when empty.
    most_bytes: text of the whole sample. tokenizer: a model to take instead of training one.
    """

    size: int = 64_000
    sample_bytes: int = 256 * MIB
    weights: tuple[tuple[str, float], ...] = ()
    most_bytes: int = 1024 * MIB
    tokenizer: Asset | None = None
    refresh: int = 0
    use: ClassVar[str] = "vocab"
    libraries: ClassVar[tuple[str, ...]] = ("sentencepiece",)
    chained: ClassVar[bool] = False
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.size < 2 * STEP:
            raise ValueError(f"size = {self.size} is too small; give at least {2 * STEP}")
        if min(self.sample_bytes, self.most_bytes) <= 0 or any(weight < 0 for _, weight in self.weights):
            raise ValueError("sample_bytes, most_bytes and weights must be positive")

    @cached_property
    def versions(self) -> dict[str, str]:
        """The library that reads the model; it decides the ids."""
        if self.tokenizer is None or not self.tokenizer.name.endswith(".json"):
            return {name: version(name) for name in self.libraries}
        try:
            return {PACKAGE: version(PACKAGE)}
        except PackageNotFoundError as error:
            raise UserError(
                f"stage {self.name}: {self.tokenizer.name} needs the package {PACKAGE}; "
                f"install it with `pip install -c constraints.txt -e '.[hf]'`"
            ) from error

    def tasks(self, plan: Plan) -> list[Task]:
        docs = [row for row in plan.rows("docs") if row.rows]
        if not docs:
            return []
        merged = () if self.tokenizer else plan.merged("docs", plan.snapshots)
        return [Task(fingerprint(plan.stage_id, "tokenizer"), merged=merged, size=sum(row.bytes for row in docs))]

    def open(self, storage: Storage) -> "Training":
        return Training(self, storage)


class Training:
    """Trains or copies the tokenizer."""

    def __init__(self, stage: Vocab, storage: Storage) -> None:
        self.stage, self.storage = stage, storage
        self.given = stage.tokenizer.path().read_bytes() if stage.tokenizer else b""

    def run(self, task: Task, out: Output) -> None:
        """See Worker.run."""
        data = self.given or self._train(task, out)
        model = checked(data, self.stage.tokenizer.uri if self.stage.tokenizer else self.stage.name)
        path = f"{out.place.folder}/{out.place.task_key}.{model.digest}{suffix(data)}"
        self.storage.put(path, data)
        sha256 = hashlib.sha256(data).hexdigest()
        out.row(out.shard("model", "tokenizer", model.digest, model.size, path, sha256, len(data)))

    def _train(self, task: Task, out: Output) -> bytes:
        stage = self.stage
        sample = Sample(Shares(stage.sample_bytes, stage.weights, stage.most_bytes))
        for merged in task.merged:
            for row in read_rows(self.storage, merged):
                if row.rows and row.path:
                    for batch in read_batches(self.storage, row.path, ["doc_id", "source", "lang", "text"]):
                        sample.add(batch)
        trained = train(sample.texts(), stage.size)
        out.counters.update(sample.counters())
        out.counters.update(trained.counters)
        return trained.model


def checked(data: bytes, name: str) -> Encoder:
    """A tokenizer that token shards can be written with; UserError if it cannot."""
    try:
        return open_tokenizer(data)
    except ValueError as error:
        raise UserError(f"tokenizer {name}: {error}") from error
