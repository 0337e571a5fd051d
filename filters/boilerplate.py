"""Signals of single lines: what a page wraps around its text. A view whose documents are stripped lines comes in, one
float64 for each line goes out. The surprise: what matters only in short lines is measured as the words of a line that
matches, NaN in all others, so that how short is short stays a bound in the recipe. Patterns are RE2's, which pyarrow
runs over a whole column; English ones ignore case and begin and end at words, Chinese ones need no boundary."""

import numpy as np
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from filters.catalogue import Signal, Values, ratio
from filters.codepoints import decode
from filters.phrases import PHRASES, POLICY
from filters.segment import Bytes, Ints
from filters.text import TextView
from filters.words import CASES, UPPER

LINES: dict[str, Signal] = {}

# The end of a sentence, whatever closes behind it; for the share of a document's lines see `lines.LINE_ENDS`.
SENTENCE_END = r"[.!?…。！？｡][\"'”’」』)\]）】》]*$|[\"”」』]$"
ELLIPSIS = r"(?:\.\.\.|…|。。。)$"
# RefinedWeb (Penedo et al. 2023, appendix G.2) gives one example for each of the three places; the others are ours.
STARTS = (
    r"sign[ -]?(?:in|up|out)|log[ -]?(?:in|out)|skip to (?:main )?(?:content|navigation)|back to top|follow us"
    r"|share (?:this|on|via)|subscribe (?:to|now)|leave a (?:comment|reply)|forgot (?:your )?password|print this"
    r"|click here",
    r"登[录陆入錄]|注册|註冊|返回(?:首页|顶部|列表|首頁|頂部)|回到(?:顶部|頂部)|关注我们|關注我們|分享[到至]|扫一扫|掃一掃"
    r"|[上下]一[篇页頁]|(?:您的?)?(?:当前|现在|目前|當前)?的?位置[:：]|发表评论|發表評論|我要评论|忘记密码|忘記密碼",
)
ENDS = (
    r"(?:read|see|show|view|load|learn) more|read (?:the )?(?:full|whole|rest of the) (?:article|story|post)"
    r"|continue reading|readmore",
    r"更多|展[开開](?:全文)?|[阅閱][读讀](?:全文|原文)|(?:查看|显示|顯示)(?:全文|全部|详情|詳情|原文)|\[(?:详细|详情|詳細)\]",
)
PARTS = (
    r"items? in (?:your )?(?:shopping )?cart|shopping cart|add to (?:cart|bag|basket|wish ?list)|all rights reserved"
    r"|toggle navigation|your browser (?:does not|doesn't|is)",
    r"购物车|購物車|版权所有|版權所有|加入收藏|设为首页|設為首頁|ICP备|公网安备|扫描二维码|掃描二維碼|浏览器不支持",
)
NUMBER = r"\+?[0-9][0-9.,]*\s*[kKmM万萬亿億]?\+?"
UNITS = (
    r"(?:likes?|comments?|shares?|views?|repl(?:y|ies)|followers?|following|subscribers?|members|votes?|upvotes?"
    r"|points?|retweets?|tweets|reposts?|reviews?|ratings?|downloads?|posts?|reads?|answers?|reactions?|fans)",
    r"(?:点赞|點讚|赞同|喜欢|喜歡|评论|評論|留言|阅读|閱讀|浏览|瀏覽|回复|回覆|回答|转发|轉發|分享|收藏|关注|關注|粉丝|粉絲"
    r"|播放|观看|觀看|查看|下载|下載|点击|點擊|围观|人气|人氣|赞|讚)",
)
COUNTER = (
    rf"(?:{NUMBER}\s*{UNITS[0]}\b|\b{UNITS[0]}\s*[:(]?\s*{NUMBER}\)?"
    rf"|{NUMBER}\s*[次条條个個人位]?\s*{UNITS[1]}|{UNITS[1]}[数數量]?\s*[:：(（\[]?\s*{NUMBER}\s*[次条條个個人]?[)）\]]?)"
)
COUNTERS = rf"(?i)^[共总總有]*\s*{COUNTER}(?:[\s|·•,，/、]*{COUNTER})*$"


def line(function: Signal) -> Signal:
    """Registers a signal of lines under the function's name."""
    LINES[function.__name__] = function
    return function


@line
def terminal_punct_count(t: TextView) -> Values:
    """1 if the line ends in . ! ? … 。 ！ or ？, closing marks behind it left out, or in a quotation mark; else 0."""
    return _holds(t, SENTENCE_END).astype(np.float64)


@line
def ellipsis_ending_count(t: TextView) -> Values:
    """1 if the line ends in three dots, an ellipsis or 。。。, else 0."""
    return _holds(t, ELLIPSIS).astype(np.float64)


@line
def javascript_count(t: TextView) -> Values:
    """How often the line says javascript."""
    return _counted(pc.count_substring(t.column, "javascript", ignore_case=True))


@line
def policy_count(t: TextView) -> Values:
    """How many of C4's phrases about terms, privacy and cookies, or their Chinese counterparts, are in the line."""
    return _counted(pc.count_substring_regex(t.column, f"(?i){'|'.join(PHRASES[POLICY])}"))


@line
def longest_word_len(t: TextView) -> Values:
    """Code points of the longest word; NaN where there is none."""
    longest = np.full(len(t), np.nan)
    some = np.flatnonzero(t.words.per_doc)
    if len(some):
        longest[some] = np.maximum.reduceat(t.words.lengths, t.words.offsets[some])
    return longest


@line
def uppercase_ratio(t: TextView) -> Values:
    """Capital letters / characters other than white space."""
    capitals = np.zeros(len(t), np.int64)
    _count_capitals(t.data, t.offsets, CASES, capitals)
    return ratio(capitals, t.chars - t.spaces)


@line
def counter_count(t: TextView) -> Values:
    """1 if the line is nothing but counters, such as 3 likes, Views: 1.2K or 阅读(88) 评论 3, else 0."""
    return _holds(t, COUNTERS).astype(np.float64)


@line
def sign_in_word_count(t: TextView) -> Values:
    """Words of a line that begins as navigation does (sign in, skip to content, 登录, 上一篇); NaN for others."""
    return _words_where(t, _holds(t, rf"(?i)^(?:(?:{STARTS[0]})\b|{STARTS[1]})"))


@line
def read_more_word_count(t: TextView) -> Values:
    """Words of a line that ends in read more, 更多, 阅读全文 or the like, dots and arrows behind it left out, but not
    with a full stop; NaN for others."""
    tail = r"\s*(?:\.{2,}|…+|。{2,}|[>»›→▼\])）】])*$"
    return _words_where(t, _holds(t, rf"(?i)(?:\b(?:{ENDS[0]})|{ENDS[1]}){tail}"))


@line
def cart_word_count(t: TextView) -> Values:
    """Words of a line that holds items in cart, all rights reserved, 购物车, 版权所有 or the like; NaN for others."""
    return _words_where(t, _holds(t, rf"(?i)\b(?:{PARTS[0]})\b|{PARTS[1]}"))


def _holds(t: TextView, pattern: str) -> NDArray[np.bool_]:
    return np.asarray(pc.match_substring_regex(t.column, pattern).to_numpy(zero_copy_only=False), np.bool_)


def _counted(counts: object) -> Values:
    return np.asarray(counts).astype(np.float64)


def _words_where(t: TextView, hits: NDArray[np.bool_]) -> Values:
    return np.where(hits, t.words.per_doc, np.nan)


@njit(cache=True, nogil=True)
def _count_capitals(data: Bytes, offsets: Ints, cases: Bytes, out: Ints) -> None:
    for d in range(len(offsets) - 1):
        i = offsets[d]
        while i < offsets[d + 1]:
            code, width = decode(data, i)
            i += width
            out[d] += cases[code] & UPPER != 0
