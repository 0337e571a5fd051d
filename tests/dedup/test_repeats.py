"""Windows by anchor, and which of them occurred before, against a dictionary of all windows."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.repeats import Held, find_repeats, utf8_bytes
from dedup.windows import PERIOD, cut_windows, longest

Window = tuple[int, int]  # text, first unit


def joined(texts: list[str], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Units of all texts and the bounds of each."""
    coded = [text.encode("utf-8" if kind == "u1" else "utf-32-le") for text in texts]
    units = np.frombuffer(b"".join(coded), kind)
    return units, np.cumsum([0] + [len(text) // units.itemsize for text in coded])


def repeated(units: np.ndarray, bounds: np.ndarray, length: int, inside: bool, slots: int) -> dict[Window, Window]:
    """Each window that occurred before, and where first."""
    found, _ = cut_windows(units, bounds, length)
    assert (found.stops - found.starts <= longest(length)).all()
    order = np.lexsort((found.starts, found.documents, found.keys))
    keys = found.keys[order]
    groups = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True]))) if len(keys) else np.zeros(1, int)
    windows, before = found.stops - found.starts - length + 1, found.anchors - found.starts
    held = Held(units, found.starts, windows, before, found.documents)
    hits = find_repeats(held, order, groups, length, inside, slots)
    out = {}
    for row, first, last, earlier in zip(*hits, strict=True):
        shift = before[earlier] - before[row]
        for window in range(first, last + 1):
            places = [(r, found.starts[r] + w) for r, w in ((row, window), (earlier, window + shift))]
            own, other = ((int(found.documents[r]), int(p - bounds[found.documents[r]])) for r, p in places)
            assert own not in out
            out[own] = other
    return out


def reference(units: np.ndarray, bounds: np.ndarray, length: int, inside: bool) -> dict[Window, Window]:
    """The same by the definition."""
    first: dict[bytes, Window] = {}
    out = {}
    for text in range(len(bounds) - 1):
        for place in range(bounds[text + 1] - bounds[text] - length + 1):
            window = units[bounds[text] + place :][:length].tobytes()
            earlier = first.setdefault(window, (text, place))
            if earlier != (text, place) and (inside or earlier[0] != text):
                out[text, place] = earlier
    return out


@pytest.mark.parametrize(
    "texts, expected",
    [
        (["abcdefgh", "xabcdefghx"], {(1, 1): (0, 0)}),  # a text of just one window
        (["abcdefg", "abcdefg"], {}),  # and one without
        (["abcdefghij", "bcdefghi", "abcdefghi"], {(1, 0): (0, 1), (2, 0): (0, 0), (2, 1): (0, 1)}),
        (["今天天气很好我们", "说今天天气很好我们去"], {(1, 1): (0, 0)}),
        (["abcdefgh abcdefgh", "abcdefgh"], {(0, 9): (0, 0), (1, 0): (0, 0)}),
    ],
)
def test_windows_that_occurred_before(texts: list[str], expected: dict[Window, Window]) -> None:
    assert repeated(*joined(texts, "u4"), 8, True, 1024) == expected
    across = {own: other for own, other in expected.items() if own[0] != other[0]}
    assert repeated(*joined(texts, "u4"), 8, False, 1024) == across


PIECES = st.sampled_from(
    ["the quick ", "brown fox", "天地玄黄，", "宇宙洪荒。", "jumps 跳", "é", "a", "😀", "0123456789"]
)
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=6)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(["u1", "u4"]), st.sampled_from([8, 11, 20]), st.booleans(), st.sampled_from([16, 4096]))
def test_every_window_is_found(texts: list[str], kind: str, length: int, inside: bool, slots: int) -> None:
    units, bounds = joined(texts, kind)
    expected = reference(units, bounds, length, inside)
    found = repeated(units, bounds, length, inside, slots)
    if not cut_windows(units, bounds, length)[1]:
        assert found == expected
    # Of text that repeats itself at once some windows are left out; never is one found that did not occur before.
    for own, other in found.items():
        texts_of = [units[bounds[t] + p :][:length].tobytes() for t, p in (own, other)]
        assert texts_of[0] == texts_of[1] and own in expected and other < own


def test_a_line_of_dashes_does_not_fill_the_table() -> None:
    for text, period in (("-" * 5000, 1), ("=+" * 2500, 2), ("- " * 10 + "-=" * 2490, 2)):
        found, left_out = cut_windows(*joined([text], "u1"), 200)
        assert len(found.keys) < 200 + 150 * (period > PERIOD)
        windows = found.stops - found.starts - 199
        assert windows.sum() + left_out == 5000 - 199


def test_one_passage_in_very_many_texts() -> None:
    """Linear: the windows of the copies all meet those of the first."""
    passage = "".join(random.Random(1).choices("abcdefgh", k=300))
    texts = [f"{i:06d}" + passage for i in range(3000)]
    found = repeated(*joined(texts, "u1"), 200, False, 1 << 12)
    assert {own[0] for own in found} == set(range(1, 3000))
    assert all(other == (0, own[1]) for own, other in found.items() if own[1] >= 6)


def test_lengths_in_bytes() -> None:
    units, _ = joined(["aé中😀b"], "u4")
    assert utf8_bytes(units, np.array([0, 1, 3]), np.array([5, 2, 1])).tolist() == [11, 5, 4]


@pytest.mark.parametrize("length", [7, 4097])
def test_lengths_that_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="must have 8 to 4096 units"):
        cut_windows(*joined(["a"], "u1"), length)
