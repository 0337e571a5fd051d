"""Row order: the columns of a table as unsigned words in, the order of its rows out. Only rows that the first words
leave tied are compared further, so a table with a hash in front is sorted by one number a row."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def ordered(words: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows sorted by words[0], then words[1] and so on, int64[n]; and bool[n]: whether the row at this place differs
    from the one before. Rows that are equal in all words come in any order."""
    n = len(words[0])
    order, fresh = np.arange(n), np.zeros(n, bool)
    fresh[:1] = True
    at, group = order.copy(), np.zeros(n, np.int64)  # places of rows that are tied, and with which others
    for word in words:
        values = word[order[at]]
        same = group[1:] == group[:-1]
        if not (same & (values[1:] != values[:-1])).any():
            continue
        inside = np.lexsort((values, group)) if group[-1] else np.argsort(values)
        order[at] = order[at[inside]]
        values = values[inside]
        fresh[at[1:]] |= values[1:] != values[:-1]
        tied = ~fresh
        tied[:-1] |= tied[1:]
        at = np.flatnonzero(tied)
        if not len(at):
            break
        group = np.cumsum(fresh[at]) - 1
    return order, fresh


def column_words(column: pa.Array) -> list[np.ndarray]:
    """Unsigned words uint64[n] that sort rows as their values do; several for wide values."""
    kind = column.type
    if not column.null_count:
        if pa.types.is_unsigned_integer(kind):
            return [column.to_numpy().astype(np.uint64)]
        if pa.types.is_integer(kind):
            return [column.to_numpy().astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)]
        if pa.types.is_fixed_size_binary(kind) and kind.byte_width % 8 == 0:
            wide = kind.byte_width // 8
            words = np.frombuffer(column.buffers()[1] or b"", ">u8")[wide * column.offset :][: wide * len(column)]
            return [words[i::wide].astype(np.uint64) for i in range(wide)]
    return [pc.rank(column, tiebreaker="dense").to_numpy().astype(np.uint64)]


def table_order(table: pa.Table, key: str) -> np.ndarray:
    """Rows sorted by `key` and then by the other columns in schema order, int64[n]; lists are not compared."""
    names = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    names.sort(key=lambda name: name != key)
    words = [word for name in names for word in column_words(table[name].combine_chunks())]
    return ordered(words)[0]
