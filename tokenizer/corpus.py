"""Where texts, tokenizer and token shards of a corpus lie: an address in, the files that its last run names out.

Only manifests say what belongs to a run; its folders also hold what earlier runs and other stages left. This module,
the command line and `export` are what reads files in this package, from local paths and from s3://.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.latest import read_stages
from manifests.runs import RunStage, read_rows
from manifests.storage import Storage, list_inputs, open_input, open_storage
from manifests.store import Shard

# Columns that tell files of documents from those of dropped documents and of tokens.
DOCUMENT = {"doc_id", "source", "lang", "text", "priority"}
# What is read of them; other writers of Parquet may have other types of text.
READ = pa.schema([("doc_id", pa.binary()), ("source", pa.string()), ("lang", pa.string()), ("text", pa.string())])


@dataclass(frozen=True)
class Root:
    """A corpus root with a complete run."""

    storage: Storage
    stages: tuple[RunStage, ...]

    @classmethod
    def at(cls, place: str) -> "Root | None":
        """The root that a place is; StorageError if its run is not complete."""
        storage = open_storage(place)
        if not any(storage.list("manifests/")):
            return None
        return cls(storage, tuple(read_stages(storage)))

    def rows(self, stage: str, kind: str) -> list[Shard]:
        """Manifest rows of a stage that have a file, by source, language and task."""
        rows = [row for row in read_rows(self.storage, stage) if row.kind == kind and row.path]
        return sorted(rows, key=lambda row: (row.source or "", row.lang or "", row.task_key))

    def address(self, row: Shard) -> str:
        """Where the file of a manifest row lies."""
        return f"{self.storage.uri}/{row.path}"

    def documents(self) -> list[str]:
        """Files of the documents that are encoded, or that the tokenizer is trained on if none are encoded."""
        for use in ("tokens", "vocab"):
            names = sorted({name for stage in self.stages if stage.use == use for name in stage.after})
            if names:
                return [self.address(row) for name in names for row in self.rows(name, "docs")]
        raise ValueError(f"{self.storage.uri}: its recipe has no stage `vocab` or `tokens`; name a folder of documents")

    def models(self) -> list[Shard]:
        """Manifest rows of the tokenizers of the run."""
        return [row for stage in self.stages if stage.use == "vocab" for row in self.rows(stage.stage, "model")]

    def streams(self) -> dict[tuple[str, str], list[Shard]]:
        """Manifest rows of the token shards by (source, language), in the order in which training reads them."""
        found: dict[tuple[str, str], list[Shard]] = {}
        for stage in self.stages:
            if stage.use == "tokens":
                for row in self.rows(stage.stage, "tokens"):
                    found.setdefault((row.source or "", row.lang or ""), []).append(row)
        if not found:
            raise ValueError(f"{self.storage.uri}: its run has no token shards")
        return found


def document_files(place: str) -> list[str]:
    """Files of documents: those of a root, all below another folder, or the one that is named."""
    root = Root.at(place)
    if root:
        return root.documents()
    files = [entry.uri for entry in list_inputs([place])]
    return [file for file in files if file.endswith(".parquet")] or files


def documents(places: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches (READ) of the documents of some places, in order of the files' names; ValueError if there are none."""
    found = False
    for address in (address for place in places for address in document_files(place)):
        with opened(address) as file:
            if DOCUMENT <= set(file.schema_arrow.names):
                found = True
                for batch in file.iter_batches(256, columns=READ.names, use_threads=False):
                    yield batch.select(READ.names).cast(READ)
    if not found:
        raise ValueError(f"no Parquet file of documents in {', '.join(places)}")


def shard_documents(addresses: Iterable[str], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of token shards in order."""
    for address in addresses:
        with opened(address) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns, use_threads=False)


@contextmanager
def opened(address: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file; ValueError, with its name, if it is none."""
    with open_input(address) as source:
        try:
            file = pq.ParquetFile(source)
        except pa.ArrowException as error:
            raise ValueError(f"{address} is not a Parquet file") from error
        yield file


def footer(address: str) -> dict[str, str]:
    """What a token shard says of itself; ValueError if the file is none."""
    with opened(address) as file:
        metadata = file.metadata.metadata or {}
    found = {key.decode(): value.decode() for key, value in metadata.items() if key != b"ARROW:schema"}
    if "tokenizer" not in found:
        raise ValueError(f"{address} is not a token shard: its footer names no tokenizer")
    return found
