"""The trainer: a configuration in, a run folder out; `python -m training.fsdp CONFIG`, alone or under torchrun.

It reads from top to bottom: open the corpus, check that it is what the run was begun with, join the other ranks, build
the model, load the newest checkpoint, then step after step. The only state of the data is the step's number.
"""

import argparse
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from manifests.storage import StorageError
from training.checkpoint import Checkpoints
from training.config import Config, load_config, with_vocabulary
from training.data import Batch, batches
from training.folder import RunFolder
from training.huggingface import read_weights
from training.loss import IGNORED, labels_of
from training.metrics import Metrics
from training.model import LanguageModel, document_bounds, sent
from training.optim import SpikeGuard, clipped_norm, guarded_step, learning_rate, optimizer_of, set_learning_rate
from training.order import PlanError, check_world, roll
from training.parallel import World, after_step, before_microbatch, build, join
from training.phases import Run, open_run
from training.plan import plan_of

COLLECT = 1000  # steps between two collections of garbage, which would else fall on some rank at any time
Step = tuple[Batch, float, float, Tensor]  # the batch, seconds that were waited for it, learning rate, what is known


class Stopped(RuntimeError):
    """A run that must not go on by itself; the message is one sentence that says why."""


@dataclass
class Training:
    """What a step needs and changes."""

    config: Config
    run: Run
    world: World
    model: LanguageModel
    optimizer: torch.optim.Optimizer
    guard: SpikeGuard
    streams: tuple[str, ...]


def open_training(config: Config, run: Run, world: World) -> Training:
    """A model at its start, with its optimizer."""
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    model = build(config, world)
    optimizer = optimizer_of(model, config.model, config.optimizer)
    streams = tuple(sorted({source.name for phase in run.order.phases for source in phase.sources}))
    return Training(config, run, world, model, optimizer, SpikeGuard(config.guard, world.device), streams)


def open_data(config: Config) -> tuple[Config, Run]:
    """The phases over their corpora, and the configuration with the size of the vocabulary filled in."""
    run = open_run(plan_of(config.plan, corpus=config.corpus))
    longest = max(phase.sequence for phase in run.plan.phases)
    if longest > (context := config.model.context):
        raise PlanError(f"a phase has sequences of {longest:,} tokens, and the model's context is {context:,}")
    marks = [mark + 1 for phase in run.plan.phases if phase.fim for mark in phase.fim.marks]
    return with_vocabulary(config, max([corpus.facts.vocabulary for corpus in run.corpora] + marks)), run


def begin_step(training: Training, step: int) -> float:
    """Set and give a step's learning rate; the first step of a phase begins a new window, since another mixture has
    another loss, and new moments if the phase wants them."""
    config, phase = training.config, training.run.order.phase_at(step)
    schedule = config.schedule[phase.name]
    if step == phase.first_step > 0:
        training.guard = SpikeGuard(config.guard, training.world.device)
        if schedule.fresh:
            training.optimizer = optimizer_of(training.model, config.model, config.optimizer)
    rate = learning_rate(schedule, step - phase.first_step, phase.steps)
    set_learning_rate(training.optimizer, rate)
    return rate


def take(training: Training, batch: Batch, stop: bool = False) -> Tensor:
    """One step. Gives what is known of it, on the device, as `Metrics` reads it, float64[2 streams + 5]: over all ranks
    loss sums and token counts by stream, and tokens that fill-in-the-middle pushed out; the norm of the gradients,
    whether the step was skipped and how many were in a row; the number of ranks that want to stop."""
    config, world, n = training.config, training.world, len(training.streams)
    known = torch.zeros(2 * n + 5, device=world.device, dtype=torch.float64)
    facts = training.run.corpus(batch.phase).facts
    tokens = sent(torch.from_numpy(batch.tokens.astype("int64")), world.device)
    inputs, labels = labels_of(tokens, facts.eod if config.loss.mask_eod else None)
    groups = sent(torch.tensor([training.streams.index(name) for name in batch.streams]), world.device)
    known[n : 2 * n].index_add_(0, groups, (labels != IGNORED).sum(1).double())
    known[-5], known[-1] = float(batch.pushed_out), float(stop)
    dist.all_reduce(known)
    if batch.step in config.guard.skip:
        known[-3] = 1.0
        return known
    total = known[n : 2 * n].sum()
    scale, sums = (1.0 / total).float(), known.new_zeros(n)
    for start in range(0, len(inputs), config.microbatch):
        part, bounds = slice(start, start + config.microbatch), None
        if config.model.attention == "document":
            starts = [torch.from_numpy(begins) for begins in batch.starts[part]]
            bounds = document_bounds(starts, inputs.shape[1], world.device)
        before_microbatch(training.model, part.stop >= len(inputs), config.parallel)
        loss, rows = training.model(inputs[part], labels[part], scale, bounds)
        loss.backward()
        sums.index_add_(0, groups[part], rows.double().sum(1))
    dist.all_reduce(sums)
    known[:n] = sums
    norm = clipped_norm(training.model.parameters(), config.optimizer.clip)
    harmful = training.guard.harmful(sums.sum() / total, norm)
    guarded_step(training.optimizer, harmful, config)
    after_step(training.model, config.parallel)
    known[-4], known[-3], known[-2] = norm.double(), harmful.double(), training.guard.in_a_row.double()
    return known


def steps(training: Training, since: int, asked: Callable[[], bool]) -> Generator[Step, None, None]:
    """Step after step, to the end of the plan."""
    config, world = training.config, training.world
    gc.disable()  # it would run at any time on some rank, and the others would wait
    try:
        with closing(batches(training.run, since, world.rank, world.size, config.microbatch, config.threads)) as read:
            before = time.perf_counter()
            for batch in read:
                waited = time.perf_counter() - before
                rate = begin_step(training, batch.step)
                yield batch, waited, rate, take(training, batch, asked())
                if batch.step % COLLECT == 0:
                    gc.collect(1)
                before = time.perf_counter()
    finally:
        gc.enable()


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT has asked this process to stop; the ranks agree in the next step's sums. A second
    signal ends the process as it would have without us."""
    main = threading.current_thread() is threading.main_thread()  # Ray Train runs us in another, and kills its own
    asked: list[int] = []  # no Event, whose lock a second signal could meet while it is held

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {each: signal.signal(each, note) for each in (signal.SIGTERM, signal.SIGINT) if main}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def resumed(saved: Checkpoints, run: Run, most: int | None = None) -> tuple[Training, int, str]:
    """The training as its newest checkpoint left it, of those up to a step; that step, and the order's digest there."""
    config, newest = saved.config, saved.newest(most)
    state: dict[str, Any] = {"step": 0, "digest": "", "identity": None} if newest is None else saved.state(newest)
    run.check(config.model.vocabulary, state["identity"], state["step"])
    training = open_training(config, run, saved.world)
    if newest is not None:
        saved.load(newest, training.model, training.optimizer, training.guard)
    elif config.init:
        read_weights(Path(config.init), training.model, config.model)
    return training, state["step"], state["digest"]


def train(config: Config, until: int | None = None) -> int:
    """Train to the end of the plan, or to a step; gives the step that would be next."""
    config, run = open_data(config)
    world = join(config)
    check_world([phase.batch for phase in run.order.phases], world.size, config.microbatch)
    folder = RunFolder(config.run)
    saved = Checkpoints(folder.checkpoints, config, world)
    training, step, digest = resumed(saved, run)
    saved.tidy()
    if world.first:
        folder.begin(config, run, world.size, step)
    metrics = Metrics(folder, config, run, world, training.streams, step)
    end = run.order.steps if until is None else min(until, run.order.steps)
    with closing(saved), closing(metrics), stop_signals() as asked, closing(steps(training, step, asked)) as stepping:
        for batch, waited, rate, known in stepping if step < end else ():
            step, digest = batch.step + 1, roll(digest, run.order.digest(batch.step))
            record = metrics.add(batch, waited, rate, digest, known)
            if record and record.in_a_row >= config.guard.in_a_row:
                raise Stopped(
                    f"{record.in_a_row} steps in a row were skipped, the last of them step {record.step:,}: look at "
                    f"{folder.metrics}, mend the cause or list the steps in guard.skip, and start again"
                )
            last = step == end or bool(record and record.stop)
            if last or saved.due(step, run):
                metrics.read()  # the record is never behind a checkpoint
                saved.save(step, training.model, training.optimizer, training.guard, run, digest, last)
                gc.collect(1)
            if last:
                break
    if world.first:
        done = "the plan is done" if step == run.order.steps else "the same command goes on from there"
        print(f"step {step:,} of {run.order.steps:,} is saved in {folder.path}; {done}")
    return step


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m training.fsdp", description="Train a model on token shards.")
    made.add_argument("config", metavar="CONFIG", help="a TOML file, a run's config.json, or the name of a preset")
    made.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="such as optimizer.clip=0.5")
    made.add_argument("--until", type=int, metavar="STEP", help="stop before this step, as if the plan ended there")
    return made


def main(arguments: Iterable[str] | None = None) -> int:
    """Train; status 2, one sentence, for what cannot be, and 1 for a run that had to be stopped."""
    chosen = parser().parse_args(None if arguments is None else list(arguments))
    mine = not dist.is_initialized()
    try:
        train(load_config(chosen.config, chosen.overrides), chosen.until)
        return 0
    except (PlanError, StorageError, Stopped) as error:
        print(f"training.fsdp: {error}", file=sys.stderr)
        return 1 if isinstance(error, Stopped) else 2
    finally:
        if mine and dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
