"""Trimming: documents in, the same without the lines and spans that line rules cut out; the cuts go to a side file.

Which lines go is data, as the rules of a filter are; `filters.trimming` finds them, `stages.cuts` takes them out. The
surprise: the text that stays is changed in no other way, not even to fold full-width characters.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.spans import Spans
from filters.catalogue import NEEDS
from filters.rules import EVERY, LineRule, refuse_twins
from filters.text import TextView
from filters.trimming import find_cuts, line_named, load_line_rules
from manifests.asset import Asset
from manifests.storage import Storage
from stages.base import Mapped, MapStage, Task
from stages.cuts import SIDE, cut_documents, limit_rules
from stages.lists import HARMFUL, kind_of, open_lists
from stages.schema import CUT

__all__ = ["LineRule", "Trim", "Trimming", "load_line_rules"]


@dataclass(frozen=True)
class Trim(MapStage):
    """rules: names of tables of line rules, line rules in place, overrides; the first that a line fails is its reason.
    lists: word lists that signals look at, by name. min_chars: a document of which less stays goes; 20 is what MAP-Neo
    asks of a text that lost paragraphs. max_cut_ratio: the share of its words that a document may lose (1: any share);
    RefinedWeb has 0.05."""

    rules: tuple[LineRule, ...] = ()
    lists: tuple[tuple[str, Asset], ...] = ()
    min_chars: int = 20
    max_cut_ratio: float = 1.0
    use: ClassVar[str] = "trim"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "pyarrow", "stopwordsiso", "unicode")

    def __post_init__(self) -> None:
        if self.min_chars < 1 or not 0 <= self.max_cut_ratio <= 1:
            raise ValueError("min_chars must be above 0, and max_cut_ratio between 0 and 1")
        refuse_twins(self.rules)
        kinds = [kind_of(name) for name, _ in self.lists]
        for rule in self.rules:
            line_named(rule.line)
            if self.lang and rule.lang not in (EVERY, *self.lang):
                raise ValueError(f"the rule {rule.label} holds for {rule.lang!r}, which this stage never sees")
            for need in NEEDS.get(rule.line, ()):
                if need not in kinds:
                    raise ValueError(
                        f"the rule {rule.label} needs the list {need!r}: give the stage a line lists.{need} = "
                        '{ uri = "...", sha256 = "..." }, as `python -m pipeline assets` prints it'
                    )

    def open(self, storage: Storage) -> "Trimming":
        return Trimming(self, open_lists(self.lists, HARMFUL))

    def footer(self) -> dict[str, str]:
        """Under `rules` why documents went, which the column `failed` points into; under `lines` the line rules."""
        lines = [asdict(rule) | {"name": rule.label} for rule in self.rules]
        return {"rules": json.dumps(limit_rules(self.min_chars, self.max_cut_ratio)), "lines": json.dumps(lines)}

    def sides(self) -> dict[str, pa.Schema]:
        """The side file of what was cut."""
        return {SIDE: CUT}


class Trimming:
    """The rules of one trim stage, ready to run."""

    def __init__(self, stage: Trim, lists: Mapping[str, Any]) -> None:
        self.stage, self.rules, self.lists = stage, stage.rules, lists
        self.source = ""

    def begin(self, task: Task) -> None:
        """Books are kept by source."""
        self.source = task.source

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Find what goes, language by language, and cut it out."""
        languages = batch["lang"]
        arrays = [np.empty((0, 4), np.int64)]
        for language in sorted(pc.unique(languages).to_pylist()):
            due = [number for number, rule in enumerate(self.rules) if rule.lang in (EVERY, language)]
            rows = np.flatnonzero(np.asarray(pc.equal(languages, language)))
            if not due:
                continue
            view = TextView(batch["text"].take(pa.array(rows)), lists=self.lists)
            for piece in view.pieces():
                found = find_cuts(piece, [self.rules[number] for number in due])
                reasons = np.array(due, np.int64)[found.reasons]
                arrays.append(np.column_stack((rows[found.documents], found.starts, found.ends, reasons)))
                rows = rows[len(piece) :]
        every = np.concatenate(arrays)
        every = every[np.lexsort((every[:, 1], every[:, 0]))]
        spans = Spans(every[:, 0], every[:, 1], every[:, 2], every[:, 3])
        labels = [rule.label for rule in self.rules]
        return cut_documents(
            batch, spans, labels, self.stage.name, self.source, self.stage.min_chars, self.stage.max_cut_ratio
        )
