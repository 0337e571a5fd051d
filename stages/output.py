"""Where a task writes: files and counters in, the manifest rows of one stage of the task out."""

import contextlib
import json
import os
import platform
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from manifests.digest import combine
from manifests.shards import TEXT_GROUP_BYTES, ShardWriter
from manifests.storage import Storage
from manifests.store import Shard


@dataclass(frozen=True)
class Place:
    """Which stage, task and commit an output belongs to."""

    stage: str
    stage_id: str
    folder: str
    task_key: str
    commit_key: str
    source: str
    snapshot: str
    inputs: tuple[str, ...]  # digests of what the task read
    versions: str


class Output:
    """Open files and counters of one stage within one task."""

    def __init__(self, storage: Storage, place: Place) -> None:
        self.storage, self.place = storage, place
        self.counters: Counter[str] = Counter()
        self._files: list[tuple[str, str, str | None, dict[str, str], ShardWriter]] = []
        self._extra: list[Shard] = []

    def file(
        self,
        output: str,
        kind: str,
        schema: pa.Schema,
        lang: str | None = None,
        limit: int = TEXT_GROUP_BYTES,
        count: str | None = None,
        metadata: dict[str, str] | None = None,
        stored: bool = True,
        codec: str = "zstd",
    ) -> ShardWriter:
        """A new data file of the task; `output` names it among the task's outputs, `metadata` is its footer."""
        writer = ShardWriter(self.storage, schema, limit, count, stored, codec)
        self._files.append((output, kind, lang, metadata or {}, writer))
        return writer

    def tally(self, kind: str, langs: list[str], sizes: np.ndarray) -> None:
        """Count documents and text bytes by language: `kind` is in or kept."""
        docs = Counter(langs)
        number = {lang: i for i, lang in enumerate(docs)}
        of = np.fromiter(map(number.__getitem__, langs), np.int64, len(langs))
        total = np.zeros(len(docs), np.int64)
        np.add.at(total, of, sizes)
        for lang, count in docs.items():
            self.counters[f"{kind}/{self.place.source}/{lang}/docs"] += count
            self.counters[f"{kind}/{self.place.source}/{lang}/bytes"] += int(total[number[lang]])

    def row(self, row: Shard) -> None:
        """Add a manifest row for something that is not a Parquet file, such as a model."""
        self._extra.append(row)

    def finish(self, seconds: float, peak_rss: int) -> list[Shard]:
        """Move the files to their places; gives the manifest rows, the counters on the first of them."""
        rows = []
        for output, kind, lang, metadata, writer in self._files:
            written = writer.close(self.place.folder, self.place.task_key, metadata)
            rows.append(
                self.shard(
                    kind,
                    output,
                    digest=written.digest,
                    rows=written.rows,
                    path=written.path,
                    sha256=written.sha256,
                    size=written.bytes,
                    lang=lang,
                    tokens=sum(g.tokens for g in written.row_groups) if writer.count else None,
                )
            )
            rows[-1] = replace(rows[-1], row_groups=written.row_groups)
        rows += self._extra or ([] if rows else [self.shard("side", "none", combine(pa.schema([]), []), 0)])
        rows[0] = replace(rows[0], counters=tuple(sorted((k, v) for k, v in self.counters.items() if v)))
        host = platform.node()
        return [replace(row, seconds=seconds, peak_rss=peak_rss, host=host) for row in rows]

    def shard(
        self,
        kind: str,
        output: str,
        digest: str,
        rows: int,
        path: str | None = None,
        sha256: str | None = None,
        size: int = 0,
        lang: str | None = None,
        tokens: int | None = None,
    ) -> Shard:
        """A manifest row of this task."""
        place = self.place
        return Shard(
            stage=place.stage,
            stage_id=place.stage_id,
            task_key=place.task_key,
            commit_key=place.commit_key,
            kind=kind,
            output=output,
            digest=digest,
            rows=rows,
            path=path,
            sha256=sha256,
            bytes=size,
            source=place.source or None,
            snapshot=place.snapshot or None,
            lang=lang,
            tokens=tokens,
            inputs=place.inputs,
            versions=place.versions,
        )

    def abandon(self) -> None:
        """Remove unfinished files."""
        for *_, writer in self._files:
            writer.abandon()


def versions_text(versions: dict[str, str]) -> str:
    """Library versions as they stand in the manifest."""
    return json.dumps(versions, sort_keys=True)


def reset_peak() -> None:
    """Start a new measurement of this process's peak memory, where the kernel allows it."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_rss() -> int:
    """Peak resident bytes of this process since `reset_peak`, and of the children that live now."""
    peak = _status("self", "VmHWM")
    for child in _children():
        peak += _status(child, "VmHWM")
    return peak


def _children() -> list[str]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return file.read().split()
    except OSError:
        return []


def _status(process: str, name: str) -> int:
    try:
        with open(f"/proc/{process}/status") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith(name)), 0)
    except OSError:
        return 0
