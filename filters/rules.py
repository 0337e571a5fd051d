"""Rules are bounds on signals, of documents or of lines, rows of data with their source: the TOML text of a rule table
comes in, checked rules come out. The surprise: every key and signal is checked, so that a misspelt threshold can never
be ignored."""

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from filters.signals import signal_named

EVERY = "*"
LARGEST = float(np.finfo(np.float32).max)

_NUMBER = (int, float)
_KINDS: dict[str, type | tuple[type, ...]] = {
    "signal": str,
    "line": str,
    "lo": _NUMBER,
    "hi": _NUMBER,
    "lang": str,
    "tier": int,
    "source": str,
    "name": str,
}
AnyRule = TypeVar("AnyRule", "Rule", "LineRule")


def load_rules(toml_text: str) -> tuple["Rule", ...]:
    """The [[rule]] rows of a TOML text, in its order; a key or signal that does not exist is a ValueError."""
    return load_rows(toml_text, Rule, signal_named)


def load_rows(toml_text: str, kind: type[AnyRule], named: Callable[[str], Any]) -> tuple[AnyRule, ...]:
    """The [[rule]] rows of a TOML text as rules of a kind; `named` raises ValueError for a signal unknown to it."""
    table = tomllib.loads(toml_text)
    _refuse_unknown(table, ("rule",), "a rule table")
    rows = table.get("rule", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("a rule table consists of [[rule]] rows")
    rules = tuple(_rule(row, number, kind, named) for number, row in enumerate(rows, 1))
    refuse_twins(rules)
    return rules


def overridden(rules: Sequence[AnyRule], change: "Override") -> tuple[AnyRule, ...]:
    """The rules with the bounds of one of them changed, or without it; ValueError where none bears the label."""
    meant = [r for r in rules if r.label == change.override and change.lang in (EVERY, r.lang)]
    if not meant:
        near = get_close_matches(change.override, [rule.label for rule in rules], n=1)
        raise ValueError(f"no rule {change.override!r} to override" + (f"; did you mean {near[0]!r}?" if near else ""))
    if change.drop:
        return tuple(rule for rule in rules if rule not in meant)
    lo, hi, source = change.lo, change.hi, change.source
    return tuple(replace(rule, lo=lo, hi=hi, source=source) if rule in meant else rule for rule in rules)


def _rule(row: dict[str, Any], number: int, kind: type[AnyRule], named: Callable[[str], Any]) -> AnyRule:
    keys = tuple(key.name for key in fields(kind))
    measure = keys[0]  # signal or line
    where = f"rule {number}" + (f" ({row[measure]})" if isinstance(row.get(measure), str) else "")
    _refuse_unknown(row, keys, where)
    if measure not in row:
        raise ValueError(f"{where} names no {measure}")
    for key, value in row.items():
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            raise ValueError(f"{where}: {key} = {value!r} is of the wrong type")
    try:
        named(row[measure])
        values: dict[str, Any] = {key: float(row[key]) if key in ("lo", "hi") else row[key] for key in row}
        return kind(**values)
    except OverflowError:
        raise ValueError(f"{where}: lo or hi is too large a number") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _refuse_unknown(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise ValueError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def refuse_twins(rules: Sequence["Rule"] | Sequence["LineRule"]) -> None:
    """Two rules with one label for one language would give two meanings to a reason."""
    seen: dict[str, set[str]] = {}
    for rule in rules:
        others = seen.setdefault(rule.label, set())
        if rule.lang in others or others and EVERY in (*others, rule.lang):
            raise ValueError(f"two rules are named {rule.label!r} for the same language; give one of them a name")
        others.add(rule.lang)


def _check_bounds(label: str, lo: float | None, hi: float | None) -> None:
    bounds = [bound for bound in (lo, hi) if bound is not None]
    if not bounds or any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds):
        raise ValueError(f"a rule needs lo, hi or both, in this order; {label} has lo = {lo}, hi = {hi}")
    if any(LARGEST < abs(bound) < math.inf for bound in bounds):
        raise ValueError(f"{label} has a bound beyond the range of float32, ±{LARGEST:.5g}: lo = {lo}, hi = {hi}")


def _outside(values: NDArray[np.float32], lo: float | None, hi: float | None) -> NDArray[np.bool_]:
    failed = np.zeros(len(values), np.bool_)
    if lo is not None:
        failed |= values < np.float32(lo)
    if hi is not None:
        failed |= values > np.float32(hi)
    return failed


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
        _check_bounds(self.label, self.lo, self.hi)

    @property
    def label(self) -> str:
        """The reason that a document gets which fails this rule: the rule's name, or else its signal's."""
        return self.name or self.signal

    def fails(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which values lie outside the bounds; NaN, which was not measured, lies nowhere."""
        return _outside(values, self.lo, self.hi)


@dataclass(frozen=True)
class LineRule:
    """Keeps a line, or a span inside one, when lo <= value <= hi; `line` names what is measured (filters.trimming)."""

    line: str
    lo: float | None = None
    hi: float | None = None
    lang: str = EVERY
    source: str = field(default="", metadata={"identity": False})
    name: str = ""

    def __post_init__(self) -> None:
        _check_bounds(self.label, self.lo, self.hi)

    @property
    def label(self) -> str:
        """The reason of a cut by this rule: the rule's name, or else its signal's."""
        return self.name or self.line

    def fails(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which values lie outside the bounds; NaN lies nowhere."""
        return _outside(values, self.lo, self.hi)


@dataclass(frozen=True)
class Override:
    """A change to the rule with the label `override`: other bounds (both are replaced), or `drop`, which takes it out.
    lang: only the rule of that language."""

    override: str
    lo: float | None = None
    hi: float | None = None
    lang: str = EVERY
    drop: bool = False
    source: str = ""
