"""Where texts, tokenizer and token shards of a corpus lie: a folder in, the files that its last run names out.

Only manifests say what belongs to a run; its folders also hold what earlier runs and other stages left. This module,
the command line and `export` are what reads files in this package.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Columns that tell files of documents from those of dropped documents and of tokens.
DOCUMENT = {"doc_id", "source", "lang", "text", "priority"}
ROWS = ["stage", "kind", "output", "source", "lang", "task_key", "digest", "path", "rows", "tokens", "counters"]


@dataclass(frozen=True)
class Root:
    """A corpus root with a complete run."""

    folder: Path

    @classmethod
    def at(cls, place: Path) -> "Root | None":
        """The root that a folder is; ValueError if its run is not complete."""
        if (place / "manifests" / "run.parquet").is_file():
            return cls(place)
        if (place / "manifests").is_dir():
            raise ValueError(f"{place}: no run is complete here; run the recipe to its end")
        return None

    def rows(self, stage: str, kind: str) -> list[dict[str, Any]]:
        """Manifest rows of a stage that have a file, by source, language and task."""
        table = pq.read_table(self.folder / "manifests" / f"{stage}.parquet", columns=ROWS, use_threads=False)
        rows = [row for row in table.to_pylist() if (row["stage"], row["kind"]) == (stage, kind) and row["path"]]
        return sorted(rows, key=lambda row: (row["source"] or "", row["lang"] or "", row["task_key"]))

    @cached_property
    def stages(self) -> list[dict[str, Any]]:
        """The stages of the run: name, what implements it, what it reads."""
        path = self.folder / "manifests" / "run.parquet"
        return pq.read_table(path, columns=["stage", "use", "after"], use_threads=False).to_pylist()

    def documents(self) -> list[Path]:
        """Files of the documents that are encoded, or that the tokenizer is trained on if none are encoded."""
        for use in ("tokens", "vocab"):
            names = sorted({name for stage in self.stages if stage["use"] == use for name in stage["after"]})
            if names:
                return [self.folder / row["path"] for name in names for row in self.rows(name, "docs")]
        raise ValueError(f"{self.folder}: its recipe has no stage `vocab` or `tokens`; name a folder of documents")

    def models(self) -> list[dict[str, Any]]:
        """Manifest rows of the tokenizers of the run."""
        return [row for stage in self.stages if stage["use"] == "vocab" for row in self.rows(stage["stage"], "model")]

    def streams(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Manifest rows of the token shards by (source, language), in the order in which training reads them."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for stage in self.stages:
            if stage["use"] == "tokens":
                for row in self.rows(stage["stage"], "tokens"):
                    found.setdefault((row["source"], row["lang"]), []).append(row)
        if not found:
            raise ValueError(f"{self.folder}: its run has no token shards")
        return found


def document_files(place: Path) -> list[Path]:
    """Files of documents: those of a root, all below another folder, or the one that is named."""
    root = Root.at(place) if place.is_dir() else None
    if root:
        return root.documents()
    return sorted(place.rglob("*.parquet")) if place.is_dir() else [place]


def documents(places: Sequence[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of the documents of some places, in order of the files' names; ValueError if there are none."""
    found = False
    for path in (path for place in places for path in document_files(place)):
        with opened(path) as file:
            if DOCUMENT <= set(file.schema_arrow.names):
                found = True
                yield from file.iter_batches(256, columns=columns, use_threads=False)
    if not found:
        raise ValueError(f"no Parquet file of documents in {', '.join(map(str, places))}")


def shard_documents(paths: Iterable[Path], columns: list[str]) -> Iterator[pa.Table]:
    """The row groups of token shards in order."""
    for path in paths:
        with opened(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns, use_threads=False)


def opened(path: Path) -> pq.ParquetFile:
    """A Parquet file; ValueError, with its name, if it is none."""
    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a Parquet file") from error


def footer(path: Path) -> dict[str, str]:
    """What a token shard says of itself; ValueError if the file is none."""
    with opened(path) as file:
        metadata = file.metadata.metadata or {}
    found = {key.decode(): value.decode() for key, value in metadata.items() if key != b"ARROW:schema"}
    if "tokenizer" not in found:
        raise ValueError(f"{path} is not a token shard: its footer names no tokenizer")
    return found
