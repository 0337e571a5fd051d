"""Signals of what the lines of a document are: those of C4, FineWeb and RefinedWeb, and "read more" endings. The
surprise: two ideographs count as one word, and one ideograph as three letters, in everything that this module measures,
so that a bound on the words or the length of a line means the same in Chinese as in English."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.catalogue import Values, ratio, signal
from filters.codepoints import ALPHA, CLASSES, DIGIT, HAN, SPACE, STOP, WORD, decode
from filters.phrases import (
    AT_END,
    CART,
    COUNTER,
    JAVASCRIPT,
    LEADING,
    LOREM,
    MORE,
    PHRASES,
    POLICY,
    TRAILING,
    Automaton,
    automaton,
)
from filters.segment import Bytes, Ints
from filters.text import TextView
from filters.words import CASES, UPPER

# What the last character of a line may be for its end to count: C4's . ! ? " and RedPajama-V2's ”, with the other
# quotation marks, the ellipsis and the Chinese marks. `boilerplate.SENTENCE_END` looks behind closing brackets too.
LINE_ENDS = np.array([ord(mark) for mark in ".!?…\"'”’。！？｡」』"], np.int64)
SHORT_CHARS = 30  # FineWeb (Penedo et al. 2024): shorter than 30 characters
C4_LINE_WORDS = 5  # Raffel et al. 2020, in the version of JMLR and in its code
SHORT_LINE_WORDS = 10  # RefinedWeb: lines of at most ten words are matched against patterns
COUNTER_WORDS = 3  # ours: "3 likes", "1 280 views"

# Columns of `count_lines`.
LINES, TERMINAL_LINES, SHORT_LINES, MORE_LINES, JAVASCRIPT_LINES, POLICY_LINES, SENTENCES, LOREMS = range(8)
WORDS, FLAGGED_WORDS, NEWLINES = 8, 9, 10
COLUMNS = 11

_AUTOMATON = automaton(PHRASES)


@njit(cache=True, nogil=True)
def _is_letter(data: Bytes, i: int, classes: Bytes) -> bool:
    """Whether the character that the byte data[i] is part of is a letter other than an ideograph."""
    while data[i] & 0xC0 == 0x80:
        i -= 1
    return classes[decode(data, i)[0]] & (ALPHA | HAN) == ALPHA


@njit(cache=True, nogil=True)
def count_lines(
    data: Bytes,
    offsets: Ints,
    classes: Bytes,
    cases: Bytes,
    line_ends: Ints,
    phrases: Automaton,
    out: Ints,
) -> None:
    """Fills out[d, column] for the lines that are not blank, without white space at their ends."""
    for d in range(len(offsets) - 1):
        row = out[d]
        i, stop = offsets[d], offsets[d + 1]
        while i < stop:
            begin = np.int64(-1)  # first byte that is no white space
            last, dots = 0, 0  # the last character that is none, and how many dots it ends
            length, size = 0, 0  # letters from the beginning on, with and without white space at the end
            words, hans, in_word = 0, 0, False
            upper, letters, digits = 0, 0, 0
            first_digit = False
            sentences, in_sentence, stopped = 0, False, False
            state = found = tail = np.int64(0)
            tail_end = word_end = np.int64(-1)
            code = 0
            while i < stop and code != 10:
                code, width = decode(data, i)
                kind = classes[code]
                if begin < 0:
                    if kind & SPACE:
                        i += width
                        continue
                    begin = i
                    first_digit = kind & DIGIT != 0
                for _ in range(width):
                    state = np.int64(phrases.after[state, data[i]])
                    i += 1
                    flags = np.int64(phrases.flags[state])
                    if flags == 0:
                        continue
                    found |= flags & (LOREM | JAVASCRIPT | POLICY | CART)
                    row[LOREMS] += flags & LOREM != 0
                    if phrases.leading[state] and phrases.depths[state] == i - begin:
                        if i == stop or not _is_letter(data, i, classes):
                            found |= LEADING
                    before = i - np.int64(phrases.ending[state]) - 1
                    if flags & AT_END and (before < begin or not _is_letter(data, before, classes)):
                        tail, tail_end = flags, i
                length += 3 if kind & HAN else 1
                if kind & SPACE:
                    in_word = False
                    if stopped:
                        in_sentence, stopped = False, False
                    continue
                size = length
                last = code
                dots = dots + 1 if code == 46 else 0
                if kind & STOP:
                    stopped = in_sentence
                elif stopped:
                    in_sentence, stopped = False, False
                if kind & WORD:
                    word_end = i
                    if not in_sentence:
                        sentences += 1
                        in_sentence = True
                if kind & HAN:
                    hans += 1
                    in_word = False
                elif kind & WORD and not in_word:
                    words += 1
                    in_word = True
                upper += cases[code] & UPPER
                letters += kind & (ALPHA | HAN) != 0
                digits += kind & DIGIT != 0
            row[NEWLINES] += code == 10
            if begin < 0:
                continue
            words += (hans + 1) // 2
            if tail_end == word_end:
                found |= tail & AT_END
            row[LINES] += 1
            row[WORDS] += words
            row[SHORT_LINES] += size < SHORT_CHARS
            row[MORE_LINES] += found & MORE != 0
            row[JAVASCRIPT_LINES] += found & JAVASCRIPT != 0
            row[POLICY_LINES] += found & POLICY != 0
            ends = False
            for mark in line_ends:
                ends |= last == mark
            row[TERMINAL_LINES] += ends
            if ends and last != 0x2026 and dots < 3 and words >= C4_LINE_WORDS and not found & (JAVASCRIPT | POLICY):
                row[SENTENCES] += sentences
            if (
                words == 1
                or 2 * upper > letters
                or (digits and not letters)
                or (first_digit and found & COUNTER and words <= COUNTER_WORDS)
                or (words <= SHORT_LINE_WORDS and found & (MORE | LEADING | TRAILING | CART))
            ):
                row[FLAGGED_WORDS] += words


def lines(t: TextView) -> Ints:
    """The counts of `count_lines`, int64[n, 11]; ask for it with t.once, signals share it."""
    out = np.zeros((len(t), COLUMNS), np.int64)
    count_lines(t.data, t.offsets, CLASSES, CASES, LINE_ENDS, _AUTOMATON, out)
    return out


def _share(t: TextView, part: int, whole: int = LINES) -> Values:
    counts: NDArray[np.int64] = t.once(lines)
    return ratio(counts[:, part], counts[:, whole])


@signal
def terminal_line_ratio(t: TextView) -> Values:
    """Lines that end in . ! ? … 。 ！ ？ or a closing quotation mark / lines; datatrove's FineWeb rule counts no
    quotation mark and no ellipsis, but 150 marks of other scripts."""
    return _share(t, TERMINAL_LINES)


@signal
def short_line_ratio(t: TextView) -> Values:
    """Lines shorter than 30 letters / lines (FineWeb); an ideograph is three letters."""
    return _share(t, SHORT_LINES)


@signal
def newline_word_ratio(t: TextView) -> Values:
    """Newlines / words (datatrove's FineWeb rule on lists); two ideographs are one word, punctuation is none."""
    return _share(t, NEWLINES, WORDS)


@signal
def read_more_line_ratio(t: TextView) -> Values:
    """Lines that end in "read more" or 阅读更多, 阅读全文, 查看更多, 查看全文 / lines; marks may follow."""
    return _share(t, MORE_LINES)


@signal
def javascript_line_ratio(t: TextView) -> Values:
    """Lines that mention javascript / lines; C4 removes such lines."""
    return _share(t, JAVASCRIPT_LINES)


@signal
def policy_line_ratio(t: TextView) -> Values:
    """Lines that mention cookies, terms of use or privacy (C4's six phrases, and Chinese ones) / lines."""
    return _share(t, POLICY_LINES)


@signal
def lorem_ipsum_count(t: TextView) -> Values:
    """Occurrences of "lorem ipsum" in any case, not across lines."""
    return t.once(lines)[:, LOREMS].astype(np.float64)


@signal
def c4_sentence_count(t: TextView) -> Values:
    """Sentences in the lines that C4 keeps: five words or more, a terminal mark but no ellipsis at the end, no
    javascript and no policy phrase; C4 splits sentences by NLTK, this does as TextView.sentences."""
    return t.once(lines)[:, SENTENCES].astype(np.float64)


@signal
def correctable_word_ratio(t: TextView) -> Values:
    """Words in lines that RefinedWeb's line corrections touch / words: a line of one word, mostly capitals, figures
    only, a counter ("3 likes"), or one of ten words at most that begins, ends or goes on like navigation."""
    return _share(t, FLAGGED_WORDS, WORDS)
