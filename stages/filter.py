"""Heuristic filter: documents in, those that pass every rule of their language out, the others with what they failed.

Measuring is in `filters.signals`, deciding in the recipe's rules; this stage only carries the outcome into rows.
"""

import json
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from filters.rules import EVERY, Rule, decide, load_rules
from filters.signals import signal_named
from manifests.storage import Storage
from stages.base import Mapped, MapStage, Task
from stages.dropped import dropped_rows


def rule_table(text: str) -> tuple[Rule, ...]:
    """Rules of a rule table's TOML text; ValueError for a key or signal that does not exist."""
    return load_rules(text)


def checked(rule: Rule) -> Rule:
    """The rule, if its signal exists; otherwise ValueError."""
    signal_named(rule.signal)
    return rule


@dataclass(frozen=True)
class Filter(MapStage):
    """`rules`: names of rule tables or rules in place, in the order in which they are reported."""

    rules: tuple[Rule, ...] = ()
    use: ClassVar[str] = "filter"
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "unicode")

    def __post_init__(self) -> None:
        # Rules that contradict each other are a mistake in the recipe, not a fault of the first document.
        decide(pa.array([], pa.string()), [], self.rules)
        for rule in self.rules:
            if self.lang and rule.lang not in (EVERY, *self.lang):
                raise ValueError(f"the rule {rule.label} holds for {rule.lang!r}, which this stage never sees")

    def open(self, storage: Storage) -> "Filtering":
        return Filtering(self.name, self.rules)

    def footer(self) -> dict[str, str]:
        """The rule table that the column `failed` points into."""
        return {"rules": json.dumps([asdict(rule) | {"name": rule.label} for rule in self.rules])}


class Filtering:
    """The rules of one filter stage, ready to run."""

    def __init__(self, stage: str, rules: tuple[Rule, ...]) -> None:
        self.stage, self.rules = stage, rules

    def begin(self, task: Task) -> None:
        """Nothing is kept between tasks."""

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Measure and decide."""
        decision = decide(batch["text"], batch["lang"].to_pylist(), self.rules)
        gone = np.flatnonzero(~decision.kept)
        first = [self.rules[i] for i in decision.first[gone]]
        dropped = dropped_rows(
            batch,
            gone,
            self.stage,
            reason=[rule.label for rule in first],
            value=[float(decision.values[rule.signal][row]) for rule, row in zip(first, gone, strict=True)],
            lo=[rule.lo for rule in first],
            hi=[rule.hi for rule in first],
            failed=[np.flatnonzero(decision.failed[row]).tolist() for row in gone],
        )
        unmeasured = {
            f"unmeasured/{rule.label}/{rule.lang}": int(count)
            for rule, count in zip(self.rules, decision.unmeasured, strict=True)
            if count
        }
        return Mapped(batch, decision.kept, dropped, unmeasured)
