"""Reading of JSON lines with a text: a file (plain, .gz or .zst) comes in, batches of records with `id` and `text` come
out. The surprise: a line that cannot be read does not stop the rest; it is named on stderr and counted. A line without
an `id` gets its number, counted from 1."""

import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import zstandard

from manifests.inputs import open_input
from stages.base import UserError
from stages.records import decompressed, valid

NAMED = 20  # bad lines that are named; the others are only counted
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


def open_lines(path: str) -> BinaryIO:
    """The bytes of a file as they are stored; UserError for a missing file or a folder."""
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; give one file of JSON lines")
    try:
        return open_input(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give the path of a file of JSON lines") from error


class Lines:
    """Reads records from JSON lines, and remembers how many it could not read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = 0
        self.bad = 0
        self.damaged = False

    def batches(self, stream: BinaryIO, size: int) -> Iterator[list[dict[str, Any]]]:
        """Records in order, cut so that the texts of a batch hold about `size` characters."""
        batch: list[dict[str, Any]] = []
        held = 0
        for record in self.read(decompressed(stream, self.path)):
            batch.append(record)
            held += len(record["text"])
            if held >= size:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch

    def read(self, stream: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """The records, each with an id and a text."""
        try:
            for line in stream:
                self.number += 1
                if line.strip():
                    yield from self._record(line)
        except DAMAGE as error:
            self.damaged = True
            print(f"{self.path}: damaged after line {self.number} ({error}); it is read up to there", file=sys.stderr)

    def finish(self) -> int:
        """Says how many lines could not be read; 1 when the file is damaged and ended early, else 0."""
        if self.bad:
            print(f"{self.path}: {self.bad} of {self.number} lines could not be read", file=sys.stderr)
        return int(self.damaged)

    def _record(self, line: bytes) -> Iterator[dict[str, Any]]:
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
            yield {"id": self.number, **record, "text": valid(record["text"])}

    def _complain(self, what: str) -> None:
        self.bad += 1
        if self.bad <= NAMED:
            print(f"{self.path}:{self.number}: {what}", file=sys.stderr)
