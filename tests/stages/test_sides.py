"""Planning of group stages, on manifest rows that are made up: which tasks there are, and what their keys follow."""

from dataclasses import replace

import pytest

from manifests.fingerprint import fingerprint
from manifests.shards import PARTITIONS
from manifests.store import RowGroup, Shard
from stages.base import RESIDENT, Plan, Stage, Upstream, UserError
from stages.cluster import Cluster
from stages.exact import Exact
from stages.match import Match
from stages.paragraphs import Paragraphs
from stages.sides import home_of, range_tasks, routed_tasks
from stages.substring import Substring
from stages.verify import Verify


def shard(stage: str, output: str, key: str, snapshot: str = "9", parts: dict[int, int] | None = None) -> Shard:
    """A manifest row; `parts`: rows in each row group that is not empty, 10 bytes each."""
    rows = [(parts or {}).get(i, 0) for i in range(PARTITIONS)]
    groups = [RowGroup(n, 10 * n, 0, fingerprint(key, i, n)) for i, n in enumerate(rows)]
    digest = f"{key}:{sorted((parts or {}).items())}"
    return Shard(
        stage,
        "0",
        key,
        key,
        "side",
        output,
        digest,
        sum(rows),
        f"{key}.parquet",
        snapshot=snapshot,
        row_groups=tuple(groups),
    )


def plan(*shards: Shard, snapshots: tuple[str, ...] = ("9", "10")) -> Plan:
    """A plan over the stages of some rows."""
    names = sorted({row.stage for row in shards})
    return Plan("id", tuple(Upstream(n, "0", tuple(r for r in shards if r.stage == n)) for n in names), snapshots)


BANDS = [shard("sign", "bands", "k1", parts={0: 5, 700: 3}), shard("sign", "bands", "k2", parts={1: 9})]
LATER = shard("sign", "bands", "k3", "10", parts={2: 4})


def test_ranges_follow_the_bytes_and_cover_every_row_group_once() -> None:
    for limit, count in ((10_000, 1), (170, 1), (169, 2), (80, 4), (57, 4), (1, 256)):
        tasks = range_tasks(plan(*BANDS), "bands", limit)
        assert len(tasks) == count
        assert [part for task in tasks for part in range(*task.parts)] == list(range(PARTITIONS))
        assert len({task.key for task in tasks}) == count
    assert len(range_tasks(plan(shard("sign", "bands", "k", parts={0: 9_999})), "bands", 1)) == PARTITIONS


@pytest.mark.parametrize(
    "stage, output",
    [
        (Exact(name="s"), "content"),
        (Match(name="s"), "bands"),
        (Verify(name="s"), "shingles"),
        (Paragraphs(name="s"), "lines"),
        (Substring(name="s"), "windows"),
    ],
)
def test_tasks_follow_the_memory_of_a_worker(stage: Stage, output: str) -> None:
    """Less memory, smaller tasks: whatever a byte of a row takes, a task has no more bytes than a worker may hold."""
    row = shard("up", output, "k", parts=dict.fromkeys(range(PARTITIONS), 2_000_000))
    sizes = []
    for gigabytes in (1, 2, 4, 8):
        tasks = stage.tasks(replace(plan(row), memory=gigabytes << 30))
        assert len(tasks) * tasks[0].size == PARTITIONS * 20_000_000
        assert tasks[0].size <= (gigabytes << 30) - RESIDENT
        sizes.append(tasks[0].size)
    assert sizes == sorted(set(sizes))


def test_keys_of_ranges_follow_what_is_read() -> None:
    before = {task.key for task in range_tasks(plan(*BANDS), "bands", 100)}
    assert {task.key for task in range_tasks(plan(*BANDS[::-1]), "bands", 100)} == before
    both = range_tasks(plan(*BANDS, LATER), "bands", 100)
    assert {task.key for task in both if task.snapshot == "9"} == before
    assert [m.snapshots for task in both if task.snapshot == "10" for m in task.merged][0] == ("9", "10")
    alone = range_tasks(plan(*BANDS, LATER), "bands", 100, cumulative=False)
    assert [m.snapshots for task in alone if task.snapshot == "10" for m in task.merged] == [("10",)]
    # The rank of a snapshot is written into edges, so an older snapshot that is added changes the keys of later ones.
    only = range_tasks(plan(LATER, snapshots=("10",)), "bands", 100, cumulative=False)
    assert not {task.key for task in only} & {task.key for task in alone}
    # Two ranges; what changes in the first is none of the other's business.
    first, second = range_tasks(plan(*BANDS), "bands", 100)
    for other in (shard("sign", "bands", "k2", parts={1: 8}), shard("sign", "bands", "k4", parts={1: 9})):
        changed = range_tasks(plan(BANDS[0], other), "bands", 100)
        assert [task.key == old.key for task, old in zip(changed, (first, second), strict=True)] == [False, True]


def test_keys_of_shards_follow_the_rows_addressed_to_them() -> None:
    docs = [shard("read", "docs", key) for key in ("d1", "d2", "d3")]
    at = [home_of(row) >> 54 for row in docs]
    named = [shard("exact", "verdicts", "v1", parts={at[0]: 2, at[1]: 1})]
    tasks = routed_tasks(plan(*docs, *named), "verdicts", only_named=False)
    assert [task.inputs[0].task_key for task in tasks] == ["d1", "d2", "d3"]
    assert [task.parts for task in tasks] == [(part, part + 1) for part in at]
    # Another row for d2, and one in a later snapshot for d1, which is none of its business.
    named = [shard("exact", "verdicts", "v1", parts={at[0]: 2, at[1]: 7})]
    named += [shard("exact", "verdicts", "v2", "10", parts={at[0]: 1})]
    other = routed_tasks(plan(*docs, *named), "verdicts", only_named=False)
    assert [a.key == b.key for a, b in zip(tasks, other, strict=True)] == [True, False, True]
    # Shards that are read only where they are named: d1 in both snapshots, d2 in the first.
    few = routed_tasks(plan(*docs, *named), "verdicts", only_named=True)
    assert [(task.inputs[0].task_key, task.snapshot) for task in few] == [("d1", "9"), ("d1", "10"), ("d2", "9")]


def test_rows_for_documents_of_another_stage_are_the_users_mistake() -> None:
    docs = shard("filter", "docs", "d1")
    lost = shard("exact", "verdicts", "v1", parts={(home_of(docs) >> 54) ^ 1: 2})
    with pytest.raises(UserError, match="one and the same stage"):
        routed_tasks(plan(docs, lost), "verdicts", only_named=False)


def test_cluster_needs_the_copies_too() -> None:
    with pytest.raises(UserError, match="exact"):
        Cluster(name="cluster").tasks(plan(shard("verify", "edges", "e1", parts={0: 1})))
