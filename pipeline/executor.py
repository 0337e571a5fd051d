"""How tasks are carried out: the contract of every executor, and one try of one task.

An executor gives back each task with its committed rows, or with the failure after which it was set aside. A failure
that another try cannot mend (the user's mistake, a full disk, books that do not balance) ends the run at once.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from manifests.asset import AssetError
from manifests.storage import OutOfDisk
from manifests.store import CommitConflict, Shard
from stages.base import Task, UserError
from stages.passes import Job, OutOfBalance

FATAL = (UserError, AssetError, OutOfDisk, CommitConflict, OutOfBalance)


@dataclass(frozen=True)
class Failure:
    """A task that was set aside, and why."""

    task: Task
    error: str
    message: str
    trace: str
    attempts: int = 1
    fatal: bool = False


class Executor(Protocol):
    """Carries out tasks; a context manager that lets go of its processes at the end."""

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """Run the tasks, a bounded number at a time, and give each one back as it ends, in any order."""

    def close(self) -> None:
        """Let go of processes and connections."""


def attempt(run: Callable[[Task], list[Shard]], task: Task) -> list[Shard] | Failure:
    """One try of one task: its committed rows, or what went wrong."""
    try:
        return run(task)
    except Exception as error:  # whatever it was, it counts as a failed try, and the run ends with a table of them
        trace = "".join(traceback.format_exception(error)[-4:])
        return Failure(task, type(error).__name__, str(error), trace, fatal=isinstance(error, FATAL))
