"""What the marks of Chinese text do, as a table over all code points: end a sentence, close after it, break a line. The
surprise: a code point has the bits of its folded form (see `filters.widths`), so that ． is a full stop, and ideographs
are letters even where Unicode has them as numbers (〇) or not yet."""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from filters.codepoints import ALPHA, CLASSES, HAN, PUNCT, WORD
from filters.script import SCRIPT_OF, SCRIPTS
from filters.widths import WIDTH

# End a sentence besides a full stop: ZH5's . ! ? … ; before folding, the ⋯ of Hong Kong and Taiwan, small forms.
STOPS = "。！？｡!?；;…⋯‥﹔﹖﹗"
# May follow what ends a sentence and still belong to it, besides the closing brackets and final quotes of Unicode.
CLOSING = "\"'"
BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines breaks; sentences end there

# Bits of KINDS above those of CLASSES.
LATIN, ENDS, CLOSES, BREAK = 1 << 16, 1 << 17, 1 << 18, 1 << 19


def _kind_table() -> NDArray[np.int32]:
    """int32[0x110000]: CLASSES of the folded code point, with the bits above; ideographs are letters throughout."""
    table = CLASSES.astype(np.int32)
    table[(table & HAN) != 0] |= ALPHA | WORD
    table[SCRIPT_OF == SCRIPTS.index("latn")] |= LATIN
    for code in np.flatnonzero(CLASSES & PUNCT):
        if unicodedata.category(chr(code)) in ("Pe", "Pf") or chr(code) in CLOSING:
            table[code] |= CLOSES
    for bit, marks in ((ENDS, STOPS), (BREAK, BREAKS)):
        for mark in marks:
            table[ord(mark)] |= bit
    table = table[WIDTH]
    table.flags.writeable = False
    return table


KINDS = _kind_table()
