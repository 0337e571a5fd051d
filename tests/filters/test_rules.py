"""Rules decide by bounds, language and tier; rule tables are read strictly."""

import math

import numpy as np
import pyarrow as pa
import pytest

from filters.catalogue import NEEDS, SIGNALS, Values
from filters.decide import decide
from filters.rules import Override, Rule, load_rules, overridden
from filters.text import TextView
from tests.filters.rule_texts import articles, column, judge, table

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


def test_rule_on_language_score() -> None:
    rules = [rule for rule in table("matrix-en") if rule.signal == "lang_score"]
    beside = {"lang_score": pa.array([0.3, 0.4, None], pa.float32())}
    found = decide(column("a", "b", "c"), ["en"] * 3, rules, beside)
    assert found.failed[:, 0].tolist() == [True, False, False]
    assert found.unmeasured.tolist() == [1]
