"""Learning rates worked by hand, the groups of parameters, and the guard that leaves a step out bit for bit."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.training.trainer.ranks import TOY, batch_of, config_of, parallel, training_of
from training.config import Config, Guard, Optimizer, Schedule
from training.fsdp import Training, take
from training.loss import of_logits
from training.model import LanguageModel
from training.optim import SpikeGuard, clipped_norm, learning_rate, optimizer_of, set_learning_rate
from training.parallel import join

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "schedule, steps, wanted",
    [
        # MAP-Neo, fundamental phase: 2,000 steps to 2e-4, then a cosine to 2e-5; the middle of it is the mean of both.
        (Schedule("cosine", 2e-4, end=2e-5, warmup=2000), 10_000,
         {0: 0.0, 1: 1e-7, 1000: 1e-4, 2000: 2e-4, 6000: 1.1e-4, 10_000: 2e-5, 12_000: 2e-5}),
        # Its decay: half of the phase is the half-life, so it ends at a quarter.
        (Schedule("exponential", 2e-4), 1000, {0: 2e-4, 250: 2e-4 / math.sqrt(2), 500: 1e-4, 1000: 5e-5}),
        (Schedule("exponential", 1.0, end=0.3, half_life=10), 1000, {10: 0.5, 20: 0.3, 30: 0.3}),
        # CrystalCoder, phase 1: a line of 294,337 steps that the phase leaves at 79,721.
        (Schedule("linear", 0.012, end=1.2408e-4, warmup=86, steps=294_337), 79_721,
         {0: 0.0, 43: 0.006, 86: 0.012, 79_721: 0.012 - (0.012 - 1.2408e-4) * 79_635 / 294_251}),
        (Schedule("linear", 1.0, start=0.5, end=0.0, warmup=2), 12, {0: 0.5, 1: 0.75, 2: 1.0, 7: 0.5, 12: 0.0}),
        (Schedule("constant", 3e-4, warmup=3), 10, {0: 0.0, 1: 1e-4, 3: 3e-4, 9: 3e-4}),
        (Schedule("cosine", 1.0, warmup=20), 10, {5: 0.25, 9: 0.45}),  # a warm-up longer than the phase
    ],
)  # fmt: skip
def test_learning_rates(schedule: Schedule, steps: int, wanted: dict[int, float]) -> None:
    for step, rate in wanted.items():
        assert learning_rate(schedule, step, steps) == pytest.approx(rate, rel=1e-9, abs=1e-15), step


def test_groups_by_decay_and_factor() -> None:
    shape = replace(TOY, norm="layer", bias=True, tied=True, matrix_lr_scale=1 / 16)
    with torch.device("meta"):
        model = LanguageModel(shape)
    optimizer = optimizer_of(model, shape, Optimizer(weight_decay=0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    set_learning_rate(optimizer, 0.32)
    seen = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.append(name)
            matrix, inside = parameter.ndim > 1, ".layers." in name
            assert group["weight_decay"] == (0.1 if matrix else 0.0), name
            assert group["lr"] == pytest.approx(0.02 if matrix and inside else 0.32), name
    assert sorted(seen) == sorted(names.values())


def test_the_norm_is_that_of_all_gradients_and_they_are_scaled_to_the_clip() -> None:
    parameters = [
        torch.nn.Parameter(torch.zeros(2)),
        torch.nn.Parameter(torch.zeros(1)),
        torch.nn.Parameter(torch.zeros(1)),
    ]
    parameters[0].grad, parameters[1].grad = torch.tensor([2.0, 3.0]), torch.tensor([6.0])
    assert float(clipped_norm(parameters, 3.5)) == 7.0
    assert parameters[0].grad.tolist() == pytest.approx([1.0, 1.5], rel=1e-6)
    assert float(clipped_norm(parameters, 100.0)) == pytest.approx(3.5, rel=1e-6)
    assert parameters[1].grad.tolist() == pytest.approx([3.0], rel=1e-6)


def judged(guard: SpikeGuard, values: list[tuple[float, float]]) -> list[bool]:
    """What the guard says of losses and norms, one after the other."""
    return [bool(guard.harmful(torch.tensor(loss), torch.tensor(norm))) for loss, norm in values]


@pytest.mark.parametrize(
    "loss, norm, harmful",
    [
        (2.0, 1.0, False),
        (2.59, 1.0, False),  # the losses have mean 2 and deviation 0.1: 6 deviations end at 2.6
        (2.61, 1.0, True),
        (0.0, 1.0, False),  # a fall does no harm
        (2.0, 1.59, False),
        (2.0, 1.61, True),
        (math.nan, 1.0, True),
        (2.0, math.inf, True),
        (-math.inf, 1.0, True),
    ],
)
def test_the_guard_by_hand(loss: float, norm: float, harmful: bool) -> None:
    guard = SpikeGuard(Guard(window=32, sigma=6.0), CPU)
    before = [(2.1, 1.1), (1.9, 0.9)] * 20
    assert not any(judged(guard, before))
    assert judged(guard, [(loss, norm)]) == [harmful]
    assert int(guard.in_a_row) == int(harmful)


def test_the_guard_against_a_plain_window() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    values = [(3 + rng.normal() / 10 + 2 * (rng.random() < 0.08), rng.random()) for _ in range(200)]
    window, wanted = [], []
    for pair in values:
        held = np.array(window[-20:])
        high = len(held) >= 16 and bool((np.array(pair) > held.mean(0) + 3 * held.std(0)).any())
        wanted.append(high)
        if not high:
            window.append(pair)
    assert 5 < sum(wanted) < 60
    assert judged(SpikeGuard(Guard(window=20, sigma=3.0), CPU), values) == wanted


def test_nothing_is_judged_before_there_are_deviations_but_what_is_not_finite() -> None:
    guard = SpikeGuard(Guard(), CPU)
    assert judged(guard, [(1.0, 1.0)] * 15 + [(1e6, 1e6)] + [(math.nan, 1.0)] * 2) == [False] * 16 + [True] * 2
    assert int(guard.in_a_row) == 2


def test_a_window_goes_through_a_checkpoint() -> None:
    values = [(2.0 + 0.01 * (i % 7), 1.0 + 0.02 * (i % 5)) for i in range(50)]
    guard, again = SpikeGuard(Guard(window=24), CPU), SpikeGuard(Guard(window=24), CPU)
    judged(guard, [*values, (9.0, 1.0)])
    for key, value in again.state().items():
        value.copy_(guard.state()[key])
    assert int(again.in_a_row) == 1
    rest = [(2.0, 1.0), (2.2, 1.0), (2.0, 1.2), (2.0, 1.05)]
    assert judged(again, rest) == judged(guard, rest)


def everything(training: Training) -> dict[str, Tensor]:
    """Parameters, moments and counts, copied; moments in 8 bits as their codes and scales."""
    names = {id(parameter): name for name, parameter in training.model.named_parameters()}
    held = {name: parameter.full_tensor().clone() for name, parameter in training.model.named_parameters()}
    for parameter, state in training.optimizer.state.items():
        for key, value in state.items():
            local = value.to_local() if hasattr(value, "to_local") else value
            parts = [local.codes, local.scale] if hasattr(local, "codes") else [local]
            held |= {f"{names[id(parameter)]} {key} {i}": part.clone() for i, part in enumerate(parts)}
    return held


@pytest.fixture(scope="module")
def world() -> Iterator[object]:
    """This process as the only rank."""
    yield join(config_of())
    dist.destroy_process_group()


def trained(world: object, config: Config, steps: int) -> Training:
    """A toy after some steps."""
    training = training_of(config, world)
    set_learning_rate(training.optimizer, 1e-3)
    for step in range(steps):
        take(training, batch_of(step))
    return training


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
@pytest.mark.parametrize("what", ["nan gradient", "100x gradient", "nan loss", "100x loss"])
def test_a_harmful_step_changes_nothing(world: object, kind: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # torchao's step compiles for half a minute
    config = config_of(parallel=parallel(), optimizer=Optimizer(kind), guard=Guard(window=32), microbatch=4)
    training = trained(world, config, 20)
    before = everything(training)
    assert any("exp_avg" in name for name in before)
    factor = math.nan if "nan" in what else 100.0
    with monkeypatch.context() as patch:
        if "gradient" in what:
            norm = clipped_norm
            patch.setattr("training.fsdp.clipped_norm", lambda p, clip: norm(p, clip) * factor)
        else:
            model = training.model
            worse = replace(model.terms, of_logits=lambda *given: tuple(factor * part for part in of_logits(*given)))
            patch.setattr(model, "terms", worse)
        known = take(training, batch_of(20)).tolist()
    assert known[-3:-1] == [1.0, 1.0]
    after = everything(training)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    good = take(training, batch_of(21)).tolist()
    assert good[-3:-1] == [0.0, 0.0]
    assert not torch.equal(everything(training)["lm_head.weight"], before["lm_head.weight"])
    assert all(parameter.grad is None for parameter in training.model.parameters())


def test_a_step_that_is_listed_is_not_taken_and_counts_its_tokens(world: object) -> None:
    config = config_of(parallel=parallel(), guard=Guard(skip=(2,)))
    training = trained(world, config, 2)
    before, window = everything(training), training.guard.seen.clone()
    known = take(training, batch_of(2)).tolist()
    assert sum(known[2:4]) > 200 and known[:2] == [0.0, 0.0]
    assert known[-3:-1] == [1.0, 0.0]
    assert all(torch.equal(value, before[name]) for name, value in everything(training).items())
    assert torch.equal(training.guard.seen, window)


def test_one_loss_for_each_stream(world: object) -> None:
    """What `take` gives by stream is what the model gives by row."""
    training = training_of(config_of(parallel=parallel(), microbatch=2), world)
    batch = batch_of(0)
    tokens = torch.from_numpy(batch.tokens.astype("int64"))
    with torch.no_grad():
        logits = training.model(tokens[:, :-1])[0].clone()
    sums, counts = [0.0, 0.0], [0, 0]
    for row, name in enumerate(batch.streams):
        for place in range(tokens.shape[1] - 1):
            if tokens[row, place] == 5:
                continue
            which = ("web/en", "web/zh").index(name)
            sums[which] -= float(logits[row, place].log_softmax(0)[tokens[row, place + 1]])
            counts[which] += 1
    known = take(training, batch).tolist()
    assert known[2:4] == counts
    assert known[:2] == pytest.approx(sums, rel=1e-5)
