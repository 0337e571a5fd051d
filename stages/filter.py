"""Heuristic filter: documents in, those that pass every rule of their language out, the others with what they failed.

Measuring is in `filters.signals`, deciding in the recipe's rules; this stage carries the outcome into rows, and keeps
what was measured of every document, kept or not, in a side file: what another threshold would do needs no text.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.catalogue import COLUMNS, NEEDS
from filters.decide import Decision, decide
from filters.rules import EVERY, Override, Rule, load_rules, overridden
from filters.signals import signal_named
from manifests.asset import Asset
from manifests.storage import Storage
from stages.base import Mapped, MapStage, Task
from stages.dropped import dropped_rows
from stages.lists import HARMFUL, check_categories, kind_of, open_lists
from stages.schema import signals_schema

__all__ = ["Filter", "Filtering", "Override", "Rule", "checked", "load_rules", "overridden"]

VALUES = "signals"


def checked(rule: Rule) -> Rule:
    """The rule, if its signal exists; otherwise ValueError."""
    signal_named(rule.signal)
    return rule


@dataclass(frozen=True)
class Filter(MapStage):
    """rules: names of rule tables, rules in place and overrides, in the order in which they are reported.
    lists: word and URL lists that signals look at, by name. categories: those of URL lists that count. values: whether
    what was measured is kept. early_exit: whether a document that failed a tier is spared the later ones."""

    rules: tuple[Rule, ...] = ()
    lists: tuple[tuple[str, Asset], ...] = ()
    categories: tuple[str, ...] = HARMFUL
    values: bool = True
    early_exit: bool = False
    use: ClassVar[str] = "filter"
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("numba", "numpy", "publicsuffixlist", "rjieba", "stopwordsiso", "unicode")

    def __post_init__(self) -> None:
        kinds = [kind_of(name) for name, _ in self.lists]
        check_categories(self.categories)
        # Rules that contradict each other are a mistake in the recipe, not a fault of the first document.
        for rule in self.rules:
            if self.lang and rule.lang not in (EVERY, *self.lang):
                raise ValueError(f"the rule {rule.label} holds for {rule.lang!r}, which this stage never sees")
            for need in NEEDS.get(rule.signal, ()):
                if need not in COLUMNS and need not in kinds:
                    raise ValueError(
                        f"the rule {rule.label} needs the list {need!r}: give the stage a line lists.{need} = "
                        '{ uri = "...", sha256 = "..." }, which `python -m pipeline assets list` prints for known '
                        f"lists and `assets add {need} FILE` for yours, or take the rule out with "
                        f'{{ override = "{rule.label}", drop = true }}'
                    )
        empty = pa.array([], pa.string())
        decide(empty, [], self.rules, dict.fromkeys(COLUMNS, empty), dict.fromkeys(kinds))

    def open(self, storage: Storage) -> "Filtering":
        return Filtering(self, open_lists(self.lists, self.categories))

    def footer(self) -> dict[str, str]:
        """The rule table that the column `failed` points into."""
        return {"rules": json.dumps([asdict(rule) | {"name": rule.label} for rule in self.rules])}

    def sides(self) -> dict[str, pa.Schema]:
        """The side file of what was measured."""
        return {VALUES: signals_schema(signals_of(self.rules))} if self.values and self.rules else {}


class Filtering:
    """The rules of one filter stage, ready to run."""

    def __init__(self, stage: Filter, lists: Mapping[str, Any]) -> None:
        self.stage, self.rules, self.lists = stage, stage.rules, lists

    def begin(self, task: Task) -> None:
        """Nothing is kept between tasks."""

    def transform(self, batch: pa.RecordBatch) -> Mapped:
        """Measure and decide."""
        beside = {name: batch[name] for name in COLUMNS}
        languages = batch["lang"].to_pylist()
        decision = decide(batch["text"], languages, self.rules, beside, self.lists, self.stage.early_exit)
        gone = np.flatnonzero(~decision.kept)
        first = [self.rules[i] for i in decision.first[gone]]
        dropped = dropped_rows(
            batch,
            gone,
            self.stage.name,
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
        sides = {name: measured(batch, decision, schema) for name, schema in self.stage.sides().items()}
        return Mapped(batch, decision.kept, dropped, unmeasured, sides)


def signals_of(rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """The signals that rules look at, each once, in the order of the rules."""
    return tuple(dict.fromkeys(rule.signal for rule in rules))


def measured(batch: pa.RecordBatch, decision: Decision, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of the side file for a batch; NaN becomes null, which readers count as not measured."""
    first = {
        "doc_id": batch["doc_id"],
        "lang": batch["lang"],
        "kept": pa.array(decision.kept),
        "bytes": pc.binary_length(batch["text"]).cast(pa.int64()),
    }
    columns = [
        first[name] if name in first else pa.array(decision.values[name], pa.float32(), from_pandas=True)
        for name in schema.names
    ]
    return pa.record_batch(columns, schema=schema)
