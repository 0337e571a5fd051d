"""The effect of each rule by language: a run in, documents that it was put to, that failed it, that failed only it out.

"Alone" is the marginal effect: without the rule these documents would have stayed. Counts come from the values that a
filter kept; where it kept none they come from the `failed` lists of the dropped rows and from the counters, and what
those cannot tell is None.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.gone import RuleFailed, groups
from manifests.latest import Run
from manifests.measured import EVERY, Filtering, filterings, judged, measured, setting

# Of so many documents of a language a rule that holds for it should have met one that fails.
LARGE = 10_000
SEEN, FIRED, ALONE, BYTES, BYTES_FIRED, UNMEASURED = range(6)


@dataclass(frozen=True)
class Effect:
    """What a rule did to the documents of one language; bytes are those of the text, None is not known."""

    seen: int
    fired: int
    alone: int
    bytes: int | None
    bytes_fired: int | None
    unmeasured: int | None


@dataclass(frozen=True)
class RuleEffect:
    """A rule, and its effect by language; languages that it does not hold for are left out."""

    rule: RuleFailed
    languages: dict[str, Effect]


@dataclass(frozen=True)
class StageEffects:
    """The rules of one stage, and all of them together: `alone` is then the documents that failed exactly one."""

    stage: str
    early_exit: bool
    values: bool
    rules: tuple[RuleEffect, ...]
    together: dict[str, Effect]


@dataclass(frozen=True)
class RuleStats:
    """The rules of a run."""

    recipe: str
    root: str
    stages: tuple[StageEffects, ...]
    warnings: tuple[str, ...]


def rule_stats(run: Run, stage: str = "", lang: str = "", large: int = LARGE) -> RuleStats:
    """The effect of each rule of one stage or all, on documents of one language or all."""
    stages = [stage_effects(run, filtering, lang) for filtering in filterings(run, stage)]
    warnings = [text for effects in stages for text in (*remarks(effects), *silent(effects, large))]
    return RuleStats(run.stages[0].recipe, run.stages[0].root, tuple(stages), tuple(warnings))


def stage_effects(run: Run, filtering: Filtering, lang: str) -> StageEffects:
    """The effects of one stage's rules."""
    found = (from_values if filtering.sides else from_dropped)(run, filtering)
    chosen = {name: rows for name, rows in sorted(found.items()) if lang in ("", name)}
    rules = []
    for r, rule in enumerate(filtering.rules):
        if not lang or rule.lang in (EVERY, lang):
            here = {name: rows[r] for name, rows in chosen.items() if rule.lang in (EVERY, name)}
            rules.append(RuleEffect(rule, here))
    ruled = {rule.lang for rule in filtering.rules}
    together = {name: rows[-1] for name, rows in chosen.items() if ruled & {EVERY, name}}
    return StageEffects(filtering.stage, filtering.early_exit, bool(filtering.sides), tuple(rules), together)


def from_values(run: Run, filtering: Filtering) -> dict[str, list[Effect]]:
    """Effects by language, one for each rule and a last one for all together, from what was measured."""
    rules = filtering.rules
    sums: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros((len(rules) + 1, 6), np.int64))
    for found in measured(run, filtering, [rule.signal for rule in rules]):
        put, failed = judged(found, rules, filtering.early_exit)
        number = failed.sum(axis=1)
        nothing = np.stack([np.isnan(found.of[rule.signal]) for rule in rules], axis=1)
        # The last column stands for all rules: put to all, failed by any, unmeasured where any is.
        put = np.column_stack([put, put.any(axis=1)])
        missing = np.column_stack([nothing, (nothing & put[:, :-1]).any(axis=1)]) & put
        failed = np.column_stack([failed, number > 0])
        alone = failed & (number == 1)[:, None]
        for code, lang in enumerate(found.languages):
            rows = np.flatnonzero(found.codes == code)
            size = found.bytes[rows]
            counts = [part[rows].sum(axis=0) for part in (put, failed, alone)]
            weights = [size @ part[rows] for part in (put, failed)]
            sums[lang] += np.stack([*counts, *weights, missing[rows].sum(axis=0)], axis=1)
    return {lang: [Effect(*row) for row in table.tolist()] for lang, table in sums.items()}


def from_dropped(run: Run, filtering: Filtering) -> dict[str, list[Effect]]:
    """Effects by language without measured values: documents from the counters, failures from the dropped rows."""
    stage, rules, counts = filtering.stage, filtering.rules, run.counts[filtering.stage]
    seen = documents_in(counts, run.languages.get(stage, ()), tuple(setting(run, stage, "sources") or ()))
    fired: Counter[tuple[str, int]] = Counter()
    alone: Counter[tuple[str, int]] = Counter()
    for shard in [row for row in run.rows[stage] if row.output == "dropped" and row.rows and row.path]:
        for table, _ in groups(run.storage, shard, ["lang", "failed"]):
            for lang, rule, one, docs in failures(table, len(rules)):
                fired[lang, rule] += docs
                alone[lang, rule] += docs if one else 0
    made = {}
    for lang, docs in seen.items():
        unmeasured = [counts[f"unmeasured/{r.name}/{r.lang}"] if r.lang == lang else None for r in rules]
        made[lang] = [
            Effect(docs, fired[lang, r], alone[lang, r], None, None, gap) for r, gap in enumerate([*unmeasured, None])
        ]
    return made


def failures(table: pa.Table, together: int) -> Iterator[tuple[str, int, bool, int]]:
    """(language, rule, whether no other rule failed, documents) of dropped rows; `together` stands for any rule."""
    langs, lists = table["lang"].combine_chunks(), table["failed"].combine_chunks()
    length = pc.fill_null(pc.list_value_length(lists), 0)
    hit = pc.list_parent_indices(lists)
    some = pa.array(np.flatnonzero(length.to_numpy() > 0))
    rows = pa.concat_arrays([hit.cast(pa.int64()), some])
    rule = pa.concat_arrays([pc.list_flatten(lists).cast(pa.int64()), pa.repeat(together, len(some))])
    one = pc.equal(length, 1).take(rows)
    flat = pa.table({"lang": langs.take(rows), "rule": rule, "one": one})
    for row in flat.group_by(["lang", "rule", "one"]).aggregate([([], "count_all")]).to_pylist():
        yield row["lang"], row["rule"], row["one"], row["count_all"]


def documents_in(counts: Mapping[str, int], langs: tuple[str, ...], sources: tuple[str, ...]) -> Counter[str]:
    """Documents by language that a stage decided about; empty limits mean all."""
    seen: Counter[str] = Counter()
    for name, value in counts.items():
        kind, *rest = name.split("/", 4)
        # What broke a kernel was put to no rule.
        broke = kind == "dropped" and rest[3].startswith("error:")
        if (kind == "in" or broke) and rest[2] == "docs":
            if (not langs or rest[1] in langs) and (not sources or rest[0] in sources):
                seen[rest[1]] += -value if broke else value
    return seen


def remarks(effects: StageEffects) -> list[str]:
    """What a reader of the numbers must know."""
    found = []
    if effects.early_exit:
        found.append(
            f"{effects.stage} ran with early_exit: what failed a tier was not put to the later ones, so documents that "
            "fail alone may fail more, and later rules would drop more than they did"
        )
    if not effects.values:
        found.append(
            f"{effects.stage} kept no measured values: bytes are not known"
            + (", nor how many documents reached each tier" if effects.early_exit else "")
        )
    return found


def silent(effects: StageEffects, large: int) -> list[str]:
    """Rules that failed none of many documents of a language."""
    found = []
    for item in effects.rules:
        for lang, effect in item.languages.items():
            if effect.seen >= large and not effect.fired:
                why = ", of which none could be measured" if effect.unmeasured == effect.seen else ""
                text = f"the rule {item.rule.name} never fired on {effect.seen:,} documents in {lang}{why}"
                found.append(f"{effects.stage}: {text}")
    return found
