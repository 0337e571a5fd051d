"""The signals of words, stop words and lines on texts worked by hand, in English and Chinese, and against slow
references in plain Python."""

import math
import re
import string

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.phrases import PHRASES, automaton
from filters.signals import signal_named
from filters.text import TextView

NAN = math.nan
WORDS = "The old mill stands by a river that few people cross."  # eleven words, a full stop
SENTENCE = "这座老磨坊立在一条很少有人走过的河边。"  # 18 ideographs: nine words

# signal, text, value; at least one value on each side of each bound of the rule tables (test_rules.py)
CASES = [
    ("nonspace_char_count", " a b\n", 2),
    ("nonspace_char_count", "word " * 50, 200),
    ("nonspace_char_count", "数据\u3000。", 3),
    ("stop_word_count", "The cat and THE dog, to be", 4),
    ("stop_word_count", "The be to of and that have with", 8),
    ("stop_word_count", "The only one of them", 2),
    ("stop_word_count", "Buy cheap watches to wear", 1),
    ("stop_word_count", "数据 the", 1),
    ("stop_word_count", "", 0),
    ("han_stop_word_count", "我们的数据是很大的", 2),
    ("han_stop_word_count", "的是在了不有和这", 8),
    ("han_stop_word_count", "发票低价代开", 0),
    ("han_stop_word_count", "data", 0),
    ("alpha_word_ratio", "In 1990, -- 3 cats", 2 / 4),  # the dashes are no word
    ("alpha_word_ratio", "four of five words 5", 4 / 5),
    ("alpha_word_ratio", "数据12，ab3。", 3 / 4),
    ("alpha_word_ratio", "2021 年 12 月 31 日", 3 / 6),
    ("alpha_word_ratio", "!", NAN),
    ("nonalpha_word_ratio", "In 1990, the B2 and my_name", 3 / 6),
    ("nonalpha_word_ratio", "one of five is 5.", 1 / 5),
    ("nonalpha_word_ratio", "数据12。", 1 / 3),
    ("nonalpha_word_ratio", "。", NAN),
    ("digit_word_ratio", "In 1990, the B2 - １２", 2 / 5),
    ("digit_word_ratio", "7 of 10 cats do not sing, it is said", 2 / 10),
    ("digit_word_ratio", "数据12。", 1 / 3),
    ("caps_word_ratio", "I saw NASA's A-B plan.", 1 / 10),  # raw words: I saw NASA ' s A - B plan .
    ("caps_word_ratio", "BUY it NOW", 2 / 3),
    ("caps_word_ratio", "B2B 4K ÉTÉ Éa", 2 / 4),
    ("caps_word_ratio", "数据 ABC def。", 1 / 5),
    ("hash_word_ratio", "# a ## b C#", 4 / 6),  # raw words: # a ## b C #
    ("hash_word_ratio", "#a b c d e f g h i", 1 / 10),
    ("hash_word_ratio", "#数据", 1 / 3),
    ("hash_word_ratio", "#一条很长的中文数据", 1 / 10),
    ("ellipsis_word_ratio", "a... b…… c..d ....", 3 / 8),  # raw words: a ... b …… c .. d ....
    ("ellipsis_word_ratio", "Well... " + "so " * 8, 1 / 10),
    ("ellipsis_word_ratio", "等等。。。好……", 2 / 5),
    ("ellipsis_word_ratio", "一条很长的中文数据……", 1 / 10),
    ("lone_hash_word_ratio", "# a ## b C#", 2 / 6),
    ("lone_hash_word_ratio", "#a b c d e f g h i", 1 / 10),
    ("lone_hash_word_ratio", "###数据#", 1 / 4),
    ("lone_ellipsis_word_ratio", "a... b…… c..d ....", 2 / 8),
    ("lone_ellipsis_word_ratio", "Well... " + "so " * 8, 1 / 10),
    ("lone_ellipsis_word_ratio", "等等。。。好………", 1 / 5),
    ("terminal_line_ratio", 'So.\nHe said "no"\nIs it? \n\nHome\nAnd…', 4 / 5),
    ("terminal_line_ratio", "Home\n" * 9 + "All of it is here.", 1 / 10),
    ("terminal_line_ratio", "好。\n他说：“不。”\n首页\n是吗？\u3000", 3 / 4),
    ("terminal_line_ratio", "首页\n" * 9 + "都在这里。", 1 / 10),
    ("terminal_line_ratio", "", NAN),
    ("short_line_ratio", "a" * 29 + "\n" + "b" * 30, 1 / 2),
    ("short_line_ratio", "Home\nNews\nSports\n" + WORDS, 3 / 4),
    ("short_line_ratio", "一二三四五六七八九\n一二三四五六七八九十", 1 / 2),
    ("short_line_ratio", "首页\n新闻\n体育\n" + SENTENCE, 3 / 4),
    ("newline_word_ratio", "Home\nNews\n\nSports\n", 4 / 3),
    ("newline_word_ratio", WORDS + "\n" + WORDS, 1 / 22),
    ("newline_word_ratio", "首页\n新闻\n", 2 / 2),
    ("newline_word_ratio", SENTENCE + "\n" + SENTENCE, 1 / 18),
    ("newline_word_ratio", "...", NAN),
    ("read_more_line_ratio", "caf\u00e9read more\n茶read more\nписьмоread more\n茶", 1 / 4),
    ("read_more_line_ratio", "Read More »\nOf it.\nread more...\nSpread more.\nRead more of it", 2 / 5),
    ("read_more_line_ratio", "Home\n" * 9 + "Read more", 1 / 10),
    ("read_more_line_ratio", "阅读全文>>\n正文。", 1 / 2),
    ("javascript_line_ratio", "Enable JavaScript now\nand so on", 1 / 2),
    ("javascript_line_ratio", "请启用 Javascript。\n正文", 1 / 2),
    ("policy_line_ratio", "We use cookies.\nPrivacy Policy\nHome", 2 / 3),
    ("policy_line_ratio", "隐私政策\n正文", 1 / 2),
    ("lorem_ipsum_count", "Lorem ipsum, LOREM IPSUM", 2),
    ("lorem_ipsum_count", "Lorem dolor", 0),
    ("lorem_ipsum_count", "数据lorem ipsum", 1),
    ("lorem_ipsum_count", "数据", 0),
    ("c4_sentence_count", "It is here. Is it not? " + WORDS, 3),
    ("c4_sentence_count", f"{WORDS}\n{WORDS}\nNo, it is not..\nIt is not here, no, no...", 2),
    ("c4_sentence_count", "Four words are few.\n" + WORDS[:-1] + "\nYou need javascript for all this.", 0),
    ("c4_sentence_count", SENTENCE * 2, 2),
    ("c4_sentence_count", f"{SENTENCE}\n八个字是四个词。\n读我们的隐私政策和别的东西。", 1),
    ("correctable_word_ratio", f"Home\n{WORDS}", 1 / 12),
    ("correctable_word_ratio", f"{WORDS} {WORDS}\n", 0),
    ("correctable_word_ratio", f"3 likes\n1990 12\nALL NEW cars\n{WORDS}", 7 / 18),
    ("correctable_word_ratio", f"Sign in to see\nIt goes on, read more...\n2 items in cart\n{WORDS}", 13 / 24),
    ("correctable_word_ratio", f"Registered or not, it is fine\nLikes of 3\n{WORDS}", 0),
    ("correctable_word_ratio", f"首页\n{SENTENCE}", 1 / 10),
    ("correctable_word_ratio", f"1280人阅读\n请登录\n{SENTENCE}", (3 + 2) / 14),
    ("correctable_word_ratio", SENTENCE, 0),
]


def view(*texts: str) -> TextView:
    return TextView(pa.array(texts, pa.string()))


TEXT = st.text(st.sampled_from("aAbBéÉ1２_'-.#…。，数据 \n\u3000(${"), max_size=60)


def python_tokens(text: str) -> dict[str, float]:
    raw = re.findall(r"[一-鿿]|[^\W一-鿿]+|[^\w\s]+", text)
    tokens = [token for token in raw if re.match(r"\w", token)]
    caps = [t for t in tokens if t.isupper() and sum(c.isupper() for c in t) > 1]
    runs = [(m[0][0], len(m[0])) for m in re.finditer(r"(.)\1*", text, re.DOTALL)]
    ellipses = [(c, n) for c, n in runs if c == "…" or (c in ".。" and n >= 3)]

    def share(part: float, whole: int) -> float:
        return part / whole if whole else NAN

    return {
        "nonalpha_word_ratio": share(sum(not t.isalpha() for t in tokens), len(tokens)),
        "digit_word_ratio": share(sum(t.isdigit() for t in tokens), len(tokens)),
        "caps_word_ratio": share(len(caps), len(raw)),
        "hash_word_ratio": share(text.count("#"), len(raw)),
        "lone_hash_word_ratio": share(sum(c == "#" and n == 1 for c, n in runs), len(raw)),
        "ellipsis_word_ratio": share(len(ellipses), len(raw)),
        "lone_ellipsis_word_ratio": share(sum(n <= 2 if c == "…" else n == 3 for c, n in ellipses), len(raw)),
    }


def python_alpha_words(text: str) -> int:
    """Words with a letter, of TextView.words."""
    count = 0
    for stretch in text.split():
        plain = "".join(c for c in stretch if c not in string.punctuation)
        if re.search("[一-鿿]", plain):
            count += sum(any(map(str.isalpha, w)) for w in re.findall(r"[一-鿿]|[^\W一-鿿]+", plain))
        else:
            count += any(map(str.isalpha, plain))
    return count


def python_lines(text: str) -> dict[str, float]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    words = [line_words(line) for line in lines]

    def share(part: float, whole: int) -> float:
        return part / whole if whole else NAN

    kept = [line for line, n in zip(lines, words, strict=True) if n >= 5 and re.search(r"((?<!\.\.)\.|。|')$", line)]
    return {
        "terminal_line_ratio": share(sum(line[-1] in ".'…。" for line in lines), len(lines)),
        "short_line_ratio": share(sum(len(re.sub("[数据]", "xxx", line)) < 30 for line in lines), len(lines)),
        "newline_word_ratio": share(text.count("\n"), sum(words)),
        "c4_sentence_count": sum(len(re.findall(r"\w[^.。]*[.。]+(?=[^.。]|$)|\w[^.。]*$", line)) for line in kept),
    }


def line_words(line: str) -> int:
    han = len(re.findall("[数据]", line))
    return (han + 1) // 2 + sum(bool(re.search(r"\w", run)) for run in re.split(r"[数据\s]+", line))


@pytest.mark.parametrize(("name", "text", "value"), CASES)
def test_signal(name: str, text: str, value: float) -> None:
    assert signal_named(name)(view(text))[0] == pytest.approx(value, rel=1e-12, nan_ok=True)


def same(t: TextView, wanted: list[dict[str, float]]) -> None:
    for name in wanted[0]:
        found = signal_named(name)(t)
        np.testing.assert_allclose(found, [row[name] for row in wanted], rtol=1e-12, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=8))
def test_words_like_python(texts: list[str]) -> None:
    t = view(*texts)
    same(t, [python_tokens(text) for text in texts])
    alpha = signal_named("alpha_word_ratio")(t) * t.words.per_doc
    assert np.nan_to_num(alpha).tolist() == pytest.approx([python_alpha_words(text) for text in texts])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab1'-.…。，数据 \n"), max_size=90), min_size=1, max_size=8))
def test_lines_like_python(texts: list[str]) -> None:
    same(view(*texts), [python_lines(text) for text in texts])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("ab数", min_size=1, max_size=4), min_size=1, max_size=5, unique=True),
    st.text("abAB数据", max_size=30),
)
def test_automaton_finds_what_python_finds(phrases: list[str], text: str) -> None:
    machine = automaton({1: phrases[:2], 2: phrases[2:]})
    state, data = 0, text.encode()
    for end, byte in enumerate(data, 1):
        state = machine.after[state, byte]
        before = re.sub(rb"[A-Z]", lambda m: m[0].lower(), data[:end])
        wanted = (1 if any(before.endswith(p.encode()) for p in phrases[:2]) else 0) | (
            2 if any(before.endswith(p.encode()) for p in phrases[2:]) else 0
        )
        assert machine.flags[state] == wanted
        prefixes = {p.encode()[:k] for p in phrases for k in range(1, len(p.encode()) + 1)}
        assert machine.depths[state] == max((len(p) for p in prefixes if before.endswith(p)), default=0)


def test_phrases_are_lower_case_and_stand_once() -> None:
    texts = [text for group in PHRASES.values() for text in group]
    assert all(text == text.lower() == text.strip() for text in texts)
    assert all(len(set(group)) == len(group) for group in PHRASES.values())


def test_a_phrase_does_not_span_lines_or_documents() -> None:
    t = view("lorem\nipsum", "read", " more", "read\nmore")
    assert signal_named("lorem_ipsum_count")(t).tolist() == [0, 0, 0, 0]
    assert signal_named("read_more_line_ratio")(t).tolist() == [0, 0, 0, 0]
