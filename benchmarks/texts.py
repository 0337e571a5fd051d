"""Real texts as the shards of documents that a stage before would leave: English and Chinese, cut, shuffled, edited."""

import gzip
import hashlib
import json
import random
from collections.abc import Iterator

import pyarrow as pa

from benchmarks.measure import SHARED
from manifests.storage import Storage
from manifests.store import Shard
from stages.output import Output, Place
from stages.schema import DOC

COLLECTIONS = {
    "en": ("tfdocs.en-snapshot", "novels.en"),
    "zh": ("tfdocs.zh-cn", "pingcap-docs.zh", "laws.zh", "cmrc-wikipedia.zh"),
}
MOST_CHARS = 16_000  # of a document: whole novels are cut, as pages are not that long
EDIT_EVERY = 400  # characters
READ = "0" * 16  # the id of the stage before


def documents(lang: str) -> list[str]:
    """Texts of a language, the collections shuffled together."""
    texts = []
    for name in COLLECTIONS[lang]:
        with gzip.open(SHARED / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            whole = [json.loads(line)["text"] for line in lines]
        texts += [text[i : i + MOST_CHARS] for text in whole for i in range(0, len(text), MOST_CHARS)]
    random.Random(lang).shuffle(texts)
    return texts


def batch_of(texts: list[str], lang: str) -> pa.RecordBatch:
    """The texts as documents."""
    fixed = {"source": "bench", "snapshot": "1", "lang": lang, "priority": 0, "archive": "a.warc.gz", "length": 1}
    rows = [
        fixed | {"doc_id": hashlib.blake2b(f"{lang}/{i}".encode(), digest_size=16).digest(), "text": text, "offset": i}
        for i, text in enumerate(texts)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DOC)


def shard(storage: Storage, key: str, batches: Iterator[pa.RecordBatch]) -> Shard:
    """A shard of documents as a stage before would leave it."""
    out = Output(storage, Place("read", READ, f"read-{READ}", key, key, "bench", "1", (), "{}"))
    writer = out.file("docs", "docs", DOC)
    for batch in batches:
        writer.write(batch)
    return out.finish(0.0, 0)[0]


def parts(texts: list[str], size: float) -> Iterator[list[str]]:
    """The texts in lists of about `size` bytes, over and over."""
    chosen: list[str] = []
    total = 0
    while True:
        for text in texts:
            chosen.append(text)
            total += len(text.encode())
            if total >= size:
                yield chosen
                chosen, total = [], 0


def edited(texts: list[str], seed: int) -> list[str]:
    """The texts with a stretch of another one in place of their own, about every 400 characters."""
    chance = random.Random(seed)
    made = []
    for text in texts:
        pieces, start = [], 0
        while (end := start + chance.randrange(2 * EDIT_EVERY)) < len(text):
            other = chance.choice(texts)
            size, at = chance.randrange(1, 12), chance.randrange(max(1, len(other)))
            pieces += [text[start:end], other[at : at + size]]
            start = end + size
        made.append("".join([*pieces, text[start:]]))
    return made
