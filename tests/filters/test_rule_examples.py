"""Each rule of each table has examples that it keeps and that it drops, in each of its languages; no table drops an
article of the sample."""

import math
import re
import tomllib
from importlib import import_module
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest

from filters.catalogue import NEEDS, SIGNALS
from filters.decide import decide
from filters.rules import EVERY
from filters.text import TextView
from tests.filters.rule_texts import PIPELINE, articles, column, table


def repeated(n: int, times: int, total: int, han: bool) -> str:
    """A text of `total` words of equal length, all different but for an n-gram that occurs so many times."""
    words = [chr(0x4E00 + i) for i in range(total)] if han else list(map("".join, product("abcdefg", repeat=3)))
    gram, rest = words[:n], words[n : n + total - n * times]
    pieces = [(*gram, rest.pop()) for _ in range(times - 1)] + [(*gram, *rest)]
    return ("" if han else " ").join(word for piece in pieces for word in piece)


def lines(some: str, times: int, other: str, others: int) -> str:
    """Lines of two kinds."""
    return "\n".join([some] * times + [other] * others)


BESIDE = ((), ("lang_score",))  # what the signals need that these tests can give them

# signal, text, value: with the other tests' tables, a value on each side of each bound of each rule of each table.
EDGES = [
    ("char_count", "字" * 10_001, 10_001),
    ("char_count", "字" * 50, 50),
    ("nonspace_char_count", "a" * 199, 199),
    ("curly_bracket_ratio", "{a}" + "b" * 77, 2 / 80),
    ("curly_bracket_ratio", "{a}" + "b" * 76, 2 / 79),
    ("curly_bracket_ratio", "no bracket", 0),
    ("curly_bracket_ratio", "没有括号", 0),
    ("symbol_word_ratio", "# one two three", 1 / 4),
    ("symbol_word_ratio", "### one", 3 / 2),
    ("symbol_word_ratio", "#" + "数据" * 5, 1 / 11),
    ("nonlatin_word_ratio", "Five words, of letters", 1 / 5),
    ("punct_count", "no mark", 0),
    ("punct_count", "没有标点", 0),
    ("lone_hash_word_ratio", "# " + "word " * 9, 1 / 10),
    ("word_count", "word " * 49, 49),
    ("word_count", "word " * 50, 50),
    ("word_count", "word " * 10_001, 10_001),
    ("word_count", "word " * 100_001, 100_001),
    ("word_count", "字" * 79, 79),
    ("word_count", "字" * 80, 80),
    ("word_count", "字" * 160_001, 160_001),
    ("mean_word_len", "to be or not", 9 / 4),
    ("mean_word_len", "incomprehensible words", 21 / 2),
    ("mean_word_len", "four five more", 12 / 3),
    ("stop_word_ratio", "the cat sat on the mat", 3 / 6),
    ("stop_word_ratio", "Tunisian camels " * 20, 0),
    ("sentence_count", "Only one.", 1),
    ("sentence_count", "A. " * 7_501, 7_501),
    ("sentence_count", "只有一句。", 1),
    ("line_count", "one line", 1),
    ("ellipsis_line_ratio", lines("And so on...", 1, "The end.", 4), 1 / 5),
    ("ellipsis_line_ratio", lines("等等……", 3, "完了。", 7), 3 / 10),
    ("bullet_line_ratio", "• a\n" * 10, 1),
    ("bullet_line_ratio", "●甲\n" * 10, 1),
    ("dup_line_ratio", "Print\n" * 2, 1 / 2),
    ("dup_line_ratio", "首页\n首页\n正文\n再见", 1 / 4),
    ("dup_line_char_ratio", "ab\nab\nabcdefghijklmnopqrst", 2 / 24),
    ("dup_line_char_ratio", "首页\n首页\n一二三四五六七八九十天地玄黄宇宙洪荒", 2 / 22),
    ("dup_paragraph_ratio", "a\n\na\n\nb\n\nc", 1 / 4),
    ("dup_paragraph_ratio", "甲\n\n甲\n\n乙\n\n丙", 1 / 4),
    ("dup_paragraph_char_ratio", "a\n\na\n\nbcd", 1 / 5),
    ("dup_paragraph_char_ratio", "甲\n\n甲\n\n乙丙丁", 1 / 5),
    ("dup_sentence_char_ratio", "No. No. This is a long one.", 3 / 25),
    ("dup_sentence_ratio", "买一送一。好。很好。买一送一。", 1 / 4),
    ("dup_sentence_char_ratio", "好。好。这一句比那一句长。", 2 / 13),
    ("unique_word_ratio", "word " * 11, 1 / 11),
    ("unique_char_ratio", "天地" * 5, 2 / 10),
    ("word_entropy", " ".join(map(str, range(100, 120))), math.log(20)),
    ("word_entropy", " ".join(map(str, range(100, 121))), math.log(21)),
    ("char_entropy", "".join(chr(0x4E00 + i) for i in range(21)), math.log(21)),
    ("han_ratio", "数据" + "d" * 19, 2 / 21),
    ("digit_ratio", "1数据来了。", 1 / 5),
    ("alpha_word_ratio", "2021年的数据", 4 / 5),
    ("terminal_line_ratio", lines("Home", 7, "It is.", 1), 1 / 8),
    ("newline_word_ratio", "a b c\nd e f g h i j", 1 / 10),
    *(
        (f"top_{n}gram_ratio", repeated(n, 10, total, han), n * 10 / total)
        for n, edge in ((2, 100), (3, 167), (4, 250))
        for total in (edge, edge - 1)
        for han in (False, True)
    ),
    *(
        (f"dup_{n}gram_ratio", repeated(n, 2, total, han=False), 2 * n / total)
        for n, edge in ((5, 67), (6, 86), (7, 108), (8, 134), (9, 164), (10, 200))
        for total in (edge, edge - 1)
    ),
    *(
        (f"dup_{n}gram_ratio", repeated(n, 2, total, han=True), 2 * n / total)
        for n, edge in ((5, 13), (10, 34), (10, 50))
        for total in (edge, edge - 1)
    ),
]


def tables() -> list[str]:
    """The files of rules of documents."""
    files = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in (PIPELINE / "recipes").glob("*.toml")}
    return sorted(name for name, file in files.items() if any("signal" in row for row in file.get("rule", [])))


def examples() -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Texts and values by (signal, language): the rows (signal, text, value) of all tables of the tests of signals."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    modules = [import_module(f"tests.filters.{path.stem}") for path in sorted(Path(__file__).parent.glob("test_*.py"))]
    for rows in (value for module in modules for value in vars(module).values() if isinstance(value, list)):
        for row in rows:
            match row:
                case (str(signal), str(text), float() | int() as value) if signal in SIGNALS:
                    lang = "zh" if re.search("[㐀-鿿]", text) else "en"
                    found.setdefault((signal, lang), []).append((text, value))
    return found


@pytest.mark.parametrize("name", tables())
def test_every_rule_has_examples_on_both_sides_of_its_bounds(name: str) -> None:
    known = examples()
    missing = []
    for rule in table(name):
        assert rule.source, rule.label
        assert rule.label == rule.signal or rule.label.startswith(name), rule.label
        if rule.signal in NEEDS:
            continue  # has a test of its own, as text alone does not decide
        for lang in ("en", "zh") if rule.lang == EVERY else (rule.lang,):
            cases = known.get((rule.signal, lang), [])
            low = [text for text, value in cases if rule.lo is not None and value < rule.lo]
            high = [text for text, value in cases if rule.hi is not None and value > rule.hi]
            kept = [text for text, value in cases if text not in low + high and not math.isnan(value)]
            wanted = (kept, *([low] if rule.lo is not None else []), *([high] if rule.hi is not None else []))
            if not all(wanted):
                missing.append((rule.label, lang, len(low), len(kept), len(high)))
            found = decide(column(*kept, *low, *high), [lang] * len(kept + low + high), [rule])
            assert found.failed[:, 0].tolist() == [False] * len(kept) + [True] * len(low + high), rule.label
    assert missing == []


@pytest.mark.parametrize(("name", "text", "value"), EDGES)
def test_edge(name: str, text: str, value: float) -> None:
    assert SIGNALS[name](TextView(column(text)))[0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", tables())
def test_tables_spare_articles(name: str, lang: str) -> None:
    rules = [rule for rule in table(name) if rule.lang in (EVERY, lang) and NEEDS.get(rule.signal, ()) in BESIDE]
    texts = articles(lang)
    assert len(texts) >= 40
    beside = {"lang_score": pa.array([0.9] * len(texts), pa.float32())}
    found = decide(column(*texts), [lang] * len(texts), rules, beside)
    assert [rules[first].label for first in found.first if first >= 0] == []
    assert found.unmeasured.tolist() == [0] * len(rules)
