"""The executor on Ray: one pool of actors for a whole run, which fetch work and write files themselves.

Only a pickled job and task cross the object store, never data. An actor has at most two tasks, so it never waits; one
that dies or passes a deadline is replaced, and only the task that it was running counts a failed try.
"""

import os
import pickle
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayActorError, RayError

from manifests.storage import StorageError, open_input, open_storage
from manifests.store import Shard
from pipeline.executor import Failure, attempt
from pipeline.node import compare, environment
from pipeline.ray_start import connect
from stages.base import Task, UserError
from stages.passes import Job, JobWorker

MESSAGE_LIMIT = 1 << 20
PER_ACTOR = 2
POLL_SECONDS = 0.5
HELLO_SECONDS = 120.0
BUSY = "the cluster is busy, has lost a node, or has fewer CPUs than were asked for with --actors"


class Runner:
    """The actor: keeps the worker of one job open, and runs its tasks."""

    def __init__(self) -> None:
        pa.set_cpu_count(1)
        self.opened = b""
        self.worker: JobWorker | None = None

    def hello(self, root: str, inputs: Sequence[str]) -> dict[str, str]:
        """What runs on this node, and what of the run it cannot reach."""
        trouble = ""
        try:
            open_storage(root).get("manifests/LAYOUT")
            for uri in inputs:
                open_input(uri).close()
        except (OSError, StorageError) as error:
            trouble = str(error)
        return environment() | {"node": ray.util.get_node_ip_address(), "trouble": trouble}

    def pid(self) -> int:
        """Process id, for tests that kill actors."""
        return os.getpid()

    def run(self, job: bytes, task: bytes) -> bytes:
        """One try of one task."""
        if job != self.opened:
            self._close()
        result = attempt(lambda t: self._open(job).run(t), pickle.loads(task))
        if isinstance(result, Failure):
            self._close()  # whatever it was, the next try finds nothing half done
        return pickle.dumps(result)

    def _close(self) -> None:
        if self.worker:
            self.worker.close()
        self.opened, self.worker = b"", None

    def _open(self, job: bytes) -> JobWorker:
        if self.worker is None:
            self.worker = JobWorker(pickle.loads(job))
            self.opened = job
        return self.worker


@dataclass
class Slot:
    """One actor and the tasks that it has: the first is running since `since`, the others wait.

    It gets none before it has answered `hello`: where a node is gone, a new actor may wait for a CPU without end.
    """

    actor: Any
    hello: Any
    tasks: deque[tuple[Any, Task]] = field(default_factory=deque)
    since: float = 0.0


class RayExecutor:
    """Actors on the Ray at `address`: "local" starts one on this machine, "auto" and addresses join a cluster.

    UserError unless every actor that answers, at the start or later, runs this code and reaches the root and one input
    of each source.
    """

    def __init__(
        self,
        address: str,
        root: str,
        inputs: Sequence[str] = (),
        actors: int | None = None,
        attempts: int = 3,
        deadline: float = 7200.0,
    ) -> None:
        self.root, self.inputs, self.attempts, self.deadline = root, list(inputs), attempts, deadline
        self.cluster = address != "local"
        self.started = connect(address, actors)
        cpus = int(ray.cluster_resources().get("CPU", 1))
        self.actor_class = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Runner)
        self.slots = [Slot(*self._actor()) for _ in range(max(1, actors or cpus))]
        self.returned: list[Task] = []  # tasks that waited at an actor that is gone
        self.sent = 0  # bytes that crossed the object store
        self.deaths = 0  # actors in a row that died before they answered
        try:
            self._await_actors()
        except BaseException:
            self.close()
            raise

    def _actor(self) -> tuple[Any, Any]:
        """A new actor, and its answer to come; one on this machine is as its driver and is only asked to be there."""
        actor = self.actor_class.remote()
        return actor, actor.hello.remote(self.root, self.inputs) if self.cluster else actor.pid.remote()

    def _await_actors(self) -> None:
        """Wait for the answers of all actors, or of those that the cluster has room for now."""
        deadline = time.monotonic() + HELLO_SECONDS
        while absent := [slot.hello for slot in self.slots if slot.hello]:
            ready, _ = ray.wait(absent, timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            self._welcome(ready)
        if len(absent) == len(self.slots):
            raise UserError(f"no worker started within {HELLO_SECONDS:g} s; {BUSY}")
        if absent:
            here = len(self.slots) - len(absent)
            print(f"{here} of {len(self.slots)} workers are there, others may join; {BUSY}", file=sys.stderr)

    def _welcome(self, ready: Sequence[Any]) -> None:
        """Hear the actors that have answered; they may get tasks from now on."""
        for slot in self.slots:
            if slot.hello and slot.hello in ready:
                try:
                    answer = ray.get(slot.hello)
                except RayError as error:
                    self.deaths += 1
                    if self.deaths > len(self.slots):
                        raise UserError(f"workers end before they answer: {str(error).splitlines()[0]}") from error
                    slot.actor, slot.hello = self._actor()
                    continue
                if self.cluster:
                    compare([answer])
                slot.hello, self.deaths = None, 0

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """See Executor.map."""
        payload = pickle.dumps(job)
        waiting, tries = deque(tasks), dict.fromkeys((t.key for t in tasks), 0)
        alone = time.monotonic()
        try:
            while waiting or any(slot.tasks for slot in self.slots):
                self._fill(payload, waiting)
                running = [ref for slot in self.slots for ref, _ in slot.tasks]
                absent = [slot.hello for slot in self.slots if slot.hello]
                ready, _ = ray.wait(running + absent, num_returns=1, timeout=POLL_SECONDS)
                self._welcome(ready)
                alone = time.monotonic() if running else alone
                if time.monotonic() - alone > HELLO_SECONDS:
                    raise UserError(f"no worker is left, and none came for {HELLO_SECONDS:g} s; {BUSY}")
                results = [self._collect(ref) for ref in ready if ref in running] + self._late()
                for task, result in results:
                    if isinstance(result, Failure) and not result.fatal:
                        tries[task.key] += 1
                        result = replace(result, attempts=tries[task.key])
                        if tries[task.key] < self.attempts:
                            waiting.appendleft(task)
                            continue
                    yield task, result
                waiting.extendleft(self.returned)
                self.returned = []
        finally:
            self._abandon()

    def close(self) -> None:
        """Stop the actors, and Ray itself if it was started here."""
        for slot in self.slots:
            ray.kill(slot.actor)
        if self.started:
            ray.shutdown()

    def _fill(self, payload: bytes, waiting: deque[Task]) -> None:
        """Hand out work, first to actors that have least."""
        for depth in range(PER_ACTOR):
            for slot in self.slots:
                if waiting and not slot.hello and len(slot.tasks) == depth:
                    task = waiting.popleft()
                    message = pickle.dumps(task)
                    if len(payload) + len(message) > MESSAGE_LIMIT:
                        raise UserError(f"task {task.key} is too large to send ({len(payload) + len(message):,} bytes)")
                    self.sent += len(payload) + len(message)
                    if not slot.tasks:
                        slot.since = time.monotonic()
                    slot.tasks.append((slot.actor.run.remote(payload, message), task))

    def _collect(self, ref: Any) -> tuple[Task, list[Shard] | Failure]:
        slot = next(s for s in self.slots if any(r == ref for r, _ in s.tasks))
        task = next(t for r, t in slot.tasks if r == ref)
        try:
            reply = ray.get(ref)
            self.sent += len(reply)
            result = pickle.loads(reply)
        except RayActorError:
            # The actor is gone: its first task is to blame, the others are handed out again.
            task = slot.tasks[0][1]
            ref = slot.tasks[0][0]
            result = Failure(task, "WorkerDied", "the worker process died (out of memory, or killed)", "")
            self._replace(slot, ref)
            return task, result
        except RayError as error:
            result = Failure(task, type(error).__name__, str(error).splitlines()[0], str(error))
        slot.tasks = deque(item for item in slot.tasks if item[0] != ref)
        slot.since = time.monotonic()
        return task, result

    def _late(self) -> list[tuple[Task, list[Shard] | Failure]]:
        """Kill actors whose task is past the deadline."""
        late: list[tuple[Task, list[Shard] | Failure]] = []
        for slot in self.slots:
            if slot.tasks and time.monotonic() - slot.since > self.deadline:
                ref, task = slot.tasks[0]
                ray.kill(slot.actor)
                self._replace(slot, ref)
                message = f"the task ran longer than its deadline of {self.deadline:g} s"
                late.append((task, Failure(task, "TaskTimeout", message, "")))
        return late

    def _replace(self, slot: Slot, ref: Any) -> None:
        """A new actor for a slot; the tasks other than `ref` wait to be handed out again."""
        self.returned += [task for r, task in slot.tasks if r != ref]
        slot.tasks.clear()
        slot.actor, slot.hello = self._actor()

    def _abandon(self) -> None:
        """After an early end: stop what still runs, so that no actor works on behind the driver's back."""
        for slot in self.slots:
            if slot.tasks:
                ray.kill(slot.actor)
                self._replace(slot, None)
        self.returned = []
