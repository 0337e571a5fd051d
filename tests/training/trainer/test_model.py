"""The model against transformers' Llama over 20 steps of training, and against slow references written out here."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from tests.training.trainer.ranks import TOY
from training.config import Optimizer
from training.loss import IGNORED, labels_of
from training.model import LanguageModel, cumulative, document_bounds
from training.models import Model
from training.optim import clipped_norm, optimizer_of, set_learning_rate
from training.parallel import initialise

CPU = torch.device("cpu")
MHA = replace(TOY, head_dim=192)
MQA = replace(TOY, head_dim=256, kv_heads=1)
CRYSTAL = replace(
    TOY, norm="layer", bias=True, tied=True, rotary=0.25, truncated=True, std=0.1, embedding_std=0.3, output_std=0.05,
    embedding_scale=3.0, logit_scale=0.4, matrix_lr_scale=1 / 4, attention_scale="whole",
)  # fmt: skip


def made(shape: Model, seed: int = 3, chunk: int = 1024) -> LanguageModel:
    """A model at its start, on the CPU."""
    model = LanguageModel(shape, chunk=chunk)
    initialise(model, seed)
    return model


def tokens_of(sequences: int, length: int, seed: int = 1) -> Tensor:
    """Ids from 0 to 511, with the end of document, 5, now and then."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(6, 512, (sequences, length), generator=draw)
    return tokens.masked_fill(torch.rand(tokens.shape, generator=draw) < 0.1, 5)


def llama(shape: Model, model: LanguageModel) -> LlamaForCausalLM:
    """transformers' model with our weights."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=shape.context, rms_norm_eps=shape.eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.theta}, tie_word_embeddings=False,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = LlamaForCausalLM(config)
    theirs.load_state_dict(model.state_dict())
    return theirs


@pytest.mark.parametrize("shape", [MHA, MQA], ids=["mha-192", "mqa-256"])
def test_twenty_steps_are_those_of_a_plain_llama(shape: Model) -> None:
    ours = made(shape, chunk=13)
    theirs = llama(shape, ours)
    chosen = Optimizer(weight_decay=0.1, clip=1.0)
    mine = optimizer_of(ours, shape, chosen)
    decay = [[p for p in theirs.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False)]
    groups = [{"params": decay[0], "weight_decay": 0.1}, {"params": decay[1], "weight_decay": 0.0}]
    usual = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-8, fused=False, foreach=False)
    for step in range(20):
        rate = 1e-3 * min(1, (step + 1) / 4)
        inputs, labels = labels_of(tokens_of(2, 33, seed=step), 5)
        count = (labels != IGNORED).sum()
        set_learning_rate(mine, rate)
        loss, _ = ours(inputs, labels, (1 / count).float())
        loss.backward()
        norm = clipped_norm(ours.parameters(), 1.0)
        mine.step()
        mine.zero_grad()
        for group in usual.param_groups:
            group["lr"] = rate
        logits = theirs(inputs).logits
        wanted = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        wanted.backward()
        their_norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        usual.step()
        usual.zero_grad()
        assert loss.item() == pytest.approx(wanted.item(), abs=1e-5), step
        assert float(norm) == pytest.approx(float(their_norm), rel=1e-4), step
    assert loss.item() < math.log(512)


@pytest.mark.parametrize("shape", [MHA, MQA, CRYSTAL], ids=["mha", "mqa", "crystalcoder"])
def test_no_token_sees_what_follows_it(shape: Model) -> None:
    model, tokens = made(shape), tokens_of(1, 24)
    other = tokens.clone()
    other[0, 15:] = 77
    with torch.no_grad():
        before, after = model(tokens)[0], model(other)[0]
    assert torch.equal(before[:, :15], after[:, :15])
    assert not torch.allclose(before[:, 15:], after[:, 15:])


@pytest.mark.parametrize("shape", [MHA, MQA, CRYSTAL], ids=["mha", "mqa", "crystalcoder"])
def test_documents_that_are_packed_together_do_not_see_each_other(shape: Model) -> None:
    """Rotary positions are relative, so a document gives the same logits wherever it lies."""
    model, tokens = made(replace(shape, attention="document")), tokens_of(2, 30)
    starts = [[0, 4, 5, 19], [0, 11, 30]]  # the last begins with the label that overlaps, outside the inputs
    bounds = document_bounds([torch.tensor(part) for part in starts], 30, CPU)
    with torch.no_grad():
        packed = model(tokens, documents=bounds)[0]
        whole = model(tokens)[0]
        for row, places in enumerate(starts):
            for first, end in zip(places, [*places[1:], 30], strict=True):
                if first < 30:
                    alone = model(tokens[row : row + 1, first:end])[0][0]
                    assert float((packed[row, first:end] - alone).abs().max()) <= 1e-5, (row, first)
    assert not torch.allclose(packed[0, 4:], whole[0, 4:], atol=1e-3)


@pytest.mark.parametrize(
    "starts, length, bounds",
    [
        ([[0]], 8, [0] + [8] * 15),
        ([[0, 3, 8], [0, 5]], 8, [0, 3, 8, 13] + [16] * 12),
        ([list(range(15))], 15, [*range(15), 15]),
        ([list(range(16))], 16, [*range(16)] + [16] * 16),
    ],
)
def test_cumulative_lengths_end_in_empty_documents(starts: list[list[int]], length: int, bounds: list[int]) -> None:
    found = cumulative([torch.tensor(part) for part in starts], length)
    assert found.dtype == torch.int32
    assert found.tolist() == bounds


def slow_rotary(vector: Tensor, position: int, shape: Model) -> Tensor:
    """Pairs of neighbours among the first dimensions turn by position / theta^(2 j / turning); the rest stay."""
    moved = vector.clone()
    for j in range(shape.turning // 2):
        angle = position * shape.theta ** (-2 * j / shape.turning)
        a, b = vector[2 * j], vector[2 * j + 1]
        moved[2 * j] = a * math.cos(angle) - b * math.sin(angle)
        moved[2 * j + 1] = b * math.cos(angle) + a * math.sin(angle)
    return moved


def slow_norm(x: Tensor, state: dict[str, Tensor], name: str, eps: float) -> Tensor:
    """LayerNorm by its definition."""
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).square().mean(-1, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def slow_crystal(model: LanguageModel, tokens: list[int]) -> Tensor:
    """CrystalCoder's forward pass in float64, a head and a position at a time."""
    shape, state = model.shape, {name: value.double() for name, value in model.state_dict().items()}

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    x = state["model.embed_tokens.weight"][tokens] * shape.embedding_scale
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        h = slow_norm(x, state, f"{at}.input_layernorm", shape.eps)
        q, k, v = (linear(h, f"{at}.self_attn.{name}_proj") for name in "qkv")
        heads = []
        for head in range(shape.heads):
            part = slice(head * shape.head_dim, (head + 1) * shape.head_dim)
            keys = [slow_rotary(k[i, part], i, shape) for i in range(len(tokens))]
            out = []
            for i in range(len(tokens)):
                query = slow_rotary(q[i, part], i, shape)
                scores = torch.stack([query @ key for key in keys[: i + 1]]) / shape.head_dim
                out.append(scores.softmax(0) @ v[: i + 1, part])
            heads.append(torch.stack(out))
        x = x + linear(torch.cat(heads, 1), f"{at}.self_attn.o_proj")
        h = slow_norm(x, state, f"{at}.post_attention_layernorm", shape.eps)
        gate = linear(h, f"{at}.mlp.gate_proj")
        x = x + linear(gate * gate.sigmoid() * linear(h, f"{at}.mlp.up_proj"), f"{at}.mlp.down_proj")
    x = slow_norm(x, state, "model.norm", shape.eps)
    return x @ state["model.embed_tokens.weight"].T * shape.logit_scale


def test_crystalcoder_is_what_its_definition_says() -> None:
    model = made(CRYSTAL)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # biases and norms begin at 0 and 1, which would hide them
            if parameter.ndim == 1:
                noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
                parameter.add_(0.2 * noise)
        tokens = tokens_of(1, 14)
        found = model(tokens)[0][0]
        wanted = slow_crystal(model, tokens[0].tolist())
    assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())


def test_crystalcoder_at_its_start() -> None:
    model = made(CRYSTAL)
    names = dict(model.named_parameters())
    assert "lm_head.weight" not in names and model.lm_head.weight is model.model.embed_tokens.weight
    stds = {"embed_tokens": 0.3, "o_proj": 0.05, "down_proj": 0.05, "q_proj": 0.1, "gate_proj": 0.1}
    for name, parameter in names.items():
        if parameter.ndim == 1:
            assert bool((parameter == (0.0 if name.endswith("bias") else 1.0)).all()), name
            continue
        std = next((value for key, value in stds.items() if key in name), 0.1)
        assert float(parameter.abs().max()) <= 2 * std, name
        # A normal that is cut off at two deviations has 0.8796 of its deviation.
        assert float(parameter.std()) == pytest.approx(0.8796 * std, rel=0.05), name


@pytest.mark.parametrize("shape", [MHA, MQA, CRYSTAL], ids=["mha", "mqa", "crystalcoder"])
def test_parameters_are_counted_as_they_are_built(shape: Model) -> None:
    with torch.device("meta"):
        found = {name: (p.numel(), p.ndim) for name, p in LanguageModel(shape).named_parameters()}
    inside = {name: each for name, each in found.items() if name.startswith("model.layers.0.")}
    assert sum(size for size, _ in found.values()) == shape.parameters
    assert sum(size for size, _ in inside.values()) == shape.block_parameters
    assert sum(size for size, dimensions in inside.values() if dimensions > 1) == shape.block_matrices
