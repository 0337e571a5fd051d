"""What a person sees while a run trains: one live line on a terminal, a plain line every few seconds elsewhere, and
curves in TensorBoard where they are asked for."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from training.config import ConfigError
from training.record import Record

LOG_EVERY_SECONDS = 5.0


class Progress:
    """Shows records; `steps` and `tokens` are those of the whole plan."""

    def __init__(self, steps: int, tokens: int, out: TextIO | None = None) -> None:
        self.steps, self.tokens = steps, tokens
        self.out = out or sys.stderr
        self.live = self.out.isatty()
        self.taken: deque[tuple[float, float]] = deque(maxlen=100)  # tokens and seconds of the last steps
        self.shown = -LOG_EVERY_SECONDS
        self.open = False

    def show(self, record: Record) -> None:
        """Show a step, if it is time; a step that was skipped always has a line that stays."""
        if record.why != "listed":
            self.taken.append((record.tokens_per_second * record.seconds, record.seconds))
        text, now = self.text(record), time.monotonic()
        if record.skipped:
            self.put(f"{text}  skipped: {record.why}, {record.in_a_row} in a row", stays=True)
        elif self.live:
            self.put(text, stays=False)
        elif record.step + 1 == self.steps or now - self.shown >= LOG_EVERY_SECONDS:
            self.put(text, stays=True)
            self.shown = now

    def text(self, record: Record) -> str:
        """The line of a step."""
        by_language = " ".join(f"{name} {number(loss)}" for name, loss in record.languages.items())
        parts = [
            f"step {record.step + 1:,}/{self.steps:,} {record.phase}",
            f"loss {number(record.loss)} ({by_language})",
            f"norm {number(record.norm)}",
            f"lr {record.lr:.2e}",
            f"{record.tokens_per_second:,.0f} tokens/s",
        ]
        if record.mfu is not None:
            parts.append(f"MFU {record.mfu:.1%}")
        if record.waited > 0.01 * record.seconds:
            parts.append(f"wait {record.waited / record.seconds:.0%}")
        if self.taken:
            tokens, seconds = map(sum, zip(*self.taken, strict=True))
            parts.append(f"ETA {duration((self.tokens - record.tokens) * seconds / tokens)}")
        return "  ".join(parts)

    def put(self, text: str, stays: bool) -> None:
        """Print a line, in the place of the live one."""
        if self.live:
            columns = shutil.get_terminal_size().columns
            text = "\r" + (text if stays else text[: columns - 1]) + "\x1b[K"
        self.open = self.live and not stays
        print(text, end="" if self.open else "\n", file=self.out, flush=True)

    def close(self) -> None:
        """End the live line."""
        if self.open:
            print(file=self.out, flush=True)
            self.open = False


def number(value: float | None) -> str:
    """A loss or a norm."""
    return "-" if value is None else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600:,} h {whole // 60 % 60:02} min"
    return f"{whole // 60}:{whole % 60:02}"


class Board:
    """Curves of a run for TensorBoard; points from step `since` on are taken away."""

    def __init__(self, folder: Path, since: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            told = "tensorboard = true, and TensorBoard is not installed: pip install -e '.[tensorboard]'"
            raise ConfigError(told) from error
        self.writer = SummaryWriter(str(folder), purge_step=since)

    def show(self, record: Record) -> None:
        """A point on each curve."""
        for name, value in numbers(asdict(record)):
            self.writer.add_scalar(name, value, record.step)

    def close(self) -> None:
        """Write what has not been written."""
        self.writer.close()


def numbers(record: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    """All numbers of a record, by name; those of a table are called TABLE/NAME."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{name}/")
        elif isinstance(value, int | float) and name not in ("step", "stop"):
            yield prefix + name, float(value)
