"""A vocabulary as flat arrays: pieces in; a hash table of pairs of symbols, with what each merges into, out. A pair of
characters that stands in some piece is in the table even if it is no piece: there a text holds together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tokenizer.model import BYTE, SPACE, Piece

WORDS, WORD_BYTES, WORD_IDS = 1 << 15, 16, 4  # parts that are remembered, and the longest ones
UNKNOWN = -1  # a character of no piece
NEVER = np.int64(1 << 30)  # rank of a pair that is joined in some piece, but is none itself
GOLDEN = np.uint64(0x9E3779B97F4A7C15)

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Tables:
    """A vocabulary as flat arrays. A symbol is a piece, by its id, or a single character that only occurs inside
    pieces, by a number from the size of the vocabulary on."""

    symbols: Ints  # int32[0x110000]: symbol of each code point; a space is that of U+2581
    keys: NDArray[np.uint64]  # open addressing: (left + 1) << 32 | right + 1, 0 where free
    values: NDArray[np.int64]  # rank << 32 | piece that the pair makes; NEVER << 32 where it makes none
    ascii: NDArray[np.int64]  # [128 * 128]: the values of pairs of ASCII characters, -1 for those in no piece
    byte_ids: Ints  # int32[256]
    size: int
    words: NDArray[np.uint64]  # [WORDS, 2]: bytes of parts met lately, packed; 0 where there is none
    known: Ints  # int32[WORDS, WORD_IDS + 1]: how many ids they have, and these


def tables(pieces: Sequence[Piece]) -> Tables:
    """The tables of a vocabulary all of whose letters are normal pieces, with a piece for every byte."""
    ids = {piece.text: i for i, piece in enumerate(pieces) if piece.spells}
    for text in list(ids):
        for character in text:
            if character not in ids:
                ids[character] = len(pieces) + len(ids)
    symbols = np.full(0x110000, UNKNOWN, np.int32)
    for text, i in ids.items():
        if len(text) == 1:
            symbols[ord(text)] = i
    # U+2581 in a text is not a space: it is spelt as its bytes.
    symbols[ord(" ")], symbols[ord(SPACE)] = symbols[ord(SPACE)], UNKNOWN
    places = {score: rank for rank, score in enumerate(sorted({-piece.score for piece in pieces if piece.spells}))}
    pairs: dict[tuple[int, int], int] = {}
    for i, piece in enumerate(pieces):
        if not piece.spells:
            continue
        text = piece.text
        for a, b in zip(text, text[1:], strict=False):
            pairs.setdefault((ids[a], ids[b]), int(NEVER) << 32)
        for cut in range(1, len(text)):
            left, right = ids.get(text[:cut]), ids.get(text[cut:])
            if left is not None and right is not None:
                pairs[left, right] = places[-piece.score] << 32 | i
    room = 1 << max(4, (2 * len(pairs)).bit_length())
    keys, values = np.zeros(room, np.uint64), np.zeros(room, np.int64)
    both = np.array(list(pairs), np.uint64).reshape(-1, 2) + np.uint64(1)
    fill(keys, values, both[:, 0] << np.uint64(32) | both[:, 1], np.array(list(pairs.values()), np.int64))
    ascii = np.full(128 * 128, -1, np.int64)
    letters = {int(symbol): code for code, symbol in enumerate(symbols[:128]) if symbol >= 0}
    for (first, second), value in pairs.items():
        if first in letters and second in letters:
            ascii[letters[first] << 7 | letters[second]] = value
    words, known = np.zeros((WORDS, 2), np.uint64), np.zeros((WORDS, WORD_IDS + 1), np.int32)
    spelt = {piece.bytes()[0]: i for i, piece in enumerate(pieces) if piece.type == BYTE}
    byte_ids = np.array([spelt[byte] for byte in range(256)], np.int32)
    return Tables(symbols, keys, values, ascii, byte_ids, len(pieces), words, known)


@njit(cache=True, nogil=True, inline="always")
def spread(key: np.uint64) -> np.uint64:
    """A hash of a pair whose low bits depend on both symbols."""
    key *= GOLDEN
    return key ^ key >> np.uint64(32)


@njit(cache=True, nogil=True)
def fill(keys: np.ndarray, values: np.ndarray, new: np.ndarray, found: np.ndarray) -> None:
    """Put the pairs into the table."""
    mask = np.uint64(len(keys) - 1)
    for i in range(len(new)):
        place = spread(new[i]) & mask
        while keys[place] != 0:
            place = (place + np.uint64(1)) & mask
        keys[place], values[place] = new[i], found[i]


@njit(cache=True, nogil=True, inline="always")
def look_up(keys: np.ndarray, values: np.ndarray, left: int, right: int) -> int:
    """Rank and piece of a pair, as in Tables.values; -1 for one that stands in no piece."""
    key = np.uint64(left + 1) << np.uint64(32) | np.uint64(right + 1)
    mask = np.uint64(len(keys) - 1)
    place = spread(key) & mask
    while keys[place] != 0:
        if keys[place] == key:
            return values[place]
        place = (place + np.uint64(1)) & mask
    return -1


@njit(cache=True, nogil=True, inline="always")
def value_of(keys: np.ndarray, values: np.ndarray, left: int, right: int) -> int:
    """Rank and piece of a pair; NEVER << 32 for one that makes none."""
    value = look_up(keys, values, left, right)
    return value if value >= 0 else int(NEVER << 32)
