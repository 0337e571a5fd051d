"""Every pair of some texts compared, exactly: texts in, the pairs from a threshold on out. No hash stands for a
shingle, and no pair is left out: shared shingles are counted from lists of the texts that hold each one."""

import re
from collections.abc import Sequence

import numpy as np

SHINGLE = 5
# Scripts that do not set words apart: Thai, Lao, Burmese, Khmer, Kana, Han.
SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
WORD = re.compile(r"\w+")
Pairs = dict[tuple[int, int], float]


def shingles(text: str) -> set[str]:
    """Runs of five characters without white space where spaceless ones outnumber other words, else of five words; all
    units of a text that has fewer."""
    if len(SPACELESS.findall(text)) > len(WORD.findall(SPACELESS.sub(" ", text))):
        units, gap = list("".join(text.split())), ""
    else:
        # Two letters are not lowered as Python lowers them.
        units, gap = WORD.findall(text.replace("\u0130", "i").lower().replace("\u03c2", "\u03c3")), " "
    if len(units) < SHINGLE:
        return {gap.join(units)} if units else set()
    return {gap.join(units[i : i + SHINGLE]) for i in range(len(units) - SHINGLE + 1)}


def similar_pairs(texts: Sequence[str], threshold: float) -> Pairs:
    """(later, earlier) numbers of texts whose Jaccard is at least `threshold`, as 32-bit floats, with the Jaccard."""
    numbers: dict[str, int] = {}
    sets = [np.array([numbers.setdefault(s, len(numbers)) for s in shingles(text)], np.int64) for text in texts]
    sizes = np.array([len(one) for one in sets])
    every, owner = np.concatenate(sets), np.repeat(np.arange(len(texts)), sizes)
    # The texts that hold shingle s, ascending: holders[first[s]:first[s + 1]].
    holders = owner[np.argsort(every, kind="stable")]
    first = np.concatenate([[0], np.cumsum(np.bincount(every, minlength=len(numbers)))])
    found: Pairs = {}
    for text, one in enumerate(sets):
        starts, counts = first[one], first[one + 1] - first[one]
        places = np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)
        shared = np.bincount(holders[places], minlength=len(texts))[:text]
        score = (shared / np.maximum(sizes[:text] + sizes[text] - shared, 1)).astype(np.float32)
        for other in np.flatnonzero(score >= np.float32(threshold)).tolist():
            found[text, other] = float(score[other])
    return found
