"""Records of JSONL (plain, .gz, .zst) and Parquet files: an open file in, its records in order out, as Arrow columns.

A record that cannot be used comes with the reason, and damage ends the file with one record that says so: nothing is
passed over in silence. What is not valid Unicode inside a text becomes U+FFFD, whatever the format.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from stages.base import InputFile, UserError

LINE_LIMIT = 64 << 20
PARQUET_BYTES = 8 << 20
PARQUET_ROWS = 8192  # rows read at once; fewer where they are large
# Compressed bytes taken at once: four of them can say 128 KiB, so a hostile file makes 128 MiB of these.
ZSTD_BYTES = 4096
ZSTD_WINDOW = 1 << 31  # what `zstd --long=31` writes, as large dumps often are
COLUMNS = ("text", "id", "url", "lang", "date")
Fields = tuple[Any, Any, Any, Any, Any]  # values of COLUMNS, None where there is none
NOTHING: Fields = (None, None, None, None, None)
Record = tuple[int, Fields, str, int]  # row number, fields, why not, bytes


@dataclass(frozen=True)
class Columns:
    """Some records: values of COLUMNS as strings (null where there is none), and why a record cannot be used or ""."""

    numbers: np.ndarray  # line or row numbers, int64[n]
    values: tuple[pa.Array, ...]
    troubles: list[str]
    lengths: np.ndarray  # int64[n]: bytes of a line, or of what was read of a row

    def pieces(self, limit: int) -> Iterator["Columns"]:
        """The records in pieces of at most `limit`, or one record where it is longer."""
        total, start = np.cumsum(self.lengths), 0
        while start < len(total):
            before = int(total[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(total, before + limit, "right")))
            values = tuple(value.slice(start, stop - start) for value in self.values)
            yield Columns(self.numbers[start:stop], values, self.troubles[start:stop], self.lengths[start:stop])
            start = stop


def columns_of(records: Sequence[Record]) -> Columns:
    """Records as columns."""
    numbers, fields, troubles, lengths = zip(*records, strict=True)
    values = tuple(pa.array(column, pa.string()) for column in zip(*fields, strict=True))
    return Columns(np.array(numbers, np.int64), values, list(troubles), np.array(lengths, np.int64))


def joined(parts: Sequence[Columns]) -> Columns:
    """The records of several parts."""
    if len(parts) == 1:
        return parts[0]
    values = tuple(pa.concat_arrays(arrays) for arrays in zip(*(part.values for part in parts), strict=True))
    numbers, lengths = (np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "lengths"))
    return Columns(numbers, values, [trouble for part in parts for trouble in part.troubles], lengths)


def jsonl(stream: BinaryIO, names: dict[str, str], found: InputFile) -> Iterator[Record]:
    """Records of a JSONL file by line number; `names`: our column -> its field."""
    lines = decompressed(stream, found.path)
    number = -1
    try:
        while line := lines.readline(LINE_LIMIT):
            number += 1
            if len(line) == LINE_LIMIT and not line.endswith(b"\n"):
                size = len(line)
                while rest := lines.readline(LINE_LIMIT):
                    size += len(rest)
                    if rest.endswith(b"\n"):
                        break
                yield number, NOTHING, "too_large", size
            elif line.strip():
                yield parse(number, line, names)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError):
        yield number + 1, NOTHING, "damaged_archive", 0


def parse(number: int, line: bytes, names: dict[str, str]) -> Record:
    """One line as a record; what is wrong with it is its reason."""
    try:
        raw = json.loads(line.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return number, NOTHING, "not_json", len(line)
    if not isinstance(raw, dict):
        return number, NOTHING, "not_json", len(line)
    text, own, url, lang, date = (raw.get(names[column]) for column in COLUMNS)
    trouble = "" if isinstance(text, str) else "no_text"
    return number, (valid(text), name(own), valid(url), valid(lang), name(date)), trouble, len(line)


def valid(value: Any) -> str | None:
    """A text as valid Unicode: a lone surrogate, which JSON can spell, becomes U+FFFD. None for what is no text."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def name(value: Any) -> str | None:
    """An id or a date as text, whatever its type."""
    return None if value is None else valid(str(value))


def decompressed(stream: BinaryIO, path: str) -> BinaryIO | gzip.GzipFile | io.BufferedReader:
    """A plain, gzip or zstd stream, told apart by the file's name, as plain bytes."""
    if path.endswith(".gz"):
        return gzip.GzipFile(fileobj=stream)
    if path.endswith((".zst", ".zstd")):
        return io.BufferedReader(Pieces(zstd_pieces(stream)), 1 << 20)
    return stream


def zstd_pieces(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of all frames; EOFError where the file ends inside one, which zstandard's own reader keeps silent."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = None
    while chunk := stream.read(ZSTD_BYTES):
        while chunk:
            frame = frame or decompressor.decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data
            if frame.eof:
                frame = None
    if frame:
        raise EOFError("the last zstd frame is not complete")


def parquet(stream: BinaryIO, names: dict[str, str], found: InputFile) -> Iterator[Columns]:
    """Records of a Parquet file by row number; UserError for a file without a column that is named."""
    number = 0
    try:
        file = pq.ParquetFile(stream)
        have = parquet_columns(file, names, found)
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group)
            rows = PARQUET_BYTES * size.num_rows // max(1, size.total_byte_size)
            for batch in file.iter_batches(max(1, min(rows, PARQUET_ROWS)), [group], have, use_threads=False):
                values = tuple(column(batch, names[ours], ours in ("id", "date")) for ours in COLUMNS)
                lengths = sum(pc.binary_length(value).fill_null(0).to_numpy().astype(np.int64) for value in values)
                troubles = ["no_text" if null else "" for null in values[0].is_null().to_pylist()]
                yield Columns(np.arange(number, number + batch.num_rows), values, troubles, lengths)
                number += batch.num_rows
    except pa.ArrowInvalid:
        yield columns_of([(number, NOTHING, "damaged_archive", 0)])
    except OSError as error:
        if error.errno is not None:
            raise
        # How Arrow reports a damaged page; the operating system's errors have a number.
        yield columns_of([(number, NOTHING, "damaged_archive", 0)])


def parquet_columns(file: pq.ParquetFile, names: dict[str, str], found: InputFile) -> list[str]:
    """Columns to read; those that the recipe names must be there, and the text column must hold text."""
    schema = file.schema_arrow
    for ours, theirs in names.items():
        if theirs not in schema.names and (ours == "text" or ours in dict(found.source.fields)):
            raise UserError(
                f"{found.uri}: no column {theirs!r}; it has {', '.join(schema.names)}. "
                f"Name the column by fields = {{ {ours} = ... }} in source {found.source.name}"
            )
    kind = schema.field(names["text"]).type
    if not is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        raise UserError(
            f"{found.uri}: column {names['text']!r} is of type {kind}, not text; name another column by "
            f"fields = {{ text = ... }} in source {found.source.name}"
        )
    return sorted({theirs for theirs in names.values() if theirs in schema.names})


def column(batch: pa.RecordBatch, name: str, any_type: bool) -> pa.Array:
    """A column as strings; bytes that are not valid UTF-8 become U+FFFD. Nulls where there is no such column, or where
    it holds no text and `any_type` is not set."""
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.string())
    values = batch[name]
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_text(values.type):
        return valid_strings(values)
    if not any_type:
        return pa.nulls(batch.num_rows, pa.string())
    if pa.types.is_temporal(values.type):
        return values.cast(pa.string())
    return pa.array([value if value is None else str(value) for value in values.to_pylist()], pa.string())


def valid_strings(values: pa.Array) -> pa.Array:
    """Strings of which Parquet only says that they are UTF-8."""
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        raw = values.cast(pa.large_binary()).to_pylist()
        return pa.array([v if v is None else v.decode("utf-8", "replace") for v in raw], pa.string())
    return values.cast(pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


class Pieces(io.RawIOBase):
    """Pieces of bytes as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self.piece = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.piece:
            piece = next(self.pieces, None)
            if piece is None:
                return 0
            self.piece = memoryview(piece)
        size = min(len(buffer), len(self.piece))
        buffer[:size] = self.piece[:size]
        self.piece = self.piece[size:]
        return size
