"""What a person sees while a run goes on: one live line per stage on a terminal, plain log lines elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_EVERY_SECONDS = 10.0


class StageProgress:
    """Progress of one stage; `size` is in bytes of input, so that MB/s and the time left mean something."""

    def __init__(self, name: str, tasks: int, size: int, quiet: bool = False) -> None:
        self.name, self.tasks, self.size, self.quiet = name, tasks, size, quiet
        self.done = self.bytes = self.docs = self.dropped = 0
        self.start = self.logged = time.monotonic()
        self.console = Console(stderr=True)
        self.live: Progress | None = None
        if self.console.is_terminal and not quiet:
            self.live = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rates]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.bar = self.live.add_task(name, total=tasks, rates="")

    def __enter__(self) -> "StageProgress":
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()
        elif not self.quiet and kind is None:
            self.log()

    def advance(self, size: int, docs: int, dropped: int) -> None:
        """One task is done: bytes that it read, documents that came in, documents that went."""
        self.done += 1
        self.bytes += size
        self.docs += docs
        self.dropped += dropped
        if self.live:
            self.live.update(self.bar, completed=self.done, rates=self.rates())
        elif not self.quiet and time.monotonic() - self.logged > LOG_EVERY_SECONDS:
            self.log()

    def rates(self) -> str:
        """MB/s, documents/s and the share that went."""
        seconds = max(time.monotonic() - self.start, 1e-3)
        text = f"{self.bytes / seconds / 1e6:.1f} MB/s"
        if self.docs:
            text += f", {self.docs / seconds:,.0f} docs/s, {self.dropped / self.docs:.0%} dropped"
        return text

    def log(self) -> None:
        """One plain line."""
        self.logged = time.monotonic()
        print(f"{self.name}: {self.done}/{self.tasks} tasks, {self.rates()}", file=sys.stderr, flush=True)
