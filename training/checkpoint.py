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
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from manifests.storage import StorageError
from training.config import Config, ConfigError, digest_of
from training.huggingface import PART, Weights, check_shapes, tokenizer_of, write_weights
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
        return json.loads((self.path(step) / STATE).read_text(encoding="utf-8"))

    def load(self, step: int, model: nn.Module, optimizer: Optimizer | None, guard: SpikeGuard | None) -> None:
        """Load a checkpoint into a model and, where they are given, its optimizer and a guard."""
        path, kind, reader = self.path(step), self.state(step)["optimizer"], FileSystemReader(self.path(step))
        if optimizer and kind != self.config.optimizer.kind:
            raise ConfigError(f"{path} holds moments of {kind}: go on with optimizer.kind = {kind}, or begin a new run")
        state = tensors(model, optimizer)
        check_shapes(str(path), reader, state)
        saved = reader.read_metadata().state_dict_metadata
        if guard and guard.seen.shape == saved["guard.seen"].size:  # a window of another length begins anew
            state |= {f"guard.{name}": value for name, value in guard.state().items()}
        packed = {name: value for name, value in state.items() if quantised(value)}
        wide = {name: self.host.place(name, value) for name, value in packed.items()}
        dcp.load(state | wide, storage_reader=reader, process_group=self.group)
        for name, value in packed.items():
            requantise(local(value), local(wide[name]).to(value.device))

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
        self, step: int, model: nn.Module, optimizer: Optimizer, guard: SpikeGuard, run: Run, digest: str, last: bool
    ) -> None:
        """Save what is due after so many steps, and in any case a full checkpoint if this start ends here."""
        self.settle()
        full, weights = last or step % self.config.saving.every == 0, None
        state, facts = tensors(model, optimizer if full else None), self.facts(step, run, digest)
        tokenizer = tokenizer_of(run.corpus(run.order.phase_at(step - 1).name))
        if self.weights_due(step, run):
            folder = self.exports / f"step-{step:08d}-{facts['tokens'] / 1e9:.3f}B-tokens"
            weights = Weights(folder, self.config.model, self.config.saving.weights_type, tokenizer, facts)
        # Parameters and both moments, in 8 bits or not, are written in float32.
        self.check_space(step, (12 * self.config.model.parameters if full else 0) + (weights.bytes if weights else 0))
        if full:
            state |= {f"guard.{name}": value for name, value in guard.state().items()}
            if self.world.first:
                describe(self.path(step), facts, tokenizer)
        now = torch.cuda.current_stream().record_event() if self.host.cuda else None
        self.copying = self.thread.submit(self.host.copy, state, now)
        self.writing = self.thread.submit(self.write, self.copying, self.path(step) if full else None, weights)

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

    def check_space(self, step: int, need: int) -> None:
        """StorageError unless the disk has room for what is to be written, known before the first byte is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        free = [shutil.disk_usage(self.folder).free]
        dist.broadcast_object_list(free, 0, self.group)
        if free[0] < need:
            newest = max(self.complete(), default=None)
            raise StorageError(
                f"{self.folder}: the checkpoint after step {step:,} needs {need / 2**30:,.2f} GiB and the disk has "
                f"{free[0] / 2**30:,.2f} GiB; make room or lower saving.keep, and start again: the newest complete "
                f"checkpoint is {'none' if newest is None else self.path(newest).name}"
            )

    def facts(self, step: int, run: Run, digest: str) -> dict[str, Any]:
        """What is kept of the first `step` steps besides tensors."""
        return {
            "step": step, "tokens": run.order.tokens(step), "digest": digest, "config": digest_of(self.config.text()),
            "optimizer": self.config.optimizer.kind, "ranks": self.world.size, "model": asdict(self.config.model),
            "eod": run.corpus(run.order.phase_at(step - 1).name).facts.eod, "identity": run.identity(),
        }  # fmt: skip

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
        except (dcp.CheckpointException, OSError) as error:
            cause = next(iter(error.failures.values()))[0] if isinstance(error, dcp.CheckpointException) else error
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
def tensors(model: nn.Module, optimizer: Optimizer | None) -> dict[str, Tensor]:
    """Parameters and moments by name, not copied; an optimizer that has taken no step begins its moments."""
    state = {f"model.{name}": unwrapped(parameter.detach()) for name, parameter in model.named_parameters()}
    if optimizer:
        fresh = not optimizer.state
        # Learning rates and the like are the configuration's, so only the state is kept.
        flat = get_optimizer_state_dict(model, optimizer, options=StateDictOptions(flatten_optimizer_state_dict=True))
        for name in [name for name in flat if name.startswith("state.")]:
            state[f"optim.{name}"] = flat[name]
            if fresh and name.endswith(".step"):
                flat[name].zero_()  # moments are begun with a step of no gradient and no rate, which does not count
    return state


def describe(path: Path, facts: Mapping[str, Any], tokenizer: tuple[str, bytes] | None) -> None:
    """Begin a checkpoint with all but its tensors."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    if tokenizer:
        (path / tokenizer[0]).write_bytes(tokenizer[1])
    with open(path / STATE, "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
