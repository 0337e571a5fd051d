"""Recipes: TOML text in, sources and a graph of stages out.

Every key is checked against the fields of the stage or source that it sets; an unknown one is an error that names the
nearest known one, so that a misspelt threshold can never be ignored.
"""

import importlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.fields import build, known, nearest, packaged
from pipeline.probes import with_probes
from stages.base import Source, Stage, UserError

# `use` of a stage -> its class in stages/<use>.py; imported when a recipe asks for it.
USES = {
    "extract": "Extract",
    "read": "Read",
    "language": "Language",
    "filter": "Filter",
    "trim": "Trim",
    "urls": "Urls",
    "sign": "Sign",
    "exact": "Exact",
    "match": "Match",
    "shingles": "Shingles",
    "verify": "Verify",
    "cluster": "Cluster",
    "lines": "Lines",
    "paragraphs": "Paragraphs",
    "windows": "Windows",
    "substring": "Substring",
    "similar": "Similar",
    "probe": "Probe",
    "apply": "Apply",
    "vocab": "Vocab",
    "tokens": "Tokens",
}
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([MG]i?B)")
UNITS = {"MB": 10**6, "MiB": 1 << 20, "GB": 10**9, "GiB": 1 << 30}
LEAST_MEMORY = 1 << 30
RESERVED = ("run", "fetch", "tokens-places")
GATHER = "gather-"  # how names of stages begin that planning adds, see pipeline/gathering.py


@dataclass(frozen=True)
class Limits:
    """The `[run]` table: how a run behaves; nothing here is part of an identity. Another `memory` cuts the stages that
    read side files into other tasks, which run again and decide the same."""

    memory: str = "4GiB"  # that one worker may hold, at least 1GiB
    attempts: int = 3  # tries of a task before it is set aside
    deadline: float = 7200.0  # seconds of one try
    errors: float = 0.02  # share of a stage's documents that may go with error:* before the run stops
    min_free: int = 1 << 30  # bytes that must stay free on the disk of the corpus root
    largest_cluster: float = 0.05  # share of the documents that one of them may stand for; see pipeline/alarms.py
    removed_of_source: float = 0.95  # share of a source's, or a host's, documents that may go as duplicates
    removed_of_host: float = 0.95
    gather: int = 2_000  # side files of one output beyond which they are merged before a stage reads them
    forget: tuple[str, ...] = ()  # lists of documents, URLs and hosts that no stage may keep; see stages/forget.py

    def __post_init__(self) -> None:
        if self.memory_bytes < LEAST_MEMORY:
            raise ValueError(f"memory must be at least 1GiB, not {self.memory}")
        if self.attempts < 1 or self.deadline <= 0 or self.gather < 1 or self.errors < 0 or self.min_free < 0:
            raise ValueError("attempts, deadline and gather must be above 0, errors and min_free not below")
        if not all(0 < share <= 1 for share in (self.largest_cluster, self.removed_of_source, self.removed_of_host)):
            raise ValueError("largest_cluster, removed_of_source and removed_of_host must be above 0 and at most 1")

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        found = SIZE.fullmatch(self.memory)
        if not found:
            raise ValueError(f"memory must be a size such as 4GiB or 1500MB, not {self.memory!r}")
        return int(float(found[1]) * UNITS[found[2]])


@dataclass(frozen=True)
class Recipe:
    """A checked recipe."""

    name: str
    text: str
    sources: tuple[Source, ...]
    stages: tuple[Stage, ...]  # upstream before downstream
    limits: Limits = field(default_factory=Limits)

    @property
    def snapshots(self) -> tuple[str, ...]:
        """Labels of the snapshots, oldest first: numbers inside a label count as numbers."""
        return tuple(sorted({source.snapshot for source in self.sources}, key=lambda label: (natural(label), label)))


def load_recipe(path: str | Path, settings: Iterable[str] = (), inputs: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or one that comes with Glasspile by its name: one without a suffix or a slash.

    settings: `name.field=value`; inputs: those of the recipe's only source.
    """
    file = Path(path)
    if not file.suffix and len(file.parts) == 1:
        return parse_recipe(packaged(str(path)), str(path), settings, inputs)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the recipe {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the recipe {path} is not UTF-8") from error
    return parse_recipe(text, file.stem, settings, inputs)


def parse_recipe(text: str, name: str, settings: Iterable[str] = (), inputs: Sequence[str] = ()) -> Recipe:
    """Check a recipe's text; UserError with one sentence for anything that is not right."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"recipe {name}: not valid TOML: {error}") from error
    known(raw, ("base", "source", "stage", "run", "set"), f"recipe {name}")
    check_shape(raw, name)
    base_text = packaged(raw["base"]) if "base" in raw else ""
    base = tomllib.loads(base_text)
    sources = raw.get("source", [])
    stages = base.get("stage", []) + raw.get("stage", [])
    run = base.get("run", {}) | raw.get("run", {})
    if not sources or not stages:
        raise UserError(f"recipe {name}: it needs at least one [[source]] and one [[stage]]")
    if inputs and len(sources) != 1:
        raise UserError(f"inputs can be given for a recipe with one source, {name} has {len(sources)}; use --set")
    changes = dict(raw.get("set", {}))
    if inputs:
        changes[f"{sources[0].get('name')}.inputs"] = list(inputs)
    for setting in settings:
        key, found, value = setting.partition("=")
        if not found:
            raise UserError(f"--set {setting}: write it as name.field=value, such as filter.lang=['en']")
        changes[key.strip()] = toml_value(value)
    for key, value in changes.items():
        set_field(key, value, sources, stages, run)
    made_sources = tuple(make_source(source) for source in sources)
    above = [None, *stages[:-1]]
    unordered = [make_stage(stage, before) for stage, before in zip(stages, above, strict=True)]
    names = [s.name for s in made_sources] + [s.name for s in unordered]
    for item in names:
        if names.count(item) > 1 or item in RESERVED or item.startswith(GATHER):
            raise UserError(f"recipe {name}: the name {item!r} is used twice or reserved; give one of them a `name`")
    made_stages = with_probes(order(unordered))
    limits = build(Limits, run, "[run]")
    return Recipe(name, effective_text(text, base_text, changes), made_sources, made_stages, limits)


def check_shape(raw: Mapping[str, Any], name: str) -> None:
    """UserError where a top-level key of a recipe is not the kind of table that it must be."""
    for key, kind in (("base", str), ("run", dict), ("set", dict), ("source", list), ("stage", list)):
        value = raw.get(key, kind())
        if not isinstance(value, kind) or (kind is list and not all(isinstance(item, dict) for item in value)):
            shape = {"base": "a name", "run": "[run]", "set": "[set]"}.get(key, f"[[{key}]] tables")
            raise UserError(f"recipe {name}: {key} must be {shape}")


def effective_text(text: str, base: str, changes: Mapping[str, Any]) -> str:
    """The recipe as it was run, itself a recipe: its base written out before its own stages, changes under [set]."""
    own = re.sub(r"(?ms)^\[set\]\s*$.*?(?=^\[|\Z)", "", text)
    if base:
        own = re.sub(r"(?m)^base\s*=.*\n?", "", own)
        first = re.search(r"(?m)^\[\[stage\]\]", own)
        at = first.start() if first else len(own)
        own = f"{own[:at].strip()}\n\n{base.strip()}\n\n{own[at:]}"
    lines = [f"{toml_text(key)} = {toml_text(value)}\n" for key, value in changes.items()]
    return own.strip() + "\n" + "".join(["\n[set]\n", *lines] if lines else [])


def toml_text(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_text(key)} = {toml_text(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    # JSON's strings, booleans and finite numbers are TOML's, but for DEL; no field takes a number that is not finite.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def set_field(target: str, value: Any, sources: list[dict], stages: list[dict], run: dict) -> None:
    """Change the field `name.field` of a stage, a source, or the run."""
    name, dot, key = target.partition(".")
    tables = {str(stage.get("name", stage.get("use"))): stage for stage in stages}
    tables |= {str(source.get("name")): source for source in sources} | {"run": run}
    if not (dot and key):
        raise UserError(f"set {target!r}: write it as name.field, such as verify.threshold")
    if name not in tables:
        raise UserError(f"set {target!r}: no stage or source {name!r}{nearest(name, tables)}")
    tables[name][key] = value


def toml_value(text: str) -> Any:
    """A value of the command line: TOML, or else a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def make_source(raw: dict) -> Source:
    """One `[[source]]` table."""
    where = f"source {raw.get('name', '?')}"
    raw = dict(raw)
    fields = raw.get("fields", {})
    if not isinstance(fields, dict):
        raise UserError(f"{where}: fields must be a table such as {{ text = 'content' }}")
    raw["fields"] = tuple(sorted(fields.items()))
    source = build(Source, raw, where)
    if not -(1 << 31) <= source.priority < 1 << 31:
        raise UserError(f"{where}: priority must fit 32 bits")
    if source.kind not in ("warc", "jsonl", "parquet"):
        raise UserError(f"{where}: kind must be warc, jsonl or parquet, not {source.kind!r}")
    if not NAME.fullmatch(source.name):
        raise UserError(f"{where}: a name is made of a-z, 0-9, - and _")
    if not source.inputs:
        raise UserError(f"{where}: inputs is empty; name at least one file, folder or pattern")
    return source


def make_stage(raw: dict, before: dict | None) -> Stage:
    """One `[[stage]]` table; `before` is the table above, which it follows by default."""
    raw = dict(raw)
    use = raw.pop("use", None)
    if not isinstance(use, str) or use not in USES:
        raise UserError(f"a [[stage]] has use = {use!r}{nearest(str(use), USES)}")
    kind: type[Stage] = getattr(importlib.import_module(f"stages.{use}"), USES[use])
    raw.setdefault("name", use)
    if not NAME.fullmatch(str(raw["name"])):
        raise UserError(f"stage {raw['name']}: a name is made of a-z, 0-9, - and _")
    if kind.entry:
        raw.setdefault("after", [])
    elif before is not None:
        raw.setdefault("after", [before.get("name", before["use"])])
    if not kind.entry and not raw.get("after"):
        raise UserError(f"stage {raw['name']}: it needs `after`, the stages whose output it takes")
    return build(kind, raw, f"stage {raw['name']}")


def order(stages: list[Stage]) -> tuple[Stage, ...]:
    """Upstream before downstream, otherwise as written; UserError for a cycle or an unknown name."""
    names = [stage.name for stage in stages]
    done: list[Stage] = []
    rest = list(stages)
    for stage in stages:
        for name in stage.after:
            if name not in names:
                raise UserError(f"stage {stage.name}: after names {name!r}{nearest(name, names)}")
    while rest:
        ready = [s for s in rest if all(name in [d.name for d in done] for name in s.after)]
        if not ready:
            raise UserError(f"the stages {', '.join(s.name for s in rest)} wait for each other")
        done.append(ready[0])
        rest.remove(ready[0])
    return tuple(done)


def natural(label: str) -> list[tuple[int, int, str]]:
    """Sort key in which numbers inside a label count as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", label) if part]
