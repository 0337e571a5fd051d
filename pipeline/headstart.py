"""The executor for one machine: tasks run in forked processes from the first moment on, and in the actors of a pool,
which starts beside them, as soon as that is there, so that no time passes without work.

Who runs a task shows nowhere: a process does what an actor does, and dies with the driver too. The surprising thing is
the thread in which the pool is started and closed: what Ray starts dies with the thread that started it.
"""

import ctypes
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

import pyarrow as pa

from manifests.store import Shard
from pipeline.executor import Executor, Failure
from pipeline.local import LocalExecutor
from stages.base import Task
from stages.passes import Job

POLL_SECONDS = 0.05
GRACE_SECONDS = 10.0  # in which a process may end a late task itself
PR_SET_PDEATHSIG = 1  # prctl(2)
FORK = get_context("fork")  # what the driver has imported need not be imported again


class Forked:
    """A process that runs one task at a time: `task` since `since`."""

    def __init__(self, deadline: float) -> None:
        self.pipe, other = FORK.Pipe()
        self.process = FORK.Process(target=serve, args=(other, deadline, os.getpid()), daemon=True)
        self.process.start()
        other.close()
        self.task: Task | None = None
        self.since = 0.0

    def send(self, job: Job, task: Task) -> None:
        """Start a task."""
        self.task, self.since = task, time.monotonic()
        with suppress(BrokenPipeError):  # it died while it waited, which shows when its answer is read
            self.pipe.send((job, task))

    def kill(self) -> None:
        """End the process, and with it the task."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def serve(pipe: Connection, deadline: float, parent: int) -> None:
    """The process: runs tasks until its parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pa.set_cpu_count(1)
    executor = LocalExecutor(attempts=1, deadline=deadline)
    while True:
        job, task = pipe.recv()
        pipe.send(executor.run(job, task))


class HeadStart:
    """Forked processes until the pool that `start` makes is there; while they end what they had begun, there are more
    workers than were asked for."""

    def __init__(
        self, start: Callable[[], Executor], workers: int, attempts: int = 3, deadline: float = 7200.0
    ) -> None:
        self.attempts, self.deadline = attempts, deadline
        self.workers = [Forked(deadline) for _ in range(workers)]  # before there is any thread
        self.thread = ThreadPoolExecutor(1)
        self.pool = self.thread.submit(start)

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """See Executor.map; tries that fail before the pool is there do not count in it."""
        waiting, tries = deque(tasks), Counter[str]()
        try:
            while waiting or self._busy():
                if self.pool.done():
                    self._dismiss([worker for worker in self.workers if not worker.task])
                    rest = list(waiting)
                    waiting.clear()
                    yield from self.pool.result().map(job, rest)
                for worker in self.workers:
                    if waiting and not worker.task:
                        worker.send(job, waiting.popleft())
                for task, result in self._collect():
                    if isinstance(result, Failure) and not result.fatal:
                        tries[task.key] += 1
                        result = replace(result, attempts=tries[task.key])
                        if result.attempts < self.attempts:
                            waiting.appendleft(task)
                            continue
                    yield task, result
        finally:
            # After an early end, no process works on behind the driver's back.
            self._dismiss([worker for worker, _ in self._busy()])

    def close(self) -> None:
        """End the processes; the pool ends while the driver goes on, at the latest before this process does."""
        self._dismiss(self.workers)
        self.thread.submit(self._end)
        self.thread.shutdown(wait=False)

    def _end(self) -> None:
        if not self.pool.exception():  # what failed to start has nothing to close
            self.pool.result().close()

    def _collect(self) -> list[tuple[Task, list[Shard] | Failure]]:
        """What has ended within a moment. A process that died or is late is not replaced: the pool will come."""
        busy = self._busy()
        ready = wait([worker.pipe for worker, _ in busy], POLL_SECONDS)
        found: list[tuple[Task, list[Shard] | Failure]] = []
        for worker, task in busy:
            try:
                if worker.pipe in ready:
                    found.append((task, worker.pipe.recv()))
                    worker.task = None
                elif time.monotonic() - worker.since > self.deadline + GRACE_SECONDS:
                    self._dismiss([worker])
                    message = f"the task ran longer than its deadline of {self.deadline:g} s"
                    found.append((task, Failure(task, "TaskTimeout", message, "")))
            except (EOFError, OSError):  # nothing more comes, or half of an answer, or it did not read the task
                self._dismiss([worker])
                found.append(
                    (task, Failure(task, "WorkerDied", "the worker process died (out of memory, or killed)", ""))
                )
        return found

    def _busy(self) -> list[tuple[Forked, Task]]:
        return [(worker, worker.task) for worker in self.workers if worker.task]

    def _dismiss(self, workers: Sequence[Forked]) -> None:
        for worker in workers:
            worker.kill()
        self.workers = [worker for worker in self.workers if worker not in workers]
