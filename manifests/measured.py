"""What filter stages measured: a run in, stored values in batches out, and which rules each document failed.

Side files are read a batch and a few columns at a time, so memory does not grow with the corpus. The surprising thing:
under `early_exit` a missing value may be one that nobody asked for, so a rule was put to a document only if that failed
no earlier tier. Documents that broke a kernel have no row here; the funnel counts them.
"""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from manifests.gone import RuleFailed, footer_rules, opened, readable
from manifests.latest import Run
from manifests.shards import read_batches
from manifests.storage import StorageError
from manifests.store import Shard

EVERY = "*"
SIGNALS = "signals"  # the output of a filter stage that holds what it measured


@dataclass(frozen=True)
class Filtering:
    """A stage with rules; `sides` is empty where it kept no values."""

    stage: str
    rules: tuple[RuleFailed, ...]
    early_exit: bool
    sides: tuple[Shard, ...]

    def tested(self, lang: str) -> tuple[RuleFailed, ...]:
        """The rules that hold for a language; "" asks for all."""
        return tuple(rule for rule in self.rules if not lang or rule.lang in (EVERY, lang))


@dataclass(frozen=True)
class Values:
    """Stored values of n documents; language i of `languages` is code i."""

    languages: list[str]
    codes: NDArray[np.int64]  # [n]
    kept: NDArray[np.bool_]  # [n]
    bytes: NDArray[np.int64]  # [n]
    ids: pa.Array  # [n]
    of: dict[str, NDArray[np.float32]]  # by signal, [n]; NaN: not measured


def filterings(run: Run, stage: str = "") -> list[Filtering]:
    """The stages that have rules, in the order of the run, or one of them; StorageError where it is no such stage."""
    found = []
    for name in [s.stage for s in run.stages if stage in ("", s.stage)]:
        sides = tuple(row for row in run.rows[name] if row.output == SIGNALS and row.path)
        gone = [row for row in run.rows[name] if row.output == "dropped" and row.path]
        for shard in (*sides, *gone)[:1]:
            with opened(run.storage, shard) as file:
                rules = footer_rules(file)
            if rules:
                found.append(Filtering(name, rules, bool(setting(run, name, "early_exit")), sides))
    if not found:
        names = [filtering.stage for filtering in filterings(run)] if stage else []
        what = f"--stage {stage}: the run has no such stage with rules" if stage else "no stage of this run has rules"
        raise StorageError(f"{what}{hint(stage, names)}")
    return found


def hint(wrong: str, names: Sequence[str]) -> str:
    """The nearest known name, or all where none is near; "" where none is known."""
    near = get_close_matches(wrong, names, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(names)}" if names else ""


def setting(run: Run, stage: str, field: str) -> Any:
    """What the recipe that ran says for a field of a stage, None where it says nothing; [set] wins."""
    try:
        raw = tomllib.loads(run.stages[0].text)
    except tomllib.TOMLDecodeError:
        return None
    given = [s.get(field) for s in raw.get("stage", []) if s.get("name", s.get("use")) == stage]
    return raw.get("set", {}).get(f"{stage}.{field}", given[0] if given else None)


def asked_for(filtering: Filtering, signals: Sequence[str]) -> None:
    """StorageError where a stage kept no values."""
    if not filtering.sides:
        raise StorageError(
            f"{filtering.stage} kept no measured values, which answers about {', '.join(signals)} need; "
            f"run the recipe with --set {filtering.stage}.values=true"
        )


def measured(run: Run, filtering: Filtering, signals: Sequence[str], ids: bool = False) -> Iterator[Values]:
    """The stored values of some signals, file by file in batches."""
    columns = [*(["doc_id"] if ids else []), "lang", "kept", "bytes", *dict.fromkeys(signals)]
    for shard in filtering.sides:
        with readable(shard):
            for batch in read_batches(run.storage, shard.path or "", columns):
                yield values(batch)


def values(batch: pa.RecordBatch) -> Values:
    """The columns of a batch of a side file as numpy arrays."""
    languages = batch["lang"].dictionary_encode()
    fixed = ("doc_id", "lang", "kept", "bytes")
    return Values(
        languages.dictionary.to_pylist(),
        languages.indices.to_numpy().astype(np.int64),
        batch["kept"].to_numpy(zero_copy_only=False),
        batch["bytes"].to_numpy(),
        batch["doc_id"] if "doc_id" in batch.schema.names else pa.nulls(batch.num_rows),
        {n: batch[n].to_numpy(zero_copy_only=False) for n in batch.schema.names if n not in fixed},
    )


def judged(found: Values, rules: Sequence[RuleFailed], early_exit: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(put, failed), bool[n, rules] each: to which documents each rule was put, and which of them failed it.

    NaN fails nothing; bounds are compared as float32, as the filter does."""
    n = len(found.kept)
    put, failed = np.zeros((n, len(rules)), np.bool_), np.zeros((n, len(rules)), np.bool_)
    for tier in sorted({rule.tier for rule in rules}):
        alive = ~failed.any(axis=1) if early_exit else np.ones(n, np.bool_)
        for r, rule in enumerate(rules):
            if rule.tier == tier:
                meant = np.array([rule.lang in (EVERY, lang) for lang in found.languages], np.bool_)
                put[:, r] = alive & meant[found.codes]
                failed[:, r] = put[:, r] & outside(found.of[rule.signal], rule.lo, rule.hi)
    return put, failed


def outside(column: NDArray[np.float32], lo: float | None, hi: float | None) -> NDArray[np.bool_]:
    """Which values lie outside [lo, hi]; None is open."""
    found = np.zeros(len(column), np.bool_)
    if lo is not None:
        found |= column < np.float32(lo)
    if hi is not None:
        found |= column > np.float32(hi)
    return found
