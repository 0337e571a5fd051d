"""The shapes of models: sizes in, parameters and floating-point operations out; no tensor is made here.

Those of known models are in models.toml. What a Llama does not have (muP, LayerNorm, biases, partial rotary positions)
is there for CrystalCoder alone.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from training.order import PlanError
from training.typed import build


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
        if self.hidden % self.heads:  # transformers refuses such a config.json, head_dim or not
            raise PlanError(f"model: hidden = {self.hidden} is no multiple of {self.heads} heads, and no Llama is so")
        if self.turning % 2:
            raise PlanError(f"model: rotary positions turn {self.turning} of {self.head_dim} dimensions: not in pairs")

    @property
    def turning(self) -> int:
        """Dimensions of a head that rotary positions turn."""
        return int(self.head_dim * self.rotary)

    @property
    def block_matrices(self) -> int:
        """Elements of a block's matrices: queries and outputs, keys and values, the three of a SwiGLU."""
        return self.hidden * (2 * (self.heads + self.kv_heads) * self.head_dim + 3 * self.ffn)

    @property
    def block_parameters(self) -> int:
        """Parameters of a block: matrices, two norms, and biases where it has them."""
        norms = 2 * self.hidden * (2 if self.norm == "layer" else 1)
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim + 2 * self.ffn + 2 * self.hidden
        return self.block_matrices + norms + (biases if self.bias else 0)

    @property
    def root_parameters(self) -> int:
        """Parameters outside of the blocks: embedding, output and the last norm."""
        return self.hidden * (self.vocabulary * (1 if self.tied else 2) + (2 if self.norm == "layer" else 1))

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return self.layers * self.block_parameters + self.root_parameters

    def flops(self, sequence: int, causal: bool = False) -> int:
        """Floating-point operations of training on one token, forward and backward: 6 for each element of a matrix but
        the input embedding, and 12 L d S for attention (torchtitan's convention), half of that under a causal mask."""
        attention = 12 * self.layers * self.heads * self.head_dim * sequence
        matrices = self.layers * self.block_matrices + self.vocabulary * self.hidden
        return 6 * matrices + (attention // 2 if causal else attention)


TABLE = files("training") / "models.toml"
PRESETS = {name: build(Model, each, f"models.toml: {name}") for name, each in tomllib.loads(TABLE.read_text()).items()}
