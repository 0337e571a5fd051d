"""Signals of what the words of a document are (capitals, figures, with letters), and of the hash marks and ellipses
between them. The surprise: a raw word of punctuation is no word here, or prose itself would fail a bound on words that
are not purely letters; so the shares of E28 and E29 are over the other raw words."""

import numpy as np
from numba import njit

from filters import codepoints
from filters.catalogue import Values, ratio, signal
from filters.codepoints import ALPHA, ASCII_PUNCT, CLASSES, DIGIT, HAN, PUNCT, SPACE, WORD, decode
from filters.segment import Bytes, Ints
from filters.text import TextView

CASES, UPPER, LOWER = codepoints.TRAITS, codepoints.UPPER, codepoints.LOWER

# Columns of `count_tokens`.
TOKENS, LETTER_TOKENS, DIGIT_TOKENS, CAPS_TOKENS, ALPHA_WORDS, HASHES, LONE_HASHES, ELLIPSES, LONE_ELLIPSES = range(9)


@njit(cache=True, nogil=True)
def count_tokens(data: Bytes, offsets: Ints, classes: Bytes, cases: Bytes, out: Ints) -> None:
    """Fills out[d, column]. A token is a raw word other than punctuation: a run of letters and digits, or an ideograph.

    Words are those of TextView.words. An ellipsis is a run of three or more dots, of …, or of three or more 。; it is
    lone when it is just ... or … or …… or 。。。, as a hash mark is that has no other beside it."""
    for d in range(len(offsets) - 1):
        row = out[d]
        kinds = 0  # of the characters of the open token; 0: none is open
        pure = 0  # classes that all of them have
        upper, lower = 0, False
        runs, run, hans, letters = 0, False, 0, False  # of the open stretch between white space
        mark, length = 0, 0  # the run of one character that is open
        i = offsets[d]
        while i <= offsets[d + 1]:
            code, width = 32, 1  # a blank ends what is open at the end
            if i < offsets[d + 1]:
                code, width = decode(data, i)
            i += width
            kind = classes[code]
            if code == mark:
                length += 1
            else:
                if mark == 35:
                    row[HASHES] += length
                    row[LONE_HASHES] += length == 1
                elif mark == 0x2026:
                    row[ELLIPSES] += 1
                    row[LONE_ELLIPSES] += length <= 2
                elif length >= 3 and (mark == 46 or mark == 0x3002):
                    row[ELLIPSES] += 1
                    row[LONE_ELLIPSES] += length == 3
                mark, length = code, 1
            if kinds and (not kind & WORD or kind & HAN):
                row[TOKENS] += 1
                row[LETTER_TOKENS] += pure & ALPHA != 0
                row[DIGIT_TOKENS] += pure & DIGIT != 0
                row[CAPS_TOKENS] += upper > 1 and not lower
                kinds = 0
            if kind & SPACE:
                row[ALPHA_WORDS] += hans + runs if hans else letters
                runs, run, hans, letters = 0, False, 0, False
                continue
            if kind & HAN:
                row[TOKENS] += 1
                row[LETTER_TOKENS] += 1
                hans += 1
                run = False
                continue
            if kind & WORD:
                if not kinds:
                    pure, upper, lower = ALPHA | DIGIT, 0, False
                kinds |= kind
                pure &= kind
                upper += cases[code] & UPPER
                lower |= cases[code] & LOWER != 0
            elif kind & PUNCT and not kind & ASCII_PUNCT:
                run = False
            if kind & ALPHA:
                letters = True
                runs += not run
                run = True


def tokens(t: TextView) -> Ints:
    """The counts of `count_tokens`, int64[n, 9]; ask for it with t.once, signals share it."""
    out = np.zeros((len(t), 9), np.int64)
    count_tokens(t.data, t.offsets, CLASSES, CASES, out)
    return out


@signal
def nonspace_char_count(t: TextView) -> Values:
    """Code points other than white space."""
    return (t.chars - t.spaces).astype(np.float64)


@signal
def alpha_word_ratio(t: TextView) -> Values:
    """Words that hold a letter of any script / words: Gopher's share; datatrove counts punctuation marks as words too,
    so that its share of the same prose is lower."""
    return ratio(t.once(tokens)[:, ALPHA_WORDS], t.words.per_doc)


@signal
def nonalpha_word_ratio(t: TextView) -> Values:
    """Raw words with a digit or underscore / raw words other than punctuation."""
    return ratio(t.once(tokens)[:, TOKENS] - t.once(tokens)[:, LETTER_TOKENS], t.once(tokens)[:, TOKENS])


@signal
def digit_word_ratio(t: TextView) -> Values:
    """Raw words of digits only / raw words other than punctuation."""
    return ratio(t.once(tokens)[:, DIGIT_TOKENS], t.once(tokens)[:, TOKENS])


@signal
def caps_word_ratio(t: TextView) -> Values:
    """Raw words of two or more capitals and no small letter / raw words; RedPajama-V2 counts I and A as well."""
    return ratio(t.once(tokens)[:, CAPS_TOKENS], t.raw_words)


@signal
def hash_word_ratio(t: TextView) -> Values:
    """Hash marks / raw words."""
    return ratio(t.once(tokens)[:, HASHES], t.raw_words)


@signal
def ellipsis_word_ratio(t: TextView) -> Values:
    """Ellipses (a run of three or more dots or 。, or of any number of …) / raw words."""
    return ratio(t.once(tokens)[:, ELLIPSES], t.raw_words)


@signal
def lone_hash_word_ratio(t: TextView) -> Values:
    """Hash marks without another beside them / raw words."""
    return ratio(t.once(tokens)[:, LONE_HASHES], t.raw_words)


@signal
def lone_ellipsis_word_ratio(t: TextView) -> Values:
    """Ellipses of just three dots, … or …… / raw words."""
    return ratio(t.once(tokens)[:, LONE_ELLIPSES], t.raw_words)
