"""Checkpoints of a run: model, optimizer and the guard's window as DCP files, and beside them as JSON what was trained.

A folder without `.metadata`, which is written last, is no checkpoint, and the newest one is found by listing. A thread
writes a copy in the host's memory while training goes on. Any number of ranks can load what any other has saved.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.optim.optimizer import register_optimizer_step_pre_hook

from manifests.storage import StorageError
from training.config import Config
from training.corpus import Corpus
from training.huggingface import PART, Weights, tokenizer_of, write_weights
from training.optim import SpikeGuard
from training.parallel import World
from training.phases import Run
from training.staging import Host, local, quantised, requantise, unwrapped

COMPLETE, STATE = ".metadata", "state.json"
PATIENCE = timedelta(hours=4)  # with the slowest rank's files


class Checkpoints:
    """The checkpoints of a run, full ones and weights alone; every rank calls the same methods."""

    def __init__(self, folder: Path, config: Config, world: World) -> None:
        self.folder, self.exports, self.config, self.world = folder, folder.parent / "exports", config, world
        self.group = dist.new_group(backend="gloo", timeout=PATIENCE)
        self.host = Host(world)
        self.thread = ThreadPoolExecutor(2, "checkpoint")  # one copies and the other writes
        # While parameters are copied, forward and backward passes may run, but no optimizer may take a step.
        self.hook = register_optimizer_step_pre_hook(lambda *_: self.copied())
        self.copying: Future[dict[str, Tensor]] | None = None
        self.writing: Future[None] | None = None

    def path(self, step: int) -> Path:
        """The folder of the full checkpoint after so many steps."""
        return self.folder / f"step-{step:08d}"

    def complete(self) -> list[int]:
        """Steps of the complete checkpoints."""
        return sorted(int(path.parent.name.removeprefix("step-")) for path in self.folder.glob(f"step-*/{COMPLETE}"))

    def newest(self, most: int | None = None) -> int | None:
        """Step of the newest complete checkpoint, up to `most`."""
        found = [max((step for step in self.complete() if most is None or step <= most), default=None)]
        dist.broadcast_object_list(found, 0, self.group)
        return found[0]

    def tidy(self) -> None:
        """Remove what a killed save has left."""
        if self.world.first:
            left = [path for path in self.folder.glob("step-*") if not (path / COMPLETE).exists()]
            for path in [*left, *self.exports.glob(f"*{PART}")]:
                shutil.rmtree(path)
        dist.barrier(self.group)

    def state(self, step: int) -> dict[str, Any]:
        """What is known of a checkpoint besides its tensors."""
        found: dict[str, Any] = json.loads((self.path(step) / STATE).read_text(encoding="utf-8"))
        return found

    def load(
        self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer | None, guard: SpikeGuard | None
    ) -> None:
        """Load a checkpoint into a model and, where they are given, its optimizer and a guard."""
        path, kind = self.path(step), self.state(step)["optimizer"]
        if optimizer and kind != self.config.optimizer.kind:
            raise StorageError(
                f"{path} holds moments of {kind}: go on with optimizer.kind = {kind}, or begin a new run"
            )
        state = tensors(model, optimizer)
        saved = FileSystemReader(path).read_metadata().state_dict_metadata
        check_shapes(f"{path}", {name: tuple(each.size) for name, each in saved.items()}, state)
        # The window may have had another length.
        held = guard.state() if guard else {}
        window = {name: value.new_empty(saved[f"guard.{name}"].size) for name, value in held.items()}
        state |= {f"guard.{name}": value for name, value in window.items()}
        packed = {name: value for name, value in state.items() if quantised(value)}
        wide = {name: self.host.place(name, value) for name, value in packed.items()}
        dcp.load(state | wide, checkpoint_id=path, process_group=self.group)
        for name, value in packed.items():
            requantise(local(value), local(wide[name]).to(value.device))
        if guard:
            guard.restore(window)

    def due(self, step: int, run: Run) -> bool:
        """Whether something is to be saved after so many steps."""
        return step % self.config.saving.every == 0 or self.weights_due(step, run)

    def weights_due(self, step: int, run: Run) -> bool:
        """Whether weights alone are to be kept after so many steps."""
        every = self.config.saving.weights_tokens
        if not every:
            return False
        now, before = run.order.tokens(step), run.order.tokens(step - 1)
        dense = self.config.saving.dense and now < every and step & (step - 1) == 0
        return dense or now // every > before // every or step == run.order.steps

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        guard: SpikeGuard,
        run: Run,
        digest: str,
        last: bool = False,
    ) -> None:
        """Save what is due after so many steps, and in any case a full checkpoint if this start ends here."""
        self.settle()
        full, weights = last or step % self.config.saving.every == 0, None
        state = tensors(model, optimizer if full else None)
        if self.weights_due(step, run):
            weights = self.weights(step, run)
        self.check_space(step, state if full else {}, weights)
        if full:
            state |= {f"guard.{name}": value for name, value in guard.state().items()}
            if self.world.first:
                self.describe(step, run, digest)
        direct = not self.config.saving.background and not weights
        self.copying = self.thread.submit(self.host.copy, state, self.host.event(), direct)
        self.writing = self.thread.submit(self.write, self.copying, self.path(step) if full else None, weights)
        if not self.config.saving.background:
            self.settle()

    def write(self, copying: Future[dict[str, Tensor]], full: Path | None, weights: Weights | None) -> None:
        """Write what was copied, then remove the checkpoints that are no longer kept."""
        state = copying.result()
        if full:
            dcp.save(state, storage_writer=FileSystemWriter(full), process_group=self.group)
            if self.world.first:
                self.prune()
        if weights:
            parameters = {name[6:]: value for name, value in state.items() if name.startswith("model.")}
            write_weights(weights, parameters, self.group)

    def prune(self) -> None:
        """Remove the checkpoints that neither `keep` nor `archive` holds."""
        saving = self.config.saving
        for step in self.complete()[: -saving.keep]:
            if not saving.archive or step % saving.archive:
                (self.path(step) / COMPLETE).unlink()
                shutil.rmtree(self.path(step))

    def check_space(self, step: int, state: Mapping[str, Tensor], weights: Weights | None) -> None:
        """StorageError unless the disk has room for what is to be written, known before the first byte is."""
        parts = torch.tensor([sum(local(value).numel() * value.element_size() for value in state.values())])
        dist.all_reduce(parts, group=self.group)
        need = int(parts) // self.config.parallel.replicate + (weights.bytes if weights else 0)
        self.folder.mkdir(parents=True, exist_ok=True)
        free = [shutil.disk_usage(self.folder).free]
        dist.broadcast_object_list(free, 0, self.group)
        if free[0] < need:
            newest = max(self.complete(), default=None)
            raise StorageError(
                f"{self.folder}: the checkpoint after step {step:,} needs {need / 2**30:,.2f} GiB and the disk has "
                f"{free[0] / 2**30:,.2f} GiB, so {(need - free[0]) / 2**30:,.2f} GiB are missing; make room or lower "
                f"saving.keep, and start again: the newest complete checkpoint is "
                + ("none" if newest is None else self.path(newest).name)
            )

    def describe(self, step: int, run: Run, digest: str) -> None:
        """Write what is known of a checkpoint besides its tensors, before any of them."""
        path, corpus = self.path(step), corpus_at(run, step)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        facts = {
            "step": step,
            "tokens": run.order.tokens(step),
            "digest": digest,
            "config": self.config.digest(),
            "optimizer": self.config.optimizer.kind,
            "ranks": self.world.size,
            "eod": corpus.facts.eod,
            "model": asdict(self.config.model),
            "identity": run.identity(),
        }
        with open(path / STATE, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        if found := tokenizer_of(corpus):
            (path / found[0]).write_bytes(found[1])

    def weights(self, step: int, run: Run) -> Weights:
        """Where weights alone are written after so many steps, and what is written with them."""
        corpus, tokens, saving = corpus_at(run, step), run.order.tokens(step), self.config.saving
        folder = self.exports / f"step-{step:08d}-{tokens / 1e9:.3f}B-tokens"
        told = {"step": step, "tokens": tokens, "config": self.config.digest()}
        return Weights(folder, self.config.model, saving.weights_type, corpus.facts.eod, tokenizer_of(corpus), told)

    def copied(self) -> None:
        """Wait until all that is to be saved has been copied."""
        self.copying, copying = None, self.copying
        if copying:
            copying.result()

    def settle(self) -> None:
        """Wait for the save that is in flight; StorageError if it has failed."""
        self.copied()
        self.writing, writing = None, self.writing
        try:
            if writing:
                writing.result()
        except (CheckpointException, OSError) as error:
            cause = next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
            raise StorageError(f"{self.folder}: a checkpoint could not be written: {cause}") from error

    def close(self) -> None:
        """Wait for what is in flight; of a run that has failed already a failure is only told."""
        failed = sys.exception()
        try:
            self.settle()
        except StorageError as error:
            if failed is None:
                raise
            print(f"training: {error}", file=sys.stderr)
        finally:
            self.hook.remove()
            self.thread.shutdown()


@torch.no_grad()
def tensors(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
    """Parameters and moments by name, not copied; an optimizer that has taken no step begins its moments."""
    state = {f"model.{name}": unwrapped(parameter.detach()) for name, parameter in model.named_parameters()}
    if optimizer:
        fresh = not optimizer.state
        # Learning rates and the like are the configuration's, so only the state is kept.
        flat = get_optimizer_state_dict(model, optimizer, options=StateDictOptions(flatten_optimizer_state_dict=True))
        state |= {f"optim.{name}": value for name, value in flat.items() if name.startswith("state.")}
        for name, value in state.items():
            if fresh and name.endswith(".step"):
                value.zero_()  # moments are begun with a step of no gradient and no rate, which does not count
    return state


def check_shapes(where: str, saved: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Tensor]) -> None:
    """StorageError if a tensor is not there, or has another shape."""
    for name, value in wanted.items():
        if saved.get(name) != tuple(value.shape):
            has = f"{name} as {list(saved[name])}" if name in saved else f"no {name}"
            raise StorageError(
                f"{where} has {has}, and the configuration wants {list(value.shape)}: use the model it was saved with"
            )


def corpus_at(run: Run, step: int) -> Corpus:
    """The corpus that the last of the first `step` steps read."""
    return run.corpus(run.order.phase_at(step - 1).name)
