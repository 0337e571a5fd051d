"""Kernels that walk the UTF-8 bytes of a batch: one counts characters by class, one cuts words, one cuts lines,
paragraphs or sentences. Documents are data[offsets[d]:offsets[d + 1]]. The surprise: a word is what RedPajama-V2 calls
a normalised word, except that every Han ideograph is a word of its own, so that text without spaces has words too."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.codepoints import ALPHA, ASCII_PUNCT, CAPITAL_SIGMA, DIGIT, HAN, MARK, PUNCT, SPACE, STOP, WORD, decode

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

# Columns of `count_characters`.
CHARS, ALPHAS, DIGITS, HANS, PUNCTS, SPACES, CURLIES, SYMBOLS, RAW_WORDS, LATIN_WORDS, RAW_LINES = range(11)
COLUMNS = 11

LINES, PARAGRAPHS, SENTENCES = range(3)

_SEED = np.uint64(0x243F6A8885A308D3)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _mix(state: np.uint64, code: int) -> np.uint64:
    """The hash state after one more code point: a bijection for each code point, and for each state."""
    state = (state ^ np.uint64(code)) * _FACTOR
    return state ^ (state >> np.uint64(32))


def hash_of(text: str) -> int:
    """The hash that a word has whose folded letters are the text."""
    state = int(_SEED)
    for character in text:
        state = (state ^ ord(character)) * int(_FACTOR) & (1 << 64) - 1
        state ^= state >> 32
    return state


@njit(cache=True, nogil=True)
def count_characters(data: Bytes, offsets: Ints, classes: Bytes, out: Ints) -> None:
    """Fills out[d, column]. A raw word is a WordPunct token, \\w+ or [^\\w\\s]+, but each Han ideograph is one; it is
    Latin when it holds an A-Z or a-z. A symbol is a hash mark, three dots or an ellipsis (Gopher)."""
    for d in range(len(offsets) - 1):
        chars = alphas = digits = hans = puncts = spaces = curlies = symbols = raw_words = latin_words = newlines = 0
        token = SPACE  # class of the token that is open
        latin = False
        dots = 0
        code = 10
        i = offsets[d]
        while i < offsets[d + 1]:
            code, width = decode(data, i)
            i += width
            kinds = classes[code]
            chars += 1
            dots = dots + 1 if code == 46 else 0
            if kinds & SPACE:
                spaces += 1
                newlines += code == 10
                token = SPACE
                continue
            kind = HAN if kinds & HAN else WORD if kinds & WORD else PUNCT
            if kind != token or kind == HAN:
                raw_words += 1
                token = kind
                latin = False
            if kinds & ALPHA:
                alphas += 1
                if not latin and code < 128:
                    latin = True
                    latin_words += 1
            if kinds & HAN:
                hans += 1
            elif kinds & DIGIT:
                digits += 1
            elif kinds & PUNCT:
                puncts += 1
                if code == 123 or code == 125:
                    curlies += 1
                elif code == 35 or code == 0x2026:
                    symbols += 1
                elif dots == 3:
                    symbols += 1
                    dots = 0
        out[d, CHARS] = chars
        out[d, ALPHAS] = alphas
        out[d, DIGITS] = digits
        out[d, HANS] = hans
        out[d, PUNCTS] = puncts
        out[d, SPACES] = spaces
        out[d, CURLIES] = curlies
        out[d, SYMBOLS] = symbols
        out[d, RAW_WORDS] = raw_words
        out[d, LATIN_WORDS] = latin_words
        out[d, RAW_LINES] = newlines + (code != 10)


@njit(cache=True, nogil=True)
def cut_words(
    data: Bytes,
    offsets: Ints,
    split_han: bool,
    classes: Bytes,
    traits: Bytes,
    folds: NDArray[np.int32],
    expansions: NDArray[np.int32],
    ends: Ints,
    hashes: NDArray[np.uint64],
    lengths: NDArray[np.int32],
    odd: Ints,
) -> int:
    """Fills ends[d + 1] with the words up to document d, and hash and length (code points) of each folded word.

    Within a stretch between white space ASCII punctuation is deleted and the rest folded. A stretch without Han is one
    word; in one with Han, if split_han, each ideograph is a word, and so is each run of other letters and digits
    between them. Returns how many words are odd: their marks may have to be reordered, or they hold a sigma that may
    be final, so that their hash must be made from odd[k], (word, first byte, last byte + 1)."""
    n = 0
    odds = 0
    for d in range(len(offsets) - 1):
        stop = offsets[d + 1]
        i = offsets[d]
        while i < stop:
            begin = i
            state = _SEED
            length = 0
            while i < stop and data[i] < 0x80 and classes[data[i]] & SPACE == 0:
                if classes[data[i]] & ASCII_PUNCT == 0:
                    state = _mix(state, folds[data[i]])
                    length += 1
                i += 1
            if i == stop or data[i] < 0x80:
                if length:
                    hashes[n] = state
                    lengths[n] = length
                    n += 1
                i += 1
                continue
            width = 0
            stretch = 0  # all classes that occur in it
            i = begin
            while i < stop:
                code, width = decode(data, i)
                if classes[code] & SPACE:
                    break
                stretch |= classes[code]
                i += width
            split = split_han and stretch & HAN != 0
            state = _SEED
            length = 0
            before = 0
            marked = False  # the last code point is a mark
            strange = False
            first = begin  # byte of the word
            j = begin
            while j <= i:
                code, step = (32, 1) if j == i else decode(data, j)  # a blank ends the last word
                kinds = classes[code]
                j += step
                if kinds & ASCII_PUNCT:
                    continue
                if length and (kinds & SPACE or split and (before & HAN or kinds & HAN or not kinds & WORD)):
                    hashes[n] = state
                    lengths[n] = length
                    if strange:
                        odd[odds, 0] = n
                        odd[odds, 1] = first
                        odd[odds, 2] = j - step
                        odds += 1
                    n += 1
                    state = _SEED
                    length = 0
                    marked = strange = False
                before = kinds
                if kinds & SPACE or (split and not kinds & (HAN | WORD)):
                    continue
                if length == 0:
                    first = j - step
                folded = folds[code]
                if folded >= 0:
                    state = _mix(state, folded)
                    length += 1
                    mark = kinds & WORD == 0 and traits[code] & MARK != 0
                    strange |= (mark and marked) or (code == CAPITAL_SIGMA and length > 1)
                    marked = mark
                    continue
                for k in range(expansions.shape[1]):
                    part = expansions[-1 - folded, k]
                    if part:
                        state = _mix(state, part)
                        length += 1
                        mark = traits[part] & MARK != 0
                        strange |= mark and marked and k == 0
                        marked = mark
            i += width  # the white space, if any; past the end it ends the loop
        ends[d + 1] = n
    return odds


@njit(cache=True, nogil=True)
def cut_segments(
    data: Bytes,
    offsets: Ints,
    classes: Bytes,
    mode: int,
    ends: Ints,
    hashes: NDArray[np.uint64],
    lengths: NDArray[np.int32],
    spans: Ints,
) -> None:
    """Fills ends[d + 1] with the segments up to document d, and hash, length (code points) and bytes [start, end) of
    each, white space at its ends left out and blank ones not counted.

    A line ends at a newline; a paragraph at a blank line; a sentence begins at a letter or digit and ends after its
    run of . ! ? 。 ！ ？ ｡ or with the document (RedPajama-V2's expression, with the Chinese stops added)."""
    n = 0
    for d in range(len(offsets) - 1):
        state = _SEED
        seen = 0  # code points since the segment began; 0: none is open
        newlines = 0
        stopped = False
        i = offsets[d]
        while i < offsets[d + 1]:
            code, width = decode(data, i)
            kinds = classes[code]
            if code == 10:
                newlines += 1
            if kinds & SPACE:
                if seen:
                    state = _mix(state, code)
                    seen += 1
                    if stopped or (mode == LINES and code == 10):
                        seen = 0
                i += width
                continue
            if seen:
                if mode == SENTENCES:
                    ended = stopped and not kinds & STOP
                else:
                    ended = mode == PARAGRAPHS and newlines > 1
                if ended:
                    seen = 0
            newlines = 0
            if not seen:
                if mode == SENTENCES and not kinds & WORD:
                    i += width
                    continue
                state = _SEED
                stopped = False
                spans[n, 0] = i
                n += 1
            seen += 1
            state = _mix(state, code)
            stopped = mode == SENTENCES and kinds & STOP != 0
            i += width
            hashes[n - 1] = state
            lengths[n - 1] = seen
            spans[n - 1, 1] = i
        ends[d + 1] = n
