"""What another threshold would have dropped: a run and an expression such as "word_count >= 100" in, counts out.

The expression says what is kept, and each comparison replaces the bound on its side; the other one stays. Everything is
answered from the values that the filter kept, without touching text. What the stages after it would have made of a
document that now stays is not known.
"""

import heapq
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from manifests.gone import RuleFailed
from manifests.latest import Run, number
from manifests.measured import Filtering, asked_for, filterings, hint, judged, measured
from manifests.query import Amount
from manifests.storage import StorageError

COMPARISON = re.compile(r"\s*([\w.:-]+)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
IDS = 10
SEEN, WAS, GONE, BACK = range(4)


@dataclass(frozen=True)
class Comparison:
    """One comparison of an expression: what is kept."""

    name: str
    op: str
    bound: float

    def bounds(self, rule: RuleFailed) -> RuleFailed:
        """The rule with this bound; a strict one becomes the next float32, as rules keep what equals their bounds."""
        value = np.float32(self.bound)
        if self.op in ("<", ">"):
            value = np.nextafter(value, np.float32(-np.inf if self.op == "<" else np.inf))
        # Of float32 the shortest decimal, so that a recipe can say the same.
        kept = number(float(value)) if self.op in ("<", ">") else self.bound
        return replace(rule, hi=kept) if self.op[0] == "<" else replace(rule, lo=kept)


@dataclass(frozen=True)
class Change:
    """A rule with its bounds as they were and as they are tried."""

    rule: RuleFailed
    lo: float | None
    hi: float | None


@dataclass(frozen=True)
class Outcome:
    """Documents of one language: seen by the stage, dropped in the run, and what the change would drop and keep."""

    seen: Amount
    dropped: Amount
    newly_dropped: Amount
    newly_kept: Amount


@dataclass(frozen=True)
class StageTrial:
    """What the change does at one stage; the ids are those with the smallest doc_ids, which are hashes."""

    stage: str
    early_exit: bool
    changes: tuple[Change, ...]
    languages: dict[str, Outcome]
    dropped_ids: tuple[str, ...]
    kept_ids: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """Answer to an expression."""

    expression: str
    stages: tuple[StageTrial, ...]
    warnings: tuple[str, ...]


def retry(run: Run, expression: str, stage: str = "", lang: str = "", ids: int = IDS) -> Trial:
    """What other bounds would have dropped and kept, of one stage or all, one language or all."""
    wanted = comparisons(expression)
    stages = filterings(run, stage)
    found = [(filtering, changed(filtering, wanted, lang)) for filtering in stages]
    for asked in wanted:
        if not any(named(filtering, asked.name, lang) for filtering in stages):
            known = sorted({name for f in stages for rule in f.tested(lang) for name in (rule.name, rule.signal)})
            where = (f" of {stage}" if stage else "") + (f" for {lang}" if lang else "")
            raise StorageError(f"--try: no rule or signal{where} is named {asked.name!r}{hint(asked.name, known)}")
    trials = [try_stage(run, filtering, changes, lang, ids) for filtering, changes in found if changes]
    warnings = [
        f"{trial.stage} ran with early_exit: what failed a tier was not measured by the later ones, so it is not known "
        "whether newly kept documents fail those; their number is an upper bound"
        for trial in trials
        if trial.early_exit
    ]
    return Trial(expression, tuple(trials), tuple(warnings))


def comparisons(expression: str) -> list[Comparison]:
    """The comparisons of an expression; StorageError where it is not one."""
    found = []
    for part in re.split(r"\s+and\s+", expression.strip()):
        match = COMPARISON.fullmatch(part)
        if not match:
            raise StorageError(
                f"--try {expression!r}: {part!r} is no comparison; say what is kept, such as "
                "'word_count >= 100' or 'word_count >= 50 and word_count < 5000'"
            )
        bound = float(match[3])
        if abs(bound) > float(np.finfo(np.float32).max):
            raise StorageError(f"--try {expression!r}: {match[3]} is beyond the range of float32, which values have")
        found.append(Comparison(match[1], match[2], bound))
    return found


def named(filtering: Filtering, name: str, lang: str) -> list[RuleFailed]:
    """The rules of that name, or else those that look at the signal of that name."""
    rules = filtering.tested(lang)
    return [r for r in rules if r.name == name] or [r for r in rules if r.signal == name]


def changed(filtering: Filtering, wanted: Sequence[Comparison], lang: str) -> dict[RuleFailed, RuleFailed]:
    """Each rule that is meant, and the same with the bounds that are tried."""
    made: dict[RuleFailed, RuleFailed] = {}
    for asked in wanted:
        for rule in named(filtering, asked.name, lang):
            made[rule] = asked.bounds(made.get(rule, rule))
    for rule in made.values():
        if rule.lo is not None and rule.hi is not None and rule.lo > rule.hi:
            raise StorageError(f"--try: {rule.name} of {filtering.stage} would keep nothing, [{rule.lo}, {rule.hi}]")
    return made


def try_stage(run: Run, filtering: Filtering, changes: dict[RuleFailed, RuleFailed], lang: str, ids: int) -> StageTrial:
    """Judge all documents of a stage anew."""
    asked_for(filtering, [rule.signal for rule in changes])
    # All tiers count: what early_exit left out was not measured, and fails nothing.
    rules = [changes.get(rule, rule) for rule in filtering.rules]
    docs: list[Counter[str]] = [Counter() for _ in range(4)]
    size: list[Counter[str]] = [Counter() for _ in range(4)]
    gone: list[bytes] = []
    back: list[bytes] = []
    for found in measured(run, filtering, [rule.signal for rule in rules], ids=True):
        languages = [name for name in found.languages if lang in ("", name)]
        meant = np.isin(found.codes, [found.languages.index(name) for name in languages])
        _, failed = judged(found, rules, early_exit=False)
        stays = ~failed.any(axis=1)
        groups = [meant, meant & ~found.kept, meant & found.kept & ~stays, meant & ~found.kept & stays]
        for part, rows in enumerate(groups):
            for name in languages:
                here = rows & (found.codes == found.languages.index(name))
                docs[part][name] += int(here.sum())
                size[part][name] += int(found.bytes[here].sum())
        gone = smallest(ids, gone, found.ids, groups[GONE])
        back = smallest(ids, back, found.ids, groups[BACK])
    seen = sorted(name for name in docs[SEEN] if docs[SEEN][name] and filtering.tested(name))
    return StageTrial(
        filtering.stage,
        filtering.early_exit,
        tuple(Change(rule, new.lo, new.hi) for rule, new in changes.items()),
        {name: Outcome(*(Amount(docs[part][name], size[part][name]) for part in range(4))) for name in seen},
        tuple(i.hex() for i in gone),
        tuple(i.hex() for i in back),
    )


def smallest(count: int, known: list[bytes], ids: pa.Array, rows: NDArray[np.bool_]) -> list[bytes]:
    """The smallest doc_ids of those known and those of some rows, ascending."""
    return heapq.nsmallest(count, [*known, *ids.filter(pa.array(rows)).to_pylist()])
