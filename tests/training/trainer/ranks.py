"""Toy models, batches that need no corpus, and processes that are ranks."""

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from tests.training.corpora import EOD
from training.config import Config, Parallel
from training.data import Batch
from training.fsdp import Training, open_training, take
from training.models import Model
from training.optim import set_learning_rate
from training.parallel import World

TOY = Model(layers=2, hidden=64, heads=2, kv_heads=2, head_dim=32, ffn=256, vocabulary=512, context=64)
STREAMS = ("web/en", "web/zh")


def config_of(model: Model = TOY, **changes: Any) -> Config:
    """A configuration without a corpus."""
    return replace(Config(run="", plan={}, model=model, schedule={}), device="cpu", **changes)


def batch_of(step: int, rank: int = 0, world: int = 1, sequences: int = 8, length: int = 32, ids: int = 512) -> Batch:
    """A rank's part of a step: sequence i is rank i mod world's, of stream i mod 3 > 0, with documents that end."""
    rng = np.random.Generator(np.random.Philox(step))
    tokens = (rng.zipf(1.3, (sequences, length + 1)) % (ids - 6) + 6).astype(np.uint16)
    tokens[rng.random(tokens.shape) < 0.06] = EOD
    starts = [np.array([0, *(np.flatnonzero(row[:-1] == EOD) + 1)]) for row in tokens]
    mine = np.arange(rank, sequences, world)
    names = tuple(STREAMS[int(i % 3 > 0)] for i in mine)
    return Batch(step, "only", tokens[mine], mine, names, tuple(starts[i] for i in mine), 0)


def training_of(config: Config, world: World) -> Training:
    """A model, its optimizer and guard, over streams that exist in `batch_of` alone."""
    phases = [SimpleNamespace(sources=[SimpleNamespace(name=name) for name in STREAMS])]
    corpus = SimpleNamespace(facts=SimpleNamespace(eod=EOD))
    run: Any = SimpleNamespace(order=SimpleNamespace(phases=phases), corpus=lambda phase: corpus)
    return open_training(config, run, world)


def losses_of(training: Training, steps: int, rate: float = 3e-3) -> list[list[float]]:
    """Mean loss and gradient norm of each step."""
    found = []
    for step in range(steps):
        set_learning_rate(training.optimizer, rate * min(1, (step + 1) / 3))
        batch = batch_of(step, training.world.rank, training.world.size, ids=training.config.model.vocabulary)
        known = take(training, batch).tolist()
        n = len(STREAMS)
        found.append([sum(known[:n]) / sum(known[n : 2 * n]), known[-4]])
    return found


def parallel(**changes: Any) -> Parallel:
    """Parallel settings in float32, unless they say otherwise."""
    return Parallel(**{"precision": "fp32", **changes})


def ranks(function: Callable[..., Any], size: int, folder: Path, *arguments: Any) -> Any:
    """Call `function(*arguments)` in so many new processes that see what torchrun would tell them; what rank 0 gave."""
    out = folder / f"{function.__name__}-{size}.json"
    torch.multiprocessing.spawn(_rank, (function, size, port(), out, arguments), nprocs=size)
    return json.loads(out.read_text())


def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _rank(rank: int, function: Callable[..., Any], size: int, free: int, out: Path, arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    place: Mapping[str, Any] = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free
    }  # fmt: skip
    os.environ.update({key: str(value) for key, value in place.items()})
    given = function(*arguments)
    if rank == 0:
        out.write_text(json.dumps(given))
    if dist.is_initialized():
        dist.destroy_process_group()
