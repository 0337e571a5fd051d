"""Deduplication as it is meant, in plain Python and O(n^2): texts in, who is removed for whom out.

Written from the definition alone: no hash, no band, no bucket. Documents are visited in (snapshot, priority, doc_id)
order. One whose content was seen before is an exact copy. Any other is compared with every document that stays, and
goes when its best Jaccard reaches the threshold. A copy of a removed document names the one that stays in its place.
"""

import re
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

SHINGLE = 5
# Scripts that do not set words apart, as far as the tests write them: Han and Kana.
SPACELESS = re.compile("[\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Document:
    """What decides about a document: its place in the visiting order, and its text."""

    rank: int
    priority: int
    doc_id: bytes
    text: str

    @property
    def place(self) -> tuple[int, int, bytes]:
        """Earlier places are kept first."""
        return self.rank, self.priority, self.doc_id


@dataclass(frozen=True)
class Removal:
    """Why a document goes: the document that stays, and how similar they are."""

    kept: bytes
    reason: str
    score: float


def shingles(text: str) -> Shingles:
    """Five characters without white space where spaceless characters outnumber other words, else five words."""
    spaceless = len(SPACELESS.findall(text))
    others = len(re.findall(r"\w+", SPACELESS.sub(" ", text)))
    units = [c for c in text if not c.isspace()] if spaceless > others else re.findall(r"\w+", text.lower())
    if len(units) < SHINGLE:
        return frozenset([tuple(units)] if units else [])
    return frozenset(tuple(units[i : i + SHINGLE]) for i in range(len(units) - SHINGLE + 1))


def jaccard(a: Shingles, b: Shingles) -> float:
    """Shared shingles / all shingles, as a 32-bit float; an empty set is similar to nothing."""
    both = len(a | b)
    return float32(len(a & b) / both) if both else 0.0


def float32(value: float) -> float:
    """The nearest 32-bit float."""
    return struct.unpack("f", struct.pack("f", value))[0]


def similar_pairs(documents: Iterable[Document], threshold: float) -> dict[frozenset[bytes], float]:
    """Every pair of documents that reaches the threshold, with its similarity."""
    sets = [(document.doc_id, shingles(document.text)) for document in documents]
    found = {}
    for i, (a, left) in enumerate(sets):
        for b, right in sets[:i]:
            # No Jaccard is above the smaller set over the larger; a little less, against rounding.
            if min(len(left), len(right)) >= 0.999 * threshold * max(len(left), len(right)):
                score = jaccard(left, right)
                if score >= float32(threshold):
                    found[frozenset((a, b))] = score
    return found


def removals(
    documents: Collection[Document],
    pairs: dict[frozenset[bytes], float],
    content: Callable[[str], str] = str,
) -> dict[bytes, Removal]:
    """Who goes, when these are the similar pairs; `content` gives what two exact copies have in common."""
    near: dict[bytes, dict[bytes, float]] = {}
    for (a, b), score in ((tuple(pair), score) for pair, score in pairs.items()):
        near.setdefault(a, {})[b] = near.setdefault(b, {})[a] = score
    gone: dict[bytes, Removal] = {}
    first: dict[str, bytes] = {}
    kept: dict[bytes, int] = {}  # with the number of those kept before
    for document in sorted(documents, key=lambda d: d.place):
        me = document.doc_id
        twin = first.setdefault(content(document.text), me)
        if twin != me:
            gone[me] = gone.get(twin, Removal(twin, "exact_duplicate", 1.0))
            continue
        scores = [(score, -kept[other], other) for other, score in near.get(me, {}).items() if other in kept]
        if scores:
            score, _, other = max(scores)
            gone[me] = Removal(other, "near_duplicate", score)
        else:
            kept[me] = len(kept)
    return gone
