"""Distributions of signals: bins counted by hand, thresholds that cut them cleanly, bars, and pictures that repeat."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import showrules
from manifests.__main__ import main
from manifests.histogram import BINS, Counts, Histogram, Range, Threshold, after, bin_edges, histogram
from manifests.latest import Run
from manifests.measured import outside
from manifests.rulestats import rule_stats
from manifests.storage import StorageError
from tests.manifests.rule_roots import NOTES, RULES, make, random_notes

Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(tmp_path_factory.mktemp("rules"), NOTES, RULES)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(tmp_path_factory.mktemp("many"), random_notes(200, seed=5), RULES)


def bins(found: Histogram, name: str) -> dict[float, tuple[int, int]]:
    """(kept, dropped) by the lower edge, empty bins left out."""
    counts = found.groups[name]
    pairs = zip(found.edges, zip(counts.kept, counts.dropped, strict=True), strict=False)
    return {edge: pair for edge, pair in pairs if pair != (0, 0)}


def test_whole_numbers(tmp_path: Path) -> None:
    """Few different whole numbers have a bin each. Words: en 6 2 5 2 0, zh 5 1 7 3 6, fr 4 1."""
    found = histogram(make(tmp_path, NOTES, [RULES[0] | {"hi": 9}]), "word_count")
    assert (found.whole, found.log, found.edges) == (True, False, tuple(range(11)))
    assert bins(found, "en") == {0: (0, 1), 2: (0, 2), 5: (1, 0), 6: (1, 0)}
    assert bins(found, "zh") == {1: (0, 1), 3: (0, 1), 5: (1, 0), 6: (1, 0), 7: (1, 0)}
    assert bins(found, "other") == {1: (0, 1), 4: (1, 0)}
    assert found.thresholds == (
        Threshold("filter", "word_count", "*", "lo", 4, 4),
        Threshold("filter", "word_count", "*", "hi", 9, 10),
    )


def test_ratios_and_what_was_not_measured(run: Run) -> None:
    found = histogram(run, "digit_ratio")
    assert set(found.groups) == {"en"}  # the rule is for English
    counts = found.groups["en"]
    assert (sum(counts.kept), sum(counts.dropped), counts.unmeasured) == (1, 3, 1)
    first = bins(found, "en")
    assert first[0.0] == (1, 1)  # "calm"; "short", which went for its length


def test_a_rule_names_its_signal(run: Run) -> None:
    assert histogram(run, "chinese_text").signal == "han_ratio"


def test_one_language(run: Run) -> None:
    assert set(histogram(run, "word_count", lang="zh").groups) == {"zh"}


@pytest.mark.parametrize("signal", ["word_count", "digit_ratio", "han_ratio", "dup_line_ratio"])
def test_thresholds_part_the_bins(many: Run, signal: str) -> None:
    """Documents beyond the edges of a rule are just those that fail it; none of them is kept."""
    found = histogram(many, signal)
    lo = max((t.edge for t in found.thresholds if t.side == "lo"), default=-math.inf)
    hi = min((t.edge for t in found.thresholds if t.side == "hi"), default=math.inf)
    beyond = [i for i, edge in enumerate(found.edges[:-1]) if edge < lo or edge >= hi]
    stage = rule_stats(many).stages[0]
    fired = {lang: e.fired for item in stage.rules if item.rule.signal == signal for lang, e in item.languages.items()}
    for name, counts in found.groups.items():
        assert sum(counts.kept[i] for i in beyond) == 0
        assert sum(counts.dropped[i] for i in beyond) == fired["fr" if name == "other" else name]


FLOATS = st.floats(-1e6, 1e6, width=32)


@given(
    st.lists(FLOATS, min_size=1, max_size=30), st.lists(st.tuples(st.sampled_from(["lo", "hi"]), FLOATS)), st.booleans()
)
def test_edges(numbers: list[float], bounds: list[tuple[str, float]], whole: bool) -> None:
    """Edges ascend and hold every value; every threshold has all that it drops on one side."""
    column = np.array([round(n) if whole else n for n in numbers], np.float32)
    marks = [
        Threshold("", "", "", side, value, after(value, whole) if side == "hi" else value) for side, value in bounds
    ]
    span = Range(float(column.min()), float(column.max()), whole)
    for log in (False, True) if span.lowest >= 0 and all(v >= 0 for _, v in bounds) else (False,):
        edges = bin_edges(span, marks, log)
        assert (np.diff(edges) > 0).all() and len(edges) <= BINS + 2 + len(marks)
        assert edges[0] <= column.min() and column.max() < edges[-1]
        place = np.searchsorted(edges, column.astype(np.float64), "right") - 1
        for mark in marks:
            at = int(np.searchsorted(edges, mark.edge))
            assert edges[at] == mark.edge
            gone = place < at if mark.side == "lo" else place >= at
            lo, hi = (mark.value, None) if mark.side == "lo" else (None, mark.value)
            assert gone.tolist() == outside(column, lo, hi).tolist()


def test_bars() -> None:
    """The longest bar has 24 cells; a few dropped documents take a cell, a few kept ones an eighth."""
    assert showrules.bar(80, 0, 80) == "█" * 24
    assert showrules.bar(5, 0, 80) == "█▌"
    assert showrules.bar(1, 1, 1000) == "▏░"
    assert showrules.bar(40, 40, 80) == "█" * 12 + "░" * 12
    assert showrules.bar(0, 0, 80) == "" == showrules.bar(0, 0, 0)


def test_drawn_in_the_terminal() -> None:
    """Thresholds stand between the bins; of a run of empty bins the first is shown."""
    found = Histogram(
        "word_count", ("filter",), False, True, (0, 1, 2, 3, 4, 5), 
        {"en": Counts((0, 4, 0, 0, 0), (2, 0, 0, 0, 0), 3), "zh": Counts((0, 2, 0, 0, 0), (1, 1, 0, 0, 0), 0)},
        (Threshold("filter", "short", "*", "lo", 1, 1), Threshold("filter", "long", "zh", "hi", 4, 5)),
        ("careful",),
    )  # fmt: skip
    full, half = "█" * 24, "░" * 12
    assert list(showrules.show_histogram(found)) == [
        "word_count at filter: documents by value; █ kept, ░ dropped by any rule",
        "from  en kept, dropped              zh kept, dropped",
        f"   0  0 2 {half}              0 1 {'░' * 8}",
        "┈┈┈┈  ↑ short [*] drops < 1",
        f"   1  4 0 {full}  2 1 {'█' * 16}{'░' * 8}",
        "   2  0 0                           0 0",
        "┈┈┈┈  ↓ long [zh] drops > 4",
        "en: 3 documents not measured",
        "warning: careful",
    ]


def test_printed_and_json(run: Run, capsys: Printed) -> None:
    assert main(["rules", run.storage.uri, "--histogram", "word_count"]) == 0
    printed = capsys.readouterr().out
    assert "↑ word_count [*] drops < 4" in printed and "↓ word_count [*] drops > 100" in printed
    assert main(["rules", run.storage.uri, "--histogram", "word_count", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["signal", "stages", "log", "whole", "edges", "groups", "thresholds", "warnings"]
    assert len(found["edges"]) == len(found["groups"]["en"]["kept"]) + 1
    assert sum(found["groups"]["zh"]["kept"]) == 1


def test_early_exit_is_warned_about(tmp_path: Path) -> None:
    found = histogram(make(tmp_path, NOTES, RULES, early_exit=True), "digit_ratio")
    assert found.warnings == ("filter ran with early_exit: documents that failed an earlier tier were not measured",)


def test_mistakes(run: Run, tmp_path: Path, capsys: Printed) -> None:
    for signal, more, complaint in (
        ("word_cuont", [], "did you mean 'word_count'?"),
        ("digit_ratio", ["--lang", "zh"], "no rule asks for it in zh"),
        ("word_count", ["--lang", "de"], "not one document in de has a value"),
        ("word_count", ["--plot", str(tmp_path / "a.gif")], "must end in .png or .svg"),
        ("word_count", ["--plot", str(tmp_path / "no" / "a.svg")], "cannot be written (No such file or directory)"),
    ):
        assert main(["rules", run.storage.uri, "--histogram", signal, *more]) == 2
        assert complaint in capsys.readouterr().err
    with pytest.raises(StorageError, match="--set filter.values=true"):
        histogram(make(tmp_path / "bare", NOTES, RULES, values=False), "word_count")


@pytest.mark.parametrize("suffix, begin", [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures_repeat(run: Run, tmp_path: Path, suffix: str, begin: bytes) -> None:
    """In this process and in another one, with another hash seed."""
    files = [tmp_path / f"{n}.{suffix}" for n in range(2)]
    arguments = ["rules", run.storage.uri, "--histogram", "word_count", "--plot"]
    assert main([*arguments, str(files[0])]) == 0
    subprocess.run([sys.executable, "-m", "manifests", *arguments, str(files[1])], check=True, capture_output=True)
    first, second = (file.read_bytes() for file in files)
    assert first == second and first.startswith(begin)
    assert b"dc:date" not in first and b"Matplotlib v" not in first


def test_without_matplotlib(run: Run, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "manifests.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["rules", run.storage.uri, "--histogram", "word_count", "--plot", str(tmp_path / "a.png")]) == 2
    assert capsys.readouterr().err == (
        "manifests: --plot needs matplotlib; install it with `pip install -c constraints.txt -e '.[plot]'`\n"
    )
