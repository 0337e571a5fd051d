"""Every stage that deduplicates decides the same: for any number of workers and tasks, any order and any files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from manifests.storage import open_storage
from manifests.store import Shard
from pipeline.driver import Result
from pipeline.executor import Executor, Failure
from pipeline.recipe import Recipe, load_recipe
from stages import sides
from stages.base import Task
from stages.passes import Job
from tests.conftest import REPO
from tests.dedup_runs.corpus import corpus, write
from tests.dedup_runs.outcome import Fate, chain, cut_into, fates
from tests.runs import run_recipe

LAST = "similar"
RECIPES = ["dedup", "matrix-dedup-en", "matrix-dedup-zh"]
Made = tuple[Path, Result]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder of files, and the sources in it."""
    folder = tmp_path_factory.mktemp("inputs")
    return folder, write(folder, corpus(1))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, inputs: tuple[Path, list[str]]) -> Made:
    """The chain of all stages, run in this process."""
    root = tmp_path_factory.mktemp("reference") / "root"
    return root, run_recipe(chain(inputs[1]), root)


@pytest.fixture(scope="module")
def decided(reference: Made) -> dict[str, Fate]:
    """What became of each document there."""
    return fates(*reference, LAST)


def shipped(name: str, inputs: tuple[Path, list[str]]) -> Recipe:
    """A recipe that comes with Glasspile, over all files as one source."""
    return load_recipe(name, (), [str(inputs[0])])


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory, inputs: tuple[Path, list[str]]) -> dict[str, str]:
    """Root hash of each recipe, run in this process."""
    return {name: run_recipe(shipped(name, inputs), tmp_path_factory.mktemp(name)).root for name in RECIPES}


@pytest.mark.parametrize("lang", ["en", "zh", "mx"])
@pytest.mark.parametrize(
    "own, fate",
    [
        ("base", ("kept",)),
        ("near", ("apply", "near_duplicate", "base")),
        ("near-copy", ("apply", "near_duplicate", "base")),
        ("far", ("kept",)),
        ("copy-a", ("kept",)),
        ("copy-b", ("apply", "exact_duplicate", "copy-a")),
        ("copy-c", ("apply", "exact_duplicate", "copy-a")),
        ("line-a", ("kept",)),
        ("line-b", ("kept", "duplicate_line")),
        ("line-c", ("kept", "duplicate_line")),
        ("rest", ("apply-lines", "too_short_after_cuts", "")),
        ("menu-a", ("kept",)),
        ("menu-b", ("kept", "boilerplate_line")),
        ("menu-c", ("kept", "boilerplate_line")),
        ("passage-a", ("kept",)),
        ("passage-b", ("kept", "duplicate_passage")),
        ("passage-c", ("kept", "duplicate_passage")),
        ("twice", ("kept", "duplicate_line")),
        ("similar", ("kept", "similar_line")),
        ("alone-a0", ("kept",)),
        ("alone-c2", ("kept",)),
    ],
)
def test_what_was_planted_has_its_stated_fate(decided: dict[str, Fate], lang: str, own: str, fate: Fate) -> None:
    for family in ("0", "1"):
        found = decided[f"{lang}{family}-{own}"]
        if found[0] == "kept":
            assert ("kept", *sorted({cut.split()[1] for cut in found[2:]})) == fate
        else:
            assert (*found[:2], found[2].removeprefix(f"{lang}{family}-")) == fate


@pytest.mark.parametrize("count", [4, pytest.param(64, marks=pytest.mark.soak)])
def test_any_number_of_tasks_and_any_order_of_sources(
    reference: Made, inputs: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    exchanges = ("exact", "match", "verify", "paragraphs", "boilerplate", "substring")
    assert [reference[1].ran[stage] for stage in exchanges] == [1] * len(exchanges)
    monkeypatch.setattr(sides, "ranges", cut_into(count))
    result = run_recipe(chain(inputs[1][::-1]), tmp_path / "root")
    assert [result.ran[stage] for stage in exchanges] == [count] * len(exchanges)
    assert result.root == reference[1].root


def test_documents_in_other_files(decided: dict[str, Fate], tmp_path: Path) -> None:
    """Ids follow from files and lines, so all differ; what stays, what is cut and for whom is the same."""
    sources = write(tmp_path / "inputs", corpus(1), seed=2, files=2)
    result = run_recipe(chain(sources), tmp_path / "root")
    assert fates(tmp_path / "root", result, LAST) == decided


class Lent:
    """A pool of actors that serves several runs."""

    def __init__(self, pool: Executor) -> None:
        self.pool = pool

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """See Executor.map."""
        return self.pool.map(job, tasks)

    def close(self) -> None:
        """The pool goes on."""


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    import ray

    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    ray.init(
        "local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.parametrize("actors, count", [(1, 1), (2, 2), (4, 4)])
def test_any_number_of_workers(
    ray_session: None,
    reference: Made,
    recipes: dict[str, str],
    inputs: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    actors: int,
    count: int,
) -> None:
    """With as many tasks; two workers run the recipes that come with Glasspile too."""
    from pipeline.ray_pool import RayExecutor

    monkeypatch.setattr(sides, "ranges", cut_into(count))
    open_storage(str(tmp_path / "pool")).put("manifests/LAYOUT", b"1")
    pool = RayExecutor("local", str(tmp_path / "pool"), actors=actors, attempts=1)
    lent = Lent(pool)
    try:
        root = run_recipe(chain(inputs[1]), tmp_path / "every", lambda: lent).root
        names = RECIPES if actors == 2 else []
        found = {name: run_recipe(shipped(name, inputs), tmp_path / name, lambda: lent).root for name in names}
    finally:
        pool.close()
    assert root == reference[1].root
    assert found == {name: recipes[name] for name in names}
