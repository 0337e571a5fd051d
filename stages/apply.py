"""Application of verdicts: documents and what `exact` and `cluster` decided in, the documents that stay out."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from manifests.storage import Storage
from stages.base import Mapped, MapStage, Plan, Task
from stages.dropped import dropped_rows
from stages.schema import ID, VERDICTS
from stages.sides import home_of, load, numbers, routed_tasks


@dataclass(frozen=True)
class Apply(MapStage):
    """Removes each document that has a verdict; the dropped row names the kept document and the score."""

    use: ClassVar[str] = "apply"

    def tasks(self, plan: Plan) -> list[Task]:
        return routed_tasks(plan, "verdicts", only_named=False)

    def open(self, storage: Storage) -> "Applying":
        return Applying(self.name, storage)


class Applying:
    """Holds the verdicts about the documents of one shard."""

    def __init__(self, stage: str, storage: Storage) -> None:
        self.stage, self.storage = stage, storage
        self.verdicts: dict[bytes, tuple[str, bytes, float]] = {}

    def begin(self, task: Task) -> None:
        """Read the shard's verdicts; of two, the one of `cluster` names a document that stays."""
        table, _ = load(self.storage, task, "verdicts", VERDICTS)
        table = table.filter(pa.array(numbers(table, "key") == np.uint64(home_of(task.inputs[0]))))
        self.verdicts = {}
        for row in sorted(table.to_pylist(), key=lambda r: r["reason"]):
            self.verdicts[row["doc_id"]] = (row["reason"], row["kept_id"], row["score"])

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Keep what has no verdict."""
        found = [self.verdicts.get(doc) for doc in batch["doc_id"].to_pylist()]
        keep = np.array([verdict is None for verdict in found], bool)
        verdicts = [verdict for verdict in found if verdict is not None]
        dropped = dropped_rows(
            batch,
            np.flatnonzero(~keep),
            self.stage,
            reason=[reason for reason, _, _ in verdicts],
            kept_id=pa.array([kept for _, kept, _ in verdicts], ID),
            score=[score for _, _, score in verdicts],
        )
        return Mapped(batch, keep, dropped)
