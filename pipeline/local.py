"""The executor without Ray: tasks one after another in this process, for debugging and for tests."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType

from manifests.store import Shard
from pipeline.executor import Failure, attempt
from stages.base import Task
from stages.passes import Job, JobWorker


class TaskTimeout(Exception):
    """A task ran past its deadline."""


class LocalExecutor:
    """Runs tasks in this process; the deadline needs the main thread, and is not kept elsewhere."""

    def __init__(self, attempts: int = 3, deadline: float = 7200.0) -> None:
        self.attempts, self.deadline = attempts, deadline
        self.job: Job | None = None
        self.worker: JobWorker | None = None

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """See Executor.map."""
        for task in tasks:
            yield task, self.run(job, task)
        self.close()

    def run(self, job: Job, task: Task) -> list[Shard] | Failure:
        """One task, tried as often as may be; what it opened stays open for the next one."""
        for count in range(1, self.attempts + 1):
            result = attempt(lambda t: timed(self._open(job), t, self.deadline), task)
            if not isinstance(result, Failure):
                return result
            self.close()  # whatever it was, the next try finds nothing half done
            if result.fatal or count == self.attempts:
                return replace(result, attempts=count)
        raise ValueError("attempts must be at least 1")

    def close(self) -> None:
        """Let go of the open worker."""
        if self.worker:
            self.worker.close()
        self.worker = self.job = None

    def _open(self, job: Job) -> JobWorker:
        if self.worker is None or self.job != job:
            self.close()
            self.worker, self.job = JobWorker(job), job
        return self.worker


def timed(worker: JobWorker, task: Task, deadline: float) -> list[Shard]:
    """Run a task under a deadline in seconds; TaskTimeout past it."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TaskTimeout(f"the task ran longer than its deadline of {deadline:g} s")

    try:
        previous = signal.signal(signal.SIGALRM, late)
    except ValueError:  # not the main thread
        return worker.run(task)
    signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        return worker.run(task)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
