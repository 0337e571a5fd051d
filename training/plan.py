"""Phase plans: TOML in, checked phases out; a preset's name stands for a file that comes with Glasspile.

A plan says how much is trained on what: budgets, lengths, mixture, repetition allowed. It names streams by patterns
and knows no corpus yet, so the same plan serves a small copy of a corpus and the whole.
"""

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

from training.order import PlanError

WINDOW = 1 << 28  # tokens shuffled together: some 1,000 row groups, a file or two
Table = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Fim:
    """Fill-in-the-middle: the share of document pieces, the ids of its three marks, the share with the suffix first."""

    rate: float
    prefix: int
    middle: int
    suffix: int
    spm: float = 0.5
    streams: tuple[str, ...] = ("*",)

    @property
    def marks(self) -> tuple[int, int, int]:
        """The ids that stand before prefix, suffix and middle."""
        return self.prefix, self.suffix, self.middle


@dataclass(frozen=True)
class Phase:
    """One phase. Of `steps`, `tokens` and `language_tokens` one is given; mixture and epochs are by pattern."""

    name: str
    sequence: int
    batch: int
    steps: int = 0
    tokens: int = 0
    language_tokens: Table = ()
    mixture: Table = (("*", 1),)
    epochs: Table = (("*", 1),)
    restart: tuple[str, ...] = ()
    chunks: int = 1
    fim: Fim | None = None
    corpus: str = ""
    data: str = ""
    tokenizer: str = ""

    def epochs_of(self, stream: str) -> float:
        """Epochs allowed for a stream: the largest number among the patterns that match, 1 where none does."""
        return max((number for pattern, number in self.epochs if matches(stream, [pattern])), default=1.0)

    def restarts(self, stream: str) -> bool:
        """Whether the phase draws from a stream as if no phase had done so before."""
        return matches(stream, self.restart)


@dataclass(frozen=True)
class Plan:
    """A run's phases, its seed, and the tokens that are shuffled together."""

    name: str
    seed: int
    window: int
    phases: tuple[Phase, ...]


def matches(stream: str, patterns: Iterable[str]) -> bool:
    """Whether any pattern matches a stream's name: `*` stands for any characters, and `!` before for all but those."""
    return any(fnmatchcase(stream, p.removeprefix("!")) != p.startswith("!") for p in patterns)


def load_plan(source: str, corpus: str = "") -> Plan:
    """The plan in a TOML file, or a preset; `corpus` is the root for phases that name none."""
    return plan_of(read_plan(source), Path(source).name.removesuffix(".toml"), corpus)


def read_plan(source: str) -> dict[str, Any]:
    """The values in a plan's TOML file, or in a preset, before they are checked."""
    file = Path(source)
    preset = files("training.presets") / f"{source}.toml"
    if file.is_file():
        text = file.read_text(encoding="utf-8")
    elif preset.is_file():
        text = preset.read_text(encoding="utf-8")
    else:
        names = [path.name.removesuffix(".toml") for path in files("training.presets").iterdir()]
        raise PlanError(f"{source}: no such file or preset{nearest(source, [n for n in names if n[0] != '_'])}")
    return toml(text, source)


def parse_plan(text: str, name: str = "plan") -> Plan:
    """A plan from the text of a TOML file; PlanError for what it may not hold."""
    return plan_of(toml(text, name), name)


def toml(text: str, name: str) -> dict[str, Any]:
    """The values of a TOML text."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{name}: this is not TOML: {error}") from error


def plan_of(raw: dict[str, Any], name: str = "plan", corpus: str = "") -> Plan:
    """A plan from plain values; `corpus` is the root for phases that name none."""
    given = fields(raw, TOP, name)
    if not isinstance(given.get("phase"), list) or not given["phase"]:
        raise PlanError(f"{name}: a plan has at least one [[phase]]")
    phases = tuple(parse_phase(phase, given, f"{name}: phase {i}") for i, phase in enumerate(given["phase"], 1))
    phases = tuple(replace(phase, corpus=phase.corpus or corpus) for phase in phases)
    names = [phase.name for phase in phases]
    for phase in phases:
        if names.count(phase.name) > 1:
            raise PlanError(f"{name}: two phases are called {phase.name!r}")
        if given.get("window", WINDOW) % phase.sequence:
            raise PlanError(f"{name}: the window must be a multiple of {phase.sequence}, the length in {phase.name!r}")
    return Plan(given.get("name", name), given.get("seed", 42), given.get("window", WINDOW), phases)


def parse_phase(raw: Any, top: dict[str, Any], where: str) -> Phase:
    """One [[phase]] table."""
    given = fields(raw, PHASE, where)
    where = f"{where} {given.get('name', '')!r}"
    for key in ("name", "sequence", "batch"):
        if key not in given:
            raise PlanError(f"{where}: {key} is missing")
    if isinstance(given.get("tokens"), tuple):
        given["language_tokens"] = given.pop("tokens")
    if sum(key in given for key in ("steps", "tokens", "language_tokens")) != 1:
        raise PlanError(f"{where}: give either steps or tokens, the phase's budget")
    if "fim" in given:
        table = fields(given["fim"], FIM, f"{where}: fim")
        missing = [key for key in ("rate", "prefix", "middle", "suffix") if key not in table]
        if missing:
            raise PlanError(f"{where}: fim: {missing[0]} is missing")
        if len({table["prefix"], table["middle"], table["suffix"]}) < 3:
            raise PlanError(f"{where}: fim: prefix, middle and suffix must be three different ids")
        given["fim"] = Fim(**table)
    return Phase(**{"corpus": top.get("corpus", ""), **given})


def fields(raw: Any, kinds: Mapping[str, Callable[[Any], Any]], where: str) -> dict[str, Any]:
    """The values of a table, each checked; an unknown key is an error that names the nearest known one."""
    if not isinstance(raw, dict):
        raise PlanError(f"{where} must be a table, not {raw!r}")
    checked = {}
    for key, value in raw.items():
        if key not in kinds:
            raise PlanError(f"{where}: unknown key {key!r}{nearest(key, kinds)}")
        try:
            checked[key] = kinds[key](value)
        except ValueError as error:
            raise PlanError(f"{where}: {key} must be {error}, not {value!r}") from error
    return checked


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the nearest known name, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"


def text(value: Any) -> str:
    """Text on one line; names become parts of labels that tabs hold apart."""
    if not isinstance(value, str) or not value or any(ord(char) < 32 for char in value):
        raise ValueError("text on one line")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of patterns, or one."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise ValueError("a list of patterns")
    return tuple(map(text, values))


def whole(value: Any) -> int:
    """A whole number above zero, also written as 3.7e12."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value != int(value):
        raise ValueError("a whole number above zero")
    return int(value)


def identifier(value: Any) -> int:
    """A token id, or a seed."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number")
    return value


def number(value: Any) -> float:
    """A finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError("a number above zero")
    return value


def ratio(value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return value


def numbers(value: Any) -> Table:
    """A table of numbers above zero by pattern; one number stands for all streams."""
    items = value.items() if isinstance(value, dict) else [("*", value)]
    if not items:
        raise ValueError("a table with at least one entry")
    return tuple(sorted((text(key), number(item)) for key, item in items))


def budget(value: Any) -> int | Table:
    """A number of tokens, or a table of them by language."""
    if not isinstance(value, dict):
        return whole(value)
    return tuple((lang, whole(tokens)) for lang, tokens in numbers(value))


def tables(value: Any) -> list[Any]:
    """An array of tables."""
    if not isinstance(value, list):
        raise ValueError("written as [[phase]]")
    return value


def same(value: Any) -> Any:
    """A table that is checked later."""
    return value


TOP = {"name": text, "seed": identifier, "window": whole, "corpus": text, "phase": tables}
PHASE: dict[str, Callable[[Any], Any]] = {
    "name": text, "sequence": whole, "batch": whole, "steps": whole, "tokens": budget, "mixture": numbers,
    "epochs": numbers, "restart": texts, "chunks": whole, "fim": same, "corpus": text, "data": text, "tokenizer": text,
}  # fmt: skip
FIM = {"rate": ratio, "prefix": identifier, "middle": identifier, "suffix": identifier, "spm": ratio, "streams": texts}
