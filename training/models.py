"""The shapes of models: sizes in, parameters, floating-point operations and presets out; no tensor is made here.

Names are those of Hugging Face's LlamaForCausalLM, and what a Llama does not have (muP, LayerNorm, biases, partial
rotary positions) is there for CrystalCoder alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from training.order import PlanError
from training.plan import nearest


@dataclass(frozen=True)
class Model:
    """A decoder: RMSNorm or LayerNorm before attention and before a SwiGLU, rotary positions."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int = 0  # 0: the tokenizer's, up to the next multiple of 128
    context: int = 8192
    theta: float = 10_000.0
    eps: float = 1e-5
    norm: Literal["rms", "layer"] = "rms"
    bias: bool = False
    tied: bool = False
    rotary: float = 1.0  # share of each head that turns; below 1, in pairs that lie side by side
    attention: Literal["causal", "document"] = "causal"
    # Initialisation: standard deviations of a normal, cut off at two of them where `truncated`.
    std: float = 0.02
    embedding_std: float = 0.02
    output_std: float = 0.02  # of the projections that add to the residual stream
    truncated: bool = False
    # muP (Yang et al. 2022, arXiv 2203.03466): all 1 and the root of head_dim where it is not used.
    embedding_scale: float = 1.0
    logit_scale: float = 1.0
    matrix_lr_scale: float = 1.0
    attention_scale: Literal["root", "whole"] = "root"

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise PlanError(f"model: {self.heads} heads cannot share {self.kv_heads} key and value heads evenly")
        if self.turning % 2:
            raise PlanError(f"model: rotary positions turn {self.turning} of {self.head_dim} dimensions: not in pairs")

    @property
    def turning(self) -> int:
        """Dimensions of a head that rotary positions turn."""
        return int(self.head_dim * self.rotary)

    @property
    def scores_scale(self) -> float:
        """Factor of attention scores."""
        return 1 / self.head_dim if self.attention_scale == "whole" else 1 / math.sqrt(self.head_dim)

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of each parameter, as in a checkpoint."""
        norms = ("weight", "bias") if self.norm == "layer" else ("weight",)
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linears = {
            "self_attn.q_proj": (queries, self.hidden), "self_attn.k_proj": (keys, self.hidden),
            "self_attn.v_proj": (keys, self.hidden), "self_attn.o_proj": (self.hidden, queries),
            "mlp.gate_proj": (self.ffn, self.hidden), "mlp.up_proj": (self.ffn, self.hidden),
            "mlp.down_proj": (self.hidden, self.ffn),
        }  # fmt: skip
        yield "model.embed_tokens.weight", (self.vocabulary, self.hidden)
        for layer in range(self.layers):
            for name, shape in linears.items():
                yield f"model.layers.{layer}.{name}.weight", shape
                if self.bias:
                    yield f"model.layers.{layer}.{name}.bias", shape[:1]
            for name in ("input_layernorm", "post_attention_layernorm"):
                for part in norms:
                    yield f"model.layers.{layer}.{name}.{part}", (self.hidden,)
        for part in norms:
            yield f"model.norm.{part}", (self.hidden,)
        if not self.tied:
            yield "lm_head.weight", (self.vocabulary, self.hidden)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for _, shape in self.shapes())

    @property
    def matmul_parameters(self) -> int:
        """Parameters that multiply each token: matrices without the input embedding."""
        inside = sum(math.prod(shape) for name, shape in self.shapes() if len(shape) > 1 and ".layers." in name)
        return inside + self.vocabulary * self.hidden

    def flops(self, sequence: int, causal: bool = False) -> int:
        """Floating-point operations of training on one token, forward and backward.

        6 for each matrix parameter, and 12 L d S for attention (torchtitan's convention), half of that where only the
        scores that a causal mask leaves are counted.
        """
        attention = 12 * self.layers * self.heads * self.head_dim * sequence
        return 6 * self.matmul_parameters + (attention // 2 if causal else attention)


def family(layers: int, hidden: int, heads: int, vocabulary: int = 64_256) -> Model:
    """A model in the proportions of MAP-Neo 7B: as many key heads as heads, an inner size of 8 times hidden."""
    return Model(layers, hidden, heads, heads, hidden // heads, 8 * hidden, vocabulary)


NEO_7B = family(28, 3072, 16)
# MAP-Neo 7B and 2B: arXiv 2405.19327 section 5 and the published configurations; 2B has one key and value head. The 1B
# sibling keeps the head size of the 7B, for measurements on one GPU. Ladder shapes are ours: those of the published
# scaling runs are not known. Amber: arXiv 2312.06550. CrystalCoder: its configuration as published by LLM360.
PRESETS = {
    "tiny": replace(family(4, 192, 3, 0), head_dim=64, kv_heads=1, ffn=512, context=512),
    "ladder-20m": family(4, 128, 1),
    "ladder-60m": family(6, 384, 3),
    "ladder-120m": family(8, 512, 4),
    "ladder-250m": family(9, 768, 6),
    "ladder-460m": family(11, 1024, 8),
    "ladder-980m": family(12, 1536, 12),
    "neo-1b-sibling": family(16, 1536, 8),
    "neo-2b": replace(family(18, 2048, 8), kv_heads=1),
    "neo-7b": NEO_7B,
    "amber-7b": Model(32, 4096, 32, 32, 128, 11_008, 32_000, context=2048, eps=1e-6),
    "crystalcoder-7b": Model(
        32, 4096, 32, 32, 128, 10_922, 32_032, context=2048, norm="layer", bias=True, tied=True, rotary=0.25,
        std=0.01825, embedding_std=0.073, output_std=0.00228125, truncated=True,
        embedding_scale=14.6, logit_scale=0.13875, matrix_lr_scale=1 / 16, attention_scale="whole",
    ),
}  # fmt: skip


def model_named(name: str) -> Model:
    """A preset; PlanError names the nearest where there is none of that name."""
    if name not in PRESETS:
        raise PlanError(f"model {name!r}: no such preset{nearest(name, PRESETS)}")
    return PRESETS[name]
