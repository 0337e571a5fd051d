"""Answers about rules as plain text: effects, trials and histograms in, lines out.

Rules of one name stand on one line, English beside Chinese, where no two of them hold for the same language.
"""

from collections.abc import Iterator, Mapping, Sequence

from manifests.histogram import Counts, Histogram
from manifests.query import GROUPS, group
from manifests.retry import StageTrial, Trial
from manifests.rulestats import Effect, RuleStats
from manifests.show import interval, share, table

LANGUAGES = GROUPS[1:]
BAR = 24
EIGHTHS = " ▏▎▍▌▋▊▉"
TOGETHER = "any rule"
EXAMPLES = 3
COMPARE = {"lo": "<", "hi": ">"}


def show_rules(stats: RuleStats) -> Iterator[str]:
    """What each rule did, then what each rule is, then what is remarkable."""
    yield f"recipe {stats.recipe}, root {stats.root}"
    lines: list[tuple[str, dict[str, Effect]]] = []
    rules = [item for stage in stats.stages for item in stage.rules]
    for item in rules:
        place(lines, item.rule.name, grouped(item.languages))
    for stage in stats.stages:
        place(lines, TOGETHER, grouped(stage.together))
    shown = shown_groups([groups for _, groups in lines])
    what = ("seen", "fired", "share", "alone", "bytes", "NaN")
    yield ""
    yield from table(
        [
            ["rule", *(f"{name} {column}" for name in shown for column in what)],
            *([name, *(cell for g in shown for cell in effect_cells(groups.get(g)))] for name, groups in lines),
        ]
    )
    yield "alone: failed no other rule of the stage; bytes: share of the text; NaN: could not be measured"
    yield ""
    yield from table([["stage", "rule", "language", "tier", "keeps", "source"], *rule_rows(stats)], left=6)
    for warning in stats.warnings:
        yield f"warning: {warning}"


def rule_rows(stats: RuleStats) -> list[list[str]]:
    """What each rule is."""
    rows = []
    for stage in stats.stages:
        for item in stage.rules:
            rule = item.rule
            signal = "" if rule.signal == rule.name else f"{rule.signal} in "
            keeps = signal + interval(rule.lo, rule.hi)
            rows.append([stage.stage, rule.name, rule.lang, str(rule.tier), keeps, rule.source])
    return rows


def place(lines: list[tuple[str, dict[str, Effect]]], name: str, groups: dict[str, Effect]) -> None:
    """Put effects on the line of their name, or on a new one where those languages are taken."""
    for other, taken in lines:
        if other == name and not taken.keys() & groups.keys():
            taken |= groups
            return
    lines.append((name, groups))


def grouped(languages: Mapping[str, Effect]) -> dict[str, Effect]:
    """Effects by language group: all languages but English and Chinese are summed."""
    sums: dict[str, Effect] = {}
    for lang, effect in languages.items():
        name = column(lang)
        sums[name] = plus(sums[name], effect) if name in sums else effect
    return sums


def column(lang: str) -> str:
    """The language group of a language; what is unknown is another language here."""
    return group(lang) if group(lang) in LANGUAGES else LANGUAGES[-1]


def plus(a: Effect, b: Effect) -> Effect:
    """The effects on two languages together; None where one is not known."""

    def both(x: int | None, y: int | None) -> int | None:
        return None if x is None or y is None else x + y

    return Effect(
        a.seen + b.seen,
        a.fired + b.fired,
        a.alone + b.alone,
        both(a.bytes, b.bytes),
        both(a.bytes_fired, b.bytes_fired),
        both(a.unmeasured, b.unmeasured),
    )


def shown_groups(lines: Sequence[Mapping[str, object]]) -> list[str]:
    """English and Chinese, and the others where there are any."""
    return [name for name in LANGUAGES if name != LANGUAGES[-1] or any(name in groups for groups in lines)]


def effect_cells(effect: Effect | None) -> list[str]:
    """One rule and one language group; dashes where the rule does not hold for it."""
    if effect is None:
        return ["-"] * 6
    fired = share(effect.fired / effect.seen if effect.seen else None)
    size = share(effect.bytes_fired / effect.bytes if effect.bytes and effect.bytes_fired is not None else None)
    missing = "-" if effect.unmeasured is None else f"{effect.unmeasured:,}"
    return [f"{effect.seen:,}", f"{effect.fired:,}", fired, f"{effect.alone:,}", size, missing]


def show_trial(trial: Trial) -> Iterator[str]:
    """What another threshold would have dropped and kept."""
    tables: list[tuple[list[str], dict[str, list[int]]]] = []
    for found in trial.stages:
        for change in found.changes:
            old, new = interval(change.rule.lo, change.rule.hi), interval(change.lo, change.hi)
            yield f"{found.stage}: {change.rule.name} [{change.rule.lang}] keeps {new} instead of {old}"
            bounds = "".join(f", {s} = {v:.9g}" for s, v in (("lo", change.lo), ("hi", change.hi)) if v is not None)
            yield f'  in a recipe: {{ override = "{change.rule.name}"{bounds}, lang = "{change.rule.lang}" }}'
        sums = amounts(found)
        for stages, taken in tables:
            if not taken.keys() & sums.keys():
                stages.append(found.stage)
                taken |= sums
                break
        else:
            tables.append(([found.stage], sums))
    for stages, groups in tables:
        yield ""
        yield from table(trial_rows(", ".join(stages), groups))
    for found in trial.stages:
        for what, ids in (("drop", found.dropped_ids), ("keep", found.kept_ids)):
            if ids:
                yield f"{found.stage} would {what}, for example: {' '.join(ids[:EXAMPLES])}"
    yield "newly kept documents failed nothing else at their stage; later stages have not seen them"
    for warning in trial.warnings:
        yield f"warning: {warning}"


def amounts(found: StageTrial) -> dict[str, list[int]]:
    """Documents and bytes, by turns, by language group: seen, dropped, newly dropped, newly kept."""
    sums: dict[str, list[int]] = {}
    for lang, outcome in found.languages.items():
        parts = [outcome.seen, outcome.dropped, outcome.newly_dropped, outcome.newly_kept]
        new = [n for amount in parts for n in (amount.docs, amount.bytes)]
        old = sums.get(column(lang), [0] * len(new))
        sums[column(lang)] = [a + b for a, b in zip(old, new, strict=True)]
    return sums


def trial_rows(title: str, sums: Mapping[str, list[int]]) -> list[list[str]]:
    """Documents, their share of those seen, and megabytes by language group."""
    shown = shown_groups([sums])
    rows = [[title, *(f"{name} {what}" for name in shown for what in ("docs", "share", "MB"))]]
    # The last line follows from those above it: dropped + newly dropped - newly kept.
    for label, weights in (
        ("seen", (1, 0, 0, 0)),
        ("dropped", (0, 1, 0, 0)),
        ("newly dropped", (0, 0, 1, 0)),
        ("newly kept", (0, 0, 0, 1)),
        ("dropped then", (0, 1, 1, -1)),
    ):
        cells = []
        for name in shown:
            if name not in sums:
                cells += ["-"] * 3
                continue
            docs, size = (sum(w * n for w, n in zip(weights, sums[name][i::2], strict=True)) for i in (0, 1))
            cells += [f"{docs:,}", share(docs / sums[name][0] if sums[name][0] else None), f"{size / 1e6:,.2f}"]
        rows.append([label, *cells])
    return rows


def show_histogram(found: Histogram) -> Iterator[str]:
    """Bars by bin, English beside Chinese on one scale of values, with the thresholds between them."""
    shown = [name for name in LANGUAGES if name != LANGUAGES[-1] or name in found.groups]
    yield f"{found.signal} at {', '.join(found.stages)}: documents by value; █ kept, ░ dropped by any rule"
    bins = len(found.edges) - 1
    labels = [edge_text(edge, found.whole) for edge in found.edges]
    margin = max(len("from"), *map(len, labels))
    blocks = {name: block(found.groups.get(name), bins) for name in shown}
    header = [f"{name} kept, dropped" for name in shown]
    sizes = [max(len(header[i]), *map(len, blocks[name])) for i, name in enumerate(shown)]
    yield (
        "from".rjust(margin) + "".join(f"  {cell:<{size}}" for cell, size in zip(header, sizes, strict=True))
    ).rstrip()
    rows = ["".join(f"  {blocks[n][i]:<{s}}" for n, s in zip(shown, sizes, strict=True)) for i in range(bins)]
    marked = {edge_text(mark.edge, found.whole) for mark in found.thresholds}
    yield from threshold_lines(found, found.edges[0], margin)
    empty = [not any(c.kept[i] + c.dropped[i] for c in found.groups.values()) for i in range(bins)]
    for i, row in enumerate(rows):
        # Of a run of empty bins the first is enough.
        if not (i and empty[i] and empty[i - 1] and labels[i] not in marked):
            yield (labels[i].rjust(margin) + row).rstrip()
        yield from threshold_lines(found, found.edges[i + 1], margin)
    for name in shown:
        counts = found.groups.get(name)
        if counts and counts.unmeasured:
            yield f"{name}: {counts.unmeasured:,} documents not measured"
    for warning in found.warnings:
        yield f"warning: {warning}"


def threshold_lines(found: Histogram, edge: float, margin: int) -> Iterator[str]:
    """The thresholds at an edge of the bins, with an arrow to what they drop."""
    for mark in found.thresholds:
        if mark.edge == edge:
            arrow = "↑" if mark.side == "lo" else "↓"
            yield f"{'┈' * margin}  {arrow} {mark.rule} [{mark.lang}] drops {COMPARE[mark.side]} {mark.value:,.9g}"


def block(counts: Counts | None, bins: int) -> list[str]:
    """The lines of one language group: two counts and a bar; the longest bar has BAR cells."""
    if counts is None:
        return ["-"] * bins
    most = max((k + d for k, d in zip(counts.kept, counts.dropped, strict=True)), default=0)
    left = max(len(f"{n:,}") for n in counts.kept)
    right = max(len(f"{n:,}") for n in counts.dropped)
    return [
        f"{kept:>{left},} {dropped:>{right},} {bar(kept, dropped, most)}"
        for kept, dropped in zip(counts.kept, counts.dropped, strict=True)
    ]


def bar(kept: int, dropped: int, most: int) -> str:
    """A bar of BAR cells for `most` documents; what is there at all takes an eighth of a cell, or one cell."""
    eighths = -(-kept * BAR * 8 // most) if most else 0
    cells = max(1, round(dropped * BAR / most)) if dropped else 0
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip() + "░" * cells


def edge_text(edge: float, whole: bool) -> str:
    """An edge of a bin."""
    return f"{int(edge):,}" if whole and edge == int(edge) else f"{edge:,.4g}" if abs(edge) < 1000 else f"{edge:,.0f}"
