"""Chinese signals on texts worked by hand, Simplified and Traditional, on each side of each bound; the kernels against
slow references; words against the cuts that jieba's dictionary makes; and that the text itself stays as it is."""

import math
import re
import string
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.chinese import COLUMNS, TEASER, chinese, sentence_repeats
from filters.chinese_marks import BREAKS, CLOSES, CLOSING, ENDS, KINDS, STOPS
from filters.chinese_words import segmenter
from filters.codepoints import HAN_RANGES
from filters.decide import decide
from filters.rules import load_rules
from filters.script import SCRIPT_OF, SCRIPTS
from filters.signals import signal_named
from filters.text import TextView
from filters.widths import WIDTH, folded

TABLE = Path(__file__).resolve().parents[2] / "pipeline" / "recipes" / "matrix-zh.toml"
NAN = math.nan

# signal, text, value
CASES = [
    ("zh_bracketed_ratio", "【公告】今天下雨。", 2 / 9),
    ("zh_bracketed_ratio", "【公告】" + "今天也會下雨" * 4, 2 / 28),
    ("zh_bracketed_ratio", "【【公】告】", 2 / 6),  # up to the first that closes, as the published expression does
    ("zh_bracketed_ratio", "【公\n告】下雨了", 0),
    ("zh_bracketed_ratio", "】公告【", 0),
    ("zh_sentence_count", "今天下雨。明天晴。", 2),
    ("zh_sentence_count", "他說：「走吧！」大家都走了……", 2),  # the quote goes with its stop
    ("zh_sentence_count", "真的？！（是的。）好；走。", 4),
    ("zh_sentence_count", "首页 关于我们 联系方式\n登录\n注册", 1),  # a menu
    ("zh_sentence_count", "標題\n正文一句。", 1),
    ("zh_sentence_count", "版本3.14在www.example.com上", 1),
    ("zh_sentence_count", "版本３．１４在ｗｗｗ．ｅｘ．ｃｏｍ上", 1),
    ("zh_sentence_count", "1.概述 2. 安装", 1),
    ("zh_sentence_count", "今天下雨.明天晴.", 2),
    ("zh_sentence_count", "今天下雨．明天晴．", 2),
    ("zh_sentence_count", "共有10.\n好", 2),
    ("zh_sentence_count", "。。。！", 0),
    ("zh_hash_run_ratio", "##标题", 1 / 4),
    ("zh_hash_run_ratio", "＃話題＃" + "今天下雨" * 5, 2 / 24),
    ("zh_ellipsis_run_ratio", "等等……好", 1 / 5),
    ("zh_ellipsis_run_ratio", "等等。。。好..嗎⋯⋯", 3 / 11),
    ("zh_ellipsis_run_ratio", "一句。两句。a⋯z", 0),  # one ⋯ belongs to a formula
    ("zh_digit_ratio", "１２年, 一二", 2 / 6),  # 一二 are no digits, the blank counts, the comma does not
    ("zh_digit_ratio", "民國100年，大家好嗎都很好啊", 3 / 14),
    ("zh_digit_ratio", "，。", NAN),
    ("zh_han_letter_ratio", "用TiDB的人 123 {}", 3 / 7),
    ("zh_han_letter_ratio", "數 abcdefghi", 1 / 10),
    ("zh_han_letter_ratio", "数 abcdefghij", 1 / 11),
    ("zh_han_letter_ratio", "〇二", 1),
    ("zh_han_letter_ratio", "123", NAN),
    ("zh_latin_run_ratio", "用 TiDB Cloud 的人", 2 / 4),
    ("zh_latin_run_ratio", "第3條與iPhone15Pro、б中", 1 / 3),  # digits end no run
    ("zh_latin_run_ratio", "123", NAN),
    ("zh_teaser_line_ratio", "正文。\n查看更多 >>\n\n展開\nRead More\n等等。。。 \r\n再見", 4 / 6),
    ("zh_teaser_line_ratio", "正文。\n更多精彩\n展开》", 1 / 3),
    ("zh_teaser_line_ratio", "更多\n更多內容\n更多新聞請看\n全文", 1 / 4),
    ("zh_teaser_line_ratio", "查看更多\u00a0\nRead more\u2028\x0b\n更多\u200b\n正文", 2 / 4),
    ("zh_teaser_line_ratio", "", NAN),
    ("stop_word_ratio", "我们的书", 3 / 4),
    ("stop_word_ratio", "我們的書", 2 / 4),  # the list is Simplified, but most function words are both
    ("stop_word_ratio", "首页登录注册购物车", 0),
    ("bullet_line_ratio", "  ➢甲\n乙", 1 / 2),
    ("zh_dup_sentence_ratio", "买一送一。好。买一送一。", 1 / 3),
    ("zh_dup_sentence_ratio", "買一送一。\n好。\n買一送一。\n走吧。", 1 / 4),
    ("zh_dup_sentence_ratio", "首页\n登录\n首页\n“首页”", 1 / 4),  # the quote that closes is part of the last
    ("zh_dup_sentence_ratio", "共２页。共2页。", 1 / 2),
    ("zh_dup_sentence_ratio", "print(1)\nprint(1)\n中", 0),  # code is no sentence
    ("zh_dup_sentence_ratio", "print(1)\nprint(1)", NAN),
    ("zh_dup_sentence_char_ratio", "买一送一。好。买一送一。", 5 / 12),
    ("zh_dup_sentence_char_ratio", "好。好。這一句比那一句長很多。", 2 / 15),
    ("zh_word_count", "我爱北京天安门。", 4),  # 我 爱 北京 天安门
    ("zh_word_count", "我愛 Ｐｙｔｈｏｎ，也愛 rust_lang", 7),  # 我 愛 Python 也 愛 rust lang
    ("zh_word_count", "。，", 0),
    ("zh_mean_word_len", "我爱北京天安门。", 7 / 4),
    ("zh_mean_word_len", "價格 是 聯絡", 5 / 3),
    ("zh_mean_word_len", "我，你，他，她", 1),
    ("zh_mean_word_len", "看 " + "a" * 22, 23 / 2),
    ("zh_mean_word_len", "！", NAN),
]


def repeats_of(n: int, total: int) -> str:
    """`total` ideographs, all different but for a stretch of n that occurs twice."""
    words = [chr(0x4E00 + i) for i in range(total)]
    return "".join([*words[:n], words[-1], *words[:n], *words[n : total - n - 1]])


# On each side of the bounds 0.80, 0.76, 0.72, 0.68, 0.64 and 0.60.
LADDER = [
    (f"dup_{n}gram_ratio", repeats_of(n, total), 2 * n / total)
    for n, most in ((5, 12), (6, 15), (7, 19), (8, 23), (9, 28), (10, 33))
    for total in (most, most + 1)
]


def view(*texts: str) -> TextView:
    return TextView(pa.array(texts, pa.string()))


@pytest.mark.parametrize(("name", "text", "value"), CASES + LADDER)
def test_by_hand(name: str, text: str, value: float) -> None:
    assert signal_named(name)(view(text)).tolist() == pytest.approx([value], nan_ok=True)


def test_each_rule_of_the_family_is_tried_on_both_sides_in_both_scripts() -> None:
    rules = load_rules(TABLE.read_text("utf-8"))
    simplified, traditional = (lambda text: encodes(text, "gb2312"), lambda text: encodes(text, "big5"))
    for rule in rules:
        texts = [(text, value) for name, text, value in CASES + LADDER if name == rule.signal]
        if not rule.signal.startswith("zh_"):
            continue
        assert {bool(rule.fails(np.array([value], np.float32))[0]) for _, value in texts} == {True, False}, rule.label
        assert any(simplified(text) for text, _ in texts) and any(traditional(text) for text, _ in texts), rule.label


def encodes(text: str, encoding: str) -> bool:
    """Whether all ideographs of a text can be written in an old national encoding."""
    return all(c.encode(encoding, "ignore") for c in text if is_han(c))


def test_the_rules_name_their_source() -> None:
    numbers = {int(n) for rule in load_rules(TABLE.read_text("utf-8")) for n in re.findall(r"ZH(\d+)", rule.source)}
    assert {1, *range(5, 19), 20, 26} <= numbers


# ---- references


def is_han(c: str) -> bool:
    return any(first <= ord(c) <= last for first, last in HAN_RANGES)


def width(text: str) -> str:
    """Each character in its ordinary width; of Unicode's compatibility forms only <wide> and <narrow>."""
    forms = [unicodedata.decomposition(c).split(" ") for c in text]
    return "".join(
        chr(int(form[1], 16)) if form[0] in ("<wide>", "<narrow>") else c for c, form in zip(text, forms, strict=True)
    )


def is_word(c: str) -> bool:
    return c.isalnum() or c == "_" or is_han(c)


CLOSERS = "".join(c for c in map(chr, range(0x20000)) if unicodedata.category(c) in ("Pe", "Pf")) + CLOSING
STOP = rf"(?:[{STOPS}]|(?<![0-9])\.(?![0-9A-Za-z_])|\.\Z)"
END = re.compile(rf"{STOP}(?:{STOP}|[{re.escape(CLOSERS)}])*")


def sentences_of(line: str) -> list[tuple[str, bool]]:
    """The sentences of a line, and whether a stop ends each."""
    ends = [0, *(match.end() for match in END.finditer(line)), len(line)]
    found = []
    for start, end in zip(ends, ends[1:], strict=False):
        first = next((i for i in range(start, end) if is_word(line[i])), end)
        if first < end:
            found.append((line[first:end].rstrip(), end in ends[1:-1]))
    return found


def reference(text: str) -> tuple[list[int], int, int]:
    """The counts in the order of their columns, and the sentences and characters that occurred before."""
    text = width(text)
    lines = re.split(f"[{BREAKS}]", text)
    sentences = [sentence for line in lines for sentence in sentences_of(line)]
    ended = sum(end for _, end in sentences)
    tail = bool(sentences) and not sentences[-1][1]
    chinese_ones = [sentence for sentence, _ in sentences if any(map(is_han, sentence))]
    again = [s for i, s in enumerate(chinese_ones) if s in chinese_ones[:i]]
    # H ideograph, L Latin letter, 0 digit, which belongs to the run that it stands in, - anything else
    kinds = "".join("H" if is_han(c) else "L" if is_latin(c) else "0" if c.isdigit() else "-" for c in text).replace(
        "0", ""
    )
    return (
        [
            sum(len(inside) for line in lines for inside in re.findall("【(.*?)】", line, re.DOTALL)),
            len(re.findall("#+", text)),
            sum(len(run) > 1 or run in "…‥" for run in re.findall("[.。…‥⋯]+", text)),
            sum(c.isalpha() or is_han(c) for c in text),
            sum(map(is_han, text)),
            sum(c.isdigit() for c in text),
            sum(unicodedata.category(c)[0] == "P" or c in string.punctuation for c in text),
            len(re.findall("H+", kinds)),
            len(re.findall("L+", kinds)),
            ended + tail,
        ],
        len(again),
        sum(map(len, again)),
    )


def is_latin(c: str) -> bool:
    return SCRIPTS[SCRIPT_OF[ord(c)]] == "latn"


MARKS = "今天雨。。．.｡…⋯‥！；?;!\"'“”「」）】【##＃，、"
MARKS += "\n\n\r\x0b\x85\u2028\u2029\u3000 \x00aZé_12３４①𠮷〇繁體𝔸ｱＡ😀\u0301\ud7a3б"
TEXTS = st.lists(st.text(st.sampled_from(MARKS) | st.characters(exclude_categories=["Cs"]), max_size=40), max_size=4)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 2))
@example(["", "中", "。"], 0)
@example(["中.a中.b中.\r\n1.中1.\n2. 中", "【中\r】【a【b】"], 1)
@example(["中。」”)。a..b", "“中”。'中'.\"中\"!"], 0)
def test_counts_and_sentences_like_the_reference(texts: list[str], skipped: int) -> None:
    column = pa.array(["前。", "x", *texts], pa.string()).slice(2 - skipped)
    found = TextView(column)
    counts, (sentences, characters) = chinese(found).counts, sentence_repeats(found)
    for d, text in enumerate(column.to_pylist()):
        wanted, again, length = reference(text)
        assert (counts[d].tolist(), sentences[d], characters[d]) == (wanted, again, length), text
    assert counts.shape == (len(column), COLUMNS)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(0, 2))
def test_folding_like_the_reference(texts: list[str], skipped: int) -> None:
    column = pa.array(["ＡＢ。", "ｱ", *texts], pa.string()).slice(2 - skipped)
    wanted = [width(text) for text in column.to_pylist()]
    assert folded(TextView(column)).to_pylist() == wanted
    bare = ["".join(c if is_word(c) and c != "_" else " " for c in text) for text in wanted]
    words = folded(TextView(column), words_only=True)
    words.validate(full=True)
    assert [text.split() for text in words.to_pylist()] == [text.split() for text in bare]


BLANKS = "".join(c for c in map(chr, range(0x110000)) if c.isspace() and c != "\n")


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_teasers_like_the_reference(texts: list[str]) -> None:
    endings = ("展开", "展開", "更多", "readmore", "read more", "…", "⋯⋯", "...", "。。")
    for text in [
        *texts,
        *(f"{text}更多{blank}" for text in texts for blank in BLANKS),
        *(f"{text} Read More》 \n" for text in texts),
    ]:
        lines = [line.rstrip(">＞》»›→↓▼+:：)）]】" + BLANKS).lower() for line in text.split("\n")]
        wanted = sum(line.endswith(endings) for line in lines)
        whole = sum(bool(line.strip()) for line in text.split("\n"))
        value = signal_named("zh_teaser_line_ratio")(view(text))[0]
        assert math.isnan(value) if whole == 0 else value == wanted / whole, text


def test_widths_by_hand() -> None:
    for wide, ordinary in zip("Ａ９！～\u3000｡｢ｱ￥。《①…", "A9!~ 。「ア¥。《①…", strict=True):
        assert chr(WIDTH[ord(wide)]) == ordinary
    for code in np.flatnonzero(WIDTH != np.arange(len(WIDTH))):  # a copy needs no more room
        assert len(chr(code).encode()) >= len(chr(WIDTH[code]).encode())


# ---- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我爱北京天安门", ["我", "爱", "北京", "天安门"]),
        ("价格是3.14元", ["价格", "是", "3.14", "元"]),
        ("價格低，請聯絡我們", ["價格", "低", "，", "請", "聯絡", "我們"]),
        ("a\u2028中\x00𠮷", ["a", "\u2028", "中", "\x00", "𠮷"]),
        ("", []),
    ],
)
def test_the_segmenter_cuts_as_jieba_does(text: str, words: list[str]) -> None:
    assert segmenter().cut(text) == words


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_words_neither_lose_nor_span_anything(texts: list[str]) -> None:
    t = view(*texts)
    counts, lengths = (signal_named(name)(t) for name in ("zh_word_count", "zh_mean_word_len"))
    for d, text in enumerate(folded(t, words_only=True).to_pylist()):
        words = [word for stretch in text.split() for word in segmenter().cut(stretch)]
        assert counts[d] == len(words)
        assert lengths[d] == pytest.approx(sum(map(len, words)) / len(words)) if words else math.isnan(lengths[d])


# ---- the text stays


def test_measuring_leaves_the_text_as_it_is() -> None:
    texts = ["　Ｇｌａｓｓｐｉｌｅ　２０２０，“正文。”【公告】｡ﾃｽﾄ\r\n展开……", "全形「標點」；（括號）！？", ""]
    column = pa.array(["前", *texts], pa.string()).slice(1)
    before = [bytes(buffer) for buffer in column.buffers()[1:]]
    rules = load_rules(TABLE.read_text("utf-8"))
    decide(column, ["zh"] * 3, rules, {"lang_score": pa.array([0.9, None, 0.1], pa.float32())})
    assert column.to_pylist() == texts
    assert [bytes(buffer) for buffer in column.buffers()[1:]] == before


def test_the_tables_hold_what_they_say() -> None:
    assert re.compile(TEASER)
    assert set(BREAKS) == {c for c in map(chr, range(0x3000)) if len(f"a{c}b".splitlines()) == 2}
    for mark in "”’」』）】》〉〕":
        assert KINDS[ord(mark)] & CLOSES, mark
    for mark in "“‘「『（【《〈〔，、：":
        assert not KINDS[ord(mark)] & (CLOSES | ENDS), mark
