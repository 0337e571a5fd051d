"""One model on 1, 2, 4 and 2 x 2 ranks: the same start, the same losses; and a job of hundreds of ranks of which this
process is one. One set of four processes computes all figures; the tests compare them."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from tests.training.trainer.ranks import TOY, batch_of, config_of, losses_of, parallel, port, ranks, training_of
from training.config import Config, ConfigError, Optimizer
from training.fsdp import take
from training.model import LanguageModel
from training.parallel import join

STEPS = 4
MQA = replace(TOY, kv_heads=1)
CRYSTAL = replace(TOY, tied=True, norm="layer", bias=True, rotary=0.25, truncated=True, attention="document")
CASES = {
    "fp32": config_of(parallel=parallel(), microbatch=2),
    "fp32, accumulation 2": config_of(parallel=parallel(), microbatch=1),
    "bf16": config_of(MQA, parallel=parallel(precision="bf16"), microbatch=2),
    "bf16, accumulation 2": config_of(MQA, parallel=parallel(precision="bf16"), microbatch=1),
}
ON_TWO = {
    "recompute": config_of(parallel=parallel(recompute="full"), microbatch=2),
    "whole": config_of(parallel=parallel(reshard_after_forward=False), microbatch=2),
    "tied": config_of(CRYSTAL, parallel=parallel(), microbatch=4),
    "float8": config_of(MQA, parallel=parallel(precision="bf16", float8="emulate"), microbatch=2),
    "adamw8bit": config_of(parallel=parallel(), optimizer=Optimizer("adamw8bit"), microbatch=2),
}


def digest(model: LanguageModel) -> str:
    """Of all parameters, each whole."""
    state = hashlib.blake2b(digest_size=16)
    for name, parameter in model.named_parameters():
        whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        state.update(name.encode() + whole.detach().numpy().tobytes())
    return state.hexdigest()


def measured(config: Config) -> dict[str, Any]:
    """Digest at the start; loss and norm of each step."""
    training = training_of(config, join(config))
    start = digest(training.model)
    return {"start": start, "steps": losses_of(training, STEPS)}


def hybrid(config: Config) -> Config:
    """The same on two replicas."""
    return replace(config, parallel=replace(config.parallel, replicate=2))


def on_four_then_on_two(free: int) -> dict[str, Any]:
    """All figures of four ranks, and then of the first two of them."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # torchao's 8-bit step compiles for half a minute
    found = {f"{name}, 4": measured(config) for name, config in CASES.items()}
    found |= {f"{name}, 2x2": measured(hybrid(config)) for name, config in CASES.items()}
    dist.destroy_process_group()
    os.environ |= {"WORLD_SIZE": "2", "MASTER_PORT": str(free)}
    if int(os.environ["RANK"]) < 2:
        found |= {f"{name}, 2": measured(config) for name, config in (CASES | ON_TWO).items()}
    return found


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """All figures by case and ranks."""
    found = ranks(on_four_then_on_two, 4, tmp_path_factory.mktemp("ranks"), port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHDYNAMO_DISABLE", "1")
        found |= {f"{name}, 1": measured(config) for name, config in (CASES | ON_TWO).items()}
        dist.destroy_process_group()
    yield found


def apart(first: dict[str, Any], second: dict[str, Any]) -> list[float]:
    """The largest differences, of their size: of losses, and of norms."""
    pairs = list(zip(first["steps"], second["steps"], strict=True))
    return [max(abs(a[i] - b[i]) / abs(a[i]) for a, b in pairs) for i in (0, 1)]


@pytest.mark.parametrize("world", ["1", "2", "4", "2x2"])
@pytest.mark.parametrize("case", CASES)
def test_losses_do_not_depend_on_the_number_of_ranks(figures: dict[str, Any], case: str, world: str) -> None:
    precision = case.split(",")[0]
    loss, norm = apart(figures[f"{precision}, 1"], figures[f"{case}, {world}"])
    assert loss <= {"fp32": 5e-6, "bf16": 3e-4}[precision]
    # A norm in bfloat16 is of gradients that are rounded once for each microbatch: half a unit in the last place.
    assert norm <= {"fp32": 5e-6, "bf16": 2**-9}[precision]


@pytest.mark.parametrize("model", ["fp32", "bf16", "tied"])
def test_the_start_is_the_same_on_any_number_of_ranks(figures: dict[str, Any], model: str) -> None:
    starts = {found["start"] for name, found in figures.items() if name.startswith(f"{model}, ")}
    assert len([name for name in figures if name.startswith(f"{model}, ")]) >= 2
    assert len(starts) == 1


@pytest.mark.parametrize("world", ["1", "2"])
def test_recomputing_and_keeping_parameters_whole_change_no_bit(figures: dict[str, Any], world: str) -> None:
    for case in ("recompute", "whole"):
        assert figures[f"{case}, {world}"] == figures[f"fp32, {world}"], case


def test_tied_matrices_and_documents_on_two_ranks(figures: dict[str, Any]) -> None:
    assert max(apart(figures["tied, 1"], figures["tied, 2"])) <= 5e-6


@pytest.mark.parametrize("world", ["1", "2"])
def test_float8_is_within_a_hundredth_of_bfloat16(figures: dict[str, Any], world: str) -> None:
    pairs = zip(figures[f"float8, {world}"]["steps"], figures[f"bf16, {world}"]["steps"], strict=True)
    differences = [abs(a[0] - b[0]) / b[0] for a, b in pairs]
    assert 0 < max(differences) <= 0.01


def test_eight_bit_moments_train(figures: dict[str, Any]) -> None:
    one, two, usual = (figures[name]["steps"] for name in ("adamw8bit, 1", "adamw8bit, 2", "fp32, 1"))
    assert one[0] == pytest.approx(usual[0], rel=5e-6)
    for (a, _), (b, _), (c, _) in zip(one, two, usual, strict=True):
        assert a == pytest.approx(c, rel=0.02)
        assert a == pytest.approx(b, rel=0.02)
    assert one[-1][0] < one[0][0]


@pytest.mark.parametrize("size", [8, 64, 512])
def test_one_rank_of_hundreds(size: int) -> None:
    """Build, forward, backward, clip and step as rank 3; the others are not there, and nothing is sent."""
    shape = replace(TOY, hidden=512, heads=8, kv_heads=8, head_dim=64, ffn=1024, vocabulary=1024)
    dist.init_process_group("fake", store=FakeStore(), rank=3, world_size=size)
    try:
        config = config_of(shape, parallel=parallel(precision="bf16", replicate=2 if size == 512 else 1))
        training = training_of(config, join(config))
        held = sum(p.to_local().numel() for p in training.model.parameters())
        shards = size // config.parallel.replicate
        assert held == pytest.approx(shape.parameters / shards, rel=0.02)
        known = take(training, batch_of(0, 3, size, sequences=2 * size))
        assert torch.isfinite(known).all() and known[-3] == 0
        assert sum(s["exp_avg"].to_local().numel() for s in training.optimizer.state.values()) == held
    finally:
        dist.destroy_process_group()


def test_ranks_that_replicas_do_not_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=6)
    try:
        with pytest.raises(ConfigError, match="parallel.replicate = 4 does not divide the 6 ranks"):
            join(config_of(parallel=parallel(replicate=4)))
    finally:
        dist.destroy_process_group()


@pytest.mark.soak
@pytest.mark.parametrize("changes", [{}, {"budget": 0.5}, {"recompute": "full"}])
@pytest.mark.parametrize("attention", ["causal", "document"])
def test_compiled_blocks_and_loss(changes: dict[str, Any], attention: str) -> None:
    plain = config_of(replace(MQA, attention=attention), parallel=parallel(), microbatch=4)
    torch._dynamo.reset()  # a budget is a process's, and is not looked at when a graph is found again
    torch._dynamo.utils.counters.clear()
    found = [measured(replace(plain, parallel=parallel(**chosen))) for chosen in ({}, {"compile": True, **changes})]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # a block, whichever, and the loss
    assert max(apart(*found)) <= 3e-4
    dist.destroy_process_group()
