"""Row order, against Python's sorting."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.ordering import column_words, ordered, table_order

small = st.integers(0, 3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(small, small, small), max_size=30))
def test_rows_are_sorted_and_told_apart(rows: list[tuple[int, int, int]]) -> None:
    words = [np.array([row[i] for row in rows], np.uint64) << np.uint64(62) for i in range(3)]
    order, fresh = ordered(words)
    found = [rows[i] for i in order.tolist()]
    assert found == sorted(rows)
    assert fresh.tolist() == [i == 0 or found[i] != found[i - 1] for i in range(len(found))]


COLUMNS = [
    pa.array([5, -7, 0, 2**31 - 1], pa.int32()),
    pa.array([1, 2**64 - 1, 2**63, 0], pa.uint64()),
    pa.array([b"b" * 16, b"a" * 15 + b"\xff", b"a" * 16, b"\x80" * 16], pa.binary(16)),
    pa.array(["中", "a", "", "中文"], pa.string()),
    pa.array([0.5, -0.25, 2.0, 0.0], pa.float32()),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_words_sort_as_values_do(column: pa.Array) -> None:
    padded = pa.concat_arrays([column.slice(3), column]).slice(1)
    order, _ = ordered(column_words(padded))
    assert [padded[i].as_py() for i in order.tolist()] == sorted(column.to_pylist())


def test_nulls_have_a_place() -> None:
    words = column_words(pa.array([2, None, 1], pa.int64()))
    assert ordered(words)[0].tolist() == [2, 0, 1]


def test_a_table_is_sorted_by_its_key_first() -> None:
    table = pa.table({"a": [1, 0, 1, 0], "key": pa.array([2, 3, 1, 2], pa.uint64()), "l": [[1], [], [2], []]})
    assert table_order(table, "key").tolist() == [2, 3, 0, 1]
