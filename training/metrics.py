"""The record of a run: what is known of each step in, a line of `metrics.jsonl` out.

On CUDA a step is read some steps late, always as many on all ranks: the host runs ahead of the device, and ranks that
are to stop do so at the same step.
"""

import time
from collections import deque
from resource import RUSAGE_SELF, getrusage

import torch
from torch import Tensor

from training.config import Config
from training.data import Batch
from training.devices import bf16_tflops
from training.folder import RunFolder
from training.parallel import World
from training.phases import Run
from training.progress import Board, Progress
from training.record import Record, by_language, finite, mean, truncate

LATE = 2  # steps after which a step on CUDA is read
Taken = tuple[int, float, float, str, Tensor, torch.cuda.Event | None]  # step, seconds, rate, digest, numbers


class Metrics:
    """Makes records of steps, on all ranks; the first writes and shows them."""

    def __init__(
        self, folder: RunFolder, config: Config, run: Run, world: World, streams: tuple[str, ...], since: int
    ) -> None:
        self.config, self.run, self.world, self.streams = config, run, world, streams
        self.cuda = world.device.type == "cuda"
        self.peak = config.peak_tflops or bf16_tflops(torch.cuda.get_device_name(world.device) if self.cuda else "")
        self.late = LATE if self.cuda else 0
        self.pending: deque[Taken] = deque()
        self.shown: list[Progress | Board] = []
        if world.first:
            truncate(folder.metrics, since)
            self.file = open(folder.metrics, "a", encoding="utf-8")
            self.shown.append(Progress(run.order.steps, run.order.tokens(run.order.steps)))
            if config.tensorboard:
                self.shown.append(Board(folder.path / "tensorboard", since))
        self.before = time.perf_counter()

    def add(self, batch: Batch, waited: float, rate: float, rolling: str, known: Tensor) -> Record | None:
        """Take a step as `fsdp.steps` gives it, and the order's digest; gives the newest record that is known."""
        arrived = None
        if self.cuda:
            known = torch.empty_like(known, device="cpu", pin_memory=True).copy_(known, non_blocking=True)
            arrived = torch.cuda.current_stream().record_event()
        self.pending.append((batch.step, waited, rate, rolling, known, arrived))
        return self.read(self.late)

    def read(self, left: int = 0) -> Record | None:
        """Make records of all steps but the last few; gives the newest of them."""
        record = None
        while len(self.pending) > left:
            record = self.record(self.pending.popleft())
            if self.world.first:
                self.file.write(record.line())
                self.file.flush()
            for each in self.shown:
                each.show(record)
        return record

    def record(self, taken: Taken) -> Record:
        """The record of a step, once the device is through with it: the host is ahead, so it waits until then."""
        step, waited, rate, rolling, known, arrived = taken
        if arrived:
            arrived.synchronize()
        now, n = time.perf_counter(), len(self.streams)
        seconds, self.before = now - self.before, now
        losses, counts, (pushed_out, norm, skipped, in_a_row, stop) = (part.tolist() for part in known.split([n, n, 5]))
        phase = self.run.order.phase_at(step)
        speed = phase.batch * phase.sequence / seconds
        model, peak = self.config.model, self.peak and self.peak * self.world.size
        mfu, causal = (speed * model.flops(phase.sequence, c) / peak / 1e12 if peak else None for c in (False, True))
        listed = step in self.config.guard.skip
        named = list(zip(self.streams, losses, counts, strict=True))
        sums = {name: (loss, count) for name, loss, count in named if count and not listed}
        loss, norm = mean(sums.values()) if sums else None, None if listed else finite(norm)
        why = "listed" if listed else "not finite" if loss is None or norm is None else "spike"
        memory = torch.cuda.max_memory_allocated() if self.cuda else getrusage(RUSAGE_SELF).ru_maxrss * 1024  # of KiB
        return Record(
            step=step, phase=phase.name, tokens=self.run.order.tokens(step + 1), loss=loss,
            languages=by_language(sums), streams={name: mean([each]) for name, each in sums.items()},
            counted={name: int(count) for name, _, count in named if count}, norm=norm, lr=rate,
            skipped=bool(skipped), why=why if skipped else "", in_a_row=int(in_a_row), stop=bool(stop),
            seconds=seconds, tokens_per_second=speed, mfu=mfu, mfu_causal=causal, peak_tflops=self.peak,
            waited=waited, memory=memory, pushed_out=int(pushed_out),
            digest=self.run.order.digest(step) if self.world.first else "", rolling=rolling,
        )  # fmt: skip

    def close(self) -> None:
        """Make records of all that was taken, and close the files."""
        self.read()
        if self.world.first:
            self.file.close()
        for each in self.shown:
            each.close()
