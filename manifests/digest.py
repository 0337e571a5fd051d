"""Content digests of Arrow data: rows in, one BLAKE2b digest out, whatever the batches and the Parquet library.

Every column is hashed as separate streams, so cutting the same rows into other batches feeds the same bytes to the same
hashers: the row numbers of the nulls, the lengths of texts and lists, the values. A null adds no bytes to the values of
texts and lists, and zeros to those of a fixed width. Nulls are hashed by their row numbers and not by a bit for each
row, so that the many columns without any cost nothing.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIGEST_BYTES = 16
NOTHING = hashlib.blake2b(digest_size=DIGEST_BYTES).digest()  # of a stream without bytes


class ContentDigest:
    """Running digest over the rows of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._columns = [_Column(field.type) for field in schema]
        self.rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows in order; the batch must have exactly the schema's columns."""
        if batch.schema.names != self.schema.names:
            raise ValueError(f"columns {batch.schema.names} where {self.schema.names} are expected")
        self.rows += batch.num_rows
        for column, values in zip(self._columns, batch.columns, strict=True):
            for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
                column.update(chunk)

    def hexdigest(self) -> str:
        """Digest over schema, number of rows and every column."""
        total = _head(schema_text(self.schema), self.rows)
        for column in self._columns:
            total.update(column.digests())
        return total.hexdigest()


def range_digests(table: pa.Table, bounds: Sequence[int]) -> list[str]:
    """The digest of rows [bounds[i], bounds[i + 1]) for each i, as ContentDigest would give it; the columns of the
    table have one chunk."""
    text = schema_text(table.schema)
    spans = list(zip(bounds, bounds[1:], strict=False))
    columns = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
    parts = zip(*(_column_parts(column, spans) for column in columns), strict=True)
    found = []
    for (start, stop), part in zip(spans, parts, strict=True):
        total = _head(text, stop - start)
        total.update(b"".join(part))
        found.append(total.hexdigest())
    return found


def _column_parts(column: pa.Array, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """The digests of the streams of a column, end to end, for each span of rows."""
    if _is_flat(column):
        return [NOTHING + digest for digest in _part_digests(_fixed(column), len(column), spans)]
    if _is_text(column.type) and not column.null_count:
        ends = _ends(column)
        lengths = _part_digests(np.diff(ends).astype("<i8").view(np.uint8).data, len(column), spans)
        bytes_of = [(int(ends[start]), int(ends[stop])) for start, stop in spans]
        data = _part_digests(memoryview(column.buffers()[2] or b""), 0, bytes_of)
        return [NOTHING + a + b for a, b in zip(lengths, data, strict=True)]
    found = []
    for start, stop in spans:
        general = _Column(column.type)
        general.update(column.slice(start, stop - start))
        found.append(general.digests())
    return found


def _part_digests(data: memoryview, rows: int, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Digest of some spans of rows of one width, or of bytes where `rows` is 0."""
    width, hashed = len(data) // rows if rows else 1, hashlib.blake2b
    return [
        hashed(data[start * width : stop * width], digest_size=DIGEST_BYTES).digest() if start < stop else NOTHING
        for start, stop in spans
    ]


def schema_text(schema: pa.Schema) -> str:
    """Names and types of a schema, one per line."""
    return "".join(f"{field.name}:{type_text(field.type)}\n" for field in schema)


def type_text(kind: pa.DataType) -> str:
    """A type without the names that Arrow and Parquet give to the items of lists, which differ between them."""
    if _is_list(kind):
        return f"list<{type_text(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{field.name}: {type_text(field.type)}" for field in kind) + ">"
    return str(kind)


def combine(schema: pa.Schema, digests: Sequence[str]) -> str:
    """Digest of a file from the digests of its row groups."""
    total = hashlib.blake2b(schema_text(schema).encode(), digest_size=DIGEST_BYTES)
    total.update(bytes.fromhex("".join(digests)))
    return total.hexdigest()


class _Stream:
    """A hasher that is made when its first bytes come."""

    def __init__(self) -> None:
        self.hasher: hashlib.blake2b | None = None

    def update(self, data: memoryview) -> None:
        if self.hasher is None:
            self.hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.hasher.update(data)

    def digest(self) -> bytes:
        return self.hasher.digest() if self.hasher else NOTHING


class _Column:
    """Hash streams of one column; which there are follows from the type. Nested types recurse."""

    def __init__(self, kind: pa.DataType) -> None:
        self.rows = 0
        self.nulls, self.lengths, self.values = _Stream(), _Stream(), _Stream()
        self.streams, self.children = [self.nulls, self.values], list[_Column]()
        if pa.types.is_struct(kind):
            self.streams, self.children = [self.nulls], [_Column(field.type) for field in kind]
        elif _is_list(kind):
            self.streams, self.children = [self.nulls, self.lengths], [_Column(kind.value_type)]
        elif _is_text(kind):
            self.streams = [self.nulls, self.lengths, self.values]

    def update(self, array: pa.Array) -> None:
        kind = array.type
        if array.null_count:
            self.nulls.update((self.rows + np.flatnonzero(_is_null(array))).astype("<i8").data)
        self.rows += len(array)
        if pa.types.is_struct(kind):
            for child, values in zip(self.children, array.flatten(), strict=True):
                child.update(values)
        elif _is_list(kind):
            self.lengths.update(_int64(pc.list_value_length(array)))
            self.children[0].update(array.flatten())
        elif _is_text(kind):
            if array.null_count:
                array = array.fill_null(b"" if pa.types.is_binary(kind) else "")
            self.lengths.update(_int64(pc.binary_length(array)))
            ends, data = _ends(array), array.buffers()[2]
            if data is not None and len(array):
                self.values.update(memoryview(data)[ends[0] : ends[-1]])
        else:
            self.values.update(_fixed(array))

    def digests(self) -> bytes:
        """Digests of all streams, end to end."""
        return b"".join([stream.digest() for stream in self.streams] + [child.digests() for child in self.children])


def _head(text: str, rows: int) -> hashlib.blake2b:
    return hashlib.blake2b(text.encode() + rows.to_bytes(8, "little"), digest_size=DIGEST_BYTES)


def _fixed(array: pa.Array) -> memoryview:
    """Values of a fixed width, end to end, zeros for nulls."""
    if pa.types.is_fixed_size_binary(array.type):
        width, data = array.type.byte_width, array.buffers()[1]
        values = memoryview(data or b"")[array.offset * width : (array.offset + len(array)) * width]
        if not array.null_count:
            return values
        rows = np.frombuffer(values, np.uint8).reshape(-1, width)
        return np.where(_is_null(array)[:, None], np.uint8(0), rows).reshape(-1).data
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    numbers = (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)
    if numbers.dtype.kind == "f":
        # One bit pattern for every NaN and for both zeros.
        numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0).astype(numbers.dtype)
    return np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("<")).view(np.uint8).data


def _is_null(array: pa.Array) -> np.ndarray:
    return array.is_null().to_numpy(zero_copy_only=False)


def _is_flat(array: pa.Array) -> bool:
    """Whether all values are there and have a fixed width."""
    return not array.null_count and (pa.types.is_primitive(array.type) or pa.types.is_fixed_size_binary(array.type))


def _ends(array: pa.Array) -> np.ndarray:
    """Bounds of the texts in their bytes, int64[n + 1]."""
    if not len(array):
        return np.zeros(1, np.int64)
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _int64(lengths: pa.Array) -> memoryview:
    return lengths.fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").data
