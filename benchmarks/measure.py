"""What the benchmarks share: whole processes run in turns on pinned cores, and what they took.

Memory and CPU time are sums over a process and all below it, sampled every 50 ms; pages of memory that processes share
count in each of them, alike for every program measured. CPU time tells programs apart where others use the machine.
"""

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil

SAMPLE_SECONDS = 0.05
CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared" / "data"
T = TypeVar("T")


class CommandFailed(RuntimeError):
    """A measured command did not end well."""


@dataclass(frozen=True)
class Usage:
    """One run of a command: wall and CPU seconds, peak resident bytes of its processes together and of the largest."""

    seconds: float
    cpu_seconds: float
    peak_rss: int
    largest_rss: int


@dataclass
class Sampler:
    """Watches a process, and those below it if `tree`, in a thread of its own."""

    process: psutil.Process
    tree: bool
    rss: list[tuple[float, int]] = field(default_factory=list)  # seconds since the start, resident bytes of all
    largest: int = 0
    cpu: dict[int, float] = field(default_factory=dict)  # process id -> CPU seconds when last seen

    def __enter__(self) -> "Sampler":
        self.start = time.perf_counter()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.thread.join()

    @property
    def peak(self) -> int:
        """Most resident bytes at one time."""
        return max((size for _, size in self.rss), default=0)

    def _loop(self) -> None:
        while not self.stop.wait(SAMPLE_SECONDS):
            try:
                processes = [self.process, *(self.process.children(recursive=True) if self.tree else [])]
            except psutil.NoSuchProcess:
                return
            sizes = [self._look(process) for process in processes]
            self.rss.append((time.perf_counter() - self.start, sum(sizes)))
            self.largest = max(self.largest, *sizes)

    def _look(self, process: psutil.Process) -> int:
        try:
            with process.oneshot():
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                return process.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return 0


def pin(cores: int) -> None:
    """Keep this process, and those that it starts, on the first `cores` CPUs that it may use."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def run(command: Sequence[str], settings: Mapping[str, str], log: Path) -> Usage:
    """Run a command to its end, its output in a file; CommandFailed with the end of that file where it fails."""
    with open(log, "wb") as output:
        start = time.perf_counter()
        # Byte code is kept between runs, as it is for users, wherever an environment says otherwise.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | settings
        child = psutil.Popen(command, cwd=CHECKOUT, env=env, stdout=output, stderr=subprocess.STDOUT)
        with Sampler(child, tree=True) as sampler:
            code = child.wait()
            seconds = time.perf_counter() - start
    if code:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise CommandFailed(f"{' '.join(command)}\nended with {code}:\n{tail}")
    return Usage(seconds, sum(sampler.cpu.values()), sampler.peak, sampler.largest)


def in_turns(sides: Mapping[str, Callable[[int], T]], rounds: int) -> dict[str, list[T]]:
    """Results of each side, run in turns, so that a change of the machine's speed meets all sides alike."""
    results: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            results[name].append(side(number))
    return results


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    text.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in text)


def verdict(name: str, value: float, bar: float, at_least: bool = True) -> str:
    """One line that says whether a bar is met."""
    met = value >= bar if at_least else value <= bar
    return f"{'met' if met else 'MISSED'}: {name} {value:.2f}, bar {'>=' if at_least else '<='} {bar:g}"
