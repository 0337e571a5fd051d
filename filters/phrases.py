"""Finds fixed phrases in UTF-8 text in one pass: phrases with flags come in, the arrays of an Aho-Corasick automaton
come out, which a kernel steps byte by byte. The surprise: the case of ASCII letters is folded into the transitions, so
the text itself is never lowered."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# What a phrase is good for; anywhere in a line unless said.
LOREM, JAVASCRIPT, POLICY, MORE, COUNTER, LEADING, TRAILING, CART = (1 << bit for bit in range(8))
AT_END = MORE | COUNTER | TRAILING  # nothing but marks may follow in the line
AT_START = LEADING  # the line begins with it

PHRASES: Mapping[int, Sequence[str]] = {
    LOREM: ("lorem ipsum",),
    JAVASCRIPT: ("javascript",),
    # The first six are C4's (its code in TensorFlow Datasets); the Chinese ones are ours.
    POLICY: (
        *("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"),
        *("使用条款", "隐私政策", "隐私权政策", "cookie政策", "cookie 政策", "使用cookie", "使用 cookie"),
    ),
    MORE: ("read more", "阅读更多", "阅读全文", "查看更多", "查看全文"),
    # RefinedWeb (Penedo et al. 2023, appendix G.2) gives one example of each kind: "3 likes", "sign-in", "Read more",
    # "items in cart". The others are ours.
    COUNTER: (
        *("like", "likes", "comment", "comments", "share", "shares", "view", "views", "reply", "replies", "follower"),
        *("followers", "vote", "votes", "赞", "评论", "分享", "阅读", "浏览", "回复", "粉丝", "转发", "收藏"),
    ),
    LEADING: (
        *(
            "sign in",
            "sign-in",
            "sign up",
            "log in",
            "login",
            "register",
            "subscribe",
            "skip to",
            "share this",
            "follow us",
        ),
        *("登录", "注册", "订阅", "关注我们", "分享到", "跳至", "跳转到"),
    ),
    TRAILING: (
        *(
            "continue reading",
            "learn more",
            "show more",
            "view all",
            "see all",
            "sign in",
            "sign-in",
            "sign up",
            "log in",
        ),
        *("查看详情", "了解更多", "点击查看", "展开全文", "请登录", "立即登录"),
    ),
    CART: ("items in cart", "item in cart", "items in your cart", "add to cart", "加入购物车", "件商品"),
}


class Automaton(NamedTuple):
    """States are numbered from 0, the start."""

    after: NDArray[np.uint16]  # [states, 256], the next state
    flags: NDArray[np.uint8]  # [states], of all phrases that end there
    depths: NDArray[np.uint16]  # [states], bytes of the longest beginning of a phrase that was just read
    ending: NDArray[np.uint16]  # [states], bytes of the longest AT_END phrase that ends there
    leading: NDArray[np.bool_]  # [states], whether just these bytes are an AT_START phrase


def automaton(phrases: Mapping[int, Sequence[str]]) -> Automaton:
    """The automaton of lower-case phrases by flag."""
    children: list[dict[int, int]] = [{}]
    flags, ending, leading = [0], [0], [False]
    for flag, texts in phrases.items():
        for text in texts:
            state = 0
            for byte in text.encode():
                if byte not in children[state]:
                    children[state][byte] = len(children)
                    children.append({})
                    flags.append(0)
                    ending.append(0)
                    leading.append(False)
                state = children[state][byte]
            flags[state] |= flag
            if flag & AT_END:
                ending[state] = len(text.encode())
            leading[state] |= bool(flag & AT_START)
    after = np.zeros((len(children), 256), np.uint16)
    depths = np.zeros(len(children), np.uint16)
    fallback = [0] * len(children)
    waiting = deque([0])
    while waiting:  # by depth, so that the state to fall back to is finished
        state = waiting.popleft()
        back = fallback[state]
        if state:
            after[state] = after[back]
            flags[state] |= flags[back]
            ending[state] = max(ending[state], ending[back])
        for byte, child in children[state].items():
            fallback[child] = int(after[back, byte]) if state else 0
            depths[child] = depths[state] + 1
            after[state, byte] = child
            waiting.append(child)
    after[:, ord("A") : ord("Z") + 1] = after[:, ord("a") : ord("z") + 1]
    return Automaton(after, np.array(flags, np.uint8), depths, np.array(ending, np.uint16), np.array(leading, np.bool_))
