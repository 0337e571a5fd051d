"""Shingles against plain Python: which units a text has, by hand in both languages, then their hashes on any text."""

import random
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.shingles import character_table, shingle_hashes, shingle_sets

SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
ALPHABET = list("aBé_9ΣςσİДж .,-\n\t数据的，。のカไก\x00") + [
    "\r\n",
    "\u2028",
    "\u3000",
    "\u0301",
    "\U00020000",
    "\U0001f600",
]
texts = st.lists(st.sampled_from(ALPHABET), max_size=60).map("".join)


def units(text):
    """(kind, units) of a text: the definition, in plain Python."""
    runs = len(re.findall(r"\w+", SPACELESS.sub(" ", text)))
    if len(SPACELESS.findall(text)) > runs:
        return "characters", list(re.sub(r"\s+", "", text))
    lower = "".join("i" if c == "İ" else "σ" if c in "Σς" else c.lower() for c in text)
    return "words", re.findall(r"\w+", lower)


def shingles(text):
    kind, parts = units(text)
    return [(kind, *parts[i : i + 5]) for i in range(max(len(parts) - 4, min(len(parts), 1)))]


def reference_hash(shingle):
    """The published scheme on Python integers."""
    kind, *parts = shingle
    h = {"words": 0x8EBC6AF09C88C6E3, "characters": 0x589965CC75374CC3}[kind]
    for part in parts:
        unit = ord(part) if kind == "characters" else 0
        if kind == "words":
            for c in part:
                unit = (unit + ord(c)) * 0x9FB21C651E98DF25
        h = h * 0xD6E8FEB86659FD93 + unit
    h %= 2**64
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    h = (h ^ h >> 27) * 0x94D049BB133111EB % 2**64
    return h ^ h >> 31


def rows(offsets, hashes):
    return [hashes[a:b].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]


BY_HAND = [  # text, kind, shingles
    ("The cat sat on the mat", "words", ["the cat sat on the", "cat sat on the mat"]),
    ("don't stop", "words", ["don t stop"]),  # three words, so one shingle
    ("Ещё не ВЕЧЕР, да и не утро", "words", ["ещё не вечер да и", "не вечер да и не", "вечер да и не утро"]),
    ("深度 学习\r\n框架", "characters", ["深 度 学 习 框", "度 学 习 框 架"]),
    ("用Git吧", "characters", ["用 G i t 吧"]),  # two Han characters against one run of letters; case kept
    ("Git is 好", "words", ["git is 好"]),
    ("สวัสดี", "characters", ["ส ว ั ส ด", "ว ั ส ด ี"]),
    ("ありがとう。", "characters", ["あ り が と う", "り が と う 。"]),
    ("𠀀𠀁𠀂", "characters", ["𠀀 𠀁 𠀂"]),
    ("x", "words", ["x"]),
    ("", "words", []),
    ("\u3000 \n", "words", []),
    ("!?... —", "words", []),
    ("。，！？；：", "words", []),
]


@pytest.mark.parametrize(("text", "kind", "expected"), BY_HAND)
def test_by_hand(text, kind, expected):
    by_hand = [(kind, *shingle.split(" ")) for shingle in expected]
    assert shingles(text) == by_hand
    assert shingle_hashes(pa.array([text]))[1].tolist() == [reference_hash(shingle) for shingle in by_hand]


def test_published_vector():
    texts = ["The quick brown fox jumps over", "天地玄黄，宇", "a"]
    assert [[f"{h:016x}" for h in row] for row in rows(*shingle_hashes(pa.array(texts)))] == [
        ["45b0f6feeb7656f5", "401a28d0e9a829e4"],
        ["734e516eeb24265f", "b9e3b7759d567336"],
        ["489eb5d3ba80bb45"],
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=6), st.integers(0, 3))
def test_any_text_and_any_slice(batch, skipped):
    column = pa.array(["前言 preface"] * skipped + batch + ["后记"], pa.string()).slice(skipped, len(batch))
    expected = [[reference_hash(s) for s in shingles(text)] for text in batch]
    assert rows(*shingle_hashes(column)) == expected
    assert rows(*shingle_sets(column)) == [sorted(set(row)) for row in expected]


def test_every_code_point_has_pythons_classes():
    table = character_table()
    everything = "".join(map(chr, range(0x110000)))
    for bit, pattern in ((29, r"\w"), (30, r"\s"), (31, SPACELESS)):
        found = [ord(match.group()) for match in re.finditer(pattern, everything)]
        assert np.flatnonzero(table >> np.uint32(bit) & np.uint32(1)).tolist() == found
    lower = table & np.uint32(0x1FFFFF)
    differs = [c for c in range(0x110000) if chr(c).lower() != chr(lower[c])]
    assert differs == [0x130, 0x3C2], [unicodedata.name(chr(c)) for c in differs]
    is_word = table >> np.uint32(29) & np.uint32(1)
    assert (is_word == is_word[lower]).all()  # lower case before or after splitting: the same words


@pytest.mark.parametrize("text", ["数据集的质量很重要", "one two three four five six seven", "a𠀀b𠀁c𠀂d𠀃"])
def test_cap_cuts_between_characters(text):
    raw = text.encode()
    for cap in range(len(raw) + 2):
        cut = raw[:cap].decode(errors="ignore")
        expected = [reference_hash(s) for s in shingles(cut)]
        assert rows(*shingle_hashes(pa.array(["前", text, text]), cap))[1:] == [expected, expected]


def test_long_text_and_change_of_mind():
    # the first bytes of these texts suggest the other kind of shingle
    rng = random.Random(1)
    latin = " ".join(rng.choice(["data", "set", "of", "text"]) for _ in range(3000))
    han = "".join(rng.choice("数据集文本的") for _ in range(4000))
    emoji = "\U0001f600 word " * 500
    for text in (latin + han, han + latin, emoji, "é" * 40 + " 好"):
        assert rows(*shingle_sets(pa.array([text]))) == [sorted({reference_hash(s) for s in shingles(text)})]


def test_malformed_bytes_are_read_without_harm():
    for raw in (b"\xe6", b"ab\xf0\x9f", b"\xff\xff\xff\xff\xff", b"\x80\x80 \xc3", b"\xf7\xbf\xbf\xbf\xe4\xb8"):
        column = pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(np.array([0, len(raw)], np.int32)), pa.py_buffer(raw)]
        )
        assert shingle_hashes(column)[0].tolist() in ([0, 0], [0, 1])
