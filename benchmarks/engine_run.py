"""`python -m pipeline ARGUMENTS` with a clock: the file named first gets, in seconds since the epoch, from when to when
the command ran once its modules were imported, when the executor was made, and when tasks of each stage were out."""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from manifests.store import Shard
from pipeline import headstart
from pipeline.__main__ import main
from pipeline.executor import Executor, Failure
from pipeline.recipe import load_recipe
from stages.base import Task
from stages.passes import Job

CLOCK: dict[str, list[tuple[float, float]]] = {"making": [], "mapping": [], "main": []}


class Clocked:
    """The executor of a run on this machine, as `pipeline.__main__` makes it."""

    def __init__(self, start: Callable[[], Executor], workers: int, attempts: int, deadline: float) -> None:
        began = time.time()
        self.inner = HEAD_START(start, workers, attempts, deadline)
        CLOCK["making"].append((began, time.time()))

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """See Executor.map."""
        began = time.time()
        yield from self.inner.map(job, tasks)
        CLOCK["mapping"].append((began, time.time()))

    def close(self) -> None:
        """See Executor.close."""
        self.inner.close()


HEAD_START = headstart.HeadStart

if __name__ == "__main__":
    vars(headstart)["HeadStart"] = Clocked
    importlib.import_module("pipeline.driver")
    load_recipe("sample", [])  # imports the modules of its stages
    began = time.time()
    status = main(sys.argv[2:])
    CLOCK["main"].append((began, time.time()))
    Path(sys.argv[1]).write_text(json.dumps(CLOCK), encoding="utf-8")
    sys.exit(status)
