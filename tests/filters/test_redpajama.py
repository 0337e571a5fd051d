"""RedPajama-V2's signals on texts worked by hand, in English and Chinese; against its definitions in plain Python, for
any text; and against the values that its own code gave for real documents."""

import gzip
import json
import math
import re
import string
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters import codepoints
from filters.catalogue import NEEDS, SIGNALS
from filters.redpajama import LINE_SIGNALS
from filters.redpajama_count import LONGEST_STOP_WORD, STOP_WORDS
from filters.repetition import DUPLICATE, TOP
from filters.text import TextView

NAN = math.nan
DOCUMENT_SIGNALS = sorted(name for name in SIGNALS if name.startswith(("ccnet_", "rps_")) and name not in NEEDS)

# signal without "rps_doc_", text, value
DOCUMENTS = [
    ("ccnet_length", "ab 数据。\n", 7),
    ("ccnet_length", "a\r\n", 3),
    ("ccnet_nlines", "a\n\nb", 3),
    ("ccnet_nlines", "数据\n", 2),
    ("curly_bracket", "{a}bc", 2 / 5),
    ("curly_bracket", "{数据}。｛", 2 / 6),
    ("symbol_to_word_ratio", "# a b... c… ....", 4 / 7),  # raw words: # a b ... c … ....
    ("symbol_to_word_ratio", "#数据……", 3 / 3),  # raw words: # 数据 ……
    ("frac_no_alph_words", "In 1990, 3 cats_", 3 / 5),  # raw words: In 1990 , 3 cats_
    ("frac_no_alph_words", "数据 data数", 1 / 2),
    ("frac_all_caps_words", "I saw NASA2 at A-B", 4 / 7),  # raw words: I saw NASA2 at A - B
    ("frac_all_caps_words", "ＡＢ 数据 ǅ", 1 / 3),  # wide capitals are capitals; ideographs and title case are not
    ("stop_word_fraction", "The cat and the dog's friend.", 3 / 9),  # and the s; not The
    ("stop_word_fraction", "数据 and数据 the", 1 / 3),
    ("stop_word_fraction", "unfortunately correspondingly", 1 / 2),
    ("num_sentences", "Pi is 3.14. ... (Yes!?) no", 4),  # "Pi is 3." "14." "Yes!?" "no"
    ("num_sentences", "一。二？三！四", 1),
    ("num_sentences", "一.。二", 2),
    ("frac_lines_end_with_ellipsis", "more... \n\n. . .\nwait…", 2 / 4),
    ("frac_lines_end_with_ellipsis", "更多……\n正文。\n等等。。。", 1 / 3),
    ("word_count", "Don't stop -- now", 3),
    ("word_count", "数据很大，很大。 数据", 2),
    ("mean_word_length", "It's a café.", (3 + 1 + 5) / 3),  # é is two code points after NFD
    ("mean_word_length", "数据， ab", (3 + 2) / 2),  # ， is not deleted
    ("mean_word_length", "...", NAN),
    ("lorem_ipsum", "Lorem --\nipsum. xlorem ipsums", 2 / 25),  # "lorem ipsum xlorem ipsums"
    ("lorem_ipsum", "lor em ipsum, loremipsum lorem dolor", 0),
    ("lorem_ipsum", "数据 lorem ipsum", 1 / 14),
    ("frac_unique_words", "The dog, the DOG", 2 / 4),
    ("frac_unique_words", "大大 小小 大大", 2 / 3),
    ("unigram_entropy", "a b a b", math.log(2)),
    ("unigram_entropy", "大大 小小", math.log(2)),
    ("frac_chars_top_2gram", "ab cd xyz uvw ab cd uvw xyz uvw", 2 * 4 / 23),  # of "ab cd" and "xyz uvw" the first
    ("frac_chars_top_2gram", "数据大数据", 0),  # one word
    ("frac_chars_top_2gram", "数据 大 数据 大", 2 * 3 / 6),
    ("frac_chars_top_3gram", "a b c! A, b, c.", 2 * 3 / 6),
    ("frac_chars_top_3gram", "免 费 领 免 费 领", 2 * 3 / 6),
    ("frac_chars_top_4gram", "a b c d a b c", 0),
    ("frac_chars_top_4gram", "点 击 下 载 点 击 下 载 吧", 2 * 4 / 9),
    ("frac_chars_dupe_5grams", "a b c d e x a b c d e", 10 / 11),
    ("frac_chars_dupe_5grams", "点击这里下，点击这里下", 0),
    ("frac_chars_dupe_6grams", "aa " * 7, 1),
    ("frac_chars_dupe_6grams", "我 们 去 吧 一 二 我 们 去 吧 一 二 好", 12 / 13),
    ("frac_chars_dupe_7grams", "a b c d e f g a b c d e f g h", 14 / 15),
    ("frac_chars_dupe_7grams", "数据 " * 7, 0),
    ("frac_chars_dupe_8grams", "aa " * 9, 1),
    ("frac_chars_dupe_8grams", "大 " * 9, 1),
    ("frac_chars_dupe_9grams", "aa " * 9, 0),
    ("frac_chars_dupe_9grams", "数据 " * 10, 1),
    ("frac_chars_dupe_10grams", "b " * 11, 1),
    ("frac_chars_dupe_10grams", "一 " * 20 + "百", 20 / 21),
]

# signal without "rps_lines_", text, [start, end, value] of each line
LINES = [
    ("ending_with_terminal_punctution_mark", "Yes. \nno\n\n”Hm”", [[0, 6, 1], [6, 9, 0], [9, 10, 0], [10, 14, 1]]),
    ("ending_with_terminal_punctution_mark", "是。\r\n是!\u3000\n", [[0, 4, 0], [4, 8, 1]]),  # 。 is none of the four
    ("javascript_counts", "JavaScript: java-script,\nTypes in javascripts", [[0, 25, 2], [25, 45, 0]]),
    ("javascript_counts", "javascrip t", [[0, 11, 0]]),
    ("javascript_counts", "使用javascript\n用 JavaScript。", [[0, 13, 0], [13, 26, 0]]),
    ("num_words", "it's -- a test\n\nx", [[0, 15, 3], [15, 16, 0], [16, 17, 1]]),
    ("num_words", "数据，很大\u3000数据\u2028x", [[0, 10, 3]]),
    ("numerical_chars_fraction", " 12  ab.\n\n", [[0, 9, 2 / 5], [9, 10, 0]]),  # of "12 ab"
    ("numerical_chars_fraction", "一二数据½", [[0, 5, 3 / 5]]),  # str.isnumeric: 一 and ½ are
    ("start_with_bulletpoint", " • a\n- b\n–c", [[0, 5, 1], [5, 9, 0], [9, 11, 1]]),
    ("start_with_bulletpoint", "\u3000▪数据\n●数据", [[0, 5, 1], [5, 8, 0]]),
    ("uppercase_letter_fraction", "AbC\nd", [[0, 4, 2 / 4], [4, 5, 0]]),
    ("uppercase_letter_fraction", "数Ａ据B", [[0, 4, 2 / 4]]),
]

# Whatever a kernel treats specially: patterns, cased, composed and wide letters, marks out of order, white space.
PIECES = (
    *"aBÉéßİΣσǅ１٣½Ⅷ②一二数据\uf978\uf900𠮷한😀{}#_-'“”•–▪。！？….!?,\x00\x1c\u0301\u0323\u0344\u00ad",
    *(" ", " ", "\n", "\n", "\t", "\r\n", "\u2028", "\u3000", "\xa0", "...", "the", "and", "I", "ΟΔΟΣ", "αΣ'"),
    *("unfortunately", "correspondingly", "javascript", "Java-Script", "lorem", "ipsum", "lorem ipsum", "lor"),
    *("a b c a b c a b c ", "数据 很大 数据 很大 ", "x " * 12),
)
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)


def view(*texts: str) -> TextView:
    return TextView(pa.array(texts, pa.string()))


def line_values(name: str, t: TextView) -> list[list[list[float]]]:
    found = LINE_SIGNALS[name](t)
    rows = list(zip(found.starts.tolist(), found.ends.tolist(), found.values.tolist(), strict=True))
    return [
        [list(row) for row in rows[first:last]] for first, last in zip(found.offsets, found.offsets[1:], strict=False)
    ]


def normalised(text: str) -> str:
    text = text.translate(str.maketrans("", "", string.punctuation)).lower().strip()
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text))


def share(part: float, whole: float) -> float:
    return part / whole if whole else NAN


def python_signals(text: str) -> dict[str, float]:
    raw = re.findall(r"\w+|[^\w\s]+", text)
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    plain = normalised(text)
    words = plain.split()
    letters, total = sum(map(len, words)), len(words)
    found = {
        "ccnet_length": len(text),
        "ccnet_nlines": len(text.split("\n")),
        "rps_doc_curly_bracket": share(text.count("{") + text.count("}"), len(text)),
        "rps_doc_symbol_to_word_ratio": share(text.count("#") + text.count("...") + text.count("…"), len(raw)),
        "rps_doc_frac_no_alph_words": share(sum(not re.search("[a-zA-Z]", word) for word in raw), len(raw)),
        "rps_doc_frac_all_caps_words": share(sum(word.isupper() for word in raw), len(raw)),
        "rps_doc_stop_word_fraction": share(sum(word in STOP_WORDS for word in raw), len(raw)),
        "rps_doc_num_sentences": len(re.findall(r"\b[^.!?]+[.!?]*", text)),
        "rps_doc_frac_lines_end_with_ellipsis": share(
            sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)
        ),
        "rps_doc_word_count": total,
        "rps_doc_mean_word_length": share(letters, total),
        "rps_doc_lorem_ipsum": share(plain.count("lorem ipsum"), len(plain)),
        "rps_doc_frac_unique_words": share(len(set(words)), total),
        "rps_doc_unigram_entropy": -sum(c / total * math.log(c / total) for c in Counter(words).values())
        if words
        else NAN,
    }
    for n in (*TOP, *DUPLICATE):
        grams = [tuple(words[i : i + n]) for i in range(total - n + 1)]
        counts = Counter(grams)
        gram, count = counts.most_common(1)[0] if counts else ((), 0)
        covered = {j for i, gram in enumerate(grams) if counts[gram] > 1 for j in range(i, i + n)}
        if n in TOP:
            found[f"rps_doc_frac_chars_top_{n}gram"] = share(count * sum(map(len, gram)) * (count > 1), letters)
        else:
            found[f"rps_doc_frac_chars_dupe_{n}grams"] = share(sum(len(words[j]) for j in covered), letters)
    return found


def python_lines(text: str) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {name: [] for name in LINE_SIGNALS}
    for match in re.finditer(r"[^\n]*\n|[^\n]+$", text):
        line, plain = match[0], normalised(match[0])
        values = {
            "ending_with_terminal_punctution_mark": line.rstrip().endswith((".", "!", "?", "”")),
            "javascript_counts": plain.split().count("javascript"),
            "num_words": len(plain.split()),
            "numerical_chars_fraction": sum(c.isnumeric() for c in plain) / max(len(plain), 1),
            "start_with_bulletpoint": line.lstrip().startswith(tuple("•‣▶◀◦■□▪▫–")),
            "uppercase_letter_fraction": sum(c.isupper() for c in line) / len(line),
        }
        for name, value in values.items():
            found[f"rps_lines_{name}"].append([*match.span(), float(value)])
    return found


def assert_like_python(t: TextView, texts: list[str]) -> None:
    wanted = [python_signals(text) for text in texts]
    for name in DOCUMENT_SIGNALS:
        assert SIGNALS[name](t).tolist() == pytest.approx([row[name] for row in wanted], rel=1e-12, nan_ok=True), name
    lines = [python_lines(text) for text in texts]
    for name in LINE_SIGNALS:
        assert line_values(name, t) == [row[name] for row in lines], name


@pytest.mark.parametrize(("name", "text", "value"), DOCUMENTS)
def test_document_signal(name: str, text: str, value: float) -> None:
    name = name if name.startswith("ccnet_") else f"rps_doc_{name}"
    assert SIGNALS[name](view(text)).tolist() == pytest.approx([value], rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(("name", "text", "values"), LINES)
def test_line_signal(name: str, text: str, values: list[list[float]]) -> None:
    assert line_values(f"rps_lines_{name}", view(text)) == [values]


def test_every_signal_has_a_case_in_both_languages() -> None:
    for cases, names in ((DOCUMENTS, DOCUMENT_SIGNALS), (LINES, sorted(LINE_SIGNALS))):
        chinese = {name for name, text, _ in cases if re.search("[一-鿿]", text)}
        other = {name for name, text, _ in cases if not re.search("[一-鿿]", text)}
        assert chinese == other
        assert sorted(chinese) == sorted(re.sub("^rps_(doc|lines)_", "", name) for name in names)
    assert all(function.__doc__ for function in (*LINE_SIGNALS.values(), *map(SIGNALS.get, DOCUMENT_SIGNALS)))


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.integers(0, 2))
@example(
    ["", "a", "\n", "\x00", "数", "\r\n\r\n", "Σ", "aΣ", "ΑΣ ας", "a\u0301\u0323 a\u0323\u0301", "\u0301\u0323"], 1
)
@example(
    [
        "ạ\u0301 a\u0301\u0323",
        "数a\u0301\u0323 数ạ\u0301",
        "a\u0344\u0315 a\u0315\u0344",
        "lorem\u0301 ipsum lorem ipsuḿ",
    ],
    0,
)
def test_like_python(texts: list[str], skipped: int) -> None:
    column = pa.array([*["数 x\n"] * skipped, *texts, "…"], pa.string()).slice(skipped, len(texts))
    assert_like_python(TextView(column), texts)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3))
@example(["\n", "", "a"])
def test_a_value_does_not_depend_on_the_batch(texts: list[str]) -> None:
    whole = view(*texts)
    for name in DOCUMENT_SIGNALS:
        alone = np.concatenate([SIGNALS[name](view(text)) for text in texts])
        assert alone.dtype == np.float64
        np.testing.assert_array_equal(SIGNALS[name](whole), alone, err_msg=name)
    for name in LINE_SIGNALS:
        assert line_values(name, whole) == [row for text in texts for row in line_values(name, view(text))]


def test_joined_words_are_words_where_there_is_no_ideograph() -> None:
    plain, mixed = view("a b", "c"), view("a b", "数据 c")
    assert plain.joined_words is plain.words
    assert mixed.joined_words.per_doc.tolist() == [2, 2]
    assert mixed.words.per_doc.tolist() == [2, 3]


def test_stop_words_can_be_numbers() -> None:
    assert len(set(STOP_WORDS)) == len(STOP_WORDS)
    assert all(re.fullmatch("[a-z]+", word) for word in STOP_WORDS)
    assert max(map(len, STOP_WORDS)) == LONGEST_STOP_WORD
    every = view(" ".join(STOP_WORDS), " ".join(f"{word}x" for word in STOP_WORDS if f"{word}x" not in STOP_WORDS))
    assert SIGNALS["rps_doc_stop_word_fraction"](every).tolist() == [1, 0]


def test_traits_hold_for_every_code_point() -> None:
    for code, trait in enumerate(codepoints.TRAITS.tolist()):
        character = chr(code)
        lower = character.islower() or character.istitle() and not character.isupper()
        wanted = character.isupper() * codepoints.UPPER | lower * codepoints.LOWER
        wanted |= character.isnumeric() * codepoints.NUMERIC | bool(unicodedata.combining(character)) * codepoints.MARK
        assert trait & ~codepoints.LATIN == wanted, hex(code)
        assert bool(trait & codepoints.LATIN) == (character in string.ascii_letters)


def test_equals_redpajama(shared_data: Path) -> None:
    rows = {}
    for file in ("docs", "expected"):
        with gzip.open(shared_data / "rps" / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows[file] = [json.loads(line) for line in lines]
    expected = {row["id"]: row["signals"] for row in rows["expected"]}
    wanted = [expected[row["id"]] for row in rows["docs"]]
    t = view(*(row["text"] for row in rows["docs"]))
    for name in sorted(set().union(*wanted) - set(LINE_SIGNALS)):
        given_for = [d for d, row in enumerate(wanted) if name in row]
        assert len(given_for) >= 200
        found = SIGNALS[name](t)[given_for]
        np.testing.assert_allclose(found, [wanted[d][name] for d in given_for], rtol=1e-6, atol=1e-8, err_msg=name)
    for name in LINE_SIGNALS:
        found = [line for doc in line_values(name, t) for line in doc]
        np.testing.assert_allclose(found, [line for row in wanted for line in row[name]], atol=1e-8, err_msg=name)
