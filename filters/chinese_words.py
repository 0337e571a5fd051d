"""Signals of Chinese words, for the two published bounds that a count of ideographs cannot stand in for (ZH7, ZH23): a
TextView comes in, its words by jieba's dictionary and hidden Markov model are counted. The surprise: the segmenter
sees letters and digits only, of ordinary width, since the published rule takes punctuation out before it cuts; so no
word spans a mark, and jieba-rs, in place of the unmaintained jieba, cuts as jieba does."""

from functools import cache
from typing import Any

import numpy as np

from filters.catalogue import Values, ratio, signal
from filters.segment import Ints
from filters.text import TextView
from filters.widths import folded


@cache
def segmenter() -> Any:
    """jieba-rs with its own dictionary; loaded on first use, as that takes 0.2 s, and nothing else needs it."""
    from rjieba import Jieba

    return Jieba()


def jieba_words(t: TextView) -> Ints:
    """(words, their code points) of each document, int64[n, 2], white space being no word; ask for it with t.once."""
    out = np.empty((len(t), 2), np.int64)
    for d, text in enumerate(folded(t, words_only=True).to_pylist()):
        words = segmenter().cut(text)
        out[d] = len(words) - words.count(" "), len(text) - text.count(" ")
    return out


@signal
def zh_word_count(t: TextView) -> Values:
    """Words by jieba, punctuation left out."""
    return t.once(jieba_words)[:, 0].astype(np.float64)


@signal
def zh_mean_word_len(t: TextView) -> Values:
    """Letters and digits / words by jieba, punctuation left out."""
    return ratio(t.once(jieba_words)[:, 1], t.once(jieba_words)[:, 0])
