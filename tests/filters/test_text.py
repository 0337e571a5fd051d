"""A TextView agrees with plain Python on every count and every segment, for any text, any slice and any chunking."""

import random
import re
import string
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import codepoints, segment
from filters.text import Segments, TextView, decomposed

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
# Whatever a kernel treats specially: cased, composed and wide letters, digits, ideographs, marks, white space.
ALPHABET = "aB1_ \n\t\r\u3000\u2028.…?。！#{'-“é\u0301İßΣ한数据々一\uf900𠮷かア٣²１😀"

# text, its words
WORDS = [
    ("", ""),
    ("... -- !", ""),
    ("Don't stop, Don't!", "dont stop dont"),
    ("a  b\n\nc\t", "a b c"),
    ("well-known e.g. 3.5", "wellknown eg 35"),
    ("“Hi” — he", "“hi” — he"),  # as in RedPajama-V2, only ASCII punctuation is deleted
    ("CAFÉ", "cafe\u0301"),
    ("数据很大。", "数 据 很 大"),
    ("“数据”，很大", "数 据 很 大"),
    ("使用tf.data读取2.5GB数据（很快）", "使 用 tfdata 读 取 25gb 数 据 很 快"),
    ("第 10 章：Rust与C++", "第 10 章 rust 与 c"),
]

LINES = [
    ("", []),
    ("\n \n", []),
    ("  a b \r\n\n\tc", ["a b", "c"]),
    ("第一行\n\u3000第二行\u3000\n", ["第一行", "第二行"]),
]

PARAGRAPHS = [
    ("a\nb\n\nc", ["a\nb", "c"]),
    ("a\r\n \r\n\n b \n", ["a", "b"]),
    ("甲\n乙\n\n\n丙", ["甲\n乙", "丙"]),
]

SENTENCES = [
    ("One. Two!  Three?! four", ["One.", "Two!", "Three?!", "four"]),
    ("Pi is 3.14.", ["Pi is 3.", "14."]),
    ('"Yes." (No.) ...', ["Yes.", "No."]),
    ("Title\nbody.", ["Title\nbody."]),
    ("今天晴。明天呢？“下雨！”他说", ["今天晴。", "明天呢？", "下雨！", "他说"]),
]


def view(*texts: str) -> TextView:
    return TextView(pa.array(texts, pa.string()))


def spanned(t: TextView, segments: Segments) -> list[str]:
    return [bytes(t.data[start:end]).decode() for start, end in segments.spans]


def folded(text: str) -> str:
    return unicodedata.normalize("NFD", text.lower())


def python_words(text: str) -> list[str]:
    words = []
    for stretch in text.split():
        stretch = "".join(c for c in stretch if c not in string.punctuation)
        pieces = re.findall(rf"[{HAN}]|[^\W{HAN}]+", stretch) if re.search(f"[{HAN}]", stretch) else [stretch]
        words += [folded(piece) for piece in pieces if piece]
    return words


def python_segments(text: str) -> dict[str, list[str]]:
    parts = {
        "lines": text.split("\n"),
        "paragraphs": re.split(r"\n\s*\n", text),
        "sentences": re.findall(r"\b[^.!?。！？｡]+[.!?。！？｡]*", text),
    }
    return {kind: [part.strip() for part in found if part.strip()] for kind, found in parts.items()}


def python_counts(text: str) -> dict[str, int]:
    tokens = re.findall(rf"[{HAN}]|[^\W{HAN}]+|[^\w\s{HAN}]+", text)
    return {
        "chars": len(text),
        "alpha": sum(c.isalpha() for c in text),
        "digits": sum(c.isdigit() for c in text),
        "han": len(re.findall(f"[{HAN}]", text)),
        "punct": sum(unicodedata.category(c)[0] == "P" or c in string.punctuation for c in text),
        "spaces": sum(c.isspace() for c in text),
        "curly": text.count("{") + text.count("}"),
        "symbols": text.count("#") + text.count("...") + text.count("…"),
        "raw_words": len(tokens),
        "latin_words": sum(bool(re.search("[A-Za-z]", token)) for token in tokens),
        "raw_lines": len(re.findall(r"[^\n]*\n|[^\n]+$", text)),
    }


def assert_like_python(t: TextView, texts: list[str]) -> None:
    counts = [python_counts(text) for text in texts]
    for name in python_counts(""):
        assert getattr(t, name).tolist() == [row[name] for row in counts], name
    words = [python_words(text) for text in texts]
    assert t.words.per_doc.tolist() == [len(w) for w in words]
    assert t.words.lengths.tolist() == [len(word) for w in words for word in w]
    assert_hashes_tell_apart(t.words, [word for w in words for word in w])
    for kind in ("lines", "paragraphs", "sentences"):
        segments: Segments = getattr(t, kind)
        parts = [python_segments(text)[kind] for text in texts]
        flat = [part for p in parts for part in p]
        assert segments.per_doc.tolist() == [len(p) for p in parts], kind
        assert spanned(t, segments) == flat
        assert segments.lengths.tolist() == [len(part) for part in flat]
        assert_hashes_tell_apart(segments, flat)


def assert_hashes_tell_apart(segments: Segments, texts: list[str]) -> None:
    pairs = set(zip(segments.hashes.tolist(), texts, strict=True))
    assert len(pairs) == len({h for h, _ in pairs}) == len({text for _, text in pairs})


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_words(text: str, words: str) -> None:
    wanted = words.split()
    found = view(text).words
    assert found.lengths.tolist() == [len(word) for word in wanted]
    assert found.hashes.tolist() == [h for word in wanted for h in view(word).words.hashes.tolist()]


def test_many_marks_on_one_letter() -> None:
    acute, grave_below, n = "\u0301", "\u0316", 100_000
    words = view("a" + (acute + grave_below) * n + " 数").words
    assert words.lengths.tolist() == [2 * n + 1, 1]
    assert words.hashes[0] == segment.hash_of("a" + grave_below * n + acute * n)


@settings(max_examples=60, deadline=None)
@given(st.text("aéộ가Ǻ字\u0301\u0316\u0323\u05b0\u0345\u0f73", min_size=1, max_size=40))
def test_decomposed_like_the_interpreter(text: str) -> None:
    assert decomposed(text * 300) == unicodedata.normalize("NFD", text * 300)


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [("lines", *row) for row in LINES]
    + [("paragraphs", *row) for row in PARAGRAPHS]
    + [("sentences", *row) for row in SENTENCES],
)
def test_segments(kind: str, text: str, wanted: list[str]) -> None:
    t = view(text)
    assert spanned(t, getattr(t, kind)) == wanted


def test_counts_by_hand() -> None:
    t = view("Ab 12 数据，３{…}", "#...... 一二\n")
    assert t.chars.tolist() == [13, 11]
    assert t.alpha.tolist() == [4, 2]
    assert t.digits.tolist() == [3, 0]
    assert t.han.tolist() == [2, 2]
    assert t.punct.tolist() == [4, 7]
    assert t.spaces.tolist() == [2, 2]
    assert t.symbols.tolist() == [1, 3]
    assert t.raw_words.tolist() == [7, 3]  # Ab 12 数 据 ， ３ {…} and #...... 一 二
    assert t.latin_words.tolist() == [1, 0]


def test_like_python_on_a_slice_of_random_text() -> None:
    rng = random.Random(0)
    texts = ["".join(rng.choices(ALPHABET, k=rng.randrange(40))) for _ in range(1500)]
    column = pa.array(["数 x.\n", *texts, "y"], pa.string()).slice(1, len(texts))
    assert_like_python(TextView(column), texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_like_python_on_any_text(texts: list[str]) -> None:
    assert_like_python(view(*texts), texts)


def test_tables_hold_for_every_code_point() -> None:
    last = 0x32400  # beyond plane 3's ideographs nothing has a case, a decomposition or is punctuation
    assert (codepoints.FOLDS[last:] == np.arange(last, 0x110000)).all()
    assert not (codepoints.CLASSES[last:] & codepoints.PUNCT).any()
    for code in range(last):
        character = chr(code)
        fold = int(codepoints.FOLDS[code])
        parts = [fold] if fold >= 0 else [part for part in codepoints.EXPANSIONS[-1 - fold].tolist() if part]
        assert "".join(map(chr, parts)) == unicodedata.normalize("NFD", character.lower()), hex(code)
        punct = unicodedata.category(character)[0] == "P" or (character in string.punctuation)
        assert bool(codepoints.CLASSES[code] & codepoints.PUNCT) == punct, hex(code)


def test_starts_and_ends() -> None:
    t = view("• a...\n b…\n", "·\n甲。。。 \n•")
    assert t.starts_with(t.lines, ("•", "·")).tolist() == [True, False, True, False, True]
    assert t.ends_with(t.lines, ("...", "…", "。。。")).tolist() == [True, True, False, True, False]
    assert t.lines.sum(t.ends_with(t.lines, ("...", "…"))).tolist() == [2, 0]


def test_sums_do_not_depend_on_neighbours() -> None:
    segments = view("a b c", "", "d e").words
    assert segments.documents.tolist() == [0, 0, 0, 2, 2]
    assert segments.sum(np.array([1, 2, 3, 4, 5])).tolist() == [6, 0, 9]
    values = np.array([1e16, 1.0, 1.0, 0.1, 0.2])
    assert segments.sum(values).tolist() == [1e16 + 1.0 + 1.0, 0, 0.1 + 0.2]


def test_nothing_is_copied() -> None:
    column = pa.array(["数据", "data"], pa.string())
    assert view().words.per_doc.tolist() == []
    assert TextView(column).data.ctypes.data == column.buffers()[2].address
    assert TextView(column.slice(1)).data.ctypes.data == column.buffers()[2].address


def test_pieces_and_take() -> None:
    texts = ["数据" * 3, "", "ab", "c" * 40, "d", ""]
    column = pa.chunked_array([pa.array(texts[:2], pa.string()), pa.array(["z", *texts[2:]], pa.string()).slice(1)])
    pieces = list(TextView(column, {"url": column.combine_chunks()}).pieces(limit=20))
    assert [piece.chars.tolist() for piece in pieces] == [[6, 0, 2], [40], [1, 0]]
    assert [piece.beside["url"].to_pylist() for piece in pieces] == [["数据" * 3, "", "ab"], ["c" * 40], ["d", ""]]
    assert TextView(column).chars.tolist() == [6, 0, 2, 40, 1, 0]
    assert TextView(column).take(np.array([3, 0])).chars.tolist() == [40, 6]
    assert TextView(column).take(np.array([True, False, False, False, True, False])).chars.tolist() == [6, 1]
    assert list(TextView(pa.chunked_array([], pa.string())).pieces()) == []


def test_refuses_what_it_cannot_read() -> None:
    with pytest.raises(TypeError, match="large_string"):
        TextView(pa.array(["a"], pa.large_string()))
    with pytest.raises(ValueError, match="null"):
        TextView(pa.array(["a", None], pa.string()))
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"a\xe6")]
    )
    with pytest.raises(ValueError, match="UTF8"):
        TextView(broken)
