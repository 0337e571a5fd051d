"""Language identification: documents in, the same with language, script and score out; unwanted languages go.

A label that came with a trusted source stays; such a document still gets a script and a score.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.ftz import read_model
from filters.language import SCORE_DECIMALS, Identifier
from manifests.asset import LID176, Asset
from manifests.storage import Storage
from stages.base import Mapped, MapStage, Task
from stages.dropped import dropped_rows, nothing_dropped
from stages.schema import DOC

__all__ = ["SCORE_DECIMALS", "Labelling", "Language", "open_identifier"]

REASON = "language_not_wanted"
UNLABELLED = "?"


@dataclass(frozen=True)
class Language(MapStage):
    """keep: the languages that stay, all of them when it is empty. A document without a clear language is `und`."""

    keep: tuple[str, ...] = ()
    model: Asset = LID176
    use: ClassVar[str] = "language"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    def open(self, storage: Storage) -> "Labelling":
        return Labelling(self)


class Labelling:
    """Holds the model."""

    def __init__(self, stage: Language) -> None:
        self.stage, self.identifier = stage, open_identifier(stage.model)

    def begin(self, task: Task) -> None:
        """Nothing is kept between tasks."""

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Label each document, then drop those whose language is not wanted."""
        labels = self.identifier.identify(batch["text"])
        trusted = pc.not_equal(batch["lang"], UNLABELLED)
        found = {
            "lang": pc.if_else(trusted, batch["lang"], labels.lang),
            "script": labels.script,
            "lang_score": labels.score,
        }
        labelled = pa.record_batch([found.get(name, batch[name]) for name in DOC.names], schema=DOC)
        if not self.stage.keep:
            return Mapped(labelled, np.ones(batch.num_rows, bool), nothing_dropped())
        wanted = pc.is_in(labelled["lang"], pa.array(self.stage.keep, pa.string())).to_numpy(zero_copy_only=False)
        gone = np.flatnonzero(~wanted)
        scores = labels.score.take(pa.array(gone)).to_pylist()
        return Mapped(labelled, wanted, dropped_rows(labelled, gone, self.stage.name, REASON, value=scores))


def open_identifier(model: Asset | None = None) -> Identifier:
    """The identifier of a model file (default: the embedded one); AssetError when it is not there."""
    return Identifier(read_model((model or LID176).path().read_bytes()))
