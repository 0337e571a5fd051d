"""Tables over all Unicode code points, built at import from the interpreter's own database: `CLASSES` and `TRAITS` say
what a code point is, `FOLDS` what it becomes when words are compared. The surprise: numpy's string functions fill a
table of 1.1 million code points in about 10 ms, where a loop over `chr` takes more than a second."""

import string
import unicodedata
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

ALPHA = 1  # str.isalpha
DIGIT = 2  # str.isdigit; never the ideographs 一二三, which are only str.isnumeric
SPACE = 4  # str.isspace
HAN = 8
PUNCT = 16  # general category P*, and the ASCII symbols $+<=>^`|~ that string.punctuation counts in
WORD = 32  # \w of a regular expression
ASCII_PUNCT = 64  # what normalisation deletes
STOP = 128  # ends a sentence

# Bits of TRAITS.
UPPER = 1  # str.isupper
LOWER = 2  # str.islower, and title case: a word with one of these is not in capitals
NUMERIC = 4  # str.isnumeric, 一二三 among them
MARK = 8  # has a combining class, so that NFD may have to reorder it
LATIN = 16  # A-Z, a-z
CAPITAL_SIGMA = 0x3A3  # the one letter whose lower case depends on its neighbours

HAN_RANGES = (
    (0x3007, 0x3007),  # 〇
    (0x3400, 0x4DBF),  # extension A
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0x20000, 0x323AF),  # extensions B to H
)
SENTENCE_STOPS = ".!?。！？｡"

_CODE_POINTS = 0x110000
_PUNCT_END = 0x20000  # no punctuation above; planes 2 and 3 are ideographs
# Whatever lower() or NFD changes beyond ASCII lies in these ranges (the tests try every code point).
_FOLDED_RANGES = ((0x80, 0x3400), (0xA640, 0xABC0), (0xAC00, 0xD7A4), (0xF900, 0x1F000), (0x2F800, 0x2FA20))


def _class_table() -> NDArray[np.uint8]:
    """uint8[0x110000]: bit set of the constants above."""
    table = np.zeros(_CODE_POINTS, np.uint8)
    characters = np.arange(_CODE_POINTS, dtype=np.uint32).view("<U1")
    alnum = np.strings.isalnum(characters)
    table[np.strings.isalpha(characters)] |= ALPHA
    table[np.strings.isdigit(characters)] |= DIGIT
    table[np.strings.isspace(characters)] |= SPACE
    table[alnum] |= WORD
    table[ord("_")] |= WORD
    for first, last in HAN_RANGES:
        table[first : last + 1] |= HAN
    for code in np.flatnonzero(~alnum[:_PUNCT_END]):
        if unicodedata.category(chr(code))[0] == "P":
            table[code] |= PUNCT
    for mark in string.punctuation:
        table[ord(mark)] |= PUNCT | ASCII_PUNCT
    for mark in SENTENCE_STOPS:
        table[ord(mark)] |= STOP
    table.flags.writeable = False
    return table


def _trait_table() -> NDArray[np.uint8]:
    """uint8[0x110000]: bit set of the constants above."""
    characters = np.arange(_CODE_POINTS, dtype=np.uint32).view("<U1")
    upper = np.strings.isupper(characters)
    table = UPPER * upper | LOWER * (np.strings.islower(characters) | (np.strings.istitle(characters) & ~upper))
    table |= NUMERIC * np.strings.isnumeric(characters)
    for code in np.flatnonzero(~np.strings.isalnum(characters[:_PUNCT_END])):
        if unicodedata.combining(chr(code)):
            table[code] |= MARK
    for letter in string.ascii_letters:
        table[ord(letter)] |= LATIN
    traits = table.astype(np.uint8)
    traits.flags.writeable = False
    return traits


def _fold_tables() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(int32[0x110000], int32[k, width]) for NFD of lower case: a code point, or -1 - row of the second, 0-padded."""
    folds = np.arange(_CODE_POINTS, dtype=np.int32)
    folds[ord("A") : ord("Z") + 1] += 32
    rows: list[list[int]] = []
    for first, last in _FOLDED_RANGES:
        for code in range(first, last):
            character = chr(code)
            folded = unicodedata.normalize("NFD", character.lower())
            if folded == character:
                continue
            if len(folded) == 1:
                folds[code] = ord(folded)
            else:
                folds[code] = -1 - len(rows)
                rows.append([ord(c) for c in folded])
    expansions = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for i, row in enumerate(rows):
        expansions[i, : len(row)] = row
    folds.flags.writeable = expansions.flags.writeable = False
    return folds, expansions


@njit(cache=True, nogil=True)
def decode(data: NDArray[np.uint8], i: int) -> tuple[Any, int]:
    """(code point as int64, bytes) of the character that begins at data[i]; the bytes must be valid UTF-8."""
    lead = data[i]
    if lead < 0x80:
        return np.int64(lead), 1
    if lead < 0xE0:
        return (np.int64(lead & 0x1F) << 6) | np.int64(data[i + 1] & 0x3F), 2
    if lead < 0xF0:
        middle = np.int64(data[i + 1] & 0x3F) << 6
        return (np.int64(lead & 0x0F) << 12) | middle | np.int64(data[i + 2] & 0x3F), 3
    middle = (np.int64(data[i + 1] & 0x3F) << 12) | (np.int64(data[i + 2] & 0x3F) << 6)
    return (np.int64(lead & 0x07) << 18) | middle | np.int64(data[i + 3] & 0x3F), 4


CLASSES = _class_table()
TRAITS = _trait_table()
FOLDS, EXPANSIONS = _fold_tables()
