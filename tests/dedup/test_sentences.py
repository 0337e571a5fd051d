"""Where sentences begin, and which whole sentences lie in a span."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.sentences import sentences, tidy, whole_sentences
from dedup.spans import Spans, cut

TABLE = [
    # Parts of one text.
    ["One. ", "Two! ", "Three?"],
    ["一句。", "二句！", "三句？", "四句……", "五句；", "六句"],
    ["Pi is 3.14 and no more. ", "See www.a.example/b.html for it."],
    ["圆周率是3.14，见www.a.example。", "好。"],
    ["他说：“走吧。”", "她说：“好！”", "（完。）", "完"],
    ['He said "Go." ', "She (too.) ", "went."],
    ["line\n", "line\n\n", "line"],
    ["line\r\n", "\r\n", "line"],
    ["什么？！", "真的。。。", "嗯…", "好"],
    ["a.  ", "b.\n", "  c"],
    ["e.g.this is one"],
    ["\n\n", "a"],
    ["。", "a"],
    ["中文。 ", "English. ", "中文"],
]


def pieces(text: str) -> list[str]:
    data = text.encode()
    found = sentences(np.frombuffer(data, np.uint8), np.array([0, len(data)]))
    return [data[start:end].decode() for _, start, end in found]


@pytest.mark.parametrize("parts", TABLE, ids="".join)
def test_sentences(parts: list[str]) -> None:
    assert pieces("".join(parts)) == parts


@pytest.mark.parametrize(
    "text, inner, expected",
    [
        ("One. Two. Three.", "ne. Two. Th", "Two. "),
        ("One. Two. Three.", "One. Two. Three.", "One. Two. Three."),
        ("One. Two. Three.", "wo. Th", ""),
        ("一句。二句。三句", "句。二句。三", "二句。"),
        ("a.\nb.\n\nc.", "b.\n\nc", "b.\n\n"),
        ("a. b.\n\nc.", " b.\n\nc", "b.\n\n"),
        ("a. b.\n\nc. d.", ". b.\n\nc. ", "b.\n\nc. "),
    ],
)
def test_whole_sentences_of_a_span(text: str, inner: str, expected: str) -> None:
    data = text.encode()
    start = text.encode().index(inner.encode())
    arrays = [np.array([x], np.int64) for x in (1, start, start + len(inner.encode()), 7)]
    left = whole_sentences(pa.array(["x", "先。", text]).slice(1), Spans(*arrays))
    assert "|".join(data[a:b].decode() for a, b in zip(left.starts, left.ends, strict=True)) == expected
    assert left.reasons.tolist() == [7] * len(left)


def test_whole_characters_of_a_span() -> None:
    arrays = [np.array([x], np.int64) for x in (0, 2, 7, 0)]
    left = whole_sentences(pa.array(["a中文b"]), Spans(*arrays), whole=False)
    assert (left.starts.tolist(), left.ends.tolist()) == ([4], [7])


@pytest.mark.parametrize(
    "text, goes, stays",
    [
        ("a.\nb.\n\nc.", ["b.\n\n"], "a.\n\nc."),  # of two gaps the wider one stays
        ("a.\n\nb.\n\nc.", ["b."], "a.\n\nc."),
        ("a. b.\n\nc. d.", ["b.\n\nc. "], "a. \n\nd."),
        ("一。二。\n三。\n四。", ["二。\n三。\n"], "一。\n四。"),
        ("一。二。\n\n三。", ["一。", "二。"], "三。"),  # a line that went piece by piece
        ("一。二。\n\n三。", ["三。"], "一。二。"),
        ("a\r\nb\r\nc", ["b"], "a\r\nc"),
        ("a\nb", ["a\nb"], ""),
        ("abcdef", ["bcd", "cde"], "af"),
    ],
)
def test_text_that_stays_keeps_its_lines(text: str, goes: list[str], stays: str) -> None:
    texts = pa.array(["先。\n后", text, ""])
    starts = [len(text[: text.index(part)].encode()) for part in goes]
    ends = [start + len(part.encode()) for start, part in zip(starts, goes, strict=True)]
    ones, which = np.ones(len(goes), np.int64), np.arange(len(goes))
    left, _ = cut(texts, tidy(texts, Spans(ones, np.array(starts), np.array(ends), which)))
    assert left.to_pylist() == ["先。\n后", stays, ""]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("ab3中。！…”). \n\r.?", max_size=12), max_size=4))
def test_sentences_are_the_texts_again_and_stand_alone(texts: list[str]) -> None:
    data = "".join(texts).encode()
    bounds = np.cumsum([0] + [len(text.encode()) for text in texts])
    found = sentences(np.frombuffer(data, np.uint8), bounds)
    alone = [(number, piece) for number, text in enumerate(texts) for piece in pieces(text)]
    assert [(number, data[start:end].decode()) for number, start, end in found] == alone
    assert ["".join(piece for n, piece in alone if n == number) for number in range(len(texts))] == texts
