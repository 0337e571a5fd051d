"""What is marked in samples is what the filters count: the lists of both, compared."""

import re

import numpy as np

from filters import codepoints, lines, phrases, signals
from filters.codepoints import CLASSES
from manifests import highlight
from manifests.highlight import HAN


def test_the_lists_are_those_of_the_filters() -> None:
    """`manifests` imports nothing of ours, so it has them a second time."""
    assert (highlight.BULLETS, highlight.ELLIPSES) == (signals.BULLETS, signals.ELLIPSES)
    assert sorted(map(ord, highlight.TERMINAL)) == sorted(lines.LINE_ENDS.tolist())
    assert highlight.SHORT_LINE == lines.SHORT_CHARS
    for flag, pattern in ((phrases.MORE, highlight.READ_MORE), (phrases.POLICY, highlight.POLICIES)):
        told = [phrase for phrase in phrases.PHRASES[flag] if re.search(pattern, phrase, re.I)]
        assert told == list(phrases.PHRASES[flag])
    every = "".join(map(chr, range(0x110000)))
    ideographs = [ord(char) for char in re.findall(f"[{HAN}]", every)]
    assert ideographs == np.flatnonzero(CLASSES & codepoints.HAN).tolist()
