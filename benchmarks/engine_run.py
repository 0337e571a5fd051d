"""`python -m pipeline ARGUMENTS`, with the clock of its executor written to the file named first: when each stage's tasks
went out and were back, and when the executor began and ended to close, in seconds since the epoch."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from manifests.store import Shard
from pipeline import headstart
from pipeline.__main__ import main
from pipeline.executor import Failure
from stages.base import Task
from stages.passes import Job


class Clocked(headstart.HeadStart):
    """The executor of a run on this machine."""

    def map(self, job: Job, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Shard] | Failure]]:
        """See Executor.map."""
        start = time.time()
        yield from super().map(job, tasks)
        CLOCK["mapping"].append((start, time.time(), len(tasks)))

    def close(self) -> None:
        """See Executor.close."""
        start = time.time()
        super().close()
        CLOCK["closing"].append((start, time.time(), 0))


CLOCK: dict[str, list[tuple[float, float, int]]] = {"mapping": [], "closing": []}

if __name__ == "__main__":
    headstart.HeadStart = Clocked
    status = main(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(CLOCK), encoding="utf-8")
    sys.exit(status)
