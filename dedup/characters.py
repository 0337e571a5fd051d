"""Code points of UTF-8 texts and what they are: bytes in; code points, and for each its lower case and whether it is
part of a word, white space, or of a script that does not set words apart, out. White space, word characters and lower
case are Python's (`\\s`, `\\w`, `str.lower`), so `unicodedata.unidata_version` decides; two letters differ from that:
U+0130 becomes a plain "i", and a final sigma is a sigma.
"""

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Unsigned 64 bits throughout: numba would turn a mixture with signed integers into floats.
ONE, ASCII_END, CODE = np.uint64(1), np.uint64(0x80), np.uint64(0x1FFFFF)
WORD_BIT, SPACE_BIT, SPACELESS_BIT = np.uint64(29), np.uint64(30), np.uint64(31)
_SIX, _LOW10 = np.uint64(6), np.uint64(0x3FF)
_CODE_END, _REPLACEMENT = np.uint64(0x110000), np.uint64(0xFFFD)
_SPACELESS_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han: iteration mark, closing mark, zero
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),  # Han, supplementary planes
)


@cache
def character_table() -> NDArray[np.uint32]:
    """For each code point: its lower case (21 bits) and the flags word, space, script without spaces."""
    every = np.arange(0x110000, dtype="<u4")
    text = every.tobytes().decode("utf-32-le", "surrogatepass")
    lower = text.replace("\u0130", "i").lower().replace("\u03c2", "\u03c3")
    table = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), np.uint32).copy()
    # What Python's patterns ask of a character, asked of all at once; a word character is also "_".
    each = every.view("<U1")
    for bit, meant in ((WORD_BIT, np.strings.isalnum(each)), (SPACE_BIT, np.strings.isspace(each))):
        table[meant] |= np.uint32(1 << int(bit))
    table[ord("_")] |= np.uint32(1 << int(WORD_BIT))
    for first, last in _SPACELESS_RANGES:
        table[first : last + 1] |= np.uint32(1 << int(SPACELESS_BIT))
    return table


@njit(cache=True, nogil=True)
def decode(data: NDArray[np.uint8], i: np.uint64, last: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Code point at data[i] (not ASCII) and the next position; below last and the table's end, whatever the bytes."""
    lead = data[i]
    size = np.uint64(2 if lead < 0xE0 else 3 if lead < 0xF0 else 4)
    if i + size > last:
        return _REPLACEMENT, last
    code = np.uint64(lead & 0x1F) << _SIX | np.uint64(data[i + ONE] & 0x3F)
    if lead < 0xE0:
        return code, i + size
    code = (code & _LOW10) << _SIX | np.uint64(data[i + np.uint64(2)] & 0x3F)
    if lead < 0xF0:
        return code, i + size
    code = code << _SIX | np.uint64(data[i + np.uint64(3)] & 0x3F)
    return (code if code < _CODE_END else _REPLACEMENT), i + size
