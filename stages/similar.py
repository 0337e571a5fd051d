"""Similar lines: documents in, the same without the lines and sentences that repeat an earlier one of the same document
but for a few characters out (MAP-Neo's last step for Chinese, arXiv 2405.19327, with cut-offs that lose nothing).

The surprise is what always stays: lines that differ in a number, short lines, and with `guard` lines that begin with a
mark or a number or have no ideograph. Headings, list items, rows of tables, turns of a dialogue and code repeat each
other on purpose."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from dedup.editdistance import MAX_RATIO, similar_lines
from dedup.hashing import string_buffers
from dedup.sentences import tidy
from manifests.storage import Storage
from stages.base import Mapped, MapStage, Task
from stages.cuts import SIDE, cut_documents, limit_rules
from stages.schema import CUT

REASON = "similar_line"


@dataclass(frozen=True)
class Similar(MapStage):
    """ratio: edit distance / characters of the longer line up to which the later one goes. exact_chars: lines this
    short must be equal. min_line: lines of fewer characters stay. guard: see above. min_chars, max_cut_ratio: as in
    `trim`."""

    ratio: float = 0.1
    exact_chars: int = 15
    min_line: int = 10
    guard: bool = True
    min_chars: int = 20
    max_cut_ratio: float = 1.0
    use: ClassVar[str] = "similar"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= MAX_RATIO or self.exact_chars < 0 or self.min_line < 1:
            raise ValueError(f"ratio must lie between 0 and {MAX_RATIO}, exact_chars not below 0, min_line above 0")
        if self.min_chars < 1 or not 0 <= self.max_cut_ratio <= 1:
            raise ValueError("min_chars must be above 0, and max_cut_ratio between 0 and 1")

    def open(self, storage: Storage) -> "Comparing":
        return Comparing(self)

    def footer(self) -> dict[str, str]:
        """Why documents went, which the column `failed` points into."""
        return {"rules": json.dumps(limit_rules(self.min_chars, self.max_cut_ratio))}

    def sides(self) -> dict[str, pa.Schema]:
        """The side file of what was cut."""
        return {SIDE: CUT}


class Comparing:
    """Compares the lines of documents."""

    def __init__(self, stage: Similar) -> None:
        self.stage, self.source = stage, ""

    def begin(self, task: Task) -> None:
        """Books are kept by source."""
        self.source = task.source

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Find the lines that go, and cut them out."""
        stage = self.stage
        data, offsets = string_buffers(batch["text"])
        spans = similar_lines(data, offsets, stage.ratio, stage.min_line, stage.exact_chars, stage.guard)
        limits = (stage.min_chars, stage.max_cut_ratio)
        return cut_documents(batch, tidy(batch["text"], spans), [REASON], stage.name, self.source, *limits)
