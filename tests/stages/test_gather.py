"""Side files merged: which ones, whatever comes or goes, and what then lies in a row group."""

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.balance import row_faults, total
from manifests.local import LocalStorage
from manifests.shards import PARTITIONS, write_partitions
from manifests.store import Shard, encode
from stages import gather
from stages.base import Plan, Task, Upstream
from stages.gather import Gather
from stages.output import Output, Place
from stages.sides import slot_of
from tests.stages.test_sides import plan, shard

STAGE = Gather("gather-sign-rows", ("sign",), "rows", 4)
TABLE = pa.schema([pa.field("key", pa.uint64(), nullable=False), ("doc_id", pa.binary(16)), ("units", pa.binary())])
# Rows of one file: the edges of row groups among them, keys and whole rows that repeat.
KEYS = st.sampled_from([0, 1, (1 << 54) - 1, 1 << 54, 700 << 54, (700 << 54) + 1, (1 << 64) - 1])
ROWS = st.lists(st.tuples(KEYS, st.sampled_from(["中文", "en", ""])), max_size=12)


def place(stage: str, key: str, snapshot: str) -> Place:
    return Place(stage, "0", f"{stage}-0", key, key, "", snapshot, (), "{}")


def files(made: list[list[tuple[int, str]]], root: Path, footers: list[str] | None = None) -> tuple[LocalStorage, Plan]:
    """A root with one side file for each list of rows, and the plan of what reads them."""
    storage, rows = LocalStorage(str(root)), list[Shard]()
    for number, part in enumerate(made):
        out = Output(storage, place("sign", f"task{number}", "9"))
        ids = [text.encode().ljust(16, b"\0") for _, text in part]
        table = pa.table([[key for key, _ in part], ids, [text.encode() for _, text in part]], schema=TABLE)
        footer = footers[number] if footers else "200"
        write_partitions(out.file("rows", "side", TABLE, metadata={"length": footer}), table, "key")
        rows += out.finish(0.0, 0)
    storage.put("sign-0/merged.parquet", encode(sorted(rows, key=lambda row: row.task_key)))
    return storage, Plan("id", (Upstream("sign", "0", tuple(rows)),), ("9",))


def merged(storage: LocalStorage, task: Task) -> list[Shard]:
    """The rows of the manifest that one task of `gather` makes."""
    out = Output(storage, place(STAGE.name, task.key, task.snapshot))
    STAGE.open(storage).run(task, out)
    return out.finish(0.0, 0)


@settings(max_examples=8, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.sampled_from([1, 60, 1 << 26]))
def test_a_row_group_is_the_sorted_union_of_row_groups(
    tmp_path_factory: pytest.TempPathFactory, made: list[list[tuple[int, str]]], memory: int
) -> None:
    storage, given = files(made, tmp_path_factory.mktemp("root"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "RANGE_BYTES", memory)
        tasks = STAGE.tasks(given)
        found = [row for task in tasks for row in merged(storage, task)]
    slots = {row.task_key: slot_of(row) for row in given.rows("rows") if row.rows}
    assert len(found) == len(tasks)
    assert row_faults(found) == []
    assert total(found)["side/rows/in"] == sum(map(len, made))
    for task, row in zip(tasks, found, strict=True):
        numbers = [
            int(key.removeprefix("task")) for key, slot in slots.items() if task.parts[0] <= slot < task.parts[1]
        ]
        wanted = sorted((key, text.encode()) for number in numbers for key, text in made[number])
        with pq.ParquetFile(storage.root / (row.path or "")) as file:
            assert file.metadata.metadata[b"length"] == b"200"
            assert file.num_row_groups == len(row.row_groups) == PARTITIONS
            table = file.read(use_threads=False)
            sizes = [file.metadata.row_group(part).num_rows for part in range(PARTITIONS)]
        assert list(zip(table["key"].to_pylist(), table["units"].to_pylist(), strict=True)) == wanted
        assert Counter({part: n for part, n in enumerate(sizes) if n}) == Counter(key >> 54 for key, _ in wanted)
        assert [group.rows for group in row.row_groups] == sizes
    assert {
        slot for slot in slots.values() if not any(a <= slot < b for a, b in (task.parts for task in tasks))
    } == set()


def test_tables_of_two_kinds_are_not_merged(tmp_path: Path) -> None:
    storage, given = files([[(1, "en")], [(1, "中文")]], tmp_path, ["200", "50"])
    with pytest.raises(RuntimeError, match="another kind of table"):
        merged(storage, *STAGE.tasks(given))


MANY = [shard("sign", "rows", f"k{i}", parts={i: 1, 5: 2}) for i in range(23)]
LATER = [shard("sign", "rows", f"l{i}", "10", parts={i: 1}) for i in range(9)]


def kept(task: Task, rows: list[Shard]) -> list[str]:
    """Keys of the files that a task merges."""
    own = [row for row in rows if row.snapshot == task.snapshot and row.rows]
    return [row.task_key for row in own if task.parts[0] <= slot_of(row) < task.parts[1]]


def test_each_file_is_merged_once_and_few_into_one() -> None:
    empty = shard("sign", "rows", "empty")
    tasks = STAGE.tasks(plan(*MANY, *LATER, empty))
    some = [kept(task, [*MANY, *LATER, empty]) for task in tasks]
    assert sorted(key for group in some for key in group) == sorted(row.task_key for row in [*MANY, *LATER])
    assert all(1 <= len(group) <= 4 for group in some)
    assert len(tasks) < 23
    assert {task.snapshots for task in tasks} == {("9",), ("10",)}


def test_a_file_that_comes_or_goes_changes_its_own_group() -> None:
    def keys(*rows: Shard) -> set[str]:
        return {task.key for task in STAGE.tasks(plan(*rows))}

    whole = keys(*MANY)
    assert keys(*random.Random(1).sample(MANY, len(MANY))) == whole
    assert keys(*MANY, *LATER) >= whole  # another snapshot merges nothing of this one again
    for gone in MANY:
        assert 1 <= len(whole - keys(*(row for row in MANY if row is not gone))) <= 2


def test_a_row_group_that_is_large_alone_stays_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row group 5 has 20 bytes in every file."""
    monkeypatch.setattr(gather, "RANGE_BYTES", 40)
    assert max(len(kept(task, MANY)) for task in STAGE.tasks(plan(*MANY))) == 2
    monkeypatch.setattr(gather, "RANGE_BYTES", 10)
    by_slot = Counter(map(slot_of, MANY))
    assert sorted(len(kept(task, MANY)) for task in STAGE.tasks(plan(*MANY))) == sorted(by_slot.values())
