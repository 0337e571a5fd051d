"""Rules decide by bounds, language and tier; rule tables are read strictly; each rule of each table has examples that
it keeps and that it drops, in each of its languages; no table drops an article of the sample."""

import math
import re
import tomllib
from importlib import import_module
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from filters.catalogue import NEEDS, SIGNALS, Values
from filters.decide import Decision, decide
from filters.rules import EVERY, Override, Rule, load_rules, overridden
from filters.text import TextView

PIPELINE = Path(__file__).resolve().parents[2] / "pipeline"

# lo, hi, value, fails
BOUNDS = [
    (2, None, 2, False),
    (2, None, 1, True),
    (None, 0.2, 1 / 5, False),  # inclusive, in float32: 0.2 is 0.2
    (None, 0.2, 0.2 + 1e-10, False),
    (None, 0.2, 0.21, True),
    (1, 3, 4, True),
    (1, 3, math.nan, False),
    (3, 3, 3, False),
]

# What the file says, what the error says.
MISTAKES = [
    (
        '[[rule]]\nsignal = "han_ration"\nlo = 1',
        r"rule 1 \(han_ration\): unknown signal 'han_ration'; did you mean 'han_",
    ),
    ('[[rule]]\nsignal = "char_count"\nlow = 1', r"rule 1 \(char_count\): unknown key 'low'; did you mean 'lo'"),
    ('[[rules]]\nsignal = "char_count"\nlo = 1', "unknown key 'rules'; did you mean 'rule'"),
    ('[rule]\nsignal = "char_count"', r"consists of \[\[rule\]\] rows"),
    ("[[rule]]\nlo = 1", "rule 1 names no signal"),
    ('[[rule]]\nsignal = "char_count"', "needs lo, hi or both"),
    ('[[rule]]\nsignal = "char_count"\nlo = 2\nhi = 1', "lo = 2.0, hi = 1.0"),
    ('[[rule]]\nsignal = "char_count"\nlo = nan', "lo = nan"),
    (f'[[rule]]\nsignal = "char_count"\nhi = {10**400}', "lo or hi is too large a number"),
    ('[[rule]]\nsignal = "char_count"\nhi = 1e39', "char_count has a bound beyond the range of float32"),
    ('[[rule]]\nsignal = "char_count"\nlo = "2"', "lo = '2' is of the wrong type"),
    ('[[rule]]\nsignal = "char_count"\nlo = true', "lo = True is of the wrong type"),
    ('[[rule]]\nsignal = "char_count"\nlo = 1\ntier = 0.5', "tier = 0.5 is of the wrong type"),
    ('[[rule]]\nsignal = "char_count"\nlo = 1\n' * 2, "two rules are named 'char_count'"),
]


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


def column(*texts: str) -> pa.Array:
    return pa.array(texts, pa.string())


def table(name: str) -> tuple[Rule, ...]:
    return load_rules((PIPELINE / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))


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


def articles(lang: str) -> list[str]:
    folder = PIPELINE / "sample" / "articles" / lang
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]


def judge(text: str, *rules: Rule, lang: str = "en") -> Decision:
    return decide(column(text), [lang], rules)


@pytest.mark.parametrize(("lo", "hi", "value", "fails"), BOUNDS)
def test_bounds(lo: float | None, hi: float | None, value: float, fails: bool) -> None:
    assert Rule("x", lo, hi).fails(np.array([value], np.float32)).tolist() == [fails]


def test_decide_by_hand() -> None:
    rules = (
        Rule("char_count", lo=3),
        Rule("han_ratio", lo=0.5, lang="zh"),
        Rule("word_count", lo=2, lang="en", tier=1, name="too_few_words"),
        Rule("mean_word_len", hi=3, lang="en", tier=1),
    )
    texts = column("skip", "数据很大", "数 data", "four", "a b c", "a", "...").slice(1)
    found = decide(texts, ["zh", "zh", "en", "en", "en", "en"], rules, early_exit=True)
    no = False
    assert found.failed.tolist() == [
        [no, no, no, no],
        [no, True, no, no],
        [no, no, True, True],
        [no, no, no, no],
        [True, no, no, no],  # lost in tier 0, so tier 1 is not measured
        [no, no, True, no],  # no word: the mean is not measurable
    ]
    assert found.first.tolist() == [-1, 1, 2, -1, 0, 2]
    assert found.kept.tolist() == [True, no, no, True, no, no]
    assert found.unmeasured.tolist() == [0, 0, 0, 1]
    nan = math.nan
    wanted: dict[str, list[float]] = {
        "char_count": [4, 6, 4, 5, 1, 3],
        "han_ratio": [1, 1 / 6, nan, nan, nan, nan],
        "word_count": [nan, nan, 1, 3, nan, 0],
        "mean_word_len": [nan, nan, 4, 1, nan, nan],
    }
    assert list(found.values) == list(wanted)
    for name, values in wanted.items():
        assert found.values[name].dtype == np.float32
        np.testing.assert_array_equal(found.values[name], np.array(values, np.float32), err_msg=name)
    assert [rule.label for rule in rules] == ["char_count", "han_ratio", "too_few_words", "mean_word_len"]


def test_measures_only_what_a_rule_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def probe(t: TextView) -> Values:
        seen.append(len(t))
        return t.chars.astype(np.float64)

    monkeypatch.setitem(SIGNALS, "probe", probe)
    rules = (
        Rule("char_count", lo=2),
        Rule("probe", lo=3, lang="zh", tier=1),
        Rule("probe", hi=9, lang="zh", tier=2, name="b"),
    )
    texts = column("一", "二二", "三三三", "en", "四四四四")
    found = decide(texts, ["zh", "zh", "zh", "en", "zh"], rules, early_exit=True)
    assert seen == [3]  # once for both rules, without the English one and the one that tier 0 lost
    assert found.first.tolist() == [0, 1, -1, -1, -1]
    seen.clear()
    assert decide(texts, ["en"] * 5, rules).first.tolist() == [0, -1, -1, -1, -1]
    assert decide(column("", "a"), ["zh", "zh"], rules, early_exit=True).first.tolist() == [0, 0]
    assert seen == []
    everything = decide(texts, ["zh"] * 5, rules)
    assert seen == [5]  # without early_exit each rule sees each document
    assert everything.failed[0].tolist() == [True, True, False]


def test_several_pieces() -> None:
    texts = column("a" * 3_000_000, "一", "b" * 3_000_000, "", "二" * 1_000_000)
    found = decide(texts, ["en"] * 5, (Rule("char_count", hi=10), Rule("line_count", lo=1, tier=1)))
    assert found.first.tolist() == [0, -1, 0, 1, 0]
    assert found.values["char_count"].tolist() == [3e6, 1, 3e6, 0, 1e6]


def test_edges() -> None:
    rules = (Rule("char_count", lo=1),)
    assert decide(column(), [], rules).failed.shape == (0, 1)
    assert decide(column("a"), ["en"], ()).first.tolist() == [-1]
    chunks = pa.chunked_array([column("a"), column("", "b")])
    assert decide(chunks, np.array(["en", "zh", "zh"]), rules).first.tolist() == [-1, 0, -1]
    assert decide(column("", "b"), pa.array(["en", "zh"]), rules).first.tolist() == [0, -1]
    with pytest.raises(ValueError, match="1 documents, but 2 languages"):
        decide(column("a"), ["en", "en"], rules)
    with pytest.raises(ValueError, match="did you mean 'char_count'"):
        judge("a", Rule("chars_count", lo=1))
    with pytest.raises(ValueError, match="two rules are named 'char_count'"):
        judge("a", Rule("char_count", lo=1, lang="zh"), Rule("char_count", lo=2))
    judge("a", Rule("char_count", lo=1, lang="zh"), Rule("char_count", lo=2, lang="en"))


def test_a_decision_does_not_depend_on_the_batch() -> None:
    texts = [text[: 100 * i] for lang in ("en", "zh") for i, text in enumerate(articles(lang)[:12])] * 3
    languages = (["en"] * 12 + ["zh"] * 12) * 3
    rules = [rule for name in ("matrix-en", "matrix-zh", "gopher") for rule in table(name) if rule.signal not in NEEDS]
    whole = decide(column(*texts), languages, rules)
    assert 0 < whole.kept.sum() < len(texts)
    for i, (text, lang) in enumerate(zip(texts, languages, strict=True)):
        alone = judge(text, *rules, lang=lang)
        np.testing.assert_array_equal(alone.failed[0], whole.failed[i])
        for name, values in whole.values.items():
            np.testing.assert_array_equal(alone.values[name], values[i : i + 1], err_msg=name)


def test_load_rules() -> None:
    text = """
        [[rule]]
        signal = "word_count"
        lo = 50
        lang = "en"
        tier = 1
        source = "E8"
        [[rule]]
        signal = "han_ratio"
        hi = 0.5
        name = "mostly_chinese"
    """
    rules = load_rules(text)
    assert rules == (Rule("word_count", 50.0, None, "en", 1, "E8"), Rule("han_ratio", hi=0.5, name="mostly_chinese"))
    assert isinstance(rules[0].lo, float)
    assert load_rules("") == ()


def test_overrides() -> None:
    rules = (Rule("char_count", lo=3), Rule("word_count", lo=2, hi=5, lang="en"), Rule("word_count", lo=9, lang="zh"))
    wider = overridden(rules, Override("word_count", lo=2, hi=50, lang="en", source="books are long"))
    assert [(rule.lo, rule.hi, rule.source) for rule in wider] == [
        (3, None, ""),
        (2, 50, "books are long"),
        (9, None, ""),
    ]
    assert overridden(rules, Override("word_count", drop=True)) == rules[:1]
    with pytest.raises(ValueError, match="no rule 'word_cont' to override; did you mean 'word_count'"):
        overridden(rules, Override("word_cont", drop=True))
    with pytest.raises(ValueError, match="needs lo, hi or both"):
        overridden(rules, Override("char_count"))


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_load_rules_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_rules(text)


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


def test_rule_on_language_score() -> None:
    rules = [rule for rule in table("matrix-en") if rule.signal == "lang_score"]
    beside = {"lang_score": pa.array([0.3, 0.4, None], pa.float32())}
    found = decide(column("a", "b", "c"), ["en"] * 3, rules, beside)
    assert found.failed[:, 0].tolist() == [True, False, False]
    assert found.unmeasured.tolist() == [1]
