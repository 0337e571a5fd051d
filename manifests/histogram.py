"""The distribution of a signal: a run in, documents by value for each language group out, kept and dropped apart.

The values are read twice: once for their range, once to count. Bounds of rules are edges of the bins, so that what a
rule drops lies wholly on one side of its threshold. The scale is logarithmic where values are far apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manifests.latest import Run
from manifests.measured import Filtering, asked_for, filterings, hint, measured
from manifests.query import GROUPS, group
from manifests.storage import StorageError

BINS = 24
LOG_FROM = 100.0  # a signal without negative values that reaches this is drawn on a logarithmic scale


@dataclass(frozen=True)
class Threshold:
    """A bound of a rule; `edge` is where the bins are cut for it: a value that equals the bound is kept."""

    stage: str
    rule: str
    lang: str
    side: str  # lo or hi
    value: float
    edge: float


@dataclass(frozen=True)
class Counts:
    """Documents of one language group in each bin, by whether their stage kept them."""

    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    unmeasured: int


@dataclass(frozen=True)
class Histogram:
    """Bin i holds the values in [edges[i], edges[i + 1])."""

    signal: str
    stages: tuple[str, ...]
    log: bool
    whole: bool  # all values are whole numbers
    edges: tuple[float, ...]
    groups: dict[str, Counts]
    thresholds: tuple[Threshold, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """The finite values of a signal."""

    lowest: float
    highest: float
    whole: bool


def histogram(run: Run, signal: str, stage: str = "", lang: str = "") -> Histogram:
    """Documents by value of a signal; a rule's name stands for its signal."""
    everywhere = filterings(run, stage)
    names = {rule.name: rule.signal for f in everywhere for rule in f.rules}
    known = {rule.signal for f in everywhere for rule in f.rules}
    if signal not in known:
        if signal not in names:
            raise StorageError(f"--histogram {signal}: no filter measured it{hint(signal, sorted(known))}")
        signal = names[signal]
    chosen = [f for f in everywhere if any(rule.signal == signal for rule in f.tested(lang))]
    if not chosen:
        raise StorageError(f"--histogram {signal}: no rule asks for it in {lang}")
    for filtering in chosen:
        asked_for(filtering, [signal])
    span = extent(run, chosen, signal, lang)
    bounds = thresholds(chosen, signal, lang, span.whole)
    log = span.lowest >= 0 and max(span.highest, *(b.value for b in bounds), 0) >= LOG_FROM
    edges = bin_edges(span, bounds, log)
    warnings = [
        f"{f.stage} ran with early_exit: documents that failed an earlier tier were not measured"
        for f in chosen
        if f.early_exit
    ]
    found = counted(run, chosen, signal, lang, edges)
    stages = tuple(f.stage for f in chosen)
    return Histogram(signal, stages, log, span.whole, tuple(edges.tolist()), found, tuple(bounds), tuple(warnings))


def thresholds(chosen: Sequence[Filtering], signal: str, lang: str, whole: bool) -> list[Threshold]:
    """The finite bounds of all rules on a signal."""
    found = []
    for filtering in chosen:
        for rule in filtering.tested(lang):
            for side, value in (("lo", rule.lo), ("hi", rule.hi)):
                if rule.signal == signal and value is not None and math.isfinite(value):
                    edge = after(value, whole) if side == "hi" else float(np.float32(value))
                    found.append(Threshold(filtering.stage, rule.name, rule.lang, side, value, edge))
    return found


def extent(run: Run, chosen: Sequence[Filtering], signal: str, lang: str) -> Range:
    """Smallest and largest finite value, and whether all are whole; StorageError where there is none."""
    low, high, whole = math.inf, -math.inf, True
    for filtering in chosen:
        for found in measured(run, filtering, [signal]):
            column = found.of[signal][meant(found.languages, lang)[found.codes]]
            column = column[np.isfinite(column)]
            if len(column):
                low, high = min(low, float(column.min())), max(high, float(column.max()))
                whole = whole and bool((column == np.floor(column)).all())
    if low > high:
        raise StorageError(f"--histogram {signal}: not one document{f' in {lang}' if lang else ''} has a value")
    return Range(low, high, whole)


def meant(languages: Sequence[str], lang: str) -> NDArray[np.bool_]:
    """Which languages of a batch are asked for."""
    return np.array([lang in ("", name) for name in languages], np.bool_)


def bin_edges(span: Range, bounds: Sequence[Threshold], log: bool) -> NDArray[np.float64]:
    """Ascending edges of at most BINS bins that hold all values and all bounds; every bound is one of them."""
    marks = sorted({bound.edge for bound in bounds})
    low, high = min(span.lowest, *marks, math.inf), max(after(span.highest, span.whole), *marks, -math.inf)
    if span.whole and high - low <= BINS:
        edges = np.arange(math.floor(low), math.ceil(high) + 1, dtype=np.float64)
    elif log:
        first = max(low, 1.0)
        edges = np.geomspace(first, high, BINS + 1 - (low < first))
        edges = np.concatenate(([low], edges)) if low < first else edges
    else:
        edges = np.linspace(low, high, BINS + 1)
    if span.whole:
        edges = np.unique(np.ceil(edges))
    edges[0], edges[-1] = min(low, edges[0]), max(high, edges[-1])
    free = set(range(1, len(edges) - 1))
    for mark in marks:
        if mark not in edges and free:
            nearest = min(free, key=lambda i: abs(edges[i] - mark))
            edges[nearest] = mark
            free.remove(nearest)
    return np.unique(np.concatenate((edges, marks)))


def after(value: float, whole: bool) -> float:
    """The smallest number that is larger than a stored value."""
    return math.floor(value) + 1.0 if whole else float(np.nextafter(np.float32(value), np.float32(np.inf)))


def counted(
    run: Run, chosen: Sequence[Filtering], signal: str, lang: str, edges: NDArray[np.float64]
) -> dict[str, Counts]:
    """Documents by bin for each language group that has any; StorageError where two stages measured the same group."""
    sums: dict[str, NDArray[np.int64]] = {}
    stages: dict[str, str] = {}
    bins = len(edges) - 1
    for filtering in chosen:
        for found in measured(run, filtering, [signal]):
            column = found.of[signal].astype(np.float64)
            place = np.clip(np.searchsorted(edges, column, "right") - 1, 0, bins - 1)
            place[np.isnan(column)] = bins
            for code, name in enumerate(found.languages):
                if not meant([name], lang)[0] or not any(r.signal == signal for r in filtering.tested(name)):
                    continue
                wanted = group(name) if group(name) in GROUPS else GROUPS[-1]
                if stages.setdefault(wanted, filtering.stage) != filtering.stage:
                    raise StorageError(
                        f"--histogram {signal}: both {stages[wanted]} and {filtering.stage} measured it for "
                        f"{wanted}; choose one with --stage"
                    )
                table = sums.setdefault(wanted, np.zeros((2, bins + 1), np.int64))
                rows = found.codes == code
                for part, stays in enumerate((found.kept, ~found.kept)):
                    table[part] += np.bincount(place[rows & stays], minlength=bins + 1)
    return {
        name: Counts(
            tuple(sums[name][0, :-1].tolist()), tuple(sums[name][1, :-1].tolist()), int(sums[name][:, -1].sum())
        )
        for name in GROUPS
        if name in sums
    }
