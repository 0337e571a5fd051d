"""The contract of executors, the same for the one in this process, the one on Ray, and forked processes before it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from manifests.storage import open_storage
from manifests.store import Shard
from pipeline.executor import Executor, Failure
from pipeline.headstart import HeadStart
from pipeline.local import LocalExecutor
from stages.base import Plan, Task, Upstream, docs_tasks
from stages.output import Output, Place
from stages.passes import Job, Step
from stages.schema import DOC
from tests.pipeline.toys import Trouble

DEADLINE = 6.0


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    import os

    import ray

    repo = str(Path(__file__).resolve().parents[2])
    ray.init(
        address="local",  # not one that another user of the machine has started
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([repo, os.environ.get("PYTHONPATH", "")])}},
    )
    yield
    ray.shutdown()


@pytest.fixture(params=["local", "headstart", pytest.param("ray", marks=pytest.mark.ray)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_session")
    return request.param


def make(kind: str, root: Path) -> Executor:
    if kind == "local":
        return LocalExecutor(attempts=3, deadline=DEADLINE)
    if kind == "headstart":
        return HeadStart(in_a_while, 2, attempts=3, deadline=DEADLINE)
    from pipeline.ray_pool import RayExecutor

    return RayExecutor("local", str(root), actors=2, attempts=3, deadline=DEADLINE)


def in_a_while() -> Executor:
    """A pool that comes after the first tasks."""
    time.sleep(1.0)
    return LocalExecutor(attempts=3, deadline=DEADLINE)


def docs(root: Path, texts: list[list[str]]) -> list[Shard]:
    """One stored shard of documents for each list of texts."""
    storage = open_storage(str(root))
    storage.put("manifests/LAYOUT", b"1")
    rows = []
    for i, shard in enumerate(texts):
        out = Output(storage, Place("up", "0" * 16, "up-0", f"{i:032x}", f"{i:032x}", "web", "1", (), "{}"))
        writer = out.file("docs", "docs", DOC)
        made = [
            {
                "doc_id": bytes([i, j]) + bytes(14),
                "source": "web",
                "snapshot": "1",
                "lang": "zh",
                "text": text,
                "priority": 0,
            }
            for j, text in enumerate(shard)
        ]
        writer.write(pa.RecordBatch.from_pylist(made, schema=DOC))
        rows += out.finish(0.0, 0)
    return rows


def prepare(tmp_path: Path, texts: list[list[str]], wrong: dict[str, int]) -> tuple[Job, list[Task]]:
    """A job over the texts whose tries go wrong as often as `wrong` says."""
    root, folder = tmp_path / "root", tmp_path / "troubles"
    folder.mkdir()
    for text, times in wrong.items():
        (folder / text).write_text(str(times))
    stage = Trouble("trouble", ("up",), folder=str(folder))
    stage_id = stage.stage_id(["0" * 16])
    plan = Plan(stage_id, (Upstream("up", "0" * 16, tuple(docs(root, texts))),), ("1",))
    return Job((Step(stage, stage_id),), str(root)), docs_tasks(plan)


def run(kind: str, tmp_path: Path, texts: list[list[str]], wrong: dict[str, int]) -> dict[str, list[Shard] | Failure]:
    """Results by the first text of each shard."""
    job, tasks = prepare(tmp_path, texts, wrong)
    executor = make(kind, tmp_path / "root")
    try:
        results = {task.key: result for task, result in executor.map(job, tasks)}
    finally:
        executor.close()
    return {shard[0]: results[task.key] for shard, task in zip(texts, tasks, strict=True)}


class TestContract:
    def test_every_task_comes_back_with_its_rows(self, kind: str, tmp_path: Path) -> None:
        results = run(kind, tmp_path, [["好", "x"], ["x", "x"], ["b", "c"], ["文"]], {})
        kept = {name: next(r.rows for r in rows if r.output == "docs") for name, rows in results.items()}
        assert kept == {"好": 1, "x": 0, "b": 2, "文": 1}

    def test_a_try_that_fails_is_repeated(self, kind: str, tmp_path: Path) -> None:
        results = run(kind, tmp_path, [["raise"], ["b"]], {"raise": 2})
        assert not any(isinstance(result, Failure) for result in results.values())

    def test_a_task_that_keeps_failing_is_set_aside_and_the_others_finish(self, kind: str, tmp_path: Path) -> None:
        results = run(kind, tmp_path, [["raise"], ["b"], ["c"]], {"raise": 99})
        failure = results.pop("raise")
        assert isinstance(failure, Failure)
        assert (failure.error, failure.message, failure.attempts) == ("OSError", "the disk coughed", 3)
        assert "toys.py" in failure.trace
        assert not any(isinstance(result, Failure) for result in results.values())

    def test_a_mistake_of_the_user_is_not_repeated(self, kind: str, tmp_path: Path) -> None:
        failure = run(kind, tmp_path, [["mistake"]], {"mistake": 1})["mistake"]
        assert isinstance(failure, Failure) and failure.fatal and failure.attempts == 1

    def test_a_deadline_ends_a_try(self, kind: str, tmp_path: Path) -> None:
        results = run(kind, tmp_path, [["sleep"], ["b"]], {"sleep": 1})
        assert not any(isinstance(result, Failure) for result in results.values())

    def test_an_early_end_leaves_the_executor_usable(self, kind: str, tmp_path: Path) -> None:
        job, tasks = prepare(tmp_path, [[text] for text in "abcdef"], {})
        executor = make(kind, tmp_path / "root")
        try:
            next(iter(executor.map(job, tasks)))
            assert len(list(executor.map(job, tasks))) == 6
        finally:
            executor.close()


@pytest.mark.ray
class TestActors:
    def test_a_death_counts_for_the_running_task_alone(self, ray_session: None, tmp_path: Path) -> None:
        results = run("ray", tmp_path, [["exit"], ["b"], ["c"], ["d"], ["e"]], {"exit": 2})
        assert not any(isinstance(result, Failure) for result in results.values())

    def test_a_task_that_kills_its_workers_is_set_aside(self, ray_session: None, tmp_path: Path) -> None:
        results = run("ray", tmp_path, [["exit"], ["b"], ["c"], ["d"], ["e"]], {"exit": 99})
        failure = results.pop("exit")
        assert isinstance(failure, Failure) and failure.error == "WorkerDied" and failure.attempts == 3
        assert not any(isinstance(result, Failure) for result in results.values())
