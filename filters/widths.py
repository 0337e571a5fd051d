"""Full-width and half-width forms, folded on a copy for measuring: a TextView comes in, an Arrow column with １９ as 19
and ｡ as 。 goes out. The surprise: only the width is folded. MAP-Neo's published Chinese filter turns 34 marks into
ASCII, 。，！？“” among them, in the text that it keeps (ZH2); here 。 stays 。, and the text is never touched."""

import unicodedata

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.codepoints import CLASSES, HAN, PUNCT, WORD, decode
from filters.segment import Bytes, Ints
from filters.text import TextView


def _width_table() -> NDArray[np.int32]:
    """int32[0x110000]: the ordinary form of a full-width or half-width code point, itself for all others."""
    table = np.arange(len(CLASSES), dtype=np.int32)
    for code in (0x3000, *range(0xFF00, 0xFFF0)):
        form, _, ordinary = unicodedata.decomposition(chr(code)).partition(" ")
        if form in ("<wide>", "<narrow>"):
            table[code] = int(ordinary, 16)
    table.flags.writeable = False
    return table


WIDTH = _width_table()


@njit(cache=True, nogil=True)
def _fold(
    data: Bytes,
    offsets: Ints,
    classes: Bytes,
    width: NDArray[np.int32],
    words_only: bool,
    out: Bytes,
    ends: NDArray[np.int32],
) -> None:
    """Writes the folded UTF-8 of each document to out, up to ends[d + 1]; no folded form is longer than the original.

    words_only: runs of everything but letters and digits become one space."""
    n = 0
    for d in range(len(offsets) - 1):
        blank = True
        i = offsets[d]
        while i < offsets[d + 1]:
            raw, size = decode(data, i)
            if words_only and (not classes[raw] & (HAN | WORD) or classes[raw] & PUNCT):
                if not blank:
                    out[n] = 32
                    n += 1
                blank = True
                i += size
                continue
            blank = False
            code = width[raw]
            if code == raw:
                for j in range(size):
                    out[n + j] = data[i + j]
                n += size
            elif code < 0x80:
                out[n] = code
                n += 1
            elif code < 0x800:
                out[n] = 0xC0 | code >> 6
                out[n + 1] = 0x80 | code & 0x3F
                n += 2
            else:
                out[n] = 0xE0 | code >> 12
                out[n + 1] = 0x80 | code >> 6 & 0x3F
                out[n + 2] = 0x80 | code & 0x3F
                n += 3
            i += size
        ends[d + 1] = n


def folded(t: TextView, words_only: bool = False) -> pa.StringArray:
    """A copy of the texts for measuring, full-width and half-width forms as their ordinary ones; with words_only, each
    stretch of anything but letters and digits as one space."""
    out, ends = np.empty(int(t.offsets[-1] - t.offsets[0]), np.uint8), np.zeros(len(t) + 1, np.int32)
    _fold(t.data, t.offsets, CLASSES, WIDTH, words_only, out, ends)
    return pa.StringArray.from_buffers(len(t), pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]]))
