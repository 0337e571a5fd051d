"""`python -m pipeline identify`: lines of JSON with `id` and `text` in (plain, .gz or .zst); for each, in order, a line
of JSON with `id`, `lang`, `script` and `score` out. The surprise: a line that cannot be read does not stop the rest; it
is named on stderr. A line without an `id` gets its number, counted from 1."""

import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import zstandard

from manifests.inputs import open_input
from pipeline.target import open_target
from stages.base import UserError
from stages.language import SCORE_DECIMALS, open_identifier
from stages.records import decompressed

BATCH_BYTES = 8 << 20
NAMED = 20  # bad lines that are named; the others are only counted
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


def identify(path: str, out: str | None = None) -> int:
    """Identify every line of a file; 0, or 1 when the file is damaged and ends early. UserError for a missing file."""
    try:
        stream = open_input(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    identifier = open_identifier()
    with stream, open_target(out, [path]) as target:
        lines = _Lines(path)
        for ids, texts in _batches(lines.read(decompressed(stream, path))):
            labels = identifier.identify(pa.array(texts, pa.string()))
            columns = (labels.lang.to_pylist(), labels.script.to_pylist(), labels.score.to_pylist())
            for key, lang, script, score in zip(ids, *columns, strict=True):
                row = {"id": key, "lang": lang, "script": script, "score": round(score, SCORE_DECIMALS)}
                target.write(json.dumps(row) + "\n")
    if lines.bad:
        print(f"{path}: {lines.bad} of {lines.number} lines could not be read", file=sys.stderr)
    return int(lines.damaged)


def _batches(records: Iterator[tuple[Any, str]]) -> Iterator[tuple[list[Any], list[str]]]:
    """Ids and texts, cut so that a batch holds about BATCH_BYTES."""
    ids: list[Any] = []
    texts: list[str] = []
    size = 0
    for key, text in records:
        ids.append(key)
        texts.append(text)
        size += len(text)
        if size >= BATCH_BYTES:
            yield ids, texts
            ids, texts, size = [], [], 0
    if texts:
        yield ids, texts


class _Lines:
    """Reads (id, text) from JSON lines, and remembers how many it could not read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = 0
        self.bad = 0
        self.damaged = False

    def read(self, stream: Iterable[bytes]) -> Iterator[tuple[Any, str]]:
        try:
            for line in stream:
                self.number += 1
                if line.strip():
                    yield from self._record(line)
        except DAMAGE as error:
            self.damaged = True
            print(f"{self.path}: damaged after line {self.number} ({error}); it is read up to there", file=sys.stderr)

    def _record(self, line: bytes) -> Iterator[tuple[Any, str]]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._complain(f"no JSON ({error})")
            return
        if not isinstance(record, dict):
            self._complain("no JSON object")
        elif not isinstance(record.get("text"), str):
            self._complain("no string under the key text")
        else:
            # JSON can spell half of a surrogate pair, UTF-8 cannot.
            yield record.get("id", self.number), record["text"].encode("utf-8", "replace").decode()

    def _complain(self, what: str) -> None:
        self.bad += 1
        if self.bad <= NAMED:
            print(f"{self.path}:{self.number}: {what}", file=sys.stderr)
