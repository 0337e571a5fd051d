"""Shingles of script runs: which runs a text has, by hand in both languages, then their hashes on any text."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from dedup.minhash import signatures
from dedup.shingles import shingle_hashes, shingle_sets
from stages.edits import shingles as plain_shingles
from tests.dedup.test_shingles import SPACELESS, reference_hash, rows, texts


def runs(text: str) -> list[tuple[str, str]]:
    """(kind, stretch) of a text: the definition, in plain Python."""
    found: list[tuple[str, str]] = []
    before = ""
    for c in text:
        kind = "characters" if SPACELESS.match(c) else "words" if re.match(r"\w", c) else ""
        if not found and not kind:
            before += c  # of the first run, whatever that is
        elif not kind or (found and kind == found[-1][0]):
            found[-1] = (found[-1][0], found[-1][1] + c)
        else:
            found.append((kind, before + c))
            before = ""
    return found


def shingles(text: str) -> list[tuple[str, ...]]:
    """All shingles in the order of the text."""
    made = []
    for kind, part in runs(text):
        lower = "".join("i" if c == "İ" else "σ" if c in "Σς" else c.lower() for c in part)
        units = list(re.sub(r"\s+", "", part)) if kind == "characters" else re.findall(r"\w+", lower)
        made += [(kind, *units[i : i + 5]) for i in range(max(len(units) - 4, min(len(units), 1)))]
    return made


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        (" ?! ", []),
        ("Green tea, and more of it", [("words", "Green tea, and more of it")]),
        ("绿茶，红茶。", [("characters", "绿茶，红茶。")]),
        ("“绿茶” is green", [("characters", "“绿茶” "), ("words", "is green")]),
        ("(tea) 绿茶", [("words", "(tea) "), ("characters", "绿茶")]),
        ("用Python 3写", [("characters", "用"), ("words", "Python 3"), ("characters", "写")]),
        ("かな and カナ", [("characters", "かな "), ("words", "and "), ("characters", "カナ")]),
    ],
)
def test_runs_by_hand(text: str, expected: list[tuple[str, str]]) -> None:
    assert runs(text) == expected


@given(texts)
@settings(max_examples=400, deadline=None)
def test_hashes_are_those_of_the_definition(text: str) -> None:
    offsets, hashes = shingle_hashes(pa.array(["skip", text, text]).slice(1), by_runs=True)
    assert rows(offsets, hashes) == [[reference_hash(s) for s in shingles(text)]] * 2


@given(texts)
@settings(max_examples=200, deadline=None)
def test_one_run_is_shingled_as_its_majority(text: str) -> None:
    kinds = {kind for kind, _ in runs(text)}
    if len(kinds) == 1 and len(runs(text)) == 1:
        column = pa.array([text])
        assert shingle_hashes(column, by_runs=True)[1].tolist() == shingle_hashes(column)[1].tolist()


@given(texts)
@settings(max_examples=200, deadline=None)
def test_the_reference_of_the_probes_is_another_that_agrees(text: str) -> None:
    sets = shingle_sets(pa.array([text]), by_runs=True)[1]
    assert len(plain_shingles(text, by_runs=True)) == len({s[1:] for s in shingles(text)}) <= len(sets)


def test_a_page_in_two_languages_counts_both() -> None:
    """English half the same, Chinese half another: by majority the one that is shingled finely decides alone."""
    english = " ".join(f"word{i}" for i in range(100))
    chinese = ["".join(chr(0x4E00 + 37 * i + j) for i in range(100)) for j in (0, 5)]
    column = pa.array([f"{english}。{part}" for part in chinese])

    def jaccard(by_runs: bool) -> float:
        offsets, hashes = shingle_sets(column, by_runs=by_runs)
        a, b = (set(hashes[offsets[i] : offsets[i + 1]].tolist()) for i in (0, 1))
        return len(a & b) / len(a | b)

    assert jaccard(True) == pytest.approx(96 / (96 + 2 * 96), abs=0.01)
    assert abs(jaccard(False) - 1 / 3) > 0.2


def test_signatures_follow() -> None:
    column = pa.array(["Green tea 绿茶是茶 and more of it", "", "绿茶是茶", "茶"])
    plain, whole = signatures(column)
    by_runs, filled = signatures(column, by_runs=True)
    assert filled.tolist() == whole.tolist() == [True, False, True, True]
    same = (plain == by_runs).all(axis=1)
    assert same.tolist()[2:] == [True, True] and not same[0]
    sets = shingle_sets(column.take(pa.array([0])), by_runs=True)[1]
    assert len(np.unique(sets)) == 3  # each of the three runs is shorter than its shingles, and so is one
