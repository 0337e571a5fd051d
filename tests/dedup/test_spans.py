"""Spans: clipped to share no place, cut out, counted in characters, and led back past earlier cuts."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.spans import Spans, compose, cut, disjoint, flat, in_characters, union
from manifests.rebuild import rebuilt

Rows = list[tuple[int, int, int, int]]  # document, start, end, reason


def spans_of(rows: Rows) -> Spans:
    return Spans(*np.array(rows, np.int64).reshape(-1, 4).T)


def rows_of(spans: Spans) -> Rows:
    columns = (spans.documents, spans.starts, spans.ends, spans.reasons)
    return list(zip(*(column.tolist() for column in columns), strict=True))


DISJOINT: dict[str, tuple[Rows, Rows]] = {
    "none": ([], []),
    "in order": ([(1, 5, 7, 0), (0, 4, 6, 0), (0, 1, 2, 0)], [(0, 1, 2, 0), (0, 4, 6, 0), (1, 5, 7, 0)]),
    "what touches stays apart": ([(0, 0, 2, 0), (0, 2, 3, 0)], [(0, 0, 2, 0), (0, 2, 3, 0)]),
    "one reason, overlapping: one span": ([(0, 0, 5, 1), (0, 3, 8, 1), (0, 7, 9, 1)], [(0, 0, 9, 1)]),
    "two reasons: the first to start keeps the place": ([(0, 3, 8, 0), (0, 0, 5, 1)], [(0, 0, 5, 1), (0, 5, 8, 0)]),
    "two that start together: the lower reason": ([(0, 0, 9, 2), (0, 0, 4, 1)], [(0, 0, 4, 1), (0, 4, 9, 2)]),
    "what lies inside another goes": ([(0, 0, 9, 2), (0, 2, 4, 1)], [(0, 0, 9, 2)]),
    "documents do not meet": ([(0, 0, 99, 0), (1, 0, 3, 0)], [(0, 0, 99, 0), (1, 0, 3, 0)]),
}


@pytest.mark.parametrize("given_rows, expected", DISJOINT.values(), ids=DISJOINT)
def test_spans_share_no_place(given_rows: Rows, expected: Rows) -> None:
    given_spans = np.array(given_rows, np.int64).reshape(-1, 4)
    assert rows_of(disjoint(*given_spans.T)) == expected


def test_cut_and_count_in_characters() -> None:
    column = pa.array(["left out", "ab茶cd茶", "", "plain", "é!"]).slice(1)
    spans = spans_of([(0, 1, 5, 7), (0, 7, 10, 8), (3, 0, 3, 9)])
    texts, pieces = cut(column, spans)
    assert texts.to_pylist() == ["acd"[:1] + "cd", "", "plain", ""]
    assert pieces.to_pylist() == ["b茶", "d茶"[1:], "é!"]
    assert rows_of(in_characters(column, spans)) == [(0, 1, 3, 7), (0, 5, 6, 8), (3, 0, 2, 9)]


COMPOSED: dict[str, tuple[Rows, Rows, Rows]] = {
    # "0123456789" without 2, 3 and 6 is "0145789".
    "before and behind": ([(0, 2, 4, 0), (0, 6, 7, 0)], [(0, 0, 1, 1), (0, 5, 6, 1)], [(0, 0, 1, 1), (0, 8, 9, 1)]),
    "over a cut": ([(0, 2, 4, 0), (0, 6, 7, 0)], [(0, 1, 3, 1)], [(0, 1, 2, 1), (0, 4, 5, 1)]),
    "over both": ([(0, 2, 4, 0), (0, 6, 7, 0)], [(0, 0, 7, 1)], [(0, 0, 2, 1), (0, 4, 6, 1), (0, 7, 10, 1)]),
    "up to a cut and from it": (
        [(0, 2, 4, 0), (0, 6, 7, 0)],
        [(0, 0, 2, 1), (0, 2, 4, 2)],
        [(0, 0, 2, 1), (0, 4, 6, 2)],
    ),
    "over two cuts that touch": ([(0, 2, 4, 0), (0, 4, 5, 3)], [(0, 1, 3, 1)], [(0, 1, 2, 1), (0, 5, 6, 1)]),
    "another document's cuts": ([(0, 2, 4, 0), (2, 0, 9, 0)], [(1, 3, 5, 1)], [(1, 3, 5, 1)]),
    "no cut before": ([], [(1, 3, 5, 1)], [(1, 3, 5, 1)]),
    "nothing new": ([(0, 2, 4, 0)], [], []),
}


@pytest.mark.parametrize("old, new, expected", COMPOSED.values(), ids=COMPOSED)
def test_composed_spans_are_places_of_the_first_text(old: Rows, new: Rows, expected: Rows) -> None:
    assert rows_of(compose(spans_of(old), spans_of(new)).spans) == expected


def test_union_is_in_order() -> None:
    old, new = spans_of([(0, 2, 4, 0), (2, 0, 1, 0)]), spans_of([(0, 0, 2, 1), (1, 0, 1, 1)])
    assert rows_of(union(old, new)) == [(0, 0, 2, 1), (0, 2, 4, 0), (1, 0, 1, 1), (2, 0, 1, 0)]


@st.composite
def texts_and_rounds(draw: st.DrawFn) -> tuple[list[str], list[list[list[tuple[float, float, int]]]]]:
    texts = draw(st.lists(st.text("ab茶\né😀 ", max_size=12), min_size=1, max_size=4))
    span = st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2))
    one = st.lists(st.lists(span, max_size=4), min_size=len(texts), max_size=len(texts))
    return texts, draw(st.lists(one, min_size=1, max_size=3))


@settings(max_examples=200, deadline=None)
@given(texts_and_rounds())
def test_any_cuts_in_any_number_of_rounds_can_be_taken_back(
    case: tuple[list[str], list[list[list[tuple[float, float, int]]]]],
) -> None:
    texts, rounds = case
    column, all_cuts = pa.array(texts, pa.string()), spans_of([])
    pieces: dict[tuple[int, int], str] = {}
    for wanted in rounds:
        rows = []
        for document, spans in enumerate(wanted):
            text = column[document].as_py()
            for first, last, reason in spans:
                a, b = sorted((round(first * len(text)), round(last * len(text))))
                rows.append((document, len(text[:a].encode()), len(text[:b].encode()), reason))
        found = disjoint(*np.array(rows, np.int64).reshape(-1, 4).T)
        left, cut_texts = cut(column, found)
        # The slow reference: marks on a Python list of characters.
        for document, text in enumerate(column.to_pylist()):
            gone = b"".join(text.encode()[s:e] for d, s, e, _ in rows_of(found) if d == document)
            stays = {i for d, s, e, _ in rows_of(found) if d == document for i in range(s, e)}
            assert left[document].as_py().encode() == bytes(b for i, b in enumerate(text.encode()) if i not in stays)
            assert len(gone) == len(stays)
        characters = in_characters(column, found)
        composed = compose(all_cuts, characters)
        for row, (document, start, end, _) in enumerate(rows_of(composed.spans)):
            whole, inside = cut_texts[composed.which[row]].as_py(), int(composed.inside[row])
            pieces[document, start] = whole[inside : inside + end - start]
            assert pieces[document, start] == texts[document][start:end]
        all_cuts = union(all_cuts, composed.spans)
        column = left
    assert rows_of(disjoint(*np.array(rows_of(all_cuts), np.int64).reshape(-1, 4).T)) == rows_of(all_cuts)
    for document, text in enumerate(texts):
        back = rebuilt(column[document].as_py(), [(s, t) for (d, s), t in sorted(pieces.items()) if d == document])
        assert back == text


def test_flat_honours_the_offset_of_a_slice() -> None:
    data, offsets = flat(pa.array(["ab", "c", "def"]).slice(1, 2))
    assert [data[a:b].tobytes() for a, b in zip(offsets[:-1], offsets[1:], strict=True)] == [b"c", b"def"]
