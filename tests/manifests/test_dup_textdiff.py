"""Differing parts of two texts: tables in English and Chinese, and what holds for any two texts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import textdiff
from manifests.textdiff import column, differences, side_by_side, spans, visible, width

TABLE = [
    # a, b, the parts of a and of b that differ
    ("the old cat sat here", "the new cat sat here", [("old", "new")]),
    ("the cat sat here now", "the cat sat here", [(" now", "")]),
    ("老猫坐在这里看书", "新猫坐在这里看书", [("老", "新")]),
    ("老猫坐在这里看书", "老猫坐在这里", [("看书", "")]),
    ("我用 Python 写程序代码", "我用 Rust 写程序代码", [("Python", "Rust")]),
    ("first, here it is all so. one", "first, here it is all so. two", [("one", "two")]),
    ("One stays as it is. Two goes.", "One stays as it is. Three goes.", [("Two", "Three")]),
    ("一句不变。二句变了。", "一句不变。三句变了。", [("二", "三")]),
    ("a b c", "a b c", []),
    ("", "", []),
    ("", "新", [("", "新")]),
    # Up to three units in common between two changes join them: two words with one word between.
    ("go one and two end of it all", "go six and ten end of it all", [("one and two", "six and ten")]),
    ("one here it is all so two", "six here it is all so ten", [("one", "six"), ("two", "ten")]),
]


@pytest.mark.parametrize("a, b, expected", TABLE)
def test_differences(a: str, b: str, expected: list[tuple[str, str]]) -> None:
    assert [(place.a, place.b) for place in differences(a, b)] == expected


def test_what_stands_around() -> None:
    (place,) = differences("x" * 30 + " old 猫" + "好" * 30, "x" * 30 + " new 猫" + "好" * 30)
    assert (place.before, place.after) == ("x" * 23 + " ", " 猫" + "好" * 22)


def test_context_is_the_same_in_both() -> None:
    found = differences("one here it is all so two", "six here it is all so ten")
    assert [(place.before, place.after) for place in found] == [
        ("", " here it is all so "),
        (" here it is all so ", ""),
    ]


TEXTS = st.text(alphabet="ab 。.\n猫书", max_size=60)


@given(TEXTS, TEXTS)
@settings(max_examples=300, deadline=None)
def test_outside_the_spans_the_texts_are_the_same(a: str, b: str) -> None:
    parts, at, other = [], 0, 0
    for start_a, end_a, start_b, end_b in spans(a, b):
        assert a[at:start_a] == b[other:start_b] and (start_a, start_b) >= (at, other)
        parts += [a[at:start_a], b[start_b:end_b]]
        at, other = end_a, end_b
    assert "".join(parts) + a[at:] == b
    assert bool(spans(a, b)) == (a != b)


def test_parts_that_are_too_long_count_as_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = "Same. " + "w x " * 9, "Same. " + "y x " * 9
    assert len(differences(a, b)) == 1  # one unit in common joins
    a, b = "Same. w here it is all so v", "Same. x here it is all so z"
    assert len(differences(a, b)) == 2
    monkeypatch.setattr(textdiff, "MOST_CELLS", 10)
    assert [(p.a, p.b) for p in differences(a, b)] == [(" w here it is all so v", " x here it is all so z")]


def test_repeated_lines_are_compared_quickly() -> None:
    """Without the rule for frequent pieces this is 10^9 steps."""
    assert differences("again\n" * 20_000 + "a", "again\n" * 20_000 + "b")


@pytest.mark.parametrize(
    "text, shown", [("a\n b", "a⏎b"), ("a\r\n\r\nb", "a⏎b"), ("a\tb\x1b[2J", "a b [2J"), ("\x9b茶", " 茶")]
)
def test_nothing_reaches_the_terminal_but_text(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(TEXTS, TEXTS, st.integers(30, 60))
@settings(max_examples=100, deadline=None)
def test_columns_are_as_wide_as_they_should(a: str, b: str, cells: int) -> None:
    for line in side_by_side(differences(a, "x" + b), 50, cells):
        left, bar, right = line.rpartition(" | ")
        assert bar and width(left) == cells and width(right) <= cells


def test_a_long_part_keeps_its_ends() -> None:
    assert column("before ", "abcdef" + "x" * 100 + "uvwxyz", " after", 40) == "before «abcdefx...xxuvwxyz» after"


def test_lines() -> None:
    assert list(side_by_side(None)) == ["the texts are not stored any more"]
    assert list(side_by_side([])) == ["the texts are the same"]
    found = differences("老 a here it is all so b", "新 c here it is all so d")
    assert list(side_by_side(found, 1, 30)) == [
        "«老 a» here it is all so       | «新 c» here it is all so ",
        "and 1 more places; --json shows all",
    ]
