"""Unicode scripts, and the Han of one country only: ranges of a UTF-8 buffer come in, letters per script go out. The
surprise: nothing lists which ideographs are simplified or traditional; it follows from what old national encodings can
write. GB 2312 of 1980 holds simplified characters, Big5 of 1984 traditional ones, JIS X 0208 of 1978 those of Japan."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.codepoints import ALPHA, CLASSES, HAN_RANGES, decode

# Indices into SCRIPTS. HANI is Han that is written everywhere, HANS and HANT what is simplified or traditional only,
# JPAN kana and the ideographs that only Japan writes.
COMMON, HANI, HANS, HANT, JPAN, KORE = range(6)
_RANGES = (
    ("jpan", 0x3041, 0x30FF), ("jpan", 0x31F0, 0x31FF), ("jpan", 0xFF66, 0xFF9F),
    ("kore", 0x1100, 0x11FF), ("kore", 0x3131, 0x318E), ("kore", 0xA960, 0xA97C), ("kore", 0xAC00, 0xD7FB),
    ("kore", 0xFFA0, 0xFFDC),
    ("latn", 0x0041, 0x02AF), ("latn", 0x1E00, 0x1EFF), ("latn", 0x2C60, 0x2C7F), ("latn", 0xA722, 0xA7FF),
    ("latn", 0xAB30, 0xAB64), ("latn", 0xFB00, 0xFB06), ("latn", 0xFF21, 0xFF5A),
    ("grek", 0x0370, 0x03FF), ("grek", 0x1F00, 0x1FFF),
    ("cyrl", 0x0400, 0x052F), ("cyrl", 0x1C80, 0x1C8F), ("cyrl", 0x2DE0, 0x2DFF), ("cyrl", 0xA640, 0xA69F),
    ("armn", 0x0531, 0x058F), ("armn", 0xFB13, 0xFB17),
    ("hebr", 0x05D0, 0x05F4), ("hebr", 0xFB1D, 0xFB4F),
    ("arab", 0x0620, 0x06FF), ("arab", 0x0750, 0x077F), ("arab", 0x0870, 0x08FF), ("arab", 0xFB50, 0xFEFC),
    ("syrc", 0x0710, 0x074F), ("thaa", 0x0780, 0x07BF), ("nkoo", 0x07C0, 0x07FF),
    ("deva", 0x0900, 0x097F), ("deva", 0xA8E0, 0xA8FF), ("beng", 0x0980, 0x09FF), ("guru", 0x0A00, 0x0A7F),
    ("gujr", 0x0A80, 0x0AFF), ("orya", 0x0B00, 0x0B7F), ("taml", 0x0B80, 0x0BFF), ("telu", 0x0C00, 0x0C7F),
    ("knda", 0x0C80, 0x0CFF), ("mlym", 0x0D00, 0x0D7F), ("sinh", 0x0D80, 0x0DFF), ("thai", 0x0E00, 0x0E7F),
    ("laoo", 0x0E80, 0x0EFF), ("tibt", 0x0F00, 0x0FFF), ("mymr", 0x1000, 0x109F), ("mymr", 0xA9E0, 0xA9FF),
    ("mymr", 0xAA60, 0xAA7F), ("geor", 0x10A0, 0x10FF), ("geor", 0x1C90, 0x1CBF), ("geor", 0x2D00, 0x2D2D),
    ("ethi", 0x1200, 0x139F), ("ethi", 0x2D80, 0x2DDF), ("ethi", 0xAB00, 0xAB2F), ("cher", 0x13A0, 0x13FF),
    ("cher", 0xAB70, 0xABBF), ("cans", 0x1400, 0x167F), ("cans", 0x18B0, 0x18FF), ("khmr", 0x1780, 0x17FF),
    ("mong", 0x1800, 0x18AF), ("olck", 0x1C50, 0x1C7F), ("tfng", 0x2D30, 0x2D7F), ("bopo", 0x3105, 0x312F),
    ("bopo", 0x31A0, 0x31BF), ("yiii", 0xA000, 0xA4CF),
)  # fmt: skip
# ISO 15924 in lower case
SCRIPTS = tuple(dict.fromkeys(("zyyy", "hani", "hans", "hant", *(code for code, _, _ in _RANGES))))


def _encodable(encoding: str) -> set[str]:
    """The characters that a two-byte encoding can write."""
    pairs = (bytes((lead, trail)) for lead in range(0x81, 0xFF) for trail in range(0x40, 0xFF))
    return {pair.decode(encoding, "ignore") for pair in pairs}


def _script_table() -> NDArray[np.uint8]:
    """uint8[0x110000]: index into SCRIPTS of each letter, COMMON for everything that is not a letter."""
    table = np.zeros(len(CLASSES), np.uint8)
    for code, first, last in _RANGES:
        table[first : last + 1] = SCRIPTS.index(code)
    for first, last in HAN_RANGES:
        table[first : last + 1] = HANI
    simplified, traditional, japanese = _encodable("gb2312"), _encodable("big5"), _encodable("shift_jis")
    only = (
        (HANS, simplified - traditional),
        (HANT, traditional - simplified),
        (JPAN, japanese - simplified - traditional),
    )
    for script, characters in only:
        for character in characters:
            if len(character) == 1 and table[ord(character)] == HANI:
                table[ord(character)] = script
    table[CLASSES & ALPHA == 0] = COMMON
    table.flags.writeable = False
    return table


SCRIPT_OF = _script_table()


@njit(cache=True, nogil=True)
def count_scripts(
    data: NDArray[np.uint8], start: int, end: int, script_of: NDArray[np.uint8], counts: NDArray[np.int64]
) -> int:
    """Adds the letters of data[start:end] to counts[len(SCRIPTS)]; returns their bytes. The range is valid UTF-8."""
    letter_bytes = 0
    i = start
    while i < end:
        code, width = decode(data, i)
        script = script_of[code]
        counts[script] += 1
        letter_bytes += width if script else 0
        i += width
    return letter_bytes
