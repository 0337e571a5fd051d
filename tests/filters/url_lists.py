"""Public suffixes, block lists and word lists for the tests of URLs."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from filters.catalogue import SIGNALS
from filters.hosts import (
    hash_entries,
    public_suffixes,
)
from filters.text import TextView
from filters.urls import UrlList, url_words

RULES = """
// some rules, as publicsuffix.org writes them
com
uk
co.uk   what follows white space is no part of a rule
jp
*.kobe.jp
!city.kobe.jp
cn
公司.cn
// ===BEGIN PRIVATE DOMAINS===
github.io
*.compute.amazonaws.com
"""
SUFFIXES = public_suffixes(RULES)
STRICT, HARD, SOFT = ["group-sex", "色情网"], ["porn", "xx", "赌场"], ["webcam", "escort", "直播"]


def table(entries: dict[int, Sequence[str]]) -> np.ndarray:
    """A compiled list: entries by category."""
    bits: dict[int, int] = {}
    for category, lines in entries.items():
        for state in hash_entries("\n".join(lines).encode())[0].tolist():
            bits[state] = bits.get(state, 0) | 1 << category
    return np.array([sorted(bits), [bits[state] for state in sorted(bits)]], np.uint64).reshape(2, -1)


def measure(name: str, urls: Sequence[str | None], *tables: np.ndarray) -> list[float]:
    lists = {
        "url_blocklist": UrlList(tables, SUFFIXES),
        "url_strict_words": url_words(STRICT, anywhere=True),
        "url_hard_words": url_words(HARD, anywhere=False),
        "url_soft_words": url_words(SOFT, anywhere=False),
    }
    t = TextView(pa.array([""] * len(urls), pa.string()), {"url": pa.array(urls, pa.string())}, lists)
    return SIGNALS[name](t).tolist()
