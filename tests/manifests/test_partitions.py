"""Side files: rows with a hash in, 1,024 sorted row groups out, of which a range is read back."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.local import LocalStorage
from manifests.shards import PARTITIONS, ShardWriter, Written, read_partitions, write_partitions

SIDE = pa.schema([("key", pa.uint64()), ("doc", pa.binary(16)), ("rank", pa.uint16()), ("sets", pa.list_(pa.uint64()))])


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path))


def side_table(keys: list[int], seed: int = 2) -> pa.Table:
    """Rows of a side table with these keys."""
    rng = random.Random(seed)
    return pa.table(
        [
            pa.array(keys, pa.uint64()),
            pa.array([rng.randbytes(16) for _ in keys], pa.binary(16)),
            pa.array([rng.randrange(3) for _ in keys], pa.uint16()),
            pa.array([[rng.randrange(1 << 64) for _ in range(rng.randint(0, 3))] for _ in keys], pa.list_(pa.uint64())),
        ],
        schema=SIDE,
    )


def partitioned(storage: LocalStorage, table: pa.Table, key: str = "key") -> Written:
    writer = ShardWriter(storage, table.schema)
    write_partitions(writer, table, key)
    return writer.close("folder", "key", {})


LAST = (1 << 64) - 1
# The first and the last of a row group, the highest bit, two equal keys.
EDGES = [0, (1 << 54) - 1, 1 << 54, 5 << 54, 5 << 54, 1 << 63, LAST, LAST - 1]


def test_a_side_file_has_1024_sorted_row_groups_by_the_top_bits(storage: LocalStorage) -> None:
    rng = random.Random(3)
    table = side_table(EDGES + [rng.randrange(1 << 64) for _ in range(300)])
    file = partitioned(storage, table)
    parquet = pq.ParquetFile(storage.root / (file.path or ""))
    assert parquet.num_row_groups == len(file.row_groups) == PARTITIONS == 1024
    assert parquet.metadata.row_group(0).column(0).compression == "UNCOMPRESSED"  # a hash
    rows = sorted(table.to_pylist(), key=lambda row: (row["key"], row["doc"], row["rank"]))
    assert parquet.read(use_threads=False).to_pylist() == rows
    for part, group in enumerate(file.row_groups):
        assert group.rows == parquet.metadata.row_group(part).num_rows == sum(row["key"] >> 54 == part for row in rows)


def test_the_order_of_rows_does_not_change_a_side_file(storage: LocalStorage) -> None:
    table = side_table(EDGES * 3)
    order = list(range(table.num_rows))
    random.Random(4).shuffle(order)
    assert partitioned(storage, table.take(pa.array(order))) == partitioned(storage, table)


@pytest.mark.parametrize("parts", [(0, 1), (0, 1024), (5, 6), (6, 512), (512, 1024), (1023, 1024)])
def test_a_range_of_row_groups_is_a_range_of_keys(storage: LocalStorage, parts: tuple[int, int]) -> None:
    file = partitioned(storage, side_table(EDGES))
    found = read_partitions(storage, file.path or "", parts)
    assert found.schema.names == SIDE.names
    assert found["key"].to_pylist() == sorted(key for key in EDGES if parts[0] <= key >> 54 < parts[1])
    assert read_partitions(storage, file.path or "", parts, ["doc"]).column_names == ["doc"]


def test_a_side_file_without_rows(storage: LocalStorage) -> None:
    file = partitioned(storage, SIDE.empty_table())
    assert (file.rows, len(file.row_groups)) == (0, PARTITIONS)
    assert read_partitions(storage, file.path or "", (0, PARTITIONS)).num_rows == 0
