"""Application of verdicts: documents and what other stages decided about them in, what stays out: documents without the
copies (`exact`, `cluster`), or with `spans = true` texts without the passages that occurred before (`paragraphs`,
`substring`). What goes with a line is its line break, and of a passage only whole sentences go.

The surprise: one stage never does both. A copy of a passage may stand in a document that goes, and then none was left;
so passages are sought among the documents that an `apply` left.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.storage import Storage
from stages.base import Mapped, Mapper, MapStage, Plan, Task, UserError
from stages.cuts import SIDE, limit_rules
from stages.dropped import dropped_rows
from stages.hosts import HostCounts
from stages.schema import CUT, ID, VERDICTS
from stages.sides import home_of, load, numbers, routed_tasks


@dataclass(frozen=True)
class Apply(MapStage):
    """Removes each document that has a verdict; the dropped row names the kept document and the score. spans: passages
    are cut instead. sentences: of a passage whole sentences go; otherwise all its characters. min_chars: as in `trim`,
    for documents of which something was cut; what such a document still held is shorter than that, so no longer passage
    loses its last copy. Therefore max_cut_ratio, as in `trim`, has no other value for passages than 1."""

    spans: bool = False
    sentences: bool = True
    min_chars: int = 20
    max_cut_ratio: float = 1.0
    use: ClassVar[str] = "apply"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    def __post_init__(self) -> None:
        if self.min_chars < 1 or not 0 <= self.max_cut_ratio <= 1:
            raise ValueError("min_chars must be above 0, and max_cut_ratio between 0 and 1")
        if self.spans and self.max_cut_ratio < 1:
            raise ValueError("max_cut_ratio must be 1: what goes may hold the copy for which others were cut")

    def tasks(self, plan: Plan) -> list[Task]:
        given = {name: bool(plan.rows(name)) for name in ("verdicts", "spans")}
        if given["spans"] and given["verdicts"]:
            raise UserError(
                f"stage {self.name}: passages were sought in documents that go here, so all copies of one might go; "
                "let one `apply` remove documents, and seek passages in what it leaves"
            )
        if given["spans"] != self.spans and any(given.values()):
            raise UserError(
                f"stage {self.name}: spans = {str(given['spans']).lower()} is needed for what the stages in `after` say"
            )
        return routed_tasks(plan, "spans" if self.spans else "verdicts", only_named=False)

    def open(self, storage: Storage) -> Mapper:
        if not self.spans:
            return Applying(self.name, storage)
        from stages.passages import Cutting  # its tables take 0.3 s

        return Cutting(self.name, storage, self.sentences, (self.min_chars, self.max_cut_ratio))

    def footer(self) -> dict[str, str]:
        """Why documents went of which something was cut."""
        return {"rules": json.dumps(limit_rules(self.min_chars, self.max_cut_ratio))} if self.spans else {}

    def sides(self) -> dict[str, pa.Schema]:
        """The side file of what was cut."""
        return {SIDE: CUT} if self.spans else {}


class Applying:
    """Holds the verdicts about the documents of one shard."""

    def __init__(self, stage: str, storage: Storage) -> None:
        self.stage, self.storage = stage, storage
        self.verdicts: dict[bytes, tuple[str, bytes, float | None]] = {}
        self.gone = pa.array([], ID)  # the documents with a verdict

    def begin(self, task: Task) -> None:
        """Read the shard's verdicts; of two, the one of `cluster` names a document that stays."""
        self.hosts = HostCounts()
        table, _ = load(self.storage, task, "verdicts", VERDICTS)
        table = table.filter(pa.array(numbers(table, "key") == np.uint64(home_of(task.inputs[0]))))
        self.verdicts = {}
        for row in sorted(table.to_pylist(), key=lambda r: r["reason"]):
            self.verdicts[row["doc_id"]] = (row["reason"], row["kept_id"], row["score"])
        self.gone = pa.array(self.verdicts, ID)

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Keep what has no verdict."""
        gone = pc.is_in(batch["doc_id"], self.gone)
        keep = ~gone.to_numpy(zero_copy_only=False)
        verdicts = [self.verdicts[doc] for doc in batch["doc_id"].filter(gone).to_pylist()]
        dropped = dropped_rows(
            batch,
            np.flatnonzero(~keep),
            self.stage,
            reason=[reason for reason, _, _ in verdicts],
            kept_id=pa.array([kept for _, kept, _ in verdicts], ID),
            score=[score for _, _, score in verdicts],
        )
        return Mapped(batch, keep, dropped, self.hosts.count(batch["host"].to_pylist(), keep))
