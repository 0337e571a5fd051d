"""Choosing what a tokenizer is trained on: documents in any order in, one sample out that depends on their set alone.

Each part of the corpus (a language, or a source in a language) gives the documents that come first in the order of a
hash of their ids, until its share of bytes is full. The sample is kept while the corpus streams by, so one pass is
enough; memory holds no more than the shares, which shrink together where they would be more than the most allowed.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa

from dedup.hashing import string_buffers
from tokenizer.encode import char_start

# A single document gives at most this much, so that a few books do not fill the share of a language.
DOCUMENT_BYTES = 1 << 20


def order_of(doc_id: bytes) -> int:
    """Place of a document in the order of choice: 64 bits of BLAKE2b, unlike the hashes that other stages use."""
    return int.from_bytes(hashlib.blake2b(doc_id, digest_size=8, person=b"vocab").digest(), "big")


@dataclass(order=True)
class Chosen:
    """A document of the sample; the one that comes last in the order of choice compares as the least."""

    place: int
    doc_id: bytes
    text: bytes = field(compare=False)
    size: int = field(compare=False)


@dataclass(frozen=True)
class Shares:
    """Bytes that each part of a corpus gives. each: of every language, times its weight. weights: parts and weights,
    only those; all languages alike when empty. most: bytes of all parts together."""

    each: int
    weights: tuple[tuple[str, float], ...] = ()
    most: int = 1 << 40

    def part(self, source: str, lang: str) -> str:
        """The part that a document belongs to."""
        return part_of(source, lang, dict(self.weights)) if self.weights else lang

    def bytes(self, part: str) -> int:
        """What a part may fill, while all parts together stay below `most`."""
        return int(self.each * (dict(self.weights).get(part, 0.0) if self.weights else 1.0))


def part_of(source: str, lang: str, names: Collection[str]) -> str:
    """The most exact name among some for a document: `source/lang`, `source/*`, or `lang`; "" if there is none."""
    return next((name for name in (f"{source}/{lang}", f"{source}/*", lang) if name in names), "")


class Sample:
    """The documents chosen so far."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.heaps: dict[str, list[Chosen]] = {}
        self.filled: Counter[str] = Counter()
        self.limits: dict[str, int] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Offer the documents of a batch with the columns doc_id, source, lang and text."""
        data, offsets = string_buffers(batch["text"])
        view, bounds = data.data, offsets.tolist()
        ids, sources, langs = (batch[name].to_pylist() for name in ("doc_id", "source", "lang"))
        for row, (doc_id, source, lang) in enumerate(zip(ids, sources, langs, strict=True)):
            part = self.shares.part(source, lang)
            if part not in self.heaps:
                self._open(part)
            limit, heap = self.limits[part], self.heaps[part]
            found = Chosen(-order_of(doc_id), doc_id, b"", bounds[row + 1] - bounds[row])
            if limit <= 0 or (self.filled[part] >= limit and found < heap[0]):
                continue
            text = view[bounds[row] : bounds[row + 1]]
            found.text = bytes(text[: char_start(text, DOCUMENT_BYTES)])
            heapq.heappush(heap, found)
            self.filled[part] += len(found.text)
            self._trim(part)

    def texts(self) -> list[bytes]:
        """The texts in the order of choice, all parts mixed."""
        chosen = [item for heap in self.heaps.values() for item in heap]
        return [item.text for item in sorted(chosen, reverse=True)]

    def counters(self) -> Counter[str]:
        """Documents and bytes of the sample by part, how many documents gave only their beginning, and the place of the
        last one (63 bits): those of the part behind it were not trained on."""
        counts: Counter[str] = Counter()
        for part, heap in sorted(self.heaps.items()):
            if part:
                counts[f"sample/{part}/docs"] = len(heap)
                counts[f"sample/{part}/bytes"] = self.filled[part]
                counts[f"sample/{part}/shortened"] = sum(len(item.text) < item.size for item in heap)
                counts[f"sample/{part}/last"] = -heap[0].place >> 1 if heap else 0
        return counts

    def _open(self, part: str) -> None:
        """A part that is met for the first time; the others may have to give way."""
        self.heaps[part] = []
        wanted = {name: self.shares.bytes(name) for name in self.heaps}
        over = max(1.0, sum(wanted.values()) / self.shares.most)
        self.limits = {name: int(size / over) for name, size in wanted.items()}
        for name in self.heaps:
            self._trim(name)

    def _trim(self, part: str) -> None:
        # The document that fills the share stays: the sample is never empty where the corpus is not.
        heap = self.heaps[part]
        while heap and self.filled[part] - len(heap[0].text) >= self.limits[part]:
            self.filled[part] -= len(heapq.heappop(heap).text)


def unseen(source: str, lang: str, doc_id: bytes, counters: dict[str, int]) -> bool:
    """Whether a document stands behind the last one of its part in the sample that has these counters."""
    parts = {name.removeprefix("sample/").removesuffix("/last") for name in counters if name.endswith("/last")}
    part = part_of(source, lang, parts)
    return not part or order_of(doc_id) >> 1 > counters[f"sample/{part}/last"]
