"""Rules are bounds on signals, rows of data with their source: the TOML text of a rule table comes in, checked rules
come out. The surprise: every key and signal is checked, so that a misspelt threshold can never be ignored."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.signals import signal_named

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
    refuse_twins(rules)
    return rules


def overridden(rules: Sequence["Rule"], change: "Override") -> tuple["Rule", ...]:
    """The rules with the bounds of one of them changed, or without it; ValueError where none bears the label."""
    meant = [r for r in rules if r.label == change.override and change.lang in (EVERY, r.lang)]
    if not meant:
        near = get_close_matches(change.override, [rule.label for rule in rules], n=1)
        raise ValueError(f"no rule {change.override!r} to override" + (f"; did you mean {near[0]!r}?" if near else ""))
    if change.drop:
        return tuple(rule for rule in rules if rule not in meant)
    lo, hi, source = change.lo, change.hi, change.source
    return tuple(replace(rule, lo=lo, hi=hi, source=source) if rule in meant else rule for rule in rules)


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


def refuse_twins(rules: Sequence["Rule"]) -> None:
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
class Override:
    """A change to the rule with the label `override`: other bounds (both are replaced), or `drop`, which takes it out.
    lang: only the rule of that language."""

    override: str
    lo: float | None = None
    hi: float | None = None
    lang: str = EVERY
    drop: bool = False
    source: str = ""
