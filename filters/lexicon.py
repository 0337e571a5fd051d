"""Signals of listed words: stop words, and bad words of a list that the recipe gives. Texts come in, how many entries
occur and which share of the words they cover go out. The surprise: one rule serves both scripts. An entry is matched
letter by letter, the longest first; where it begins or ends in a letter other than an ideograph, no such letter may
stand next to it. So `ass` is not in `class`, while 色情 needs no spaces around it, and none may be within it."""

import string
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.catalogue import Values, ratio, signal, signal_of
from filters.codepoints import CLASSES, EXPANSIONS, FOLDS, HAN, PUNCT, SPACE, WORD, decode
from filters.lookup import ENTRY, NOTHING, SEED, Hashes, Prefixes, extend, mark_of, prefixes
from filters.segment import Bytes, Ints
from filters.text import TextView

_WIDE_FIRST, _WIDE_LAST, _WIDE = 0xFF01, 0xFF5E, 0xFF01 - ord("!")  # full-width forms of ASCII
_BLANK = ord(" ")  # stands for any run of white space
LANGUAGES = ("en", "zh")
_MARK = 0  # a combining mark: _JOINED after a letter, else PUNCT
_JOINED = WORD | PUNCT  # begins a raw word as PUNCT does; no entry ends before it, as before a letter
# SPACE, HAN, WORD, PUNCT or _MARK for each code point.
KINDS = np.select([CLASSES & bit != 0 for bit in (SPACE, HAN, WORD)], [SPACE, HAN, WORD], PUNCT).astype(np.uint8)
KINDS[[code for code in np.flatnonzero(KINDS[:0x20000] == PUNCT) if unicodedata.category(chr(code))[0] == "M"]] = _MARK


class Lexicon(NamedTuple):
    """Listed words: as letters, for `bad_word_*`, and as hashed words, for RedPajama-V2's count."""

    letters: Prefixes
    words: Prefixes


def lexicon(entries: Iterable[str]) -> Lexicon:
    """The tables of some words or phrases."""
    kept = sorted(set(entries))
    # Upstream looks normalised text up in a list that is not normalised, so that such an entry never matches.
    normal = [entry for entry in kept if entry == _normal(entry)]
    words = TextView(pa.array(normal, pa.string())).words
    bounds = words.offsets.tolist()
    sequences = [words.hashes[a:b].tolist() for a, b in pairwise(bounds)]
    return Lexicon(prefixes(map(folded, kept)), prefixes(sequences))


def _normal(text: str) -> str:
    """A text as RedPajama-V2 normalises it."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return unicodedata.normalize("NFD", " ".join(bare.split()))


def folded(entry: str) -> list[int]:
    """The code points that an entry is compared by: full-width forms as ASCII, lower case, NFD, white space as one."""
    narrow = "".join(chr(ord(c) - _WIDE) if _WIDE_FIRST <= ord(c) <= _WIDE_LAST else c for c in entry)
    return [ord(part) for c in " ".join(narrow.split()) for part in unicodedata.normalize("NFD", c.lower())]


@njit(cache=True, nogil=True)
def _fed(state: np.uint64, code: int, folds: NDArray[np.int32], expansions: NDArray[np.int32]) -> np.uint64:
    """The state after one more code point of a text, as `folded` has it."""
    if _WIDE_FIRST <= code <= _WIDE_LAST:
        code -= _WIDE
    part = folds[code]
    if part >= 0:
        return extend(state, np.uint64(part))
    for k in range(expansions.shape[1]):
        if expansions[-1 - part, k]:
            state = extend(state, np.uint64(expansions[-1 - part, k]))
    return state


@njit(cache=True, nogil=True)
def _kind(kinds: Bytes, code: int, before: int) -> int:
    """Kind of a code point after one of the kind `before`."""
    if kinds[code] != _MARK:
        return int(kinds[code])
    return _JOINED if before & WORD else PUNCT


@njit(cache=True, nogil=True)
def _find(
    data: Bytes,
    offsets: Ints,
    kinds: Bytes,
    folds: NDArray[np.int32],
    expansions: NDArray[np.int32],
    table: Prefixes,
    out: Ints,
) -> None:
    """Fills out[d] with the entries in document d, none overlapping, and the raw words (see TextView) begun in them."""
    for d in range(len(offsets) - 1):
        stop = offsets[d + 1]
        i = offsets[d]
        before = SPACE  # kind of the code point before i
        while i < stop:
            code, width = decode(data, i)
            following = _kind(kinds, code, before)
            if following == SPACE:
                before = SPACE
                i += width
                continue
            state = SEED
            best = best_words = words = 0
            kind = before
            j = next_start = i
            while j < stop:
                last, kind = kind, following
                if kind != SPACE:
                    part = folds[code]
                    # The call costs as much as all else, so it is spared where one code point stands for itself.
                    if part >= 0 and code < _WIDE_FIRST:
                        state = extend(state, np.uint64(part))
                    else:
                        state = _fed(state, code, folds, expansions)
                    words += kind == HAN or (kind != last and not kind & last & PUNCT)
                elif last != SPACE:
                    state = extend(state, np.uint64(_BLANK))
                j += width
                following = SPACE
                if j < stop:
                    code, width = decode(data, j)
                    following = _kind(kinds, code, kind)
                if kind & WORD and following & WORD:
                    continue  # no entry ends within a run of letters, so it is hashed whole
                if next_start == i:
                    next_start, before = j, kind
                mark = mark_of(table, state)
                if mark == NOTHING:
                    break
                if mark == ENTRY and kind != SPACE:
                    best, best_words, before = j, words, kind
            if best:
                out[d, 0] += 1
                out[d, 1] += best_words
                next_start = best
            i = next_start


@njit(cache=True, nogil=True)
def _count_ngrams(offsets: Ints, hashes: Hashes, table: Prefixes, out: Ints) -> None:
    """Adds to out[d] the word n-grams of document d that are entries, overlapping ones and those within others too."""
    for d in range(len(offsets) - 1):
        for first in range(offsets[d], offsets[d + 1]):
            state = SEED
            for i in range(first, offsets[d + 1]):
                state = extend(state, hashes[i])
                mark = mark_of(table, state)
                if mark == NOTHING:
                    break
                out[d] += mark == ENTRY


@cache
def _stop_words() -> Prefixes:
    from stopwordsiso import stopwords

    # The package lists digits and marks too; a table of numbers is no prose.
    listed = sorted(set().union(*(stopwords(language) for language in LANGUAGES)))
    return prefixes(folded(word) for word in listed if any(c.isalpha() for c in word))


def found(t: TextView, table: Prefixes) -> Ints:
    """int64[n, 2]: entries of a table of letters in each document, and the raw words within them."""
    out = np.zeros((len(t), 2), np.int64)
    _find(t.data, t.offsets, KINDS, FOLDS, EXPANSIONS, table, out)
    return out


def _bad_words(t: TextView) -> Ints:
    return found(t, t.lists["bad_words"].letters)


@signal
def stop_word_ratio(t: TextView) -> Values:
    """Raw words within English or Chinese stop words (stopwords-iso) / raw words, each ideograph being one: of 我们的书
    three in four."""
    return ratio(found(t, _stop_words())[:, 1], t.raw_words)


@signal_of("bad_words")
def bad_word_count(t: TextView) -> Values:
    """Bad words in the text, none overlapping, the longest at each place; case and full width do not count."""
    return t.once(_bad_words)[:, 0].astype(np.float64)


@signal_of("bad_words")
def bad_word_ratio(t: TextView) -> Values:
    """Raw words within bad words / raw words, each ideograph being one."""
    return ratio(t.once(_bad_words)[:, 1], t.raw_words)


@signal_of("bad_words")
def rps_doc_ldnoobw_words(t: TextView) -> Values:
    """RedPajama-V2's number of word n-grams that are entries; in Chinese each ideograph is a word."""
    out = np.zeros(len(t), np.int64)
    _count_ngrams(t.words.offsets, t.words.hashes, t.lists["bad_words"].words, out)
    return out.astype(np.float64)
