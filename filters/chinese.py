"""Signals of Chinese text, Simplified and Traditional, for the rules ZH1-ZH20 of MAP-Neo's Matrix pipeline: a TextView
comes in, one float64 per document goes out, from one pass over the bytes. The surprise: what matters is not the script
but the marks: here ． and . count alike, and so do ＃ and #, while the text keeps what it has."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from filters.catalogue import Values, ratio, signal
from filters.chinese_marks import BREAK, CLOSES, ENDS, KINDS, LATIN
from filters.codepoints import ALPHA, DIGIT, HAN, PUNCT, SPACE, WORD, decode
from filters.repetition import repeats
from filters.segment import Bytes, Ints
from filters.text import Segments, TextView
from filters.widths import WIDTH

# Ends of a line that only offers more to read: ZH11's, in both scripts, and the marks that may follow them.
_BLANK = "\t\x0b\x0c\r\x1c-\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # str.isspace without \n
TEASER = rf"(?im)(?:展[开開]|更多|read ?more|…|⋯⋯|\.\.\.|。。)[>＞》»›→↓▼+:：)）\]】{_BLANK}]*$"

_SEED = np.uint64(0x243F6A8885A308D3)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_DOT, _HASH, _STOP, _OPEN, _CLOSE = ord("."), ord("#"), ord("。"), ord("【"), ord("】")
_LEADERS, _LEADER, _DOTS = ord("…"), ord("‥"), ord("⋯")

# Columns of `_measure`.
BRACKETED, HASH_RUNS, ELLIPSIS_RUNS, LETTERS, HANS, DIGITS, PUNCTS, HAN_RUNS, LATIN_RUNS, SENTENCES = range(10)
COLUMNS = 10


@njit(cache=True, nogil=True)
def _ends_here(data: Bytes, i: int, stop: int, before: int, kinds: NDArray[np.int32], width: NDArray[np.int32]) -> bool:
    """Whether a full stop ends a sentence, i being behind it: not in a.b, nor after a digit within a line (1. 概述)."""
    if i >= stop:
        return True
    code = width[decode(data, i)[0]]
    if 48 <= before <= 57:
        return kinds[code] & BREAK != 0
    return code >= 128 or not kinds[code] & WORD


@njit(cache=True, nogil=True)
def _measure(
    data: Bytes,
    offsets: Ints,
    kinds: NDArray[np.int32],
    width: NDArray[np.int32],
    out: Ints,
    ends: Ints,
    hashes: NDArray[np.uint64],
    lengths: NDArray[np.int32],
) -> None:
    """Fills out[d, column], and ends[d + 1] with the sentences up to document d that hold an ideograph, with hash and
    length of each.

    A sentence goes from its first letter or digit to the stops that end it, with the quotes and brackets that close
    after them, or to the last mark of its line."""
    n = 0
    for d in range(len(offsets) - 1):
        row = out[d]
        bracketed = -1  # characters since an open 【; -1: none is open
        dots, counted = 0, False  # of the run of dots that is open
        run = 0  # script of the run of letters that is open
        state, seen, stopped, tail = _SEED, 0, False, False
        chinese = False  # whether the sentence at place n, which may be open, holds an ideograph
        before = 10
        i, stop = offsets[d], offsets[d + 1]
        while i < stop:
            raw, size = decode(data, i)
            kind, code = kinds[raw], int(width[raw])
            i += size
            if bracketed >= 0:
                bracketed += 1
                if code == _CLOSE:
                    row[BRACKETED] += bracketed - 1
                    bracketed = -1
                elif kind & BREAK:
                    bracketed = -1
            elif code == _OPEN:
                bracketed = 0
            if code == _HASH and before != _HASH:
                row[HASH_RUNS] += 1
            if code == _DOT or code == _STOP or code == _LEADER or code == _LEADERS or code == _DOTS:
                dots += 1
                if not counted and (dots > 1 or code == _LEADERS or code == _LEADER):
                    row[ELLIPSIS_RUNS] += 1
                    counted = True
            else:
                dots, counted = 0, False
            if kind & HAN:
                row[HANS] += 1
                row[HAN_RUNS] += run != HAN
                run = HAN
            elif kind & LATIN:
                row[LATIN_RUNS] += run != LATIN
                run = LATIN
            elif not kind & DIGIT:
                run = 0
            row[LETTERS] += kind & ALPHA != 0
            row[DIGITS] += kind & DIGIT != 0
            row[PUNCTS] += kind & PUNCT != 0
            last, before = before, code
            if kind & SPACE:
                if kind & BREAK or stopped:
                    seen, stopped = 0, False
                elif seen:
                    state = (state ^ np.uint64(code)) * _FACTOR
                    state ^= state >> np.uint64(32)
                    seen += 1
                continue
            ending = kind & ENDS != 0 or (code == _DOT and _ends_here(data, i, stop, last, kinds, width))
            if stopped and not ending and not kind & CLOSES:
                seen, stopped = 0, False
            if not seen:
                if not kind & WORD:
                    continue
                state = _SEED
                tail = True
                n += chinese
                chinese = False
            state = (state ^ np.uint64(code)) * _FACTOR
            state ^= state >> np.uint64(32)
            seen += 1
            if ending and not stopped:
                stopped = True
                tail = False
                row[SENTENCES] += 1
            chinese |= kind & HAN != 0
            hashes[n] = state
            lengths[n] = seen
        row[SENTENCES] += tail
        n += chinese
        ends[d + 1] = n


@dataclass(frozen=True)
class Chinese:
    """What one pass over a batch finds."""

    counts: Ints  # int64[n_docs, COLUMNS]
    sentences: Segments  # those with an ideograph; without spans, hashes and lengths are those of the folded text


def chinese(t: TextView) -> Chinese:
    """The counts and sentences of each document; ask for it with t.once, signals share it."""
    most = int(t.offsets[-1] - t.offsets[0]) // 2 + len(t) + 1  # a sentence and the break behind it are 2 bytes
    counts, ends = np.zeros((len(t), COLUMNS), np.int64), np.zeros(len(t) + 1, np.int64)
    hashes, lengths = np.empty(most, np.uint64), np.empty(most, np.int32)
    _measure(t.data, t.offsets, KINDS, WIDTH, counts, ends, hashes, lengths)
    n = int(ends[-1])
    return Chinese(counts, Segments(ends, hashes[:n], lengths[:n], np.empty((0, 2), np.int64)))


# ---- signals


def _column(t: TextView, column: int) -> Ints:
    return t.once(chinese).counts[:, column]


@signal
def zh_bracketed_ratio(t: TextView) -> Values:
    """Characters between 【 and the next 】 of the same line, without the two / characters."""
    return ratio(_column(t, BRACKETED), t.chars)


@signal
def zh_sentence_count(t: TextView) -> Values:
    """Sentences, ended by 。！？；… or their ASCII forms or by the end of the text; a newline ends none, so that a menu
    is one."""
    return _column(t, SENTENCES).astype(np.float64)


@signal
def zh_hash_run_ratio(t: TextView) -> Values:
    """Runs of hash marks / characters; a Markdown heading has one run."""
    return ratio(_column(t, HASH_RUNS), t.chars)


@signal
def zh_ellipsis_run_ratio(t: TextView) -> Values:
    """Runs of two or more dots of any kind (. 。 ⋯), or of … / characters."""
    return ratio(_column(t, ELLIPSIS_RUNS), t.chars)


@signal
def zh_digit_ratio(t: TextView) -> Values:
    """Digits / characters other than punctuation, white space among them; 一二三 are no digits."""
    return ratio(_column(t, DIGITS), t.chars - _column(t, PUNCTS))


@signal
def zh_han_letter_ratio(t: TextView) -> Values:
    """Ideographs / letters of any script: what markup, digits and code marks do not lower."""
    return ratio(_column(t, HANS), _column(t, LETTERS))


@signal
def zh_latin_run_ratio(t: TextView) -> Values:
    """Runs of Latin letters / runs of Latin letters and runs of ideographs, digits within a run: of 用 TiDB Cloud 的人
    two in four."""
    return ratio(_column(t, LATIN_RUNS), _column(t, LATIN_RUNS) + _column(t, HAN_RUNS))


@signal
def zh_teaser_line_ratio(t: TextView) -> Values:
    """Lines that end in 更多, 展开, 展開, "read more" or an ellipsis (…, three dots, 。。。), with >> or the like
    after it, too / lines that are not blank."""
    hits = pc.count_substring_regex(t.column, TEASER).to_numpy(zero_copy_only=False)
    return ratio(hits, t.lines.per_doc)


@signal
def zh_dup_sentence_ratio(t: TextView) -> Values:
    """Sentences that occurred before in the document / sentences, those without an ideograph (code, mostly) left
    out; of k equal ones k - 1 count, and a line is at least one, so that a menu has many."""
    sentences = t.once(chinese).sentences
    return ratio(t.once(sentence_repeats)[0], sentences.per_doc)


@signal
def zh_dup_sentence_char_ratio(t: TextView) -> Values:
    """Characters of sentences that occurred before in the document / characters of sentences, as above."""
    sentences = t.once(chinese).sentences
    return ratio(t.once(sentence_repeats)[1], sentences.sum(sentences.lengths))


def sentence_repeats(t: TextView) -> tuple[Ints, Ints]:
    """(sentences, their characters) of each document that occurred before in it."""
    return repeats(t.once(chinese).sentences)
