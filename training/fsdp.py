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
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

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
from training.parallel import World, after_step, build, join, unsynced
from training.phases import Run, open_run
from training.plan import plan_of

COLLECT = 1000  # steps between two collections of garbage, which would else fall on some rank at any time


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
    model = build(config.model, config.parallel, world.mesh, world.device, config.seed)
    optimizer = optimizer_of(model, config.model, config.optimizer)
    streams = tuple(sorted({source.name for phase in run.order.phases for source in phase.sources}))
    return Training(config, run, world, model, optimizer, SpikeGuard(config.guard, world.device), streams)


def open_data(config: Config) -> tuple[Config, Run]:
    """The phases over their corpora, and the configuration with the size of the vocabulary filled in."""
    run = open_run(plan_of(config.plan, corpus=config.corpus))
    longest = max(phase.sequence for phase in run.plan.phases)
    if longest > config.model.context:
        raise PlanError(
            f"a phase has sequences of {longest:,} tokens, and the model's context is {config.model.context:,}"
        )
    marks = [mark + 1 for phase in run.plan.phases if phase.fim for mark in phase.fim.marks]
    return with_vocabulary(config, max([corpus.facts.vocabulary for corpus in run.corpora] + marks)), run


def begin_phase(training: Training, step: int) -> None:
    """At the first step of a phase: a new window, since another mixture has another loss; new moments if it wants."""
    phase = training.run.order.phase_at(step)
    if step != phase.first_step or not step:
        return
    training.guard = SpikeGuard(training.config.guard, training.world.device)
    if training.config.schedule[phase.name].fresh:
        training.optimizer = optimizer_of(training.model, training.config.model, training.config.optimizer)


def take(training: Training, batch: Batch, stop: bool = False) -> Tensor:
    """One step. Gives what is known of it, on the device, as `Record` reads it: float64[2 streams + 5].

    Over all ranks loss sums and token counts by stream, and the tokens that fill-in-the-middle pushed out; the
    gradient's norm, whether the step was skipped and how many were in a row; the number of ranks that want to stop.
    """
    config, world = training.config, training.world
    n = len(training.streams)
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
    scale = (1.0 / total).float()
    length, each = inputs.shape[1], config.microbatch
    sums = known.new_zeros(n)
    for start in range(0, len(inputs), each):
        part = slice(start, start + each)
        bounds = None
        if config.model.attention == "document":
            starts = [torch.from_numpy(begins) for begins in batch.starts[part]]
            bounds = document_bounds(starts, length, world.device)
        unsynced(training.model, start + each >= len(inputs), config.parallel)
        loss, rows = training.model(inputs[part], labels[part], scale, bounds, config.loss.z, config.loss.chunk)
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


def steps(
    training: Training, since: int, stopping: "Stopping"
) -> Generator[tuple[Batch, float, float, Tensor], None, None]:
    """Step after step: the batch, the seconds that were spent waiting for it, the learning rate, what is known."""
    config, world = training.config, training.world
    reading = batches(training.run, since, world.rank, world.size, config.microbatch, config.threads)
    try:
        while True:
            before = time.perf_counter()
            batch = next(reading, None)
            if batch is None:
                return
            waited = time.perf_counter() - before
            begin_phase(training, batch.step)
            phase = training.run.order.phase_at(batch.step)
            rate = learning_rate(config.schedule[phase.name], batch.step - phase.first_step, phase.steps)
            set_learning_rate(training.optimizer, rate)
            yield batch, waited, rate, take(training, batch, stopping.asked)
    finally:
        reading.close()


class Stopping:
    """Whether SIGTERM or SIGINT has asked this process to stop; the ranks agree in the next step's sums."""

    def __init__(self) -> None:
        self.asked = False
        main = threading.current_thread() is threading.main_thread()  # Ray Train runs us in another, and kills its own
        numbers = (signal.SIGTERM, signal.SIGINT) if main else ()
        self.before = {number: signal.signal(number, self.note) for number in numbers}

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler; a second signal ends the process as it would have without us."""
        self.asked = True
        signal.signal(number, self.before[signal.Signals(number)])

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)


def train(config: Config, until: int | None = None) -> int:
    """Train to the end of the plan, or to a step; gives the step that would be next."""
    config, run = open_data(config)
    world = join(config)
    check_world([phase.batch for phase in run.order.phases], world.size, config.microbatch)
    folder = RunFolder(config.run)
    saved = Checkpoints(folder.checkpoints, config, world)
    step, digest, newest = 0, "", saved.newest()
    if newest is not None:
        state = saved.state(newest)
        step, digest = state["step"], state["digest"]
        run.check(config.model.vocabulary, state["identity"], step)
    else:
        run.check(config.model.vocabulary)
    saved.tidy()
    if world.first:
        folder.begin(config, run, world.size, step)
    training = open_training(config, run, world)
    if newest is not None:
        saved.load(newest, training.model, training.optimizer, training.guard)
    elif config.init:
        read_weights(Path(config.init), training.model, config.model)
    metrics = Metrics(folder, config, run, world, training.streams, step)
    stopping = Stopping()
    stepping = steps(training, step, stopping)
    end = run.order.steps if until is None else min(until, run.order.steps)
    gc.disable()
    try:
        for batch, waited, rate, known in stepping if step < end else ():
            step, digest = batch.step + 1, roll(digest, run.order.digest(batch.step))
            record = metrics.add(batch, waited, rate, digest, known)
            leaving = record is not None and record.stop
            if record is not None and record.in_a_row >= config.guard.in_a_row:
                raise Stopped(
                    f"{record.in_a_row} steps in a row were skipped, the last of them step {record.step:,}: look at "
                    f"{folder.metrics}, mend the cause or list the steps in guard.skip, and start again"
                )
            last = step == end or leaving
            if last or saved.due(step, run):
                metrics.read()  # the record is never behind a checkpoint
                saved.save(step, training.model, training.optimizer, training.guard, run, digest, last)
                gc.collect(1)
            if step % COLLECT == 0:
                gc.collect(1)
            if last:
                break
    finally:
        gc.enable()
        stepping.close()
        stopping.close()
        metrics.close()
        saved.close()
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
    except (PlanError, StorageError) as error:
        print(f"training.fsdp: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"training.fsdp: {error}", file=sys.stderr)
        return 1
    finally:
        if mine and dist.is_initialized():
            dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
