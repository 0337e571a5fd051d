"""Signals of single lines, worked by hand, firing and not, in both languages."""

import math

import pyarrow as pa
import pytest

from filters.boilerplate import LINES
from filters.catalogue import SIGNALS
from filters.text import TextView
from filters.trimming import SPANS

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
