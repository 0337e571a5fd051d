"""Rules are bounds on signals, rows of data with their source: a text column, its languages and the rules come in, the
measured values and what failed come out. The surprise: rules run in tiers of rising cost, and a document that failed a
tier is not measured by the later ones, so a missing value may only say that a document was lost before."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.signals import signal_named
from filters.text import TextView

EVERY = "*"

_NUMBER = (int, float)
_KINDS: dict[str, type | tuple[type, ...]] = {
    "signal": str,
    "lo": _NUMBER,
    "hi": _NUMBER,
    "lang": str,
    "tier": int,
    "source": str,
    "name": str,
}


def load_rules(toml_text: str) -> tuple["Rule", ...]:
    """The [[rule]] rows of a TOML text, in its order; a key or signal that does not exist is a ValueError."""
    table = tomllib.loads(toml_text)
    _refuse_unknown(table, ("rule",), "a rule table")
    rows = table.get("rule", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("a rule table consists of [[rule]] rows")
    rules = tuple(_rule(row, number) for number, row in enumerate(rows, 1))
    _refuse_twins(rules)
    return rules


def decide(
    column: pa.Array | pa.ChunkedArray, lang: Sequence[str] | NDArray[Any], rules: Sequence["Rule"]
) -> "Decision":
    """Measures each document of a string column by the rules of its language, tier by tier, and says which it fails.

    Documents are measured in pieces of one language of about 4 MiB; no value depends on which documents share one."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    languages = np.asarray(lang, dtype=np.str_)
    if languages.shape != (len(column),):
        raise ValueError(f"{len(column)} documents, but {languages.size} languages")
    _refuse_twins(rules)
    names = list(dict.fromkeys(rule.signal for rule in rules))
    for name in names:
        signal_named(name)
    n = len(column)
    values = {name: np.full(n, np.nan, np.float32) for name in names}
    failed = np.zeros((n, len(rules)), np.bool_)
    unmeasured = np.zeros(len(rules), np.int64)
    for language in np.unique(languages):
        due = [r for r, rule in enumerate(rules) if rule.lang in (EVERY, language)]
        rows = np.flatnonzero(languages == language)
        if not due:
            continue
        part = column if len(rows) == n else column.take(pa.array(rows))
        for view in TextView.pieces(part):
            _judge(view, rows[: len(view)], [(r, rules[r]) for r in due], values, failed, unmeasured)
            rows = rows[len(view) :]
    first = np.where(failed.any(axis=1), failed.argmax(axis=1), -1) if rules else np.full(n, -1)
    return Decision(values, failed, first.astype(np.int64), unmeasured)


def _judge(
    view: TextView,
    rows: NDArray[np.int64],
    due: list[tuple[int, "Rule"]],
    values: dict[str, NDArray[np.float32]],
    failed: NDArray[np.bool_],
    unmeasured: NDArray[np.int64],
) -> None:
    """Fills rows of values and failed, and adds to unmeasured, for a view whose documents all have the due rules."""
    known: set[str] = set()
    for tier in sorted({rule.tier for _, rule in due}):
        alive: NDArray[np.bool_] = np.logical_not(failed[rows].any(axis=1))
        if not alive.any():
            return
        if not alive.all():
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


def _rule(row: dict[str, Any], number: int) -> "Rule":
    where = f"rule {number}" + (f" ({row['signal']})" if isinstance(row.get("signal"), str) else "")
    _refuse_unknown(row, tuple(_KINDS), where)
    if "signal" not in row:
        raise ValueError(f"{where} names no signal")
    for key, value in row.items():
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            raise ValueError(f"{where}: {key} = {value!r} is of the wrong type")
    try:
        signal_named(row["signal"])
        values: dict[str, Any] = {key: float(row[key]) if key in ("lo", "hi") else row[key] for key in row}
        return Rule(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _refuse_unknown(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise ValueError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _refuse_twins(rules: Sequence["Rule"]) -> None:
    """Two rules with one label for one language would give two meanings to a reason."""
    seen: dict[str, set[str]] = {}
    for rule in rules:
        others = seen.setdefault(rule.label, set())
        if rule.lang in others or others and EVERY in (*others, rule.lang):
            raise ValueError(f"two rules are named {rule.label!r} for the same language; give one of them a name")
        others.add(rule.lang)


@dataclass(frozen=True)
class Rule:
    """Keeps a document when lo <= value <= hi, in float32; both bounds belong to the kept range.

    Where a paper keeps "< 0.2", hi = 0.2 also keeps a value of exactly 0.2; where it keeps "> 1" of a count, lo = 2."""

    signal: str
    lo: float | None = None
    hi: float | None = None
    lang: str = EVERY
    tier: int = 0
    source: str = field(default="", metadata={"identity": False})  # a citation decides nothing
    name: str = ""

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.lo, self.hi) if bound is not None]
        if not bounds or any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds):
            found = f"{self.label} has lo = {self.lo}, hi = {self.hi}"
            raise ValueError(f"a rule needs lo, hi or both, in this order; {found}")

    @property
    def label(self) -> str:
        """The reason that a document gets which fails this rule: the rule's name, or else its signal's."""
        return self.name or self.signal

    def fails(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which values lie outside the bounds; NaN, which was not measured, lies nowhere."""
        failed = np.zeros(len(values), np.bool_)
        if self.lo is not None:
            failed |= values < np.float32(self.lo)
        if self.hi is not None:
            failed |= values > np.float32(self.hi)
        return failed


@dataclass(frozen=True)
class Decision:
    """What `decide` found; n documents in the order of the column, rules in the order given."""

    # By signal, [n]. NaN: no rule of the document's language asks, it was lost in an earlier tier, or not measurable.
    values: dict[str, NDArray[np.float32]]
    failed: NDArray[np.bool_]  # [n, n_rules]; a document fails rules of one tier only, as later ones do not see it
    first: NDArray[np.int64]  # [n], index of the first failed rule, or -1
    unmeasured: NDArray[np.int64]  # [n_rules], documents that the rule was put to and whose value was NaN

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Documents that failed no rule, bool[n]."""
        return self.first < 0
