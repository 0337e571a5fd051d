"""Deciding: a text column, what stands beside it, its languages and the rules come in, the measured values and what
failed come out. The surprise: unless `early_exit` is set every rule is put to every document of its language, so that
the effect of each rule alone can be told; with it, what failed a tier is not measured by the later, costlier ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.catalogue import NEEDS
from filters.rules import EVERY, Rule, refuse_twins
from filters.signals import signal_named
from filters.text import TextView


def decide(
    column: pa.Array | pa.ChunkedArray,
    lang: Sequence[str] | NDArray[Any],
    rules: Sequence[Rule],
    beside: Mapping[str, pa.Array] | None = None,
    lists: Mapping[str, Any] | None = None,
    early_exit: bool = False,
) -> "Decision":
    """Measures each document of a string column by the rules of its language, tier by tier, and says which it fails.

    beside, lists: see TextView; ValueError where a signal needs one that is not there. Documents are measured in pieces
    of one language of about 4 MiB; no value depends on which documents share one."""
    whole = TextView(column, beside, lists)
    languages = np.asarray(lang, dtype=np.str_)
    if languages.shape != (len(whole),):
        raise ValueError(f"{len(whole)} documents, but {languages.size} languages")
    refuse_twins(rules)
    names = list(dict.fromkeys(rule.signal for rule in rules))
    for name in names:
        signal_named(name)
        for need in NEEDS.get(name, ()):
            if need not in whole.beside and need not in whole.lists:
                raise ValueError(f"the signal {name} needs {need!r}, which was not given")
    n = len(whole)
    values = {name: np.full(n, np.nan, np.float32) for name in names}
    failed = np.zeros((n, len(rules)), np.bool_)
    unmeasured = np.zeros(len(rules), np.int64)
    for language in np.unique(languages):
        due = [r for r, rule in enumerate(rules) if rule.lang in (EVERY, language)]
        rows = np.flatnonzero(languages == language)
        if not due:
            continue
        part = whole if len(rows) == n else whole.take(rows)
        for view in part.pieces():
            _judge(view, rows[: len(view)], [(r, rules[r]) for r in due], early_exit, values, failed, unmeasured)
            rows = rows[len(view) :]
    first = np.where(failed.any(axis=1), failed.argmax(axis=1), -1) if rules else np.full(n, -1)
    return Decision(values, failed, first.astype(np.int64), unmeasured)


def _judge(
    view: TextView,
    rows: NDArray[np.int64],
    due: list[tuple[int, Rule]],
    early_exit: bool,
    values: dict[str, NDArray[np.float32]],
    failed: NDArray[np.bool_],
    unmeasured: NDArray[np.int64],
) -> None:
    """Fills rows of values and failed, and adds to unmeasured, for a view whose documents all have the due rules."""
    known: set[str] = set()
    for tier in sorted({rule.tier for _, rule in due}):
        alive: NDArray[np.bool_] = np.logical_not(failed[rows].any(axis=1))
        if early_exit and not alive.any():
            return
        if early_exit and not alive.all():
            view, rows = view.take(alive), rows[alive]
        for r, rule in due:
            if rule.tier != tier:
                continue
            if rule.signal not in known:
                known.add(rule.signal)
                values[rule.signal][rows] = signal_named(rule.signal)(view)
            measured = values[rule.signal][rows]
            failed[rows, r] = rule.fails(measured)
            unmeasured[r] += np.isnan(measured).sum()


@dataclass(frozen=True)
class Decision:
    """What `decide` found; n documents in the order of the column, rules in the order given."""

    # By signal, [n]. NaN: no rule of the document's language asks, not measurable, or lost in an earlier tier.
    values: dict[str, NDArray[np.float32]]
    failed: NDArray[np.bool_]  # [n, n_rules]; with early_exit of one tier only, as later ones do not see it
    first: NDArray[np.int64]  # [n], index of the first failed rule, or -1
    unmeasured: NDArray[np.int64]  # [n_rules], documents that the rule was put to and whose value was NaN

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Documents that failed no rule, bool[n]."""
        return self.first < 0
