"""Choosing what a tokenizer is trained on: documents in any order in, one sample out that depends on their set alone.

Each language gets the documents that come first in the order of a hash of their ids, until its share of bytes is full.
The sample is kept while the corpus streams by, so one pass is enough and memory holds no more than the shares.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
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


class Sample:
    """The documents chosen so far. share: bytes that a language may fill; 0 leaves the language out."""

    def __init__(self, share: Callable[[str], int]) -> None:
        self.share = share
        self.heaps: dict[str, list[Chosen]] = {}
        self.filled: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Offer the documents of a batch with the columns doc_id, lang and text."""
        data, offsets = string_buffers(batch["text"])
        view, bounds = data.data, offsets.tolist()
        for row, (doc_id, lang) in enumerate(zip(batch["doc_id"].to_pylist(), batch["lang"].to_pylist(), strict=True)):
            share, heap = self.share(lang), self.heaps.setdefault(lang, [])
            found = Chosen(-order_of(doc_id), doc_id, b"", bounds[row + 1] - bounds[row])
            if share <= 0 or (self.filled[lang] >= share and found < heap[0]):
                continue
            text = view[bounds[row] : bounds[row + 1]]
            found.text = bytes(text[: char_start(text, DOCUMENT_BYTES)])
            heapq.heappush(heap, found)
            self.filled[lang] += len(found.text)
            # The document that fills the share stays: the sample is never empty where the corpus is not.
            while self.filled[lang] - len(heap[0].text) >= share:
                self.filled[lang] -= len(heapq.heappop(heap).text)

    def texts(self) -> list[bytes]:
        """The texts in the order of choice, all languages mixed."""
        chosen = [item for heap in self.heaps.values() for item in heap]
        return [item.text for item in sorted(chosen, reverse=True)]

    def counters(self) -> Counter[str]:
        """Documents and bytes of the sample by language, and how many documents gave only their beginning."""
        counts: Counter[str] = Counter()
        for lang, heap in sorted(self.heaps.items()):
            counts[f"sample/{lang}/docs"] = len(heap)
            counts[f"sample/{lang}/bytes"] = self.filled[lang]
            counts[f"sample/{lang}/shortened"] = sum(len(item.text) < item.size for item in heap)
        return counts
