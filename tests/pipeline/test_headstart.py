"""Forked processes until a pool answers: what is particular to them; the contract is in test_executors."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from manifests.store import Shard
from pipeline.executor import Failure
from pipeline.headstart import HeadStart
from pipeline.local import LocalExecutor
from stages.base import Task, UserError
from stages.passes import Job
from tests.pipeline.test_executors import prepare

REPO = Path(__file__).resolve().parents[2]


class Noting(LocalExecutor):
    """A pool that notes the keys of its tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        self.keys += [task.key for task in tasks]
        yield from super().map(job, tasks)


def opened(gate: threading.Event, pool: LocalExecutor) -> LocalExecutor:
    """The pool, once the gate is open."""
    assert gate.wait(30)
    return pool


def test_the_pool_takes_what_has_not_begun(tmp_path: Path) -> None:
    job, tasks = prepare(tmp_path, [["sleep"], ["b"], ["好"], ["d"]], {"sleep": 1})
    pool, gate = Noting(), threading.Event()
    executor = HeadStart(lambda: opened(gate, pool), 1, attempts=2, deadline=1.0)
    done = []
    for task, result in executor.map(job, tasks):
        done.append(task.key)
        assert not isinstance(result, Failure)
        gate.set()
        executor.pool.result()
    executor.close()
    assert sorted(done) == sorted(task.key for task in tasks)
    # The forked process slept through its deadline and tried again; the pool got the rest.
    assert done[0] == tasks[0].key and pool.keys == [task.key for task in tasks[1:]]


def test_a_process_that_dies_leaves_its_task_to_others(tmp_path: Path) -> None:
    job, tasks = prepare(tmp_path, [["exit"], ["b"], ["文"]], {"exit": 1})
    gate = threading.Event()
    executor = HeadStart(lambda: opened(gate, LocalExecutor()), 2)
    try:
        results = [result for _, result in executor.map(job, tasks)]
        assert len(executor.workers) == 1
    finally:
        gate.set()
        executor.close()
    assert len(results) == 3 and not any(isinstance(result, Failure) for result in results)


class Large(LocalExecutor):
    """Its answers are larger than what a pipe holds."""

    def run(self, job: Job, task: Task) -> list[Shard] | Failure:
        return Failure(task, "OSError", "x" * (1 << 24), "")


@pytest.mark.parametrize("moment", ["idle", "before it reads", "while it answers"])
def test_a_process_may_die_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    if moment == "while it answers":
        monkeypatch.setattr("pipeline.headstart.LocalExecutor", Large)
    job, tasks = prepare(tmp_path, [["a"]], {})
    gate = threading.Event()
    executor = HeadStart(lambda: opened(gate, LocalExecutor()), 1)
    (worker,) = executor.workers
    try:
        if moment == "before it reads":
            worker.send(job, tasks[0])  # so that it is there
            assert worker.pipe.poll(30) and executor._collect()
            os.kill(worker.process.pid or 0, signal.SIGSTOP)
        if moment != "idle":
            worker.send(job, tasks[0])
        if moment == "while it answers":
            assert worker.pipe.poll(30)
            time.sleep(0.2)  # in which the pipe fills
        worker.process.kill()
        worker.process.join()
        if moment == "idle":
            worker.send(job, tasks[0])
        ((task, result),) = executor._collect()
        assert isinstance(result, Failure) and (task, result.error) == (tasks[0], "WorkerDied")
        assert executor.workers == []
    finally:
        gate.set()
        executor.close()


def test_a_pool_that_does_not_start_ends_the_run(tmp_path: Path) -> None:
    def start() -> LocalExecutor:
        raise UserError("Ray did not start")

    job, tasks = prepare(tmp_path, [["a"], ["b"]], {})
    executor = HeadStart(start, 1)
    with pytest.raises(UserError, match="Ray did not start"):
        list(executor.map(job, tasks))
    executor.close()
    assert not executor.workers


def test_no_process_outlives_a_driver_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import time; from pipeline.headstart import HeadStart\n"
        "made = HeadStart(lambda: time.sleep(60), 2)\n"
        "print(*(worker.process.pid for worker in made.workers), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        pids = [int(pid) for pid in driver.stdout.readline().split()]
        forked = [psutil.Process(pid) for pid in pids]
        driver.kill()
    end = time.monotonic() + 10
    while any(process.is_running() for process in forked) and time.monotonic() < end:
        time.sleep(0.01)
    assert len(pids) == 2 and not any(process.is_running() for process in forked)
