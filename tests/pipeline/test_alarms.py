"""Alarms of duplicate removal: which counts raise one, what it says, and that a higher limit goes on from there."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.store import Shard
from pipeline import alarms
from pipeline.alarms import Removed, by_host, by_source, check_cluster, check_removed, higher
from pipeline.driver import Result
from pipeline.recipe import parse_recipe
from stages import hosts
from stages.base import UserError
from stages.hosts import HostCounts
from tests.runs import run_recipe
from tests.stages.dedup_runner import CHAIN, source


def clusters(*largest: int) -> list[Shard]:
    """What `cluster` wrote about some snapshots."""
    return [
        Shard(
            "cluster",
            "i",
            str(i),
            str(i),
            "side",
            "clusters",
            "d",
            1,
            f"{i}.parquet",
            counters=(("largest_cluster", n),),
        )
        for i, n in enumerate(largest)
    ]


@pytest.mark.parametrize(
    "largest, documents, limit, raises",
    [
        ((1000,), 19_999, 0.05, True),
        ((1000,), 20_000, 0.05, False),  # a share of the limit is allowed
        ((999,), 999, 0.05, False),  # too few to say anything
        ((5000, 7), 6000, 1.0, False),
        ((7, 1200, 1100), 20_000, 0.05, True),
        ((), 0, 0.05, False),
    ],
)
def test_largest_cluster(largest: tuple[int, ...], documents: int, limit: float, raises: bool) -> None:
    if not raises:
        check_cluster("cluster", clusters(*largest), documents, limit)
        return
    with pytest.raises(
        UserError, match=r"one cluster has 1,[02]00 of [12]\d,\d{3} documents, more than the limit of 5.0%"
    ):
        check_cluster("cluster", clusters(*largest), documents, limit)


@pytest.mark.parametrize(
    "part, limit, raises",
    [
        (Removed("a", 1000, 1010), 0.95, True),
        (Removed("a", 950_000, 1_000_000), 0.95, False),
        (Removed("a", 999, 999), 0.95, False),
        (Removed("a", 5000, 5000), 1.0, False),
    ],
)
def test_removed(part: Removed, limit: float, raises: bool) -> None:
    if raises:
        with pytest.raises(UserError, match=r"1,000 of the 1,010 documents of host a go .* run.removed_of_host=1.0, "):
            check_removed("apply", "host", [Removed("b", 5, 5), part], 1000, limit)
    else:
        check_removed("apply", "host", [part], 1000, limit)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_the_limit_that_is_proposed_is_enough(removed: int, more: int) -> None:
    share = removed / (removed + more)
    assert share <= higher(share) <= min(1.0, share + 0.011)


def test_counts_of_sources_and_hosts() -> None:
    counts = {
        "in/web/en/docs": 5, "in/web/zh/docs": 4, "in/web/en/bytes": 900, "in/books/zh/docs": 3,
        "kept/web/en/docs": 1, "dropped/web/en/docs/near_duplicate": 3, "dropped/web/zh/docs/exact_duplicate": 2,
        "dropped/web/en/docs/error:ValueError": 1, "dropped/web/en/bytes/near_duplicate": 80,
        "host/a.example/in": 7, "host/a.example/removed": 6,
    }  # fmt: skip
    assert by_source(counts) == [Removed("books", 0, 3), Removed("web", 5, 9)]
    assert by_host(counts) == [Removed("a.example", 6, 7)]


DOCUMENTS = st.lists(st.tuples(st.sampled_from(["a.example", "b.example", None, ""]), st.booleans()), max_size=40)


@given(DOCUMENTS, st.lists(st.integers(0, 40), max_size=4), st.integers(1, 5))
def test_hosts_are_counted_however_batches_are_cut(
    documents: list[tuple[str | None, bool]], cuts: list[int], floor: int
) -> None:
    before = hosts.FLOOR
    hosts.FLOOR = floor
    try:
        counting, found = HostCounts(), Counter[str]()
        bounds = [0, *sorted(min(cut, len(documents)) for cut in cuts), len(documents)]
        for start, stop in zip(bounds, bounds[1:], strict=False):
            part = documents[start:stop]
            found += counting.count([host for host, _ in part], np.array([keep for _, keep in part], bool))
    finally:
        hosts.FLOOR = before
    expected = Counter[str]()
    for host in ("a.example", "b.example"):
        removed = sum(name == host and not keep for name, keep in documents)
        if removed >= floor:
            expected[f"host/{host}/in"] = sum(name == host for name, _ in documents)
            expected[f"host/{host}/removed"] = removed
    assert found == expected


# Whole runs: 6 copies in English and 6 in Chinese of 30 documents, source `again` is one of `web`.


def attempt(folder: Path, *settings: str) -> Result:
    """Run the chain over two sources."""
    folder.mkdir(exist_ok=True)
    texts = ["The same notice again.", "同一份通知又来了。"] * 6 + [f"Number {i} alone, 独一份{i}。" for i in range(18)]
    for name, part in (("web", texts), ("again", texts[12:22])):
        lines = ({"lang": "en", "text": text, "url": f"http://{name}.example/"} for text in part)
        body = "".join(json.dumps(line) + "\n" for line in lines)
        if not (folder / f"{name}.jsonl").exists():
            (folder / f"{name}.jsonl").write_text(body)
    sources = source("web", [folder / "web.jsonl"]) + source("again", [folder / "again.jsonl"], priority=1)
    recipe = parse_recipe(sources + CHAIN, "alarms", settings)
    return run_recipe(recipe, folder / "root")


def test_small_corpora_have_no_alarm(tmp_path: Path) -> None:
    attempt(tmp_path, "run.largest_cluster=0.01", "run.removed_of_source=0.01", "run.removed_of_host=0.01")


def test_what_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "FLOOR", 5)
    with pytest.raises(
        UserError, match=r"stage cluster: one cluster has 6 of 40 .* run.largest_cluster=0.16, and"
    ) as found:
        attempt(tmp_path)
    table = str(found.value).split("sizes are in ")[1].split(";")[0]
    assert (tmp_path / "root" / table).exists()
    with pytest.raises(
        UserError, match=r"stage apply: 10 of the 10 documents of source again .* run.removed_of_source=1.0"
    ):
        attempt(tmp_path, "run.largest_cluster=0.16")
    result = attempt(tmp_path, "run.largest_cluster=0.16", "run.removed_of_source=1.0")
    assert set(result.ran.values()) == {0}


def test_a_host_that_loses_everything_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "FLOOR", 5)
    monkeypatch.setattr(hosts, "FLOOR", 5)
    others = ("run.largest_cluster=1.0", "run.removed_of_source=1.0")
    with pytest.raises(UserError, match=r"10 of the 10 documents of host again\.example .* run.removed_of_host=1.0"):
        attempt(tmp_path, *others)
    assert set(attempt(tmp_path, *others, "run.removed_of_host=1.0").ran.values()) == {0}


def test_limits_are_shares(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be above 0 and at most 1"):
        attempt(tmp_path, "run.removed_of_host=95")
