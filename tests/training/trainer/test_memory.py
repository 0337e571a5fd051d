"""The memory plan against the numbers of the study that it follows, and against what autograd keeps of a real block."""

import pytest
import torch
from torch import Tensor

from training.config import load_config
from training.memory import GIB, Memory, compiled, counted, eager, main, memory_of
from training.model import Block, positions
from training.models import PRESETS, Model
from training.plan import plan_of

# MAP-Neo: its paper and the sizes of the released shards. Amber: LLaMA 7B. CrystalCoder's own configuration says
# 6,583,754,752 in a comment: its shapes give that with 32,256 rows and 2,048 learned positions, without the biases of
# the feed-forward layers, and neither is in the released model; the shapes as released, 32,032 rows, give ours.
PARAMETERS = {
    "neo-7b": 7_793_716_224,
    "neo-2b": 2_245_076_992,
    "neo-1b-sibling": 1_254_409_728,
    "amber-7b": 6_738_415_616,
    "crystalcoder-7b": 6_575_278_720,
}


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_parameters_as_published_and_as_built(name: str, parameters: int) -> None:
    assert PRESETS[name].parameters == parameters == counted(PRESETS[name])


def test_where_the_comment_on_crystalcoder_comes_from() -> None:
    model = PRESETS["crystalcoder-7b"]
    rows, learned = (32_256 - 32_032) * model.hidden, 2048 * model.hidden
    biases = model.layers * (2 * model.ffn + model.hidden)
    assert model.parameters + rows + learned - biases == 6_583_754_752


@pytest.mark.parametrize(
    ("name", "full", "causal"), [("neo-7b", 54.03, 49.80), ("neo-2b", 16.30, 14.49), ("neo-1b-sibling", 9.35, 8.14)]
)
def test_operations_of_a_token(name: str, full: float, causal: float) -> None:
    model = PRESETS[name]
    assert model.flops(8192) / 1e9 == pytest.approx(full, abs=0.006)
    assert model.flops(8192, causal=True) / 1e9 == pytest.approx(causal, abs=0.006)


def plan(*changes: str, gpus: int = 1) -> Memory:
    """The memory of the first phase of neo-7b; one microbatch in a step."""
    config = load_config("neo-7b", [f"plan.phase.fundamental.batch={gpus}", *changes])
    return memory_of(config, gpus, plan_of(config.plan).phases[0])


@pytest.mark.parametrize(
    ("what", "changes", "gib", "within"),
    [
        # 16, 10.03 bytes of a parameter; activations of 8,192 tokens; sums of plans A and B
        ("states", [], 116.1, 0.1),
        ("states", ["optimizer.kind=adamw8bit"], 72.8, 0.1),
        ("activations", ["parallel.recompute=full"], 1.3, 0.05),
        ("activations", [], 28.9, 0.1),
        ("total", ["parallel.recompute=full", "parallel.compile=false"], 127, 1.0),
        ("total", ["optimizer.kind=adamw8bit"], 110, 2.5),
    ],
)
def test_plans_of_one_gpu(what: str, changes: list[str], gib: float, within: float) -> None:
    memory = plan(*changes)
    found = memory.parameters + memory.gradients + memory.moments if what == "states" else getattr(memory, what)
    assert found / GIB == pytest.approx(gib, abs=within)


def test_what_more_gpus_share() -> None:
    one, many = plan(), plan(gpus=64)
    for name in ("parameters", "gradients", "moments"):
        assert getattr(one, name) == 64 * getattr(many, name)
    for name in ("activations", "logits", "gathered"):
        assert getattr(one, name) == getattr(many, name)
    assert plan("parallel.replicate=8", gpus=64).parameters == 8 * many.parameters
    assert plan("plan.phase.fundamental.batch=128", gpus=64) == many  # gradients are reduced in each microbatch
    half = plan("parallel.budget=0.5").activations
    assert plan("parallel.recompute=full").activations < half < one.activations


@pytest.mark.parametrize(
    ("width", "kind"), [(2, torch.bfloat16), (4, torch.float32)]
)  # fmt: skip
def test_what_autograd_keeps_of_a_block(width: int, kind: torch.dtype) -> None:
    """With LayerNorm, which is one kernel on a CPU too; RMSNorm is one on CUDA alone, and keeps as much there."""
    model = Model(1, 128, 2, 2, 64, 512, 512, context=256, norm="layer")
    block = Block(model).to(kind)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    x = torch.randn(1, 256, 128, dtype=kind, requires_grad=True)
    cos, sin = positions(model, 256, torch.device("cpu"))
    others = {tensor.untyped_storage().data_ptr() for tensor in (cos, sin, *block.parameters())}
    kept: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in others:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(x, cos, sin, None)
    assert sum(size for size, _ in kept.values()) / 256 == pytest.approx(eager(model, width), rel=0.03)
    assert compiled(model, width) < eager(model, width)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neo-7b", "--gpus", "1,8,64,512"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("7,793,716,224 parameters\n54.03 GFLOP for each token of 8,192")
    rows = [line.split() for line in printed.splitlines()[3:]]
    assert [row[0] for row in rows if row[0].isdigit()] == ["1", "8", "64", "512"]
    assert printed.splitlines()[-2].endswith("2 + -")  # 512 GPUs cannot share the 640 sequences of the decay phase


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tiny"], "--set model.vocabulary=N"),
        (["neo-7b", "--gpus", "1,x"], "write numbers such as"),
        (["neo-7b", "--gpus", "0"], "write numbers such as"),
        (["neo-8b"], "did you mean 'neo-7b'?"),
    ],
)
def test_sentences(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err
