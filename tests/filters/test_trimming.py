"""Line rules: what each signal of lines measures, which lines and spans the tables cut, and what goes with them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.spans import cut
from filters.catalogue import SIGNALS
from filters.links import CANDIDATE, link_spans
from filters.rules import LineRule, Override, overridden
from filters.text import TextView
from filters.trimming import find_cuts, line_named, load_line_rules
from pipeline.fields import packaged

TABLES = ("c4-lines", "matrix-zh-lines", "refinedweb-lines")


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
