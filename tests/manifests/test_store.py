"""Commits: a task's manifest object is made once; an equal one is a success, another one is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from manifests.local import LocalStorage
from manifests.store import (
    MERGED,
    SUFFIX,
    CommitConflict,
    RowGroup,
    Shard,
    commit,
    committed,
    decode,
    encode,
    manifest_path,
    read_merged,
)

FOLDER = "filter-0123456789abcdef"
FULL = Shard(
    stage="filter",
    stage_id="0123456789abcdef",
    task_key="t1",
    commit_key="c1",
    kind="docs",
    output="docs",
    digest="d1",
    rows=3,
    path=f"{FOLDER}/t1.d1.parquet",
    sha256="5a",
    bytes=123,
    source="网页",
    snapshot="10",
    lang="zh",
    tokens=7,
    row_groups=(RowGroup(2, 100, 4, "1" * 32), RowGroup(1, 23, 3, "2" * 32), RowGroup(0, 0, 0, "3" * 32)),
    counters=(("in/网页/zh/docs", 4), ("kept/网页/zh/docs", 3)),
    inputs=("i1", "i2"),
    seconds=0.25,
    peak_rss=1 << 40,
    host="node",
    versions='{"numba": "1"}',
)
BARE = Shard("filter", "0123456789abcdef", "t1", "c1", "dropped", "dropped", "d2", 0)


def named(key: str, *, digest: str = "d1") -> Shard:
    """A row of another task, which commits by itself."""
    return replace(FULL, task_key=key, commit_key=key, digest=digest)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path))


def test_rows_are_read_as_they_were_written() -> None:
    assert decode(encode([FULL, BARE])) == [FULL, BARE]
    assert decode(encode([])) == []


def test_a_task_is_committed_once(storage: LocalStorage) -> None:
    assert commit(storage, FOLDER, "c1", [FULL, BARE]) == [FULL, BARE]
    assert decode(storage.get(manifest_path(FOLDER, "c1"))) == [FULL, BARE]
    assert [entry.path for entry in storage.list("")] == [f"{FOLDER}/c1{SUFFIX}"]


def test_a_second_commit_of_the_same_content_gives_the_first(storage: LocalStorage) -> None:
    """Another worker was slower, on another host, and wrote in another order."""
    commit(storage, FOLDER, "c1", [FULL, BARE])
    late = [BARE, replace(FULL, seconds=9.0, host="other", peak_rss=5, sha256="6b", path="elsewhere")]
    assert commit(storage, FOLDER, "c1", late) == [FULL, BARE]
    assert decode(storage.get(manifest_path(FOLDER, "c1"))) == [FULL, BARE]


@pytest.mark.parametrize(
    "other",
    [
        [replace(FULL, digest="d9"), BARE],
        [replace(FULL, lang="en"), BARE],
        [replace(FULL, output="more"), BARE],
        [replace(FULL, stage="other"), BARE],
        [FULL],
        [FULL, BARE, BARE],
        [],
    ],
)
def test_another_content_is_refused(storage: LocalStorage, other: list[Shard]) -> None:
    commit(storage, FOLDER, "c1", [FULL, BARE])
    with pytest.raises(CommitConflict, match=f"{FOLDER}/c1.*another content"):
        commit(storage, FOLDER, "c1", other)
    assert decode(storage.get(manifest_path(FOLDER, "c1"))) == [FULL, BARE]


def test_committed_tasks_come_from_the_merged_file_and_from_single_objects(storage: LocalStorage) -> None:
    one, two, three = named("k1"), named("k2"), named("k3")
    for row in (one, two, three):
        commit(storage, FOLDER, row.commit_key, [row])
    merged = [replace(row, host="merged") for row in (one, two)]
    storage.put(f"{FOLDER}/{MERGED}", encode(merged))
    found = committed(storage, FOLDER, {"k1", "k2", "k3", "k4"})
    assert found == {"k1": [merged[0]], "k2": [merged[1]], "k3": [three]}
    assert committed(storage, FOLDER, {"k3"}) == {"k3": [three]}
    assert committed(storage, FOLDER, set()) == {}
    assert committed(storage, "other-0000000000000000", {"k1"}) == {}


def test_all_rows_of_a_pass_belong_to_its_commit(storage: LocalStorage) -> None:
    first, last = replace(BARE, stage="read", task_key="k0", commit_key="k1"), named("k1")
    commit(storage, FOLDER, "k1", [first, last])
    assert committed(storage, FOLDER, {"k0", "k1"}) == {"k1": [first, last]}
    storage.put(f"{FOLDER}/{MERGED}", encode([first, last]))
    assert committed(storage, FOLDER, {"k0", "k1"}) == {"k1": [first, last]}


def test_the_merged_file_alone_commits_nothing(storage: LocalStorage) -> None:
    """It is a copy: without its manifest object a task is not done."""
    storage.put(f"{FOLDER}/{MERGED}", encode([named("k1")]))
    assert committed(storage, FOLDER, {"k1"}) == {}


def test_a_folder_without_a_merged_file(storage: LocalStorage) -> None:
    assert read_merged(storage, FOLDER) == []
