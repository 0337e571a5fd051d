"""What some ranks have saved, others load: two and four processes, and this one."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.training.trainer.toys import corpus, free_port, hashes, settings
from training.checkpoint import Checkpoints, tensors
from training.config import Config, Optimizer, Parallel, parse_config
from training.fsdp import Training, open_data, open_training
from training.huggingface import read_weights
from training.parallel import join

# Large enough that all matrices have moments of 8 bits on one rank and on two: torchao wants 4,096 values on each rank.
SHAPE = {"hidden": 128, "ffn": 128, "head_dim": 32, "kv_heads": 2}


def config_of(folder: Path, kind: Any, replicate: int = 1) -> Config:
    raw = settings(
        folder / "run", folder / "corpus", model=SHAPE, saving={"weights_tokens": 512, "weights_type": "fp32"}
    )
    return replace(parse_config(raw), optimizer=Optimizer(kind=kind), parallel=Parallel(replicate, "fp32"))


def opened(folder: Path, kind: str, replicate: int = 1) -> tuple[Training, Checkpoints]:
    """A model of another seed, and the checkpoints of an optimizer's kind."""
    config, run = open_data(config_of(folder, kind, replicate))
    world = join(config)
    training = open_training(replace(config, seed=world.size), run, world)
    return training, Checkpoints(folder / kind / "checkpoints", config, world)


def losses(training: Training, count: int) -> list[float]:
    """Steps on fixed tokens; all ranks see the same."""
    tokens = (torch.arange(2 * 17) * 7919 % training.config.model.vocabulary).view(2, 17)
    found = []
    for group in training.optimizer.param_groups:
        group["lr"] = torch.tensor(0.002) if isinstance(group["lr"], torch.Tensor) else 0.002
    for _ in range(count):
        scale = torch.tensor(1 / 32 / training.world.size)
        loss, _ = training.model(tokens[:, :-1], tokens[:, 1:], scale)
        loss.backward()
        training.optimizer.step()
        training.optimizer.zero_grad()
        found.append(float(loss.detach()) * training.world.size)
    return found


def two(folder: Path) -> dict[str, Any]:
    """Two ranks take steps, save, and go on."""
    told = {}
    for kind in ("adamw", "adamw8bit"):
        training, saved = opened(folder, kind)
        losses(training, 3)
        saved.save(8, training.model, training.optimizer, training.guard, training.run, "d", False)
        saved.close()
        moments = training.optimizer if kind == "adamw" else None
        told[kind] = {"hashes": hashes(tensors(training.model, moments)), "losses": losses(training, 3)}
    return told


def four(folder: Path) -> dict[str, Any]:
    """Four ranks load, all in one group and as two groups of two, and save again."""
    told = {}
    for name, replicate in (("four", 1), ("2x2", 2)):
        training, saved = opened(folder, "adamw", replicate)
        saved.load(8, training.model, training.optimizer, training.guard)
        told[name] = hashes(tensors(training.model, training.optimizer))
        saved.save(8 + 4 * replicate, training.model, training.optimizer, training.guard, training.run, "d", False)
        saved.close()
    training, saved = opened(folder, "adamw")
    (exported,) = (folder / "adamw" / "exports").glob("step-00000008*")
    read_weights(exported, training.model, training.config.model)
    told["imported"] = hashes(tensors(training.model, None))
    saved.close()
    return told


def process(rank: int, ranks: int, port: int, work: Callable[[Path], dict[str, Any]], folder: Path) -> None:
    """One rank; the first writes what was found."""
    torch.set_num_threads(1)
    torch.compiler.set_stance("force_eager")  # torchao compiles its steps
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    told = work(folder)
    if rank == 0:
        (folder / f"{ranks}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ranks")
    corpus(made / "corpus")
    for ranks, work in ((2, two), (4, four)):
        mp.spawn(process, (ranks, free_port(), work, made), ranks)
    return made


def told(folder: Path, ranks: int) -> Any:
    return json.loads((folder / f"{ranks}.json").read_text())


def test_parameters_and_moments_are_the_same_on_any_number_of_ranks(folder: Path) -> None:
    saved_by_two, by_four = told(folder, 2)["adamw"]["hashes"], told(folder, 4)
    assert {name.rpartition(".")[2] for name in saved_by_two} == {"weight", "exp_avg", "exp_avg_sq", "step"}
    assert by_four["four"] == by_four["2x2"] == saved_by_two
    for step in (8, 12, 16):  # by two, by four, by two groups of two
        training, saved = opened(folder, "adamw")
        saved.load(step, training.model, training.optimizer, training.guard)
        saved.close()
        assert hashes(tensors(training.model, training.optimizer)) == saved_by_two
        assert saved.state(step)["ranks"] == {8: 2}.get(step, 4)


def test_moments_in_8_bits_go_on_on_one_rank(folder: Path) -> None:
    before = told(folder, 2)["adamw8bit"]
    training, saved = opened(folder, "adamw8bit")
    saved.load(8, training.model, training.optimizer, training.guard)
    saved.close()
    kinds = {type(state["exp_avg"].to_local()).__name__ for state in training.optimizer.state.values()}
    assert "OptimState8bit" in kinds
    weights = {name: value for name, value in before["hashes"].items() if name.endswith("weight")}
    assert hashes(tensors(training.model, None)) == weights
    assert losses(training, 3) == pytest.approx(before["losses"], abs=1e-4)


def test_weights_of_two_ranks_are_imported_on_four(folder: Path) -> None:
    before = told(folder, 2)["adamw"]["hashes"]
    assert told(folder, 4)["imported"] == {n: v for n, v in before.items() if n.endswith("weight")}
    (exported,) = (folder / "adamw" / "exports").glob("step-00000008*")
    assert sorted(file.name for file in exported.iterdir()) == [
        "config.json", "glasspile.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
