"""The record of a run: what is known of each step in, a line of `metrics.jsonl` out, and curves for TensorBoard.

On CUDA a step is read some steps late, always as many on all ranks: the host runs ahead of the device, and ranks that
are to stop do so at the same step.
"""

import resource
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from training.config import Config, ConfigError
from training.data import Batch
from training.devices import bf16_tflops
from training.folder import RunFolder
from training.parallel import World
from training.phases import Run
from training.progress import Progress
from training.record import Record, by_language, finite, mean, numbers, reason, truncate

LATE = 2  # steps after which a step on CUDA is read


@dataclass(frozen=True)
class Pending:
    """A step whose numbers may be on their way from the device still."""

    step: int
    waited: float
    rate: float
    rolling: str
    known: Tensor
    ended: torch.cuda.Event | float


class Metrics:
    """Makes records of steps, on all ranks; the first writes and shows them."""

    def __init__(
        self, folder: RunFolder, config: Config, run: Run, world: World, streams: tuple[str, ...], since: int
    ) -> None:
        self.config, self.run, self.world, self.streams = config, run, world, streams
        self.cuda = world.device.type == "cuda"
        self.peak = config.peak_tflops or bf16_tflops(torch.cuda.get_device_name(world.device) if self.cuda else "")
        self.late = LATE if self.cuda else 0
        self.pending: deque[Pending] = deque()
        self.board: Any = None
        if world.first:
            truncate(folder.metrics, since)
            self.file = open(folder.metrics, "a", encoding="utf-8")
            self.progress = Progress(run.order.steps, run.order.tokens(run.order.steps))
            if config.tensorboard:
                self.board = open_board(str(folder.path / "tensorboard"), since)
        self.before = self.now()

    def now(self) -> torch.cuda.Event | float:
        """This moment, by the device's clock where it has one."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def add(self, batch: Batch, waited: float, rate: float, rolling: str, known: Tensor) -> Record | None:
        """Take a step: seconds that it waited for data, learning rate, rolling digest of the order, what `fsdp.take`
        gave; gives the newest record that became known by that."""
        if self.cuda:
            known = torch.empty_like(known, device="cpu", pin_memory=True).copy_(known, non_blocking=True)
        self.pending.append(Pending(batch.step, waited, rate, rolling, known, self.now()))
        return self.read(self.late)

    def read(self, left: int = 0) -> Record | None:
        """Make records of all steps but the last few; gives the newest of them."""
        record = None
        while len(self.pending) > left:
            record = self.record(self.pending.popleft())
            if self.world.first:
                self.write(record)
        return record

    def record(self, pending: Pending) -> Record:
        """The record of a step, once the device is through with it."""
        if isinstance(pending.ended, torch.cuda.Event):
            pending.ended.synchronize()
        known, n, step = pending.known.tolist(), len(self.streams), pending.step
        pushed_out, norm, skipped, in_a_row, stop = known[2 * n :]
        seconds, self.before = between(self.before, pending.ended), pending.ended
        phase = self.run.order.phase_at(step)
        tokens = phase.batch * phase.sequence
        speed = tokens / seconds / self.world.size
        flops, causal = (self.config.model.flops(phase.sequence, half) for half in (False, True))
        listed = step in self.config.guard.skip
        sums = {name: (known[i], known[n + i]) for i, name in enumerate(self.streams) if known[n + i]}
        loss = mean(sums.values()) if sums and not listed else None
        norm = None if listed else finite(norm)
        return Record(
            step=step,
            phase=phase.name,
            tokens=self.run.order.tokens(step + 1),
            loss=loss,
            languages={} if listed else by_language(sums),
            streams={} if listed else {name: mean([each]) for name, each in sums.items()},
            counted={name: int(count) for name, (_, count) in sums.items()},
            norm=norm,
            lr=pending.rate,
            skipped=bool(skipped),
            why=reason(loss, norm, listed) if skipped else "",
            in_a_row=int(in_a_row),
            stop=bool(stop),
            seconds=seconds,
            tokens_per_second=speed * self.world.size,
            tokens_per_second_per_rank=speed,
            mfu=speed * flops / self.peak / 1e12 if self.peak else None,
            mfu_causal=speed * causal / self.peak / 1e12 if self.peak else None,
            peak_tflops=self.peak,
            waited=pending.waited,
            waited_share=pending.waited / seconds,
            memory=torch.cuda.max_memory_allocated() if self.cuda else most_resident(),
            memory_reserved=torch.cuda.max_memory_reserved() if self.cuda else None,
            pushed_out=int(pushed_out),
            digest=self.run.order.digest(step) if self.world.first else "",
            rolling=pending.rolling,
        )

    def write(self, record: Record) -> None:
        """Write a record and show it."""
        self.file.write(record.line())
        self.file.flush()
        self.progress.show(record)
        if self.board:
            for name, value in numbers(asdict(record)):
                self.board.add_scalar(name, value, record.step)

    def close(self) -> None:
        """Make records of all that was taken, and close the files."""
        self.read()
        if self.world.first:
            self.file.close()
            self.progress.close()
        if self.board:
            self.board.close()


def between(before: torch.cuda.Event | float, after: torch.cuda.Event | float) -> float:
    """Seconds from one moment to another, of the same clock."""
    if isinstance(before, float) and isinstance(after, float):
        return after - before
    if isinstance(before, float) or isinstance(after, float):
        raise TypeError("moments of two clocks")
    return before.elapsed_time(after) / 1e3


def most_resident() -> int:
    """Most bytes of this process that were resident at a time; Linux counts them in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def open_board(folder: str, since: int) -> Any:
    """TensorBoard's writer; points from step `since` on are taken away. ConfigError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "tensorboard = true, and TensorBoard is not installed: pip install -e '.[tensorboard]'"
        ) from error
    return SummaryWriter(folder, purge_step=since)
