"""Every signal on texts worked by hand, in English and Chinese; repetition against a slow reference; the values that
RedPajama-V2's own code gave for real documents."""

import gzip
import json
import math
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from filters import catalogue
from filters.catalogue import SIGNALS, ratio, signal
from filters.repetition import DUPLICATE, TOP, repeats, variety, word_repetition
from filters.signals import signal_named
from filters.text import TextView
from tests.filters import test_english

NAN = math.nan
MODULES = (
    "filters.signals",
    "filters.lines",
    "filters.stopwords",
    "filters.words",
)  # the others have tests of their own

# signal, text, value
CASES = [
    ("char_count", "ab 数据。\n", 7),
    ("char_count", "", 0),
    ("char_count", "a b", 3),
    ("word_count", "Don't stop -- now", 3),  # -- is punctuation only
    ("word_count", "数据, big data", 4),
    ("line_count", "a\n\n b\n", 2),
    ("line_count", "第一行\n\u3000\n第二行", 2),
    ("sentence_count", "One. Two! Three", 3),
    ("sentence_count", "一。二？三！四", 4),
    ("mean_word_len", "It's a test.", (3 + 1 + 4) / 3),
    ("mean_word_len", "数据 ab", (1 + 1 + 2) / 3),
    ("mean_word_len", "...", NAN),
    ("han_ratio", "数据ab", 0.5),
    ("han_ratio", "data", 0),
    ("han_ratio", "", NAN),
    ("digit_ratio", "1990, abcd.", 4 / 8),
    ("digit_ratio", "１2年 一二", 2 / 5),  # full-width digits are digits, 一二 are letters
    ("digit_ratio", "。", NAN),
    ("punct_count", "a + b, c", 2),
    ("punct_count", "你好，“世界”。", 4),
    ("curly_bracket_ratio", "{a}bc", 2 / 5),
    ("curly_bracket_ratio", "{数据}。｛", 2 / 6),
    ("symbol_word_ratio", "# a b... c…", 3 / 6),  # raw words: # a b ... c …
    ("symbol_word_ratio", "#数据……", 3 / 4),  # raw words: # 数 据 ……
    ("nonlatin_word_ratio", "In 1990, 3 cats", 3 / 5),  # raw words: In 1990 , 3 cats
    ("nonlatin_word_ratio", "éé a", 1 / 2),
    ("nonlatin_word_ratio", "数据data", 2 / 3),
    ("ellipsis_line_ratio", "more...\n\nplain\nwait… \n", 2 / 4),  # the blank line counts
    ("ellipsis_line_ratio", "更多……\n正文。\n等等。。。", 2 / 3),
    ("bullet_line_ratio", "• a\n  ▪ b\n\n- c\n* d", 2 / 4),  # the blank line does not
    ("bullet_line_ratio", "●甲\n· 乙\n丙", 2 / 3),
    ("dup_line_ratio", "a\nb\na\nc", 1 / 4),
    ("dup_line_ratio", "首页\n\u3000首页\n\n首页\n正文", 2 / 4),
    ("dup_line_ratio", "\n", NAN),
    ("dup_line_char_ratio", "aaa\nb\n aaa", 3 / 7),
    ("dup_line_char_ratio", "首页\n正文。\n首页", 2 / 7),
    ("dup_paragraph_ratio", "a\nb\n\nc\n\na\nb", 1 / 3),
    ("dup_paragraph_ratio", "甲乙\n\n甲乙", 1 / 2),
    ("dup_paragraph_char_ratio", "a\nb\n\nc\n\na\nb", 3 / 7),
    ("dup_paragraph_char_ratio", "甲乙\n\n甲乙\n\n丙", 2 / 5),
    ("dup_sentence_ratio", "Buy now! Really. Buy now!", 1 / 3),
    ("dup_sentence_ratio", "One. Two. One. Three.", 1 / 4),
    ("dup_sentence_ratio", "买一送一。好。买一送一。", 1 / 3),
    ("dup_sentence_char_ratio", "Buy now! Really. Buy now!", 8 / 23),
    ("dup_sentence_char_ratio", "买一送一。好。买一送一。", 5 / 12),
    ("unique_word_ratio", "The dog, the DOG", 2 / 4),
    ("unique_word_ratio", "大大小小", 2 / 4),
    ("word_entropy", "a b a b", math.log(2)),
    ("word_entropy", "大大", 0),
    ("word_entropy", "!", NAN),
    ("unique_char_ratio", "ab ab", 2 / 4),
    ("unique_char_ratio", "天天" * 250, 1 / 500),
    ("unique_char_ratio", "天地" * 250 + "玄黄" * 250 + "宇宙洪荒", 4 / 1000),  # two blocks; the rest is left out
    ("unique_char_ratio", " ", NAN),
    ("char_entropy", "一 一 二 二", math.log(2)),
    ("char_entropy", "ab\ncd", math.log(4)),
    ("char_entropy", "", NAN),
    ("top_2gram_ratio", "a bc a bc d", 2 * 3 / 7),
    ("top_2gram_ratio", "数据大数据", 2 * 2 / 5),
    ("top_2gram_ratio", "ab cd xyz uvw ab cd uvw xyz uvw", 2 * 4 / 23),  # of "ab cd" and "xyz uvw" the first
    ("top_2gram_ratio", "a b c", 0),
    ("top_2gram_ratio", "", NAN),
    ("top_3gram_ratio", "a b c! A, b, c.", 2 * 3 / 6),
    ("top_3gram_ratio", "免费领免费领", 2 * 3 / 6),
    ("top_4gram_ratio", "a b c d a b c", 0),
    ("top_4gram_ratio", "点击下载点击下载吧", 2 * 4 / 9),
    ("dup_5gram_ratio", "a b c d e x a b c d e", 10 / 11),
    ("dup_5gram_ratio", "点击这里下，点击这里下", 1),
    ("dup_6gram_ratio", "a b c d e x a b c d e", 0),
    ("dup_6gram_ratio", "我们一起去吧我们一起去吧好", 12 / 13),
    ("dup_7gram_ratio", "a b c d e f g a b c d e f g h", 14 / 15),
    ("dup_7gram_ratio", "我们一起去吧", 0),
    ("dup_8gram_ratio", "aa " * 9, 1),  # two overlapping 8-grams; each letter counts once
    ("dup_8gram_ratio", "大" * 8, 0),  # one 8-gram
    ("dup_9gram_ratio", "大" * 10, 1),
    ("dup_9gram_ratio", "aa " * 9, 0),
    ("dup_10gram_ratio", "b " * 11, 1),
    ("dup_10gram_ratio", "一二三四五六七八九十" * 2 + "百", 20 / 21),
]


def measure(name: str, text: str) -> float:
    return float(SIGNALS[name](TextView(pa.array([text], pa.string())))[0])


def python_ngrams(words: list[str]) -> dict[str, float]:
    letters = sum(map(len, words))
    values = {}
    for n in (*TOP, *DUPLICATE):
        counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        if n in TOP:
            gram, count = counts.most_common(1)[0] if counts else ((), 0)
            values[f"top_{n}gram_ratio"] = count * sum(map(len, gram)) / letters if count > 1 else 0.0
            continue
        covered = {j for i in range(len(words) - n + 1) if counts[tuple(words[i : i + n])] > 1 for j in range(i, i + n)}
        values[f"dup_{n}gram_ratio"] = sum(len(words[j]) for j in covered) / letters
    return values


@pytest.mark.parametrize(("name", "text", "value"), CASES)
def test_signal(name: str, text: str, value: float) -> None:
    assert measure(name, text) == pytest.approx(value, rel=1e-12, nan_ok=True)


def test_every_signal_has_a_case_in_both_languages() -> None:
    cases = [(name, text) for name, text, _ in (*CASES, *test_english.CASES)]
    chinese = {(name, text) for name, text in cases if re.search("[一-鿿]", text)}
    english = {(name, text) for name, text in cases if text} - chinese
    ours = {
        name for name, function in SIGNALS.items() if function.__module__ in MODULES and name not in catalogue.NEEDS
    }
    assert {name for name, _ in chinese} == {name for name, _ in english} == ours


def test_every_signal_says_what_it_is() -> None:
    assert [name for name, function in SIGNALS.items() if not function.__doc__] == []


def test_language_score() -> None:
    scores = pa.array([0.5, None, 0.9, 1.0], pa.float32()).slice(1)
    t = TextView(pa.array(["en", "数据", ""], pa.string()), {"lang_score": scores})
    assert SIGNALS["lang_score"](t).tolist() == pytest.approx([NAN, 0.9, 1], rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("alphabet", "joint"), [("a bb ccc d ee fff g hh iii j".split(), " "), (list("天地玄黄宇宙洪荒日月"), "")]
)
def test_ngrams_like_python(alphabet: list[str], joint: str) -> None:
    rng = random.Random(1)
    documents = []
    for _ in range(200):
        words = rng.choices(alphabet, k=rng.randrange(1, 40))
        for _ in range(rng.randrange(3)):
            start, place = rng.randrange(len(words)), rng.randrange(len(words))
            words[place:place] = words[start : start + 12]
        documents.append(words)
    t = TextView(pa.array([joint.join(words) for words in documents], pa.string()))
    wanted = [python_ngrams(words) for words in documents]
    assert len({row["dup_10gram_ratio"] for row in wanted}) > 10
    for name in wanted[0]:
        assert SIGNALS[name](t).tolist() == pytest.approx([row[name] for row in wanted], rel=1e-12), name
    counts = [Counter(words) for words in documents]
    assert t.once(word_repetition).distinct.tolist() == [len(c) for c in counts]
    entropy = [-sum(k / c.total() * math.log(k / c.total()) for k in c.values()) for c in counts]
    assert t.once(word_repetition).entropy.tolist() == pytest.approx(entropy, rel=1e-12)


def test_repeats_and_variety_like_python() -> None:
    rng = random.Random(2)
    documents = [[rng.choice(["a", "bb", "数据", "。 。"]) for _ in range(rng.randrange(9))] for _ in range(200)]
    t = TextView(pa.array(["\n".join(lines) for lines in documents], pa.string()))
    again = [[line for i, line in enumerate(lines) if line in lines[:i]] for lines in documents]
    count, chars = repeats(t.lines)
    assert count.tolist() == [len(lines) for lines in again]
    assert chars.tolist() == [sum(map(len, lines)) for lines in again]
    marks = ["".join("".join(lines).split()) for lines in documents]
    assert t.once(variety).distinct.tolist() == [len(set(text)) for text in marks]
    assert t.once(variety).measured.tolist() == [len(text) for text in marks]


def test_a_value_does_not_depend_on_the_batch() -> None:
    rng = random.Random(3)
    texts = ["".join(rng.choices("ab 数据. \n#…1", k=rng.randrange(120))) for _ in range(60)]
    whole = TextView(pa.array(texts, pa.string()))
    alone = [TextView(pa.array([text], pa.string())) for text in texts]
    for name, function in SIGNALS.items():
        if name in catalogue.NEEDS:
            continue
        one_by_one = np.concatenate([function(t) for t in alone])
        assert one_by_one.dtype == np.float64
        np.testing.assert_array_equal(function(whole), one_by_one, err_msg=name)


def test_a_shared_measurement_is_made_once() -> None:
    t = TextView(pa.array(["a b"], pa.string()))
    assert t.once(word_repetition) is t.once(word_repetition)
    assert t.words is t.words


def test_registry() -> None:
    assert signal_named("han_ratio") is SIGNALS["han_ratio"]
    with pytest.raises(ValueError, match="unknown signal 'han_ration'; did you mean 'han_ratio'"):
        signal_named("han_ration")
    with pytest.raises(ValueError, match="two signals are named 'char_count'"):
        signal(SIGNALS["char_count"])
    assert ratio(np.array([1, 0]), np.array([4, 0])).tolist() == pytest.approx([0.25, NAN], nan_ok=True)


# RedPajama-V2's names of ours; equal wherever no ideograph occurs, as then its words are ours
REDPAJAMA = {
    "ccnet_length": "char_count",
    "rps_doc_curly_bracket": "curly_bracket_ratio",
    "rps_doc_frac_lines_end_with_ellipsis": "ellipsis_line_ratio",
    "rps_doc_frac_no_alph_words": "nonlatin_word_ratio",
    "rps_doc_frac_unique_words": "unique_word_ratio",
    "rps_doc_mean_word_length": "mean_word_len",
    "rps_doc_num_sentences": "sentence_count",
    "rps_doc_symbol_to_word_ratio": "symbol_word_ratio",
    "rps_doc_unigram_entropy": "word_entropy",
    "rps_doc_word_count": "word_count",
    **{f"rps_doc_frac_chars_top_{n}gram": f"top_{n}gram_ratio" for n in TOP},
    **{f"rps_doc_frac_chars_dupe_{n}grams": f"dup_{n}gram_ratio" for n in DUPLICATE},
}


def test_equals_redpajama(shared_data: Path) -> None:
    rows = {}
    for file in ("docs", "expected"):
        with gzip.open(shared_data / "rps" / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows[file] = [json.loads(line) for line in lines]
    expected = {row["id"]: row["signals"] for row in rows["expected"]}
    t = TextView(pa.array([row["text"] for row in rows["docs"]], pa.string()))
    plain = t.han == 0
    assert plain.sum() > 150
    for theirs, ours in REDPAJAMA.items():
        wanted = np.array([expected[row["id"]][theirs] for row in rows["docs"]])
        np.testing.assert_allclose(SIGNALS[ours](t)[plain], wanted[plain], rtol=1e-6, atol=1e-8, err_msg=theirs)
