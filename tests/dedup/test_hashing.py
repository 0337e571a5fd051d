"""Hashes of keys and texts: known values, Arrow slices, and what normalisation makes equal and leaves apart."""

import hashlib
import unicodedata
from collections import Counter
from unicodedata import normalize
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import hashing
from dedup.hashing import content_hash, hash64, hash_span, mix64, partition, route, string_buffers

TEXTS = ["", "a", "数据", "data\r\n\u2028\x00", "\U00020000\U0001f600", "a"]


def test_mix64_is_the_published_splitmix64():
    # first outputs of splitmix64 from state 0 (Vigna's reference code)
    state, published = 0x9E3779B97F4A7C15, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(mix64(np.uint64(state * k % 2**64))) for k in (1, 2, 3)] == published


def test_hash_span_and_hash64_agree_with_integers():
    for seed in (0, 7):
        expected = []
        for text in TEXTS:
            h = seed
            for byte in text.encode():
                h = (h + byte + 1) * 0x9FB21C651E98DF25 % 2**64
            expected.append(int(mix64(np.uint64(h))))
        assert hash64(pa.array(TEXTS), seed).tolist() == expected
    data = np.frombuffer("xa数据".encode(), np.uint8)
    assert hash_span(data, 2, 8, np.uint64(0)) == hash64(pa.array(["数据"]))[0]


def test_route_and_partition():
    assert route("abc") == route(b"abc") == 0xD8BB14D833D59559  # BLAKE2b-64 of "abc"
    assert route("语料") == int(hashlib.blake2b("语料".encode(), digest_size=8).hexdigest(), 16)
    hashes = np.array([0, 2**54 - 1, 2**54, 2**63, 2**64 - 1], np.uint64)
    assert partition(hashes).tolist() == [0, 0, 1, 512, 1023]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_content_hash_is_blake2b_of_the_exact_bytes(kind):
    column = pa.array(["skipped", *TEXTS, "skipped"], kind).slice(1, len(TEXTS))
    digests = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in TEXTS]
    assert [f"{a:016x}{b:016x}" for a, b in content_hash(column).tolist()] == digests


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("使用 Python 3 编写\r\n", "使用Python3编写", True),  # white space
        ("now  here\u2028", "now\there", True),
        ("ＡＢＣ，１２３\u3000", "ABC,123", True),  # full width
        ("ﾃﾞｰﾀ", "データ", True),  # half width, with its voicing mark
        ("e\u0301", "é", True),  # NFC
        ("x²", "x2", False),  # NFKC would say equal
        ("Data", "data", False),
        ("数据", "數據", False),
    ],
)
def test_normalised_content(a, b, same):
    (x, y), (exact_x, exact_y) = (content_hash(pa.array([a, b]), normalise=n).tolist() for n in (True, False))
    assert (x == y) is same
    assert exact_x != exact_y


def swaps(text: str) -> int:
    """How often an insertion sort, as the interpreter's, swaps marks to put them in canonical order."""
    total, run = 0, Counter[int]()
    for mark in map(unicodedata.combining, "".join(normalize("NFD", c) for c in text)):
        if not mark:
            run.clear()
            continue
        run[mark] += 1
        total += sum(count for before, count in run.items() if before > mark)
    return total


MARKED = st.text("e\u0301\u0327\u0344\u0f73\u0f80\u3099\uff9e中 ", max_size=12)


@settings(max_examples=40, deadline=None)
@given(MARKED, MARKED)
def test_normalised_like_the_interpreter_with_work_in_proportion(text, tail):
    long = (text + tail[:3]) * 40 + tail
    seen = []

    def counted(form, given_text):
        seen.append((len(given_text), swaps(given_text)))
        return normalize(form, given_text)

    with patch("dedup.hashing.unicodedata.normalize", counted):
        found = hashing._normalise(long)
    assert found == "".join(
        normalize("NFC", hashing._WIDE.sub(lambda m: m[0].translate(hashing._width_table()), long)).split()
    )
    assert sum(length for length, _ in seen) <= 4 * len(long) + 8
    assert sum(count for _, count in seen) <= 64 * len(long)


def test_string_buffers_of_empty_sliced_and_wrong_columns():
    data, offsets = string_buffers(pa.array(["ab", "", "数据", "c"]).slice(1, 2))
    assert [bytes(data[a:b]).decode() for a, b in zip(offsets[:-1], offsets[1:], strict=True)] == ["", "数据"]
    for empty in (pa.array([], pa.string()), pa.array(["x"]).slice(1), pa.array(["", ""])):
        assert string_buffers(empty)[1].tolist() == [0] * (len(empty) + 1) or len(empty) == 0
        assert content_hash(empty).shape == (len(empty), 2)
    with pytest.raises(ValueError, match="1 of 2 texts are null"):
        content_hash(pa.array(["a", None]))
    with pytest.raises(TypeError, match="binary"):
        content_hash(pa.array([b"a"]))
