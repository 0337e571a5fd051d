"""Content digests of Arrow data: rows in, one BLAKE2b digest out, whatever the batches and the Parquet library.

Every column is hashed as separate streams (validity, lengths, values), so cutting the same rows into other batches
feeds the same bytes to the same hashers. Values under a null are hashed as zero or empty.
"""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIGEST_BYTES = 16


class ContentDigest:
    """Running digest over the rows of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows = 0
        self._columns = [_Column(field.type) for field in schema]

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
        total = hashlib.blake2b(digest_size=DIGEST_BYTES)
        total.update(schema_text(self.schema).encode())
        total.update(self.rows.to_bytes(8, "little"))
        for column in self._columns:
            column.finish(total)
        return total.hexdigest()


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


def combine(schema: pa.Schema, digests: list[str]) -> str:
    """Digest of a file from the digests of its row groups."""
    total = hashlib.blake2b(schema_text(schema).encode(), digest_size=DIGEST_BYTES)
    for digest in digests:
        total.update(bytes.fromhex(digest))
    return total.hexdigest()


class _Column:
    """Hash streams of one column; nested types recurse."""

    def __init__(self, kind: pa.DataType) -> None:
        self.valid = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.lengths = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.values = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.children: list[_Column] = []
        if pa.types.is_struct(kind):
            self.children = [_Column(field.type) for field in kind]
        elif _is_list(kind):
            self.children = [_Column(kind.value_type)]

    def update(self, array: pa.Array) -> None:
        kind = array.type
        self.valid.update(_valid(array).data)
        if pa.types.is_struct(kind):
            for child, values in zip(self.children, array.flatten(), strict=True):
                child.update(values)
        elif _is_list(kind):
            self.lengths.update(_int64(pc.list_value_length(array)).data)
            self.children[0].update(array.flatten())
        elif pa.types.is_fixed_size_binary(kind):
            self.update_fixed(array)
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):
            self.update_bytes(array)
        else:
            self.update_numbers(array)

    def update_fixed(self, array: pa.Array) -> None:
        if array.null_count:
            self.update_bytes(array.cast(pa.binary()))
            return
        width = array.type.byte_width
        self.lengths.update(np.full(len(array), width, "<i8").data)
        data = array.buffers()[1]
        if data is not None:
            self.values.update(memoryview(data)[array.offset * width : (array.offset + len(array)) * width])

    def update_bytes(self, array: pa.Array) -> None:
        if array.null_count:
            array = array.fill_null(b"" if pa.types.is_binary(array.type) else "")
        self.lengths.update(_int64(pc.binary_length(array)).data)
        _, offsets, data = array.buffers()
        if data is not None and len(array):
            ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
            self.values.update(memoryview(data)[ends[0] : ends[-1]])

    def update_numbers(self, array: pa.Array) -> None:
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.uint8())
        if array.null_count:
            array = array.fill_null(0)
        numbers = array.to_numpy(zero_copy_only=False)
        if numbers.dtype.kind == "f":
            # One bit pattern for every NaN and for both zeros.
            numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0).astype(numbers.dtype)
        self.values.update(np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("<")).data)

    def finish(self, total: hashlib.blake2b) -> None:
        for stream in (self.valid, self.lengths, self.values):
            total.update(stream.digest())
        for child in self.children:
            child.finish(total)


def _valid(array: pa.Array) -> np.ndarray:
    """One byte per value: 1, or 0 for null."""
    if not array.null_count:
        return np.ones(len(array), np.uint8)
    return np.ascontiguousarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=np.uint8)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _int64(lengths: pa.Array) -> np.ndarray:
    return lengths.fill_null(0).to_numpy(zero_copy_only=False).astype("<i8")
