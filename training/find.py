"""Documents in token shards: a range of a stream, a URL or an id in, documents with their provenance out.

Either is found through one row group of each file of the side table `places`, where a document stands under a hash of
its URL and under one of its doc_id.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.shards import read_partitions
from manifests.why import PART_SHIFT, place_key
from training.corpus import Corpus, open_shard, spans

PROVENANCE = ["doc_id", "source_id", "url", "archive", "offset"]
THREADS = 4


@dataclass(frozen=True)
class Place:
    """A document in the token shards: tokens [first, first + tokens) of a stream, and where it was found."""

    data: str  # data-set hash
    stream: str
    doc_id: str
    source_id: str | None
    url: str | None
    archive: str | None
    offset: int | None
    shard: str  # path
    row: int
    first: int
    tokens: int


@dataclass(frozen=True)
class Document:
    """A piece of a document in a window: its tokens [start, end) stand at `at`."""

    place: Place
    at: int
    start: int
    end: int


def pieces(corpus: Corpus, stream: str, first: int, count: int) -> Iterator[Document]:
    """The documents that tokens [first, first + count) of a stream are from, in order."""
    for shard, group, start, end in spans(corpus.streams[stream], first, count):
        found = rows_of(corpus, stream, shard, group)
        base = int(corpus.streams[stream].starts[shard] + corpus.streams[stream].shards[shard].starts[group])
        for place in found:
            inside = place.first - base
            if inside < end and inside + place.tokens > start:
                begin, stop = max(inside, start), min(inside + place.tokens, end)
                yield Document(place, base + begin - first, begin - inside, stop - inside)


@lru_cache(maxsize=16)
def rows_of(corpus: Corpus, stream: str, shard: int, group: int) -> list[Place]:
    """All documents of a row group."""
    found = corpus.streams[stream].shards[shard]
    with open_shard(corpus.storage, found, corpus.facts) as file:
        table = file.read_row_group(group, columns=[*PROVENANCE, "tokens"], use_threads=False)
    sizes = pc.list_value_length(table["tokens"]).to_numpy().astype(np.int64)
    firsts = np.cumsum(sizes) - sizes + int(corpus.streams[stream].starts[shard] + found.starts[group])
    row = int(found.group_rows[:group].sum())
    return [
        Place(
            corpus.hash,
            stream,
            made["doc_id"].hex(),
            made["source_id"],
            made["url"],
            made["archive"],
            made["offset"],
            found.path,
            row + i,
            int(firsts[i]),
            int(sizes[i]),
        )
        for i, made in enumerate(table.select(PROVENANCE).to_pylist())
    ]


def find_documents(corpora: Iterable[Corpus], name: str) -> list[Place]:
    """The documents of some corpora with a URL or a doc_id, each data set once."""
    distinct = {corpus.hash: corpus for corpus in corpora}
    return [place for corpus in distinct.values() for place in find_in(corpus, name)]


def find_in(corpus: Corpus, name: str) -> list[Place]:
    """The documents of a corpus with a URL or a doc_id."""
    digits = name.lower()
    wanted = bytes.fromhex(digits) if len(digits) == 32 and set(digits) <= set("0123456789abcdef") else None
    rows = with_key(corpus, place_key(name)) + (with_key(corpus, place_key(wanted)) if wanted else [])
    shards = {f"{s.task_key}/{name}": (name, i) for name, t in corpus.streams.items() for i, s in enumerate(t.shards)}
    found = []
    for row in rows:
        stream, shard = shards[row["shard"]]
        group = int(np.searchsorted(corpus.streams[stream].shards[shard].starts, row["first_token"], "right")) - 1
        # Two names may have one key, so what the shard says decides.
        found += [
            place
            for place in rows_of(corpus, stream, shard, group)
            if place.row == row["row"] and (place.url == name or place.doc_id == digits)
        ]
    return sorted(found, key=lambda place: (place.stream, place.first))


def with_key(corpus: Corpus, key: int) -> list[dict[str, Any]]:
    """Rows of the side table `places` with a key: one row group of each file is read."""
    part = key >> PART_SHIFT

    def look(path: str) -> list[dict[str, Any]]:
        rows = read_partitions(corpus.storage, path, (part, part + 1))
        return rows.filter(pc.equal(rows["key"], pa.scalar(key, pa.uint64()))).to_pylist()

    with ThreadPoolExecutor(THREADS) as pool:
        paths = [path for path, rows in corpus.places if rows[part]]
        return [row for rows in pool.map(look, paths) for row in rows]
