"""Lines that resemble an earlier one of their text, against all pairs with a full matrix."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import editdistance
from dedup.editdistance import block_chars, edit_distance, similar_lines
from dedup.sentences import tidy
from dedup.spans import cut

ZH = "春天来了，公园里的桃花和樱花全都开了"
EN = "Spring has come and all the cherry trees in the park are in bloom 花"


def codes(text: str) -> np.ndarray:
    return np.array([ord(c) for c in text], np.int32)


def distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        row, above = [i], row
        for j, right in enumerate(b, 1):
            row.append(min(above[j - 1] + (left != right), above[j] + 1, row[-1] + 1))
    return row[-1]


@settings(max_examples=300, deadline=None)
@given(st.text("ab中", max_size=12), st.text("ab中", max_size=12), st.integers(0, 14))
def test_distance_within_a_band(a: str, b: str, limit: int) -> None:
    rows = np.full((2, len(b) + 1), 99, np.int32)
    assert edit_distance(codes(a), codes(b), limit, rows) == min(distance(a, b), limit + 1)


def left(text: str, **options: Any) -> str:
    """The text without its similar lines."""
    data = text.encode()
    given_options: dict[str, Any] = {"ratio": 0.1, "min_chars": 10, "exact_chars": 15, "guard": True} | options
    found = similar_lines(np.frombuffer(data, np.uint8), np.array([0, len(data)]), **given_options)
    texts = pa.array([text])
    return str(cut(texts, tidy(texts, found))[0][0])


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"{ZH}。\n{ZH}。", f"{ZH}。"),
        (f"{ZH}。{ZH}！再见。", f"{ZH}。再见。"),  # one edit in 19 characters
        (f"{ZH}。\n\n{ZH}！\n\n再见。", f"{ZH}。\n\n再见。"),
        (f"前言。{ZH}。\n\n后来。{ZH}。\n\n再见。", f"前言。{ZH}。\n\n后来。\n\n再见。"),  # paragraphs stay apart
        (f"{EN}.\n{EN}!", f"{EN}."),
        (f"{ZH}。{ZH.replace('桃花', '梨花').replace('公园', '花园')}！", None),  # 3 edits
        (f"{ZH}1。{ZH}2。", None),  # another number
        (f"{ZH}一。{ZH}二。", None),
        (f"# {ZH}\n甲\n# {ZH}\n乙", None),  # headings
        (f"（一）{ZH}；\n（一）{ZH}；", None),  # list items
        (f"第一条 {ZH}；\n第一条 {ZH}；", None),
        (f"“{ZH}。”\n“{ZH}。”", None),  # turns of a dialogue
        ("    e.printStackTrace();\n" * 3, None),  # code
        ("好的，我知道了。\n" * 3, None),  # short
        ("今天天气非常非常好。\n" * 2, "今天天气非常非常好。\n"),  # 10 characters, equal
        ("今天天气非常非常好。\n今天天气非常非常好！", None),  # at most 15 must be equal
        (f"圆周率3.14，{ZH}……圆周率3.14，{ZH}…", f"圆周率3.14，{ZH}……"),
        (f"见 http://a.example/b.c?d=1 {ZH}", None),
        ("", None),
    ],
)
def test_lines_that_go(text: str, expected: str | None) -> None:
    assert left(text) == (text if expected is None else expected)


def test_without_the_guard_headings_and_code_go() -> None:
    assert left(f"# {ZH}\n甲\n# {ZH}\n乙", guard=False) == f"# {ZH}\n甲\n乙"
    assert left("    e.printStackTrace();\n" * 3, guard=False) == "    e.printStackTrace();\n"


def test_a_line_is_compared_with_what_stays() -> None:
    """b resembles a and goes, c resembles b alone and stays."""
    a = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往"
    b, c = (
        a.replace("天地", "大地").replace("张", "章"),
        a.replace("天地", "大土").replace("张", "章").replace("寒", "韩"),
    )
    assert left(f"{a}。{b}。{c}。") == f"{a}。{c}。"


EDITS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["", "甲", "乙", "甲乙"]), st.integers(0, 2)), max_size=5
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([ZH, ZH[:12] + EN[:20], "甲乙丙" * 9]), EDITS), max_size=7), st.data())
def test_the_lines_that_stay_are_those_of_all_pairs(made: list[tuple[str, list]], data: st.DataObject) -> None:
    ratio = data.draw(st.sampled_from([0.0, 0.1, 0.25]))
    lines = []
    for line, edits in made:
        for place, new, gone in edits:
            line = line[:place] + new + line[place + gone :]
        lines.append(line.strip() + "。")
    kept: list[str] = []
    for line in lines:
        limits = [(other, int(ratio * max(len(line), len(other)))) for other in kept]
        near = any(
            line == other or (min(len(line), len(other)) > 15 and distance(line, other) <= limit)
            for other, limit in limits
        )
        if not near or len(line) < 10:
            kept.append(line)
    assert left("".join(lines), ratio=ratio, guard=False) == "".join(kept)


def test_blocks_are_short_enough_for_every_length() -> None:
    for ratio, exact in ((0.1, 15), (0.1, 0), (0.3, 15), (0.0, 15)):
        block = block_chars(ratio, exact)
        for chars in range(exact + 1, 400):
            longest = max(n for n in range(chars, 2 * chars + 9) if n - chars <= int(ratio * n))
            assert block == 1 or chars // block > int(ratio * longest)
    assert block_chars(0.1, 15) == 6


def test_later_lines_of_a_very_long_text_meet_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editdistance, "MAX_LINES", 1)
    second = "秋天到了，山坡上的枫叶和银杏叶都变黄了"
    text = f"{ZH}。{second}。{ZH}！{second}！{second}。"
    assert left(text) == f"{ZH}。{second}。{second}！"  # equal lines go all the same


def test_ratios_that_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 0.3"):
        left("甲", ratio=0.31)
