"""Seconds of steps, by CUDA events or the wall clock, and the peak of memory; both sides of a comparison use it.

Nothing waits for the device before the last step: events are read at the end.
"""

import resource
import time
from typing import Any

import torch


class Clock:
    """Notes the end of each step; the first ones warm up and do not count."""

    def __init__(self, device: str, warmup: int) -> None:
        self.cuda, self.warmup = device == "cuda", warmup
        self.marks: list[Any] = []
        self.step()

    def step(self) -> None:
        """A step has been given to the device."""
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def figures(self) -> dict[str, Any]:
        """Seconds of each step that counts, the most bytes held, the device, and torch's version."""
        pairs = list(zip(self.marks, self.marks[1:], strict=False))[self.warmup :]
        if self.cuda:
            torch.cuda.synchronize()
            seconds = [a.elapsed_time(b) / 1e3 for a, b in pairs]
            peak, name = torch.cuda.max_memory_allocated(), torch.cuda.get_device_name()
        else:
            seconds = [b - a for a, b in pairs]
            peak, name = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "CPU"
        return {"seconds": seconds, "peak": peak, "device": name, "torch": torch.__version__}
