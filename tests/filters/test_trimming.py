"""Line rules: what each signal of lines measures, which lines and spans the tables cut, and what goes with them."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.spans import cut
from filters.boilerplate import LINES
from filters.catalogue import SIGNALS
from filters.links import CANDIDATE, link_spans
from filters.rules import LineRule, Override, overridden
from filters.text import TextView
from filters.trimming import SPANS, find_cuts, line_named, load_line_rules
from pipeline.fields import packaged

TABLES = ("c4-lines", "matrix-zh-lines", "refinedweb-lines")
NAN = math.nan

# signal, line, value: worked by hand, firing and not, in both languages.
VALUES: list[tuple[str, str, float]] = [
    ("terminal_punct_count", "It was late.", 1),
    ("terminal_punct_count", "Contact us", 0),
    ("terminal_punct_count", "He said “go!”", 1),
    ("terminal_punct_count", "(It was late.)", 1),
    ("terminal_punct_count", "Tea (2019)", 0),
    ("terminal_punct_count", 'so-called "experts"', 1),
    ("terminal_punct_count", "天黑了。", 1),
    ("terminal_punct_count", "他走了……", 1),
    ("terminal_punct_count", "他说：“走吧！”", 1),
    ("terminal_punct_count", "（完。）", 1),
    ("terminal_punct_count", "联系我们", 0),
    ("terminal_punct_count", "价格：", 0),
    ("ellipsis_ending_count", "And then...", 1),
    ("ellipsis_ending_count", "And then.", 0),
    ("ellipsis_ending_count", "后来……", 1),
    ("ellipsis_ending_count", "后来。。。", 1),
    ("ellipsis_ending_count", "后来。", 0),
    ("javascript_count", "Please enable JavaScript, javascript is off", 2),
    ("javascript_count", "Please enable Java", 0),
    ("javascript_count", "请启用JavaScript后重试", 1),
    ("javascript_count", "请启用脚本", 0),
    ("policy_count", "Read our Privacy Policy and Terms of Use", 2),
    ("policy_count", "A policy of privacy", 0),
    ("policy_count", "隐私政策 | 使用条款", 2),
    ("policy_count", "政策法规", 0),
    ("longest_word_len", "to be considered", 10),
    ("longest_word_len", "!!!", NAN),
    ("longest_word_len", "茶叶 tea叶", 3),
    ("uppercase_ratio", "BUY it", 3 / 5),
    ("uppercase_ratio", "Buy", 1 / 3),
    ("uppercase_ratio", "买NBA票", 3 / 5),
    ("uppercase_ratio", "买票", 0),
    ("counter_count", "3 likes", 1),
    ("counter_count", "Views: 1.2K", 1),
    ("counter_count", "12 comments · 3 shares", 1),
    ("counter_count", "3 likely causes", 0),
    ("counter_count", "He made 3 comments", 0),
    ("counter_count", "12条评论", 1),
    ("counter_count", "阅读(88) 评论 3", 1),
    ("counter_count", "共 12 个回答", 1),
    ("counter_count", "3个赞", 1),
    ("counter_count", "他读了3篇评论", 0),
    ("counter_count", "评论", 0),
    ("sign_in_word_count", "Sign in to comment", 4),
    ("sign_in_word_count", "sign-in", 1),
    ("sign_in_word_count", "Signing a contract", NAN),
    ("sign_in_word_count", "You may sign in", NAN),
    ("sign_in_word_count", "登录后评论", 5),
    ("sign_in_word_count", "上一篇：茶", 4),
    ("sign_in_word_count", "他登录了", NAN),
    ("read_more_word_count", "Tea is good. Read more...", 5),
    ("read_more_word_count", "Continue reading →", 3),
    ("read_more_word_count", "You should read more.", NAN),
    ("read_more_word_count", "Spread more", NAN),
    ("read_more_word_count", "茶叶的历史 [详细]", 7),
    ("read_more_word_count", "阅读全文>>", 4),
    ("read_more_word_count", "查看更多……", 4),
    ("read_more_word_count", "我们需要更多。", NAN),
    ("cart_word_count", "0 items in cart", 4),
    ("cart_word_count", "© 2020 All Rights Reserved", 5),
    ("cart_word_count", "The cart was full", NAN),
    ("cart_word_count", "购物车(0)", 4),
    ("cart_word_count", "版权所有 违者必究", 8),
    ("cart_word_count", "他推着车", NAN),
]


@pytest.mark.parametrize("name, line, expected", VALUES)
def test_signals_of_lines(name: str, line: str, expected: float) -> None:
    column = pa.array(["别的 line", line, ""]).slice(1)
    assert LINES[name](TextView(column))[0] == pytest.approx(expected, nan_ok=True)


def test_every_signal_of_lines_is_worked_in_both_languages() -> None:
    for name in LINES:
        texts = [line for signal, line, _ in VALUES if signal == name]
        zh = [line for line in texts if any("一" <= c <= "鿿" for c in line)]
        assert zh and len(zh) < len(texts), name


def test_no_name_has_two_meanings() -> None:
    assert not set(LINES) & set(SIGNALS) and not set(SPANS) & (set(LINES) | set(SIGNALS))


# A line, and what stays of it when its links go.
LINKS = [
    ("see http://x.org/a?b=1 now", "see now"),
    ("see https://x.org.", "see."),
    ("see http://x.org, and www.y.com!", "see, and!"),
    ("http://x.org begins", "begins"),
    ("http://x.org ftp://y.org begins", "begins"),
    ("a tune (http://x.org/a_(b)) to hum", "a tune to hum"),
    ("<https://x.org> to hum", "to hum"),
    ("[tea](https://x.org/tea) is good", "[tea] is good"),
    ("Buy at Amazon.com today", "Buy at today"),
    ("mirror at ftp.x.ac.at and x.org:8080/get", "mirror at and"),
    ("see bbc.co.uk", "see"),
    ("请看http://x.org/茶吧", "请看茶吧"),
    ("请看www.baidu.com吧", "请看吧"),
    ("访问baidu.com。", "访问。"),
    ("官网：sina.com.cn/x?y=1，欢迎", "官网：，欢迎"),
    ("官网（www.x.com.cn）已开通", "官网已开通"),
    ("百度（baidu.com）一下", "百度一下"),
    ("我http://a.com(看www.b.cn)吧", "我(看)吧"),
    ("see http://x.org/a_(b)( 茶", "see ( 茶"),
    # what the published expressions delete and what is no link
    ("run main.py, setup.cfg or build.sh", None),
    ("os.path and numpy.random.rand", None),
    ("It was late.The end.So it goes.be quiet", None),
    ("version 1.2.3.4 at 192.168.0.1", None),
    ("write to me@x.org", None),
    ("in ASP.net or VB.net", None),
    ("report.com.txt and x/y.com", None),
    ("打开config.toml文件", None),
    ("调用os.path.join函数", None),
    ("第一句.第二句.com", None),
    ("发到me@x.com即可", None),
]


@pytest.mark.parametrize("line, expected", LINKS)
def test_links(line: str, expected: str | None) -> None:
    assert trimmed(line, LineRule("link_count", hi=0)) == (line if expected is None else expected)


def test_many_links_on_one_line() -> None:
    assert link_spans("茶 " + "www.x.cn " * 20_000)[-1] == (180_000 - 8, 180_001)
    assert len(link_spans("茶" + " www.x.cn和" * 20_000)) == 20_000
    assert trimmed("tea" + " http://x.org" * 20_000, LineRule("link_count", hi=0)) == "tea"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["http://", "www.", "x", "中", ".", "com", "org", "at", "/", "(", ")", " ", "@", ","])))
def test_links_are_in_order_and_only_where_a_candidate_is(parts: list[str]) -> None:
    line = "".join(parts).strip()
    spans = link_spans(line)
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert all(0 <= start < end <= len(line) for start, end in spans)
    if spans:
        assert pc.match_substring_regex(pa.array([line]), CANDIDATE)[0].as_py()


def trimmed(text: str, *rules: LineRule) -> str:
    view = TextView(pa.array([text], pa.string()))
    return str(cut(view.column, find_cuts(view, rules))[0][0].as_py())


# A text and what stays when lines of one word go: b, c and d.
GAPS = [
    ("a a\nb\na a", "a a\na a"),
    ("a a\n\nb\n\na a", "a a\n\na a"),
    ("a a\n\nb\na a", "a a\n\na a"),
    ("a a\nb\n\na a", "a a\n\na a"),
    ("a a\n\nb\nc\n\na a", "a a\n\na a"),
    ("a a\nb\n\n\nc\n\na a", "a a\n\n\na a"),
    ("b\n\na a", "a a"),
    ("\n\nb\n\na a", "\n\na a"),
    ("a a\n\nb", "a a"),
    ("a a\n\nb\n", "a a\n"),
    ("a a\n\nb\nc\n\n", "a a\n\n"),
    ("  a a\n  b  \n    a a", "  a a\n    a a"),
    ("b", ""),
    ("a a\r\nb\r\na a", "a a\r\na a"),
    ("茶 茶\n\n茶\n\n茶 茶", "茶 茶\n\n茶 茶"),
    ("", ""),
    ("\n \n", "\n \n"),
]


@pytest.mark.parametrize("text, expected", GAPS)
def test_a_line_goes_with_its_break_and_the_widest_gap_stays(text: str, expected: str) -> None:
    assert trimmed(text, LineRule("word_count", lo=2)) == expected


def slow_trim(text: str) -> str:
    """Lines of one word cut out of a text, from the definition: lines and the gaps between them."""
    pieces = text.split("\n")
    at = [i for i, piece in enumerate(pieces) if piece.strip()]
    goes = [len(pieces[i].split()) < 2 for i in at]
    if not at:
        return text
    breaks = [at[0], *(b - a for a, b in zip(at, at[1:], strict=False)), len(pieces) - 1 - at[-1]]
    gaps = ["\n".join([*pieces[: at[0]], ""]) if at[0] else ""]
    gaps += ["\n".join(["", *pieces[a + 1 : b], ""]) for a, b in zip(at, at[1:], strict=False)]
    gaps += ["\n".join(["", *pieces[at[-1] + 1 :]]) if breaks[-1] else ""]
    out, k = "", 0
    while k < len(at):
        if not goes[k]:
            out += gaps[k] + pieces[at[k]]
            k += 1
            continue
        end = next((j for j in range(k, len(at)) if not goes[j]), len(at))
        if k == 0 and end == len(at):
            return gaps[0]
        if k == 0:
            stays = 0
        elif end == len(at):
            return out + gaps[end]
        else:
            stays = max(range(k, end + 1), key=lambda j: breaks[j])
        out += gaps[stays] + pieces[at[end]]
        k = end + 1
    return out + gaps[-1]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a a", "茶 茶", "b", "\n", "\n", "\n\n", " "])).map("".join), max_size=4))
def test_the_kernel_does_as_the_definition(texts: list[str]) -> None:
    column = pa.array(["b\nb b\n", *texts], pa.string()).slice(1)
    view = TextView(column)
    kept, pieces = cut(view.column, find_cuts(view, [LineRule("word_count", lo=2)]))
    assert kept.to_pylist() == [slow_trim(text) for text in texts]
    assert all(piece.strip() for piece in pieces.to_pylist())


def test_the_first_rule_that_a_line_fails_is_the_reason() -> None:
    rules = [LineRule("word_count", lo=2), LineRule("javascript_count", hi=0), LineRule("link_count", hi=0)]
    view = TextView(
        pa.array(["JavaScript\nno JavaScript at x.org\na b\nfind x.org here\nx.org\nwww.x.org y.com", "好 茶"])
    )
    found = find_cuts(view, rules)
    assert found.documents.tolist() == [0] * 5
    assert found.reasons.tolist() == [0, 1, 2, 0, 2]  # two lines of links: one is a word, of the other nothing stays


def test_citation_marks() -> None:
    rule = LineRule("citation_count", hi=0)
    assert trimmed("Tea[1][edit] is old.[citation needed] [2]", rule) == "Tea is old. "
    assert trimmed("茶[12]很古老。[来源请求]\n[编辑]\na[i] = 1", rule) == "茶很古老。\na[i] = 1"


# A table, the line that one of its rules cuts, the reason, and the language.
FIRED = [
    ("c4-lines", "en", "c4_line_end", "You may contact us by mail"),
    ("c4-lines", "en", "c4_ellipsis", "You may contact us by..."),
    ("c4-lines", "en", "c4_words", "It was late."),
    ("c4-lines", "en", "c4_javascript", "You should enable Javascript to go on."),
    ("c4-lines", "en", "c4_policy", "By going on you agree to our Privacy Policy."),
    ("c4-lines", "en", "c4_long_word", "Here is one long word " + "a" * 1001 + "."),
    ("c4-lines", "zh", "c4_line_end", "欢迎来到我们的网站首页"),
    ("c4-lines", "zh", "c4_words", "天黑了。"),
    ("c4-lines", "zh", "c4_javascript", "请您先启用 JavaScript 再试一次。"),
    ("c4-lines", "zh", "c4_policy", "继续使用即表示同意我们的隐私政策。"),
    ("refinedweb-lines", "en", "refinedweb_uppercase", "BIG SALE today"),
    ("refinedweb-lines", "en", "refinedweb_numeric", "12:30 45"),
    ("refinedweb-lines", "en", "refinedweb_counter", "3 likes"),
    ("refinedweb-lines", "en", "refinedweb_one_word", "Home"),
    ("refinedweb-lines", "en", "refinedweb_sign_in", "Sign in to comment"),
    ("refinedweb-lines", "en", "refinedweb_read_more", "Tea is good. Read more..."),
    ("refinedweb-lines", "en", "refinedweb_cart", "0 items in cart"),
    ("refinedweb-lines", "zh", "refinedweb_numeric", "2024-05-01"),
    ("refinedweb-lines", "zh", "refinedweb_counter", "阅读(88)"),
    ("refinedweb-lines", "zh", "refinedweb_one_word", "首页"),
    ("refinedweb-lines", "zh", "refinedweb_sign_in", "登录后才能评论"),
    ("refinedweb-lines", "zh", "refinedweb_read_more", "茶叶的历史 阅读全文"),
    ("refinedweb-lines", "zh", "refinedweb_cart", "购物车里有三件"),
    ("matrix-zh-lines", "zh", "matrix_line_end", "欢迎来到我们的网站"),
    ("matrix-zh-lines", "zh", "matrix_javascript", "请您先启用 JavaScript。"),
    ("matrix-zh-lines", "zh", "matrix_words", "天黑了。"),
    ("matrix-zh-lines", "zh", "matrix_lorem_ipsum", "这里是占位文字 Lorem ipsum。"),
    ("matrix-zh-lines", "zh", "matrix_read_more", "茶叶的历史很长阅读全文……"),
]
PROSE = {
    "en": "Tea is an old drink, and it is drunk in most countries of the world.",
    "zh": "茶是一种古老的饮料，在世界上大多数国家都有人喝，历史非常悠久。",
}


@pytest.mark.parametrize("table, lang, reason, line", FIRED)
def test_tables(table: str, lang: str, reason: str, line: str) -> None:
    rules = [rule for rule in load_line_rules(packaged(table)) if rule.lang in ("*", lang)]
    view = TextView(pa.array([f"{PROSE[lang]}\n{line}\n{PROSE[lang]}"]))
    found = find_cuts(view, rules)
    assert [rules[r].label for r in found.reasons] == [reason]
    assert cut(view.column, found)[0].to_pylist() == [f"{PROSE[lang]}\n{PROSE[lang]}"]


def test_every_rule_of_the_tables_has_a_line() -> None:
    spans = {"c4_citation", "matrix_link"}  # see the tests of links and citation marks
    for table in TABLES:
        rules = load_line_rules(packaged(table))
        assert all(rule.source and rule.name.startswith(table.split("-")[0] + "_") for rule in rules)
        fired = {reason for name, _, reason, _ in FIRED if name == table}
        assert {rule.label for rule in rules} - spans == fired


def test_rules_are_data() -> None:
    rules = load_line_rules(packaged("c4-lines"))
    assert all(r.label != "c4_ellipsis" for r in overridden(rules, Override("c4_ellipsis", drop=True)))
    assert {r.lo for r in overridden(rules, Override("c4_words", lo=3)) if r.label == "c4_words"} == {3}
    with pytest.raises(ValueError, match="unknown line signal 'javascript_cuont'; did you mean 'javascript_count'"):
        line_named("javascript_cuont")
    with pytest.raises(ValueError, match=r"rule 1 \(word_count\): unknown key 'tier'"):
        load_line_rules('[[rule]]\nline = "word_count"\nlo = 2\ntier = 1')
    with pytest.raises(ValueError, match="rule 1 names no line"):
        load_line_rules("[[rule]]\nlo = 2")
    with pytest.raises(ValueError, match="a line has no lang_score"):
        line_named("lang_score")
    assert find_cuts(TextView(pa.array(["a"])), []).documents.tolist() == []


def test_a_line_is_measured_as_if_it_were_a_document() -> None:
    text = "12 34\n  tea 5  \n\n茶 1"
    lines = TextView(pa.array([line.strip() for line in text.split("\n") if line.strip()]))
    values = SIGNALS["digit_ratio"](lines).tolist()
    assert values == [1.0, 1 / 4, 1 / 2]
    view = TextView(pa.array(["", text]))
    found = find_cuts(view, [LineRule("digit_ratio", hi=0.4)])
    assert np.unique(found.documents).tolist() == [1]
    assert cut(view.column, found)[0].to_pylist() == ["", "  tea 5  "]
