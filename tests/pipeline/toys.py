"""Stages for tests of the engine: they fail, die or dawdle on purpose, as marker files tell them."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from manifests.fingerprint import not_identity
from manifests.storage import Storage
from stages.base import Mapped, MapStage, Task, UserError
from stages.dropped import dropped_rows

TROUBLES = ("raise", "exit", "sleep", "mistake")


@dataclass(frozen=True)
class Trouble(MapStage):
    """Drops texts with an "x". A text named after a trouble goes wrong as often as its file in `folder` says."""

    folder: str = field(default="", metadata=not_identity())
    use: ClassVar[str] = "trouble"

    def open(self, storage: Storage) -> "Troubled":
        return Troubled(self)


class Troubled:
    def __init__(self, stage: Trouble) -> None:
        self.stage = stage

    def begin(self, task: Task) -> None:
        self.key = task.inputs[0].task_key

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        for text in batch["text"].to_pylist():
            for trouble in TROUBLES:
                if trouble in text and self._take(text):
                    self._make(trouble)
        gone = np.flatnonzero(["x" in text for text in batch["text"].to_pylist()])
        keep = np.ones(batch.num_rows, bool)
        keep[gone] = False
        return Mapped(batch, keep, dropped_rows(batch, gone, self.stage.name, "has_x"))

    def _take(self, text: str) -> bool:
        """Whether this try goes wrong: the file of the text holds how many still do."""
        file = Path(self.stage.folder) / text
        left = int(file.read_text()) if file.exists() else 0
        file.write_text(str(left - 1))
        return left > 0

    def _make(self, trouble: str) -> None:
        if trouble == "raise":
            raise OSError("the disk coughed")
        if trouble == "exit":
            os._exit(1)
        if trouble == "mistake":
            raise UserError("the recipe is wrong")
        time.sleep(30)
