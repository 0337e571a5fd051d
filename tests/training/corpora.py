"""Corpora for tests: described ones, of which only the counts exist, and small ones whose every token can be named."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from manifests.shards import ShardWriter
from manifests.storage import Storage, open_storage
from manifests.store import Shard, encode
from stages.schema import tokens_schema
from training.corpus import Corpus, Facts, Stream, TokenShard, open_corpus

EOD = 5
TOKENIZER = "ab" * 16


def described(streams: Mapping[str, int], tokenizer: str = TOKENIZER) -> Corpus:
    """A corpus of streams with so many tokens each, in one shard of one row group."""
    made = {}
    for name, tokens in sorted(streams.items()):
        shard = TokenShard("00", f"{name} {tokens}", "none", np.array([1]), np.array([tokens], np.int64))
        made[name] = Stream(name, (shard,))
    return Corpus(open_storage("/nowhere"), made, Facts(tokenizer, 64_000, EOD, "uint16"))


def documents(seed: int, sizes: Sequence[int]) -> list[list[int]]:
    """Documents of some sizes, the end of document included."""
    rng = np.random.Generator(np.random.Philox(seed))
    return [[*rng.integers(100, 8_000, size - 1).tolist(), EOD] for size in sizes]


def store(
    uri: str,
    shards: Mapping[tuple[str, str], list[list[int]]],
    limit: int,
    tokenizer: str = TOKENIZER,
    url: str | None = None,
) -> Corpus:
    """Write token shards by (stream, task key), with row groups of `limit` tokens, and open them as a corpus."""
    storage = open_storage(uri)
    rows = [write(storage, stream, key, docs, limit, tokenizer, url) for (stream, key), docs in shards.items()]
    storage.put("manifests/tokens.parquet", encode(rows))
    return open_corpus(uri)


def write(
    storage: Storage, stream: str, key: str, docs: list[list[int]], limit: int, tokenizer: str, url: str | None = None
) -> Shard:
    """One token shard, written as the stage `tokens` writes it; gives its manifest row."""
    source, lang = stream.split("/")
    schema = tokens_schema(8_192)
    writer = ShardWriter(storage, schema, limit, "tokens")
    ids = [f"{stream} {key} {i}".encode().ljust(16)[:16] for i in range(len(docs))]
    columns = {
        "tokens": docs,
        "doc_id": ids,
        "source": [source] * len(docs),
        "lang": [lang] * len(docs),
        "url": [url] * len(docs),
    }
    empty = {name: [None] * len(docs) for name in schema.names if name not in columns}
    writer.write(pa.record_batch([pa.array((columns | empty)[f.name], f.type) for f in schema], schema=schema))
    if writer.pending:
        writer.cut()
    counts = json.dumps([{"rows": group.rows, "tokens": group.tokens} for group in writer.groups])
    footer = {"tokenizer": tokenizer, "vocabulary": "8192", "eod": str(EOD), "dtype": "uint16", "row_groups": counts}
    made = writer.close("tokens", f"{key}-{lang}", footer)
    return Shard(
        "tokens", "0", key, key, "tokens", "tokens", made.digest, len(docs), path=made.path, source=source, lang=lang,
        row_groups=made.row_groups, inputs=("00" * 16, tokenizer),
    )  # fmt: skip
