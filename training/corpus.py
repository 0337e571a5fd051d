"""The token shards of a corpus root as streams: `manifests/tokens.parquet` in, streams and the data-set hash out.

A stream is a source in one language, such as `web/zh`: its shards, ordered by task key, end to end. Only the manifest
and one footer are read, whatever the size of the corpus; paths are in no hash, so a copied corpus is the same corpus.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.storage import Storage, StorageError, open_storage
from manifests.store import LAYOUT

MANIFEST = "manifests/tokens.parquet"
COLUMNS = ["kind", "output", "source", "lang", "task_key", "digest", "path", "inputs", "layout"]
COUNTS = ["row_groups.list.element.rows", "row_groups.list.element.tokens"]
DIGEST_BYTES = 16


@dataclass(frozen=True)
class TokenShard:
    """One token shard: documents and tokens of each of its row groups, int64[groups] each."""

    task_key: str
    digest: str
    path: str
    group_rows: np.ndarray
    group_tokens: np.ndarray

    @cached_property
    def starts(self) -> np.ndarray:
        """First token of each row group, and the end, counted from the start of the shard: int64[groups + 1]."""
        return np.concatenate([[0], np.cumsum(self.group_tokens)])


@dataclass(frozen=True)
class Stream:
    """A source in one language; tokens are numbered from 0 over its shards."""

    name: str
    shards: tuple[TokenShard, ...]

    @cached_property
    def starts(self) -> np.ndarray:
        """First token of each shard, and the end: int64[shards + 1]."""
        return np.cumsum([0, *(int(shard.group_tokens.sum()) for shard in self.shards)])

    @property
    def tokens(self) -> int:
        """Tokens of the stream."""
        return int(self.starts[-1])

    @cached_property
    def digest(self) -> str:
        """Hash over what the shards hold and how they are cut."""
        return shards_digest([self])

    def place(self, token: int) -> tuple[int, int, int]:
        """Shard, row group and place within that group of a token."""
        shard = int(np.searchsorted(self.starts, token, "right")) - 1
        inside = token - int(self.starts[shard])
        starts = self.shards[shard].starts
        group = int(np.searchsorted(starts, inside, "right")) - 1
        return shard, group, inside - int(starts[group])


@dataclass(frozen=True)
class Facts:
    """What all shards of a corpus share: the tokenizer's digest, pieces, the id that ends a document, the dtype."""

    tokenizer: str
    vocabulary: int
    eod: int
    dtype: str

    @classmethod
    def of_footer(cls, footer: dict[str, str]) -> "Facts":
        """The facts in a shard's footer; KeyError where it is no token shard."""
        return cls(footer["tokenizer"], int(footer["vocabulary"]), int(footer["eod"]), footer["dtype"])


@dataclass(frozen=True, eq=False)
class Corpus:
    """The token shards of a corpus; `places` are the side files that say where documents lie in them."""

    storage: Storage
    streams: dict[str, Stream]
    facts: Facts
    places: tuple[tuple[str, np.ndarray], ...] = ()  # path, rows of each row group

    @cached_property
    def hash(self) -> str:
        """The data-set hash: shards, their content and row groups, tokenizer, vocabulary, end of document; no path."""
        return shards_digest(self.streams.values(), self.facts)

    def identity(self) -> dict[str, Any]:
        """What a checkpoint keeps of the corpus, so that a later run can say what changed."""
        streams = {
            name: {"shards": len(stream.shards), "tokens": stream.tokens, "digest": stream.digest}
            for name, stream in sorted(self.streams.items())
        }
        facts = {name: getattr(self.facts, name) for name in ("tokenizer", "vocabulary", "eod", "dtype")}
        return {"hash": self.hash, **facts, "streams": streams}


def shards_digest(streams: Iterable[Stream], facts: Facts | None = None) -> str:
    """Hash over streams: for each shard, by (source, lang, task key), a line and its row groups' tokens as int64."""
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for stream in sorted(streams, key=lambda stream: stream.name.rpartition("/")):
        source, _, lang = stream.name.rpartition("/")
        for shard in stream.shards:
            counts = shard.group_tokens
            total.update(f"{source}\t{lang}\t{shard.task_key}\t{shard.digest}\t{len(counts)}\n".encode())
            total.update(counts.astype("<i8").tobytes())
    if facts:
        total.update(f"{facts.tokenizer}\t{facts.vocabulary}\t{facts.eod}\n".encode())
    return total.hexdigest()


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two identities of a corpus, in words; empty for the same data set."""
    if before["hash"] == now["hash"]:
        return []
    found = [
        f"{name} was {before[name]} and is {now[name]}"
        for name in ("tokenizer", "vocabulary", "eod", "dtype")
        if before[name] != now[name]
    ]
    for name in sorted(before["streams"].keys() | now["streams"].keys()):
        old, new = before["streams"].get(name), now["streams"].get(name)
        if old is None or new is None:
            found.append(f"stream {name} {'is new' if old is None else 'is gone'}")
        elif (old["shards"], old["tokens"]) != (new["shards"], new["tokens"]):
            had = f"{old['tokens']:,} tokens in {old['shards']:,} shards"
            found.append(f"stream {name} had {had} and has {new['tokens']:,} in {new['shards']:,}")
        elif old["digest"] != new["digest"]:
            found.append(f"stream {name} has as many tokens as before, but not the same ones")
    return found


def open_corpus(uri: str) -> Corpus:
    """The token shards below a root; StorageError, one sentence, where there are none or they do not fit together."""
    storage = open_storage(uri)
    if not uri.startswith("s3://") and not Path(storage.uri).is_dir():
        raise StorageError(f"{storage.uri}: there is no such folder; give the root of a corpus, such as runs/sample")
    try:
        data = storage.get(MANIFEST)
    except FileNotFoundError as error:
        raise StorageError(
            f"{storage.uri}: no run with a stage `tokens` was completed here; run the recipe to its end"
        ) from error
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            table = file.read(columns=[*COLUMNS, *COUNTS], use_threads=False).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{storage.uri}/{MANIFEST} cannot be read; run the recipe again") from error
    if set(table["layout"].to_pylist()) - {LAYOUT}:
        raise StorageError(f"{storage.uri}: the manifest has another layout than {LAYOUT}, which this program reads")
    groups = table["row_groups"].combine_chunks()
    edges = groups.offsets.to_numpy().tolist()
    rows, tokens = (groups.values.field(name).to_numpy() for name in ("rows", "tokens"))
    streams: dict[str, list[TokenShard]] = {}
    places, shards = [], []
    for i, row in enumerate(table.select(COLUMNS).to_pylist()):
        part = slice(edges[i], edges[i + 1])
        if row["kind"] == "tokens" and len(tokens[part]):
            shard = TokenShard(row["task_key"], row["digest"], row["path"], rows[part], tokens[part])
            streams.setdefault(f"{row['source']}/{row['lang']}", []).append(shard)
            shards.append((shard, row["inputs"]))
        elif row["output"] == "places":
            places.append((row["path"], rows[part]))
    if not shards:
        raise StorageError(f"{storage.uri}: no document came to the stage `tokens`, so there is nothing to train on")
    facts = first_facts(storage, shards)
    made = [Stream(name, tuple(sorted(found, key=lambda s: s.task_key))) for name, found in sorted(streams.items())]
    return Corpus(storage, {stream.name: stream for stream in made}, facts, tuple(places))


def first_facts(storage: Storage, shards: Sequence[tuple[TokenShard, list[str]]]) -> Facts:
    """The facts in the first shard's footer; StorageError if the manifest says that another tokenizer made some."""
    first = shards[0][0]
    with open_shard(storage, first) as file:
        facts = Facts.of_footer(footer(file))
    for shard, inputs in shards:
        if facts.tokenizer not in inputs:
            raise StorageError(
                f"{storage.uri}/{shard.path} was not made with tokenizer {facts.tokenizer}, with which {first.path} "
                "was; run the recipe again, so that one tokenizer makes all shards"
            )
    return facts


def open_shard(storage: Storage, shard: TokenShard, facts: Facts | None = None) -> pq.ParquetFile:
    """A shard, opened; StorageError unless its footer says what the manifest and, if given, the facts say."""
    where = f"{storage.uri}/{shard.path}"
    try:
        file = pq.ParquetFile(storage.open(shard.path), pre_buffer=True)
    except FileNotFoundError as error:
        raise StorageError(f"{where} is missing; run `python -m manifests verify {storage.uri}`") from error
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{where} cannot be read; run `python -m manifests verify {storage.uri}`") from error
    try:
        found = footer(file)
        same = facts in (None, Facts.of_footer(found))
        same &= file.metadata.num_rows == int(shard.group_rows.sum())
        groups = [(group["rows"], group["tokens"]) for group in json.loads(found["row_groups"])]
    except (KeyError, ValueError) as error:
        raise StorageError(f"{where}: the footer of a token shard is missing or damaged") from error
    stated = list(zip(shard.group_rows.tolist(), shard.group_tokens.tolist(), strict=True))
    if not same or groups != stated:
        raise StorageError(f"{where} is not the shard that the manifest describes: it was changed or replaced")
    return file


def footer(file: pq.ParquetFile) -> dict[str, str]:
    """The key-value metadata of a Parquet file."""
    return {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}


def spans(stream: Stream, first: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """The row groups that hold tokens [first, first + count): shard, group, and the range within the group."""
    shard, group, start = stream.place(first)
    while count:
        end = min(int(stream.shards[shard].group_tokens[group]), start + count)
        if end > start:
            yield shard, group, start, end
        count -= end - start
        start, group = 0, group + 1
        if group == len(stream.shards[shard].group_tokens):
            shard, group = shard + 1, 0
