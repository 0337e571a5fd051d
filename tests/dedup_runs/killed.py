"""A run in a process of its own that kills itself, as `kill -9` would, at a stated moment of a stated stage."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path

from manifests.shards import ShardWriter, Written
from manifests.storage import Storage
from manifests.store import Shard
from pipeline.recipe import parse_recipe
from stages import passes, sides
from tests.dedup_runs.corpus import CHAIN
from tests.dedup_runs.outcome import cut_into
from tests.runs import run_recipe

WRITING, COMMITTING = "writing", "committing"
TASKS = 2  # of an exchange stage, so that there is a middle

# Starts once, with everything imported, and forks for each run: an interpreter for each would take the time.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["pipeline.driver", "pipeline.recipe", "tests.dedup_runs.killed"])


def die() -> None:
    """Nothing runs after this: no handler, no `finally`, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


def until(stage: str, moment: str, after: int) -> None:
    """Let this process die in a stage, when so many of its tasks have been committed by it: while a file of the next
    one is closed, or when all its files are in their places but not its manifest."""
    real, close = passes.commit, ShardWriter.close
    done = 0

    def counted(storage: Storage, folder: str, key: str, rows: list[Shard]) -> list[Shard]:
        nonlocal done
        if folder.rpartition("-")[0] != stage:
            return real(storage, folder, key, rows)
        if moment == COMMITTING and done == after:
            die()
        done += 1
        return real(storage, folder, key, rows)

    def closing(self: ShardWriter, folder: str, key: str, metadata: dict[str, str]) -> Written:
        if moment == WRITING and done == after and folder.rpartition("-")[0] == stage:
            die()
        return close(self, folder, key, metadata)

    passes.commit = counted
    ShardWriter.close = closing


def work(root: str, sources: list[str], stage: str, moment: str, after: int) -> None:
    """The process: a run over the root, to its end or to its death."""
    sides.ranges = cut_into(TASKS)
    if stage:
        until(stage, moment, after)
    run_recipe(parse_recipe("".join(sources) + CHAIN, "every"), Path(root))


def driven(root: Path, sources: list[str], stage: str = "", moment: str = "", after: int = 0) -> int | None:
    """Exit code of such a process; without a stage it lives."""
    process = CONTEXT.Process(target=work, args=(str(root), sources, stage, moment, after))
    process.start()
    process.join(600)
    return process.exitcode
