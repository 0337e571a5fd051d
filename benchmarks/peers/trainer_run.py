"""Steps of our trainer: a case as JSON in, seconds of each step and the peak of memory as JSON out.

The whole of `training.fsdp.take` is timed, with copies to the device, guard and sums by stream; only the reading of
shards is left out. The same program runs on a CPU. Run in our environment: trainer_run.py CASE
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
from clock import Clock

from training.config import parse_config
from training.data import Batch
from training.fsdp import Training, open_training, take
from training.optim import set_learning_rate
from training.parallel import join

EOD = 5


def batches(case: dict[str, Any]) -> list[Batch]:
    """Random sequences, the same for each side: those of `sequences` in torchtitan_run.py."""
    rng = np.random.Generator(np.random.Philox(7))
    shape = (case["microbatch"], case["sequence"] + 1)
    made = []
    for step in range(case["warmup"] + case["steps"]):
        tokens = rng.integers(6, case["model"]["vocabulary"], shape)
        starts = tuple(np.array([0]) for _ in tokens)
        made.append(Batch(step, "only", tokens, np.arange(len(tokens)), ("web/en",) * len(tokens), starts, 0))
    return made


def open_case(case: dict[str, Any]) -> Training:
    """A model at its start, as the case wants it."""
    raw = {key: case[key] for key in ("model", "microbatch", "parallel", "optimizer")}
    config = parse_config({"run": "", "plan": {}, "schedule": {}, "device": case["device"], **raw})
    phases = [SimpleNamespace(sources=[SimpleNamespace(name="web/en")])]
    corpus = SimpleNamespace(facts=SimpleNamespace(eod=EOD))
    run: Any = SimpleNamespace(order=SimpleNamespace(phases=phases), corpus=lambda phase: corpus)
    return open_training(config, run, join(config))


def main() -> None:
    """Take the steps and print what they took."""
    case = json.loads(sys.argv[1])
    training, prepared = open_case(case), batches(case)
    set_learning_rate(training.optimizer, 1e-4)
    clock, known = Clock(case["device"], case["warmup"]), None
    for batch in prepared:
        known = take(training, batch)
        clock.step()
    assert known is not None
    loss = float(known[0] / known[1])
    parameters = sum(parameter.numel() for parameter in training.model.parameters())
    print(json.dumps(clock.figures() | {"loss": loss, "parameters": parameters}))


if __name__ == "__main__":
    main()
