"""Runs whose side files are merged before they are read: nothing but the files that are opened tells."""

import signal
from pathlib import Path

import pytest

from manifests.storage import open_storage
from manifests.store import Shard
from manifests.verify import verify
from pipeline.driver import Result
from pipeline.forecast import forecast
from pipeline.recipe import parse_recipe
from stages.base import UserError
from tests.dedup_runs.corpus import corpus, write
from tests.dedup_runs.killed import COMMITTING, WRITING, driven
from tests.dedup_runs.outcome import chain
from tests.runs import run_recipe
from tests.stages.dedup_corpus import corpus as families
from tests.stages.dedup_runner import CHAIN, run, source
from tests.stages.dedup_runner import write as write_lines

FEW = "[run]\ngather = 2\n"  # two files into one
BANDS = "gather-sign-bands"


def gathered(result: Result) -> dict[str, int]:
    """Tasks that ran, by stage that merges."""
    return {name: count for name, count in result.ran.items() if name.startswith("gather-")}


def keys(result: Result) -> set[tuple[str, str]]:
    """The tasks of all other stages."""
    return {(r.stage, r.task_key) for name, rows in result.rows.items() if name not in gathered(result) for r in rows}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write(tmp_path_factory.mktemp("inputs"), corpus(1), files=2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, sources: list[str]) -> Result:
    """The chain of all stages over the side files that were written."""
    return run_recipe(chain(sources), tmp_path_factory.mktemp("plain") / "root")


def test_nothing_that_follows_tells_the_difference(plain: Result, sources: list[str], tmp_path: Path) -> None:
    assert gathered(plain) == {}
    recipe, root = chain([FEW, *sources]), tmp_path / "root"
    result = run_recipe(recipe, root)
    assert {f"gather-{name}" for name in ("sign-bands", "sign-content", "lines-lines", "windows-windows")} <= set(
        gathered(result)
    )
    assert (result.root, keys(result)) == (plain.root, keys(plain))
    verified = verify(str(root))
    assert (verified.root, verified.faults, verified.other_folders) == (plain.root, (), 0)
    read = {digest for row in result.rows["match"] for digest in row.inputs}
    assert not read & {digest for row in plain.rows["match"] for digest in row.inputs}
    again = run_recipe(recipe, root)
    assert again.ran == dict.fromkeys(result.ran, 0)
    assert [line.split()[-1] for line in forecast(recipe, open_storage(str(root))).splitlines() if BANDS in line] == [
        "committed"
    ]


@pytest.mark.parametrize("moment, after", [pytest.param(WRITING, 0, marks=pytest.mark.soak), (COMMITTING, 1)])
def test_killed_while_files_are_merged(
    plain: Result, sources: list[str], tmp_path: Path, moment: str, after: int
) -> None:
    root = tmp_path / "root"
    assert driven(root, [FEW, *sources], BANDS, moment, after) == -signal.SIGKILL
    assert len(list(root.glob(f"{BANDS}-*/*.manifest.parquet"))) == after
    result = run_recipe(chain([FEW, *sources]), root)
    assert 0 < result.ran[BANDS] == len(list(root.glob(f"{BANDS}-*/*.manifest.parquet"))) - after
    assert result.root == plain.root


def test_a_new_snapshot_merges_its_own_files_alone(tmp_path: Path) -> None:
    lines = families(3)
    paths = [write_lines(tmp_path / "in" / f"{i}.jsonl", lines[i::6]) for i in range(6)]
    old, new = source("old", paths[:4], "1"), source("new", paths[4:], "2")
    first = run(tmp_path / "root", old, settings=("run.gather=2",))
    assert first.result.ran[BANDS] > 1
    both = run(tmp_path / "root", old, new, settings=("run.gather=2",))
    both.check()
    rows: list[Shard] = both.result.rows[BANDS]
    assert both.result.ran[BANDS] == sum(row.snapshot == "2" for row in rows) > 0
    assert both.keys(BANDS, "1") == {(r.task_key, r.output, r.digest) for r in first.result.rows[BANDS]}
    assert both.result.root == run(tmp_path / "plain", old, new).result.root


def test_names_that_planning_gives_are_its_own() -> None:
    text = source("a", [Path("a")]) + CHAIN.replace('use = "exact"', 'use = "exact"\nname = "gather-all"')
    with pytest.raises(UserError, match="'gather-all' is used twice or reserved"):
        parse_recipe(text, "taken")
