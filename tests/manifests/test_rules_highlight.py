"""What is marked in a sample is what the rule objects to: by hand for each family in both languages, and recounted."""

import json
import math
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.signals import SIGNALS
from filters.text import TextView
from manifests.__main__ import main
from manifests.excerpt import CHARS, QUOTES, REVERSE, excerpt, listed
from manifests.gone import RuleFailed
from manifests.highlight import FAMILIES, HAN, listed_words, merged, none, spans, words
from manifests.latest import open_run

Printed = pytest.CaptureFixture[str]


def rule(signal: str, lo: float | None, hi: float | None) -> RuleFailed:
    return RuleFailed(signal, signal, lo, hi, "*", "")


def value(signal: str, text: str) -> float:
    return float(SIGNALS[signal](TextView(pa.array([text], pa.string())))[0])


# Signal, lo, hi, text, and the parts that are marked.
CASES = [
    ("ellipsis_line_ratio", None, 0.3, "Read more...\nThe sea is calm.\nAnd so on…", ["Read more...", "And so on…"]),
    ("ellipsis_line_ratio", None, 0.3, "阅读全文。。。\n海很平静。", ["阅读全文。。。"]),
    ("bullet_line_ratio", None, 0.5, "• tea\n  ● milk\nBuy this.", ["• tea", "● milk"]),
    ("bullet_line_ratio", None, 0.5, "※茶\n○牛奶\n请买。", ["※茶", "○牛奶"]),
    ("dup_line_ratio", None, 0.3, "Home\nTea\nHome\n Home ", ["Home", "Home"]),
    ("dup_line_char_ratio", None, 0.2, "首页\n好茶\n首页", ["首页"]),
    ("dup_paragraph_ratio", None, 0.3, "One two\nthree\n\nFour\n\nOne two\nthree", ["One two\nthree"]),
    ("dup_paragraph_ratio", None, 0.3, "一\n二\n\n三\n \n一\n二", ["一\n二"]),
    ("dup_sentence_char_ratio", None, 0.2, "Buy it! It is good. Buy it!", ["Buy it!"]),
    ("dup_sentence_char_ratio", None, 0.2, "快买。很好！快买。", ["快买。"]),
    ("top_2gram_ratio", None, 0.3, "buy now, red tea, Buy NOW! or not", ["buy now,", "Buy NOW!"]),
    ("top_2gram_ratio", None, 0.3, "好茶在好茶店", ["好茶", "好茶"]),
    ("dup_5gram_ratio", None, 0.3, "a b c d e x a b c d e y", ["a b c d e", "a b c d e"]),
    ("dup_5gram_ratio", None, 0.3, "春眠不觉晓，春眠不觉晓！", ["春眠不觉晓", "春眠不觉晓"]),
    ("unique_word_ratio", 0.6, None, "tea tea Tea, milk", ["tea", "Tea,"]),
    ("unique_word_ratio", 0.6, None, "茶茶水茶", ["茶", "茶"]),
    ("word_entropy", 0.6, None, "tea tea tea milk", ["tea", "tea"]),
    ("word_entropy", 0.65, None, "茶，茶水", ["茶"]),
    ("unique_char_ratio", 0.5, None, "aaaa b", ["aaaa"]),
    ("char_entropy", 1.3, None, "哈哈哈 哈哈哈呵水山人", ["哈哈哈", "哈哈哈"]),
    ("mean_word_len", 3, 6, "an incomprehensibility", ["incomprehensibility"]),
    ("mean_word_len", 3, 6, "of at incomprehensible", ["incomprehensible"]),
    ("mean_word_len", 3, 6, "an ox is here", ["an", "ox", "is"]),
    ("mean_word_len", None, 3, "茶 incomprehensible", ["incomprehensible"]),
    ("curly_bracket_ratio", None, 0.1, "if (a) { b(); }", ["{", "}"]),
    ("curly_bracket_ratio", None, 0.1, "如果{{茶}}", ["{{", "}}"]),
    ("symbol_word_ratio", None, 0.3, "#tea more... and…", ["#", "...", "…"]),
    ("symbol_word_ratio", None, 0.3, "#茶…", ["#", "…"]),
    ("nonlatin_word_ratio", None, 0.4, "Tea 100% — чай", ["100%", "—", "чай"]),
    ("nonlatin_word_ratio", None, 0.4, "Tea 茶。", ["茶。"]),
    ("han_ratio", 0.5, None, "English", ["English"]),
    ("han_ratio", 0.5, None, "茶tea店and更", ["tea", "and"]),
    ("digit_ratio", None, 0.3, "Call 555 0199", ["555", "0199"]),
    ("digit_ratio", None, 0.3, "电话１２34号", ["１２34"]),
    ("digit_word_ratio", None, 0.2, "Call 555 now a1", ["555"]),
    ("digit_word_ratio", None, 0.1, "电话１２号", ["１２"]),
    ("nonalpha_word_ratio", None, 0.2, "see a1 or 22, ok", ["a1", "22"]),
    ("nonalpha_word_ratio", None, 0.1, "茶a1水", ["a1"]),
    ("alpha_word_ratio", 0.8, None, "tea 12 x", ["12"]),
    ("alpha_word_ratio", 0.8, None, "茶 12", ["12"]),
    ("caps_word_ratio", None, 0.1, "BUY it NOW, I say", ["BUY", "NOW"]),
    ("caps_word_ratio", None, 0.1, "快BUY茶", ["BUY"]),
    ("hash_word_ratio", None, 0.1, "## tea #x", ["##", "#"]),
    ("hash_word_ratio", None, 0.1, "#茶", ["#"]),
    ("lone_hash_word_ratio", None, 0.1, "## tea #x", ["#"]),
    ("lone_hash_word_ratio", None, 0.1, "#茶", ["#"]),
    ("ellipsis_word_ratio", None, 0.1, "and..... so…", [".....", "…"]),
    ("ellipsis_word_ratio", None, 0.1, "茶……水。。。", ["……", "。。。"]),
    ("lone_ellipsis_word_ratio", None, 0.1, "and..... so...", ["..."]),
    ("lone_ellipsis_word_ratio", None, 0.1, "茶……水。。。。", ["……"]),
    ("short_line_ratio", None, 0.4, "Home\na long line of text, of thirty signs", ["Home"]),
    ("short_line_ratio", None, 0.4, "首页\n一二三四五六七八九十", ["首页"]),
    ("terminal_line_ratio", 0.8, None, 'He said "so."\nHome\nWhy?', ["Home"]),
    ("terminal_line_ratio", 0.8, None, "他说：“好。”\n首页", ["首页"]),
    ("zh_bracketed_ratio", None, 0.1, "【广告】买【好】茶【未完", ["【广告】", "【好】"]),
    ("zh_teaser_line_ratio", None, 0.1, "好茶。\n点击展开 >>\n更多茶叶\nRead More", ["点击展开 >>", "Read More"]),
    ("zh_ellipsis_run_ratio", None, 0.01, "茶…水。。山.人", ["…", "。。"]),
    ("zh_dup_sentence_ratio", None, 0.3, "快买；很好；，快买；OK. OK. 首页\n首页\n", ["快买；", "首页"]),
    ("zh_hash_run_ratio", None, 0.01, "＃茶#水##", ["＃", "#", "##"]),
    ("read_more_line_ratio", None, 0.1, "Tea.\nGo and read more ...", ["Go and read more ..."]),
    ("read_more_line_ratio", None, 0.1, "茶。\n阅读全文>>", ["阅读全文>>"]),
    ("javascript_line_ratio", None, 0.1, "Tea.\nPlease enable JavaScript.", ["Please enable JavaScript."]),
    ("javascript_line_ratio", None, 0.1, "茶。\n请启用JavaScript", ["请启用JavaScript"]),
    ("policy_line_ratio", None, 0.1, "Tea.\nThis site uses cookies", ["This site uses cookies"]),
    ("policy_line_ratio", None, 0.1, "茶。\n查看隐私政策", ["查看隐私政策"]),
    ("lorem_ipsum_count", None, 0, "Lorem ipsum dolor", ["Lorem ipsum"]),
    ("lorem_ipsum_count", None, 0, "茶lorem ipsum茶", ["lorem ipsum"]),
    ("link_count", None, 1, "https://tea.example/a?b or www.x.example", ["https://tea.example/a?b", "www.x.example"]),
    ("link_count", None, 1, "见https://tea.example/茶", ["https://tea.example/"]),
]  # fmt: skip


@pytest.mark.parametrize("signal, lo, hi, text, expected", CASES)
def test_what_is_marked(signal: str, lo: float | None, hi: float | None, text: str, expected: list[str]) -> None:
    found = spans(text, rule(signal, lo, hi))
    assert [text[a:b] for a, b in found] == expected
    if signal in SIGNALS:
        before = value(signal, text)
        low = lo is not None and before < lo
        assert low or (hi is not None and before > hi), "the text fails the rule"
        ends = [0, *(end for span in found for end in span), len(text)]
        after = value(signal, "".join(text[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True)))
        assert math.isnan(after) or (after > before if low else after < before), "without the marked parts it is better"


WORDS = ("bad thing", "damn", "傻瓜")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Damn! A goddamn bad  thing, a bad thing.", ["Damn", "bad  thing", "bad thing"]),
        ("你这个傻瓜ｄａｍｎ！", ["傻瓜ｄａｍｎ"]),
        ("好茶", []),
    ],
)
def test_bad_words(text: str, expected: list[str]) -> None:
    assert [text[a:b] for a, b in spans(text, rule("bad_word_count", None, 0), WORDS)] == expected
    assert spans(text, rule("bad_word_count", None, 0)) == []  # the list is not at hand


def test_the_list_of_a_stage(small_corpus: Path, tmp_path: Path) -> None:
    """Its words come from the file that the recipe names, if that lies here with the same content."""
    data = "# bad words\n傻瓜\n\nDamn\n".encode()
    (tmp_path / "bad.txt").write_bytes(data)
    run = open_run(str(small_corpus))
    for digest, expected in ((sha256(data).hexdigest(), ("傻瓜", "Damn")), ("0" * 64, ())):
        asset = f'{{ bad_words = {{ uri = "{tmp_path}/bad.txt", sha256 = "{digest}" }} }}'
        text = f'[[stage]]\nuse = "filter"\nname = "f"\nlists = {asset}\n'
        named = replace(run, stages=(replace(run.stages[0], text=text), *run.stages[1:]))
        assert listed(named, "f") == expected
        assert listed(named, "other") == ()


def test_every_family_is_tried_in_both_languages() -> None:
    for family in FAMILIES:
        if family.find in (none, listed_words):  # bad words are above
            continue
        texts = [text for signal, _, _, text, _ in CASES if re.search(family.names, signal)]
        assert any(re.search(f"[{HAN}]", text) for text in texts), family.names
        assert family.names.startswith("^zh_") or any(not re.search(f"[{HAN}]", text) for text in texts), family.names


@pytest.mark.parametrize(
    "signal, lo, hi",
    [
        ("word_count", 50, 10_000),  # a lack, or too much of everything
        ("stop_word_count", 2, None),
        ("digit_ratio", 0.1, None),  # fails for a lack of digits
        ("han_ratio", None, 0.5),
        ("zh_mean_word_len", 2, None),
        ("url_digit_count", None, 1),
        ("perplexity", None, 1000),
    ],
)
def test_nothing_to_mark(signal: str, lo: float | None, hi: float | None) -> None:
    assert spans("Tea 1 2 3 茶", rule(signal, lo, hi)) == []


TEXTS = st.text(st.sampled_from("aB7茶水 \n.,!。_é-"), max_size=60)


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_recounted(text: str) -> None:
    """Words, lines, n-grams and characters in the marks give the value of the signal again."""
    view = TextView(pa.array([text], pa.string()))
    found = words(text)
    assert len(found) == view.words.per_doc[0]
    letters = sum(len(word) for word, _ in found)
    assert letters == view.words.lengths.sum()
    for signal, per in (("dup_line_ratio", view.lines), ("dup_paragraph_ratio", view.paragraphs)):
        if per.per_doc[0]:
            count = len(spans(text, rule(signal, None, 0)))
            assert count == round(value(signal, text) * per.per_doc[0])
    for signal in ("dup_5gram_ratio", "dup_6gram_ratio"):
        if found:
            marked = spans(text, rule(signal, None, 0))
            inside = sum(len(word) for word, (a, b) in found if any(x <= a and b <= y for x, y in marked))
            assert inside == round(value(signal, text) * letters)
    sizes = {"digit_ratio": view.digits[0], "curly_bracket_ratio": view.curly[0]}
    for signal, size in sizes.items():
        assert sum(b - a for a, b in spans(text, rule(signal, None, 0))) == size


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_merged(pairs: list[tuple[int, int]]) -> None:
    """The same characters, in ascending spans that do not touch."""
    found = merged(pairs)
    assert {i for a, b in pairs for i in range(a, b)} == {i for a, b in found for i in range(a, b)}
    assert all(a < b for a, b in found)
    assert all(first[1] < second[0] for first, second in zip(found, found[1:], strict=False))


@pytest.mark.parametrize(
    "text, marked, expected",
    [
        ("one\n two  three", [(5, 8)], "one «two» three"),
        ("一二三", [(0, 1), (2, 3)], "«一»二«三»"),
        (
            "a\x1b[31mb\x02c",
            [(6, 7)],
            "a [31m«» c".replace("«»", "«b»"),
        ),  # a page's own controls never reach a terminal
        ("茶" * 500, [], "茶" * CHARS + " ..."),
        ("茶" * 500, [(10, 480)], "茶" * 10 + "«" + "茶" * (CHARS - 10) + "» ..."),
        ("水" * 1000 + "茶" * 3, [(1000, 1003)], "... " + "水" * 60 + "«茶茶茶»"),
        ("", [], ""),
    ],
)
def test_excerpts(text: str, marked: list[tuple[int, int]], expected: str) -> None:
    assert excerpt(text, marked, QUOTES) == expected


def test_on_a_terminal(small_corpus: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reverse video there, quotes elsewhere; without a rule nothing is marked."""
    command = ["dropped", str(small_corpus), "--lang", "zh", "-n", "1"]
    assert main([*command, "--rule", "han_ratio"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  | " + "短«a»" * 20
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  | " + "短a" * 20
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main([*command, "--rule", "han_ratio"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  | " + f"短{REVERSE[0]}a{REVERSE[1]}" * 20


def test_json(small_corpus: Path, capsys: Printed) -> None:
    assert main(["dropped", str(small_corpus), "--rule", "han_ratio", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["marks"] == [[[i, i + 1] for i in range(1, 40, 2)]]
    assert len(found["documents"]) == 1
