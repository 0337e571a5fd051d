"""How much of a document repeats itself: word n-grams, repeated segments, and the variety of words and characters. Flat
hashes and lengths come in, exact integer counts per document come out. The surprise: an n-gram is looked up only where
the (n-1)-grams that it begins and ends with both occur twice, so the long n-grams of prose cost almost nothing."""

from dataclasses import dataclass, fields
from math import log

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.codepoints import CLASSES, SPACE, decode
from filters.segment import Bytes, Ints
from filters.text import Segments, TextView

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
# The shares of distinct words and characters fall with length, so they are taken over blocks of this many characters.
BLOCK_CHARS = 500

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _slot_bits(entries: int) -> int:
    """log2 of a hash table's size for that many entries: at most half full."""
    bits = 4
    while (1 << bits) < 2 * entries:
        bits += 1
    return bits


@njit(cache=True, nogil=True)
def _number(key: np.uint64, slots: NDArray[np.int32], bits: int, keys: NDArray[np.uint64], known: int) -> int:
    """The number of a key, counted from 0 in order of first appearance; `known` when it is new (and is then stored)."""
    slot = np.int64((key * _FACTOR) >> np.uint64(64 - bits))
    while slots[slot] >= 0:
        if keys[slots[slot]] == key:
            return slots[slot]
        slot = (slot + 1) & ((1 << bits) - 1)
    slots[slot] = known
    keys[known] = key
    return known


@njit(cache=True, nogil=True)
def _count_ngrams(
    rows: Ints,
    offsets: Ints,
    hashes: NDArray[np.uint64],
    lengths: NDArray[np.int32],
    distinct: Ints,
    entropy: NDArray[np.float64],
    top: Ints,
    duplicate: Ints,
) -> None:
    most = 0
    for row in rows:
        most = max(most, offsets[row + 1] - offsets[row])
    words = np.empty(most, np.int32)  # number of the word at a place
    grams = np.empty(most, np.int32)  # number of the n-gram that begins there, -1 when it cannot occur twice
    counts = np.empty(most, np.int32)  # of each number, for n and, before that, for n - 1
    earlier = np.empty(most, np.int32)
    places = np.empty(most, np.int32)  # where a number appeared first
    keys = np.empty(most, np.uint64)
    slots = np.empty(1 << _slot_bits(most), np.int32)
    for d in range(len(rows)):
        first = offsets[rows[d]]
        m = offsets[rows[d] + 1] - first
        if m == 0:
            continue
        candidates = m
        for n in range(1, 11):
            bits = _slot_bits(candidates)
            slots[: 1 << bits] = -1
            known = 0
            for i in range(m - n + 1):
                if n == 1:
                    number = _number(hashes[first + i], slots, bits, keys, known)
                    words[i] = number
                elif grams[i] >= 0 and earlier[grams[i]] > 1 and grams[i + 1] >= 0 and earlier[grams[i + 1]] > 1:
                    key = (np.uint64(grams[i]) << np.uint64(32)) | np.uint64(words[i + n - 1])
                    number = _number(key, slots, bits, keys, known)
                else:
                    grams[i] = -1
                    continue
                if number == known:
                    known += 1
                    counts[number] = 0
                    places[number] = i
                counts[number] += 1
                grams[i] = number
            if m >= n:
                grams[m - n + 1 :] = -1
            if n == 1:
                distinct[d] = known
                for number in range(known):
                    share = counts[number] / m
                    entropy[d] -= share * log(share)
            elif n <= 4:
                best = 1
                for number in range(known):
                    if counts[number] > best:
                        best = counts[number]
                        letters = 0
                        for j in range(places[number], places[number] + n):
                            letters += lengths[first + j]
                        top[d, n - 2] = best * letters
            else:
                covered = 0
                for i in range(m - n + 1):
                    if grams[i] >= 0 and counts[grams[i]] > 1:
                        for j in range(max(covered, i), i + n):
                            duplicate[d, n - 5] += lengths[first + j]
                        covered = i + n
            candidates = 0
            for number in range(known):
                if counts[number] > 1:
                    candidates += counts[number]
            if candidates == 0:
                break
            counts, earlier = earlier, counts


@njit(cache=True, nogil=True)
def _count_repeats(offsets: Ints, hashes: NDArray[np.uint64], lengths: NDArray[np.int32], out: Ints) -> None:
    most = 0
    for d in range(len(offsets) - 1):
        most = max(most, offsets[d + 1] - offsets[d])
    keys = np.empty(most, np.uint64)
    slots = np.empty(1 << _slot_bits(most), np.int32)
    for d in range(len(offsets) - 1):
        bits = _slot_bits(offsets[d + 1] - offsets[d])
        slots[: 1 << bits] = -1
        known = 0
        for i in range(offsets[d], offsets[d + 1]):
            if _number(hashes[i], slots, bits, keys, known) == known:
                known += 1
            else:
                out[d, 0] += 1
                out[d, 1] += lengths[i]


@njit(cache=True, nogil=True)
def _count_variety(
    data: Bytes, offsets: Ints, classes: Bytes, block: int, out: Ints, entropy: NDArray[np.float64]
) -> None:
    counts = np.zeros(len(classes), np.int32)
    blocks = np.zeros(len(classes), np.int32)  # the last block, numbered through the batch, that held a code point
    present = np.empty(len(classes), np.int32)
    current = 0
    for d in range(len(offsets) - 1):
        known = 0
        total = 0
        in_block = 0
        i = offsets[d]
        while i < offsets[d + 1]:
            code, width = decode(data, i)
            i += width
            if classes[code] & SPACE:
                continue
            if total % block == 0:
                if total:
                    out[d, 0] += in_block
                current += 1
                in_block = 0
            total += 1
            if counts[code] == 0:
                present[known] = code
                known += 1
            counts[code] += 1
            if blocks[code] != current:
                blocks[code] = current
                in_block += 1
        if total < block or total % block == 0:
            out[d, 0] += in_block
            out[d, 1] = total
        else:
            out[d, 1] = total - total % block
        for k in range(known):
            share = counts[present[k]] / total
            entropy[d] -= share * log(share)
            counts[present[k]] = 0


def word_repetition(t: TextView) -> "WordRepetition":
    """Repetition among the words of each document; ask for it with t.once, signals share it."""
    return _woven(t, _repetition(t.words, np.flatnonzero(t.han)))


def joined_repetition(t: TextView) -> "WordRepetition":
    """Repetition among the joined words (RedPajama-V2's) of each document; ask for it with t.once, signals share it."""
    han = np.flatnonzero(t.han)
    return _woven(t, _repetition(t.take(han).joined_words, np.arange(len(han))))


def plain_repetition(t: TextView) -> "WordRepetition":
    """One row for each document without Han, in which both kinds of words are the same."""
    return _repetition(t.words, np.flatnonzero(t.han == 0))


def _repetition(words: Segments, rows: Ints) -> "WordRepetition":
    """One row for each of the documents at `rows`."""
    n = len(rows)
    distinct, entropy = np.zeros(n, np.int64), np.zeros(n)
    top, duplicate = np.zeros((n, len(TOP)), np.int64), np.zeros((n, len(DUPLICATE)), np.int64)
    _count_ngrams(rows, words.offsets, words.hashes, words.lengths, distinct, entropy, top, duplicate)
    letters = words.sum(words.lengths)[rows]
    return WordRepetition(words.per_doc[rows], letters, distinct, entropy, top, duplicate)


def _woven(t: TextView, han: "WordRepetition") -> "WordRepetition":
    """The rows of the documents without Han and those with, in the order of the documents."""
    plain = t.once(plain_repetition)
    place = np.argsort(np.argsort(t.han > 0, kind="stable"))
    columns = ((getattr(plain, field.name), getattr(han, field.name)) for field in fields(WordRepetition))
    return WordRepetition(*(np.concatenate(column)[place] for column in columns))


def repeats(segments: Segments) -> tuple[Ints, Ints]:
    """(segments, code points) of each document that occurred before in it: of k equal lines k - 1 count."""
    out = np.zeros((len(segments.offsets) - 1, 2), np.int64)
    _count_repeats(segments.offsets, segments.hashes, segments.lengths, out)
    return out[:, 0], out[:, 1]


def variety(t: TextView) -> "Variety":
    """Variety of the characters of each document, white space left out; ask for it with t.once, signals share it."""
    out, entropy = np.zeros((len(t), 2), np.int64), np.zeros(len(t))
    _count_variety(t.data, t.offsets, CLASSES, BLOCK_CHARS, out, entropy)
    return Variety(out[:, 0], out[:, 1], entropy)


@dataclass(frozen=True)
class WordRepetition:
    """One row per document; letters are code points of folded words."""

    words: Ints
    letters: Ints  # of all words
    distinct: Ints  # words
    entropy: NDArray[np.float64]  # nats, of the distribution of words
    top: Ints  # [n, 3] letters of the commonest 2-, 3-, 4-gram, of equals the first, times its count; 0 if that is 1
    duplicate: Ints  # [n, 6] letters inside any 5- ... 10-gram that occurs more than once, each letter counted once


@dataclass(frozen=True)
class Variety:
    """One row per document."""

    distinct: Ints  # in each whole block of 500 characters, summed; a shorter text is one block
    measured: Ints  # characters in those blocks
    entropy: NDArray[np.float64]  # nats, of the distribution of all characters
