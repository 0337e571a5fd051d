"""Steps of a run, taken again: a run's folder in, what was recorded beside what comes out now; nothing is saved.

`python -m training.replay RUN --steps a:b` loads the newest full checkpoint up to step a, which is as far back as the
numbers can be told apart. Digests of the order are the same on any number of ranks; losses and norms to the last digit
only on as many ranks as then, and on CUDA only in the deterministic profile.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import torch.distributed as dist

from manifests.show import table
from manifests.storage import StorageError
from training.checkpoint import Checkpoints
from training.config import ConfigError, load_config
from training.folder import RunFolder
from training.fsdp import open_data, resumed, steps, stop_signals
from training.order import PlanError, check_world
from training.parallel import join
from training.record import finite, mean, read_lines

Pair = tuple[float | None, float | None]  # None: not finite, or the step was left out


@dataclass(frozen=True)
class Again:
    """A step as it was recorded and as it came out: the order's digest, the loss and the norm."""

    step: int
    digests: tuple[str, str]
    numbers: tuple[Pair, Pair]

    @property
    def same(self) -> bool:
        """Whether it saw the same tokens."""
        return self.digests[0] == self.digests[1]

    @property
    def differences(self) -> list[float]:
        """Of the losses and of the norms; infinite where one is a number and the other is none."""
        return [abs((a or 0) - (b or 0)) if (a is None) == (b is None) else float("inf") for a, b in self.numbers]


def replay(folder: RunFolder, first: int, end: int, since: int | None = None) -> tuple[list[Again], bool]:
    """Take steps [first, end) again, from the checkpoint after `since` steps if that is given; and whether their
    numbers must be the recorded ones to the last digit."""
    if not folder.config.is_file():
        raise ConfigError(f"{folder.path}: no config.json is there; give a run's folder")
    config, run = open_data(load_config(str(folder.config)))
    recorded = {line["step"]: line for _, line in read_lines(folder.metrics)}
    if missing := [step for step in range(first, end) if step not in recorded]:
        raise ConfigError(f"{folder.metrics} has no line of step {missing[0]:,}; it holds {len(recorded):,} steps")
    world = join(config)
    check_world([phase.batch for phase in run.order.phases], world.size, config.microbatch)
    saved = Checkpoints(folder.checkpoints, config, world)
    most = first if since is None else since
    if since and (since > first or saved.newest(most) != since):
        raise ConfigError(f"{folder.checkpoints} has no complete checkpoint after step {since:,} to begin with")
    training, begun, _ = resumed(saved, run, most)
    n, again = len(training.streams), []
    with closing(saved), stop_signals() as asked, closing(steps(training, begun, asked)) as stepping:
        for batch, _, _, known in stepping:
            if batch.step >= first:
                line, values = recorded[batch.step], known.tolist()
                listed = batch.step in config.guard.skip
                loss = None if listed else mean(zip(values[:n], values[n : 2 * n], strict=True))
                norm = None if listed else finite(values[-4])
                digests = line["digest"], run.order.digest(batch.step)
                again.append(Again(batch.step, digests, ((line["loss"], loss), (line["norm"], norm))))
            if batch.step + 1 >= end or asked():
                break
    return again, (config.deterministic or world.device.type == "cpu") and ranks_of(folder, first, end) == {world.size}


def ranks_of(folder: RunFolder, first: int, end: int) -> set[int]:
    """On how many ranks some steps were recorded; the last start at or before a step recorded it."""
    starts = [json.loads(line) for line in folder.starts.read_text(encoding="utf-8").splitlines()]
    return {[start["ranks"] for start in starts if start["step"] <= step][-1] for step in range(first, end)}


def show(again: list[Again], exact: bool) -> tuple[list[str], bool]:
    """A line for each step, the largest differences last; and whether all is as it must be."""
    rows = [["step", "loss", "again", "difference", "norm", "again", "difference", "order"]]
    for each in again:
        cells = [f"{each.step:,}"]
        for pair, difference in zip(each.numbers, each.differences, strict=True):
            cells += [*("-" if value is None else f"{value:.6f}" for value in pair), f"{difference:.1e}"]
        rows.append([*cells, "same" if each.same else "DIFFERS"])
    loss, norm = (max(values) for values in zip(*(each.differences for each in again), strict=True))
    ordered = all(each.same for each in again)
    if exact:
        told = "and must be none" if loss or norm else "as it must be"
    else:
        told = "which is no fault: ranks or device do not promise the same digits"
    order = "same" if ordered else "DIFFERS"
    last = f"largest difference of the loss {loss:.1e}, of the norm {norm:.1e}, {told}; order {order}"
    return [*table(rows), last], ordered and not (exact and (loss or norm))


def span(text: str) -> tuple[int, int]:
    """Steps a to b - 1, from a:b."""
    try:
        first, end = map(int, text.split(":"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text}: write the first step and that after the last, such as 100:110"
        ) from error
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"{text}: no step is there to take")
    return first, end


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m training.replay", description="Take steps of a run again.")
    made.add_argument("run", metavar="RUN", help="its folder")
    made.add_argument("--steps", type=span, required=True, metavar="A:B", help="steps A to B - 1, counted from 0")
    made.add_argument("--from", type=int, dest="since", metavar="STEP", help="the checkpoint to begin with")
    return made


def main(arguments: Iterable[str] | None = None) -> int:
    """Replay; status 1 where something differs that must not, 2 for what cannot be."""
    chosen = parser().parse_args(None if arguments is None else list(arguments))
    first, end = chosen.steps
    mine = not dist.is_initialized()
    try:
        lines, right = show(*replay(RunFolder(chosen.run), first, end, chosen.since))
        if dist.get_rank() == 0:
            print("\n".join(lines))
    except (PlanError, StorageError) as error:
        print(f"training.replay: {error}", file=sys.stderr)
        return 2
    finally:
        if mine and dist.is_initialized():
            dist.destroy_process_group()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
