"""Listed words: whole tokens, and Chinese without spaces, by hand in both languages; stop words of the installed
package; both kernels against slow references."""

import math
import unicodedata
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import catalogue
from filters.catalogue import SIGNALS
from filters.codepoints import HAN_RANGES
from filters.decide import decide
from filters.lexicon import folded, found, lexicon
from filters.lookup import prefixes
from filters.rules import load_rules
from filters.text import TextView

NAN = math.nan
LISTED = ["ass", "kick ass", "sh!t", "Café", "色情", "色情片", "色", "卡拉OK", "@$$", "2g1c"]

# text, entries in it, raw words in them
FOUND = [
    ("an ass", 1, 1),
    ("class asses ass_ assé", 0, 0),
    ("ASS, (Ass) kick-ass", 3, 3),
    ("kick  \n ass kick", 1, 2),  # any white space, the longer entry
    ("sh!t sh!ts sh!t!", 2, 6),  # raw words: sh ! t
    ("ass\u0301 ass\u0323\u0301 \u0301ass !\u0301ass", 2, 2),  # a mark is of the letter before it
    ("cafe\u0301! 色\u0301", 2, 3),
    ("CAFÉ cafe\u0301", 2, 3),  # a mark on its own is a raw word
    ("café", 1, 1),
    ("2G1C", 1, 1),
    ("@$$ $@$$", 2, 1),  # the run $@$$ began before the entry
    ("色情影片", 1, 2),
    ("看色情片吧", 1, 3),  # the longest
    ("脸色，情况", 1, 1),  # 色, and no 色情 across the comma
    ("色 情", 1, 1),
    ("景色", 1, 1),
    ("卡拉ok厅", 1, 3),
    ("卡拉OKs", 0, 0),
    ("看ａｓｓ吗", 1, 1),  # full width, and no space between scripts
    ("看ass吗", 1, 1),
    ("", 0, 0),
    ("好。", 0, 0),
]

# signal, text, value
CASES = [
    ("bad_word_count", "Kick ass! An ass.", 2),
    ("bad_word_count", "色情和色情片", 2),
    ("bad_word_ratio", "kick ass now.", 2 / 4),  # raw words: kick ass now .
    ("bad_word_ratio", "色情影片。", 2 / 5),
    ("bad_word_ratio", " ", NAN),
    ("rps_doc_ldnoobw_words", "Kick ass! An a-s-s.", 3),  # kick ass, ass, and ass without its hyphens
    ("rps_doc_ldnoobw_words", "sh!t", 0),  # upstream deletes the mark in texts, not in its list
    ("rps_doc_ldnoobw_words", "色情片", 3),  # 色, 色情, 色情片
    ("rps_doc_ldnoobw_words", "", 0),
    ("stop_word_ratio", "The cat sat on the mat.", 3 / 7),
    ("stop_word_ratio", "Don't THEORISE", 3 / 4),  # raw words: Don ' t THEORISE
    ("stop_word_ratio", "我们的书", 3 / 4),
    ("stop_word_ratio", "苹果香蕉", 0),
    ("stop_word_ratio", "", NAN),
]


def view(*texts: str, listed: Sequence[str] = LISTED) -> TextView:
    return TextView(pa.array(texts, pa.string()), None, {"bad_words": lexicon(listed)})


@pytest.mark.parametrize(("text", "entries", "words"), FOUND)
def test_found(text: str, entries: int, words: int) -> None:
    t = view(text)
    assert found(t, t.lists["bad_words"].letters).tolist() == [[entries, words]]


@pytest.mark.parametrize(("name", "text", "value"), CASES)
def test_signal(name: str, text: str, value: float) -> None:
    assert SIGNALS[name](view(text)).tolist() == pytest.approx([value], rel=1e-12, nan_ok=True)


def test_every_signal_has_a_case_in_both_languages() -> None:
    ours = {name for name, function in SIGNALS.items() if function.__module__ == "filters.lexicon"}
    han = {name for name, text, _ in CASES if not text.isascii()}
    assert han == {name for name, text, _ in CASES if text.strip() and text.isascii()} == ours
    assert {name for name in ours if name in catalogue.NEEDS} == ours - {"stop_word_ratio"}


def test_an_empty_list_finds_nothing() -> None:
    t = view("any words 任何", listed=[])
    assert [SIGNALS[name](t).tolist() for name in ("bad_word_count", "rps_doc_ldnoobw_words")] == [[0], [0]]


def test_a_share_is_at_most_one() -> None:
    t = view("$$$$ 色情色情 !!", listed=["$", "色", "!"])
    assert SIGNALS["bad_word_count"](t).tolist() == [8]
    assert SIGNALS["bad_word_ratio"](t).tolist() == [4 / 6]


def test_the_rule_table() -> None:
    recipes = Path(__file__).resolve().parents[2] / "pipeline" / "recipes"
    rules = load_rules((recipes / "badwords.toml").read_text(encoding="utf-8"))
    texts = ["ass " * 2 + "word " * 98, "ass " + "word " * 99, "色情" + "字" * 98, "色" + "字" * 99]
    decided = decide(pa.array(texts, pa.string()), ["en", "en", "zh", "zh"], rules, None, view("").lists)
    assert decided.kept.tolist() == [False, True, False, True]


def test_stop_words_tell_prose_from_lists() -> None:
    sample = files("pipeline.sample") / "articles"
    lists = view("Nokia 3310, Samsung Galaxy, Xiaomi Redmi", "苹果手机，诺基亚手机，联想 10")
    assert SIGNALS["stop_word_ratio"](lists).tolist() == [0, 0]
    for lang in ("en", "zh"):
        articles = [file.read_text(encoding="utf-8") for file in sample.joinpath(lang).iterdir()]
        assert SIGNALS["stop_word_ratio"](view(*articles)).min() > 0.1


# ---- against slow references


def kind(c: str) -> str:
    """What a character is in a raw word."""
    if c.isspace():
        return " "
    if any(first <= ord(c) <= last for first, last in HAN_RANGES):
        return "H"
    return "w" if c.isalnum() or c == "_" else "."


def within(text: str, i: int) -> bool:
    """Whether a place in a text is between two letters other than ideographs, marks being of the letter before."""
    before = text[:i].rstrip("\u0301\u0323")
    marked = text[i : i + 1] in ("\u0301", "\u0323")
    return 0 < i < len(text) and kind(before[-1:] or " ") == "w" and (marked or kind(text[i]) == "w")


def starts(text: str) -> list[bool]:
    """Whether a raw word begins at each character."""
    kinds = [" ", *map(kind, text)]
    return [k != " " and (k == "H" or k != before) for before, k in zip(kinds, kinds[1:], strict=False)]


def reference(entries: Sequence[str], text: str) -> list[int]:
    """Entries in a text and raw words begun in them, by trying every piece of it."""
    listed = {tuple(folded(entry)) for entry in entries} - {()}
    begins = starts(text)
    count = words = i = 0
    while i < len(text):
        ends = [
            j
            for j in range(i + 1, len(text) + 1)
            if kind(text[i]) != " "
            and kind(text[j - 1]) != " "
            and tuple(folded(text[i:j])) in listed
            and not within(text, i)
            and not within(text, j)
        ]
        if ends:
            count += 1
            words += sum(begins[i : ends[-1]])
        i = ends[-1] if ends else i + 1
    return [count, words]


LETTERS = "abA é\n色情ａ!$\u0301\u0323"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text(LETTERS, max_size=4), max_size=8), st.lists(st.text(LETTERS, max_size=15), min_size=1, max_size=4)
)
def test_found_like_the_reference(entries: list[str], texts: list[str]) -> None:
    texts += ["".join(entries)]
    t = view(*texts, listed=entries)
    assert found(t, t.lists["bad_words"].letters).tolist() == [reference(entries, text) for text in texts]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "cc"]), min_size=1, max_size=3).map(" ".join), max_size=5),
    st.lists(st.sampled_from(["a", "B", "cc", "a-", "d"]), max_size=12),
)
def test_ngrams_like_redpajama(entries: list[str], words: list[str]) -> None:
    plain = [word.lower().replace("-", "") for word in words]
    grams = [" ".join(plain[i : i + n]) for n in (1, 2, 3) for i in range(len(plain) - n + 1)]
    wanted = sum(gram in set(entries) for gram in grams)
    assert SIGNALS["rps_doc_ldnoobw_words"](view(" ".join(words), listed=entries)).tolist() == [wanted]


def test_a_slice_of_a_column() -> None:
    texts = pa.array(["ass", "色情", "nothing", "kick ass"], pa.string())
    t = TextView(texts.slice(1, 3), None, {"bad_words": lexicon(LISTED)})
    assert SIGNALS["bad_word_count"](t).tolist() == [1, 0, 1]
    assert SIGNALS["rps_doc_ldnoobw_words"](t).tolist() == [2, 0, 2]


def test_folding_is_that_of_the_tables() -> None:
    assert folded("ＡＢ　ｃ\n D") == [ord(c) for c in "ab c d"]
    assert folded("É") == [ord(c) for c in unicodedata.normalize("NFD", "é")]


def test_prefixes_of_many_sequences() -> None:
    rng = np.random.default_rng(1)
    sequences = [rng.integers(0, 9, rng.integers(0, 7)).tolist() for _ in range(300)]
    table = prefixes(sequences)
    every = {tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)}
    assert np.count_nonzero(table.states) == len(every) <= len(table.states) / 2
    assert np.count_nonzero(table.marks == 2) == len({tuple(s) for s in sequences if s})
