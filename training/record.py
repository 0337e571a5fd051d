"""The lines of `metrics.jsonl`: one for each step, written by the trainer and read by plots and by people.

A run that goes on takes away the lines of the steps that it takes again, and a last line that was cut off.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.order import PlanError


@dataclass(frozen=True)
class Record:
    """One step; what is not known, or is not a finite number, is null."""

    step: int
    phase: str
    tokens: int  # that the run has gone through, this step included
    loss: float | None  # mean cross-entropy of the tokens that count, in nats
    languages: dict[str, float | None]  # the loss by language
    streams: dict[str, float | None]  # the loss by stream
    counted: dict[str, int]  # tokens that count, by stream: all but those after an end of document
    norm: float | None  # of the gradients, before clipping
    lr: float
    skipped: bool
    why: str  # the step was skipped: "listed", "not finite" or "spike"
    in_a_row: int  # steps that the guard has skipped, up to this one
    stop: bool  # some rank was asked to stop
    seconds: float  # since the end of the step before
    tokens_per_second: float  # of all ranks together
    mfu: float | None  # share of the peak, the whole attention matrix counted as is usual
    mfu_causal: float | None  # the same with the half of attention that a causal mask leaves
    peak_tflops: float | None  # of one device
    waited: float  # seconds for data, on the first rank
    memory: int  # bytes, most so far on the first rank: allocated on the device, or resident
    pushed_out: int  # tokens that fill-in-the-middle pushed over the end of a sequence
    digest: str  # of the step's order
    rolling: str  # of the order up to this step

    def line(self) -> str:
        """The line, with all digits that tell a number from its neighbours."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False) + "\n"


def mean(sums: Iterable[tuple[float, float]]) -> float | None:
    """Sum of losses over sum of counts."""
    losses, counts = map(math.fsum, zip(*sums, strict=True))
    return finite(losses / counts)


def by_language(sums: Mapping[str, tuple[float, float]]) -> dict[str, float | None]:
    """Losses of the streams of each language; a stream is called SOURCE/LANGUAGE."""
    languages = sorted({name.rpartition("/")[2] for name in sums})
    return {lang: mean([each for name, each in sums.items() if name.rpartition("/")[2] == lang]) for lang in languages}


def finite(value: float) -> float | None:
    """The value, if it is a number that JSON knows."""
    return value if math.isfinite(value) else None


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line with its values; a last one that was cut off is left out. PlanError for any other that is no record."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                return
            try:
                values = json.loads(text)
            except json.JSONDecodeError:
                values = None
            if not isinstance(values, dict) or not isinstance(values.get("step"), int):
                raise PlanError(f"{path}: line {number:,} is no record of a step; mend or remove it")
            yield text, values


def truncate(path: Path, since: int) -> None:
    """Keep the lines of the steps before `since`, or change nothing; a crash leaves the old file or the new."""
    if not path.exists():
        return
    new = path.with_suffix(".new")
    with open(new, "w", encoding="utf-8") as file:
        file.writelines(text for text, values in read_lines(path) if values["step"] < since)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
