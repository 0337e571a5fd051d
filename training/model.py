"""The decoder: token ids in, logits or the loss out; parameters are named as in Hugging Face's LlamaForCausalLM.

Rotary positions are computed in float32 and halves are turned, so that an export is a change of type. A block takes
all that it needs as tensors and can be compiled, checkpointed and sharded by itself.
"""

from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.utils.checkpoint import checkpoint

from training.loss import Terms, linear_loss
from training.models import Model

# torch 2.13 asks to be told of grouped heads and 2.11 does not know the word; older ones had a word of their own for
# causal attention.
VARLEN = signature(varlen_attn).parameters
CAUSAL: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in VARLEN else {"is_causal": True}


def norm(model: Model) -> nn.Module:
    """The norm of a model; both take means in float32."""
    return (nn.RMSNorm if model.norm == "rms" else nn.LayerNorm)(model.hidden, model.eps)


class Attention(nn.Module):
    """Causal attention, over the whole sequence or within each document."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
        self.q_proj = nn.Linear(model.hidden, queries, model.bias)
        self.k_proj = nn.Linear(model.hidden, keys, model.bias)
        self.v_proj = nn.Linear(model.hidden, keys, model.bias)
        self.o_proj = nn.Linear(queries, model.hidden, model.bias)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, documents: Tensor | None) -> Tensor:
        """x [n, S, hidden]; cos, sin [S, turning]; documents as `document_bounds` gives them."""
        n, length, _ = x.shape
        model, shape = self.model, (n, length, -1, self.model.head_dim)
        q = turned(self.q_proj(x).view(shape).transpose(1, 2), cos, sin, model)
        k = turned(self.k_proj(x).view(shape).transpose(1, 2), cos, sin, model)
        v = self.v_proj(x).view(shape).transpose(1, 2)
        grouped, root = model.kv_heads != model.heads, model.attention_scale == "root"
        scale = model.head_dim ** (-0.5 if root else -1.0)
        if documents is None or documents.dtype == torch.bool:
            out = F.scaled_dot_product_attention(
                q, k, v, documents, is_causal=documents is None, scale=scale, enable_gqa=grouped
            ).transpose(1, 2)
        else:
            q, k, v = (part.transpose(1, 2).reshape(n * length, -1, model.head_dim) for part in (q, k, v))
            out = packed_attention(q, k, v, documents, length, None if root else scale, grouped)
        return self.o_proj(out.reshape(n, length, -1))


def packed_attention(
    q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, scale: float | None, grouped: bool
) -> Tensor:
    """Attention within documents that lie end to end, on CUDA alone: q, k, v [tokens, heads, head_dim]."""
    more: dict[str, Any] = {"scale": scale} if scale else {}
    if "enable_gqa" in VARLEN:
        more["enable_gqa"] = grouped
    return varlen_attn(q, k, v, bounds, bounds, longest, longest, **CAUSAL, **more)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(model.hidden, model.ffn, model.bias)
        self.up_proj = nn.Linear(model.hidden, model.ffn, model.bias)
        self.down_proj = nn.Linear(model.ffn, model.hidden, model.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[n, S, hidden]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer; with `recompute` it keeps its input alone and runs again in the backward pass."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.input_layernorm = norm(model)
        self.self_attn = Attention(model)
        self.post_attention_layernorm = norm(model)
        self.mlp = FeedForward(model)
        self.recompute = False

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, documents: Tensor | None) -> Tensor:
        """[n, S, hidden]."""
        if self.recompute:
            return checkpoint(self.layer, x, cos, sin, documents, use_reentrant=False, preserve_rng_state=False)
        return self.layer(x, cos, sin, documents)

    def layer(self, x: Tensor, cos: Tensor, sin: Tensor, documents: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, documents)
        return x + self.mlp(self.post_attention_layernorm(x))


class LanguageModel(nn.Module):
    """The whole model. Its root group holds embedding, last norm and output, whose weight the loss reads."""

    def __init__(self, model: Model, z: float = 0.0, chunk: int = 1024) -> None:
        super().__init__()
        self.shape = model
        self.terms = Terms(model.logit_scale, z, chunk)
        self.model = nn.Module()  # whose name is part of all others, as in a Llama
        self.model.embed_tokens = nn.Embedding(model.vocabulary, model.hidden)
        self.model.layers = nn.ModuleList(Block(model) for _ in range(model.layers))
        self.model.norm = norm(model)
        self.lm_head = nn.Linear(model.hidden, model.vocabulary, bias=False)
        if model.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self, tokens: Tensor, labels: Tensor | None = None, scale: Tensor | None = None, documents: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """tokens int64[n, S] in. With labels int64[n, S]: the loss times `scale`, and the cross-entropy of each token,
        float32[n, S]. Without: the logits [n, S, vocabulary], and the last hidden states."""
        cos, sin = positions(self.shape, tokens.shape[1], tokens.device)
        x = self.model.embed_tokens(tokens)
        if self.shape.embedding_scale != 1:
            x = x * self.shape.embedding_scale
        for block in self.model.layers:
            x = block(x, cos, sin, documents)
        x = self.model.norm(x)
        if labels is None or scale is None:
            return self.lm_head(x) * self.shape.logit_scale, x
        loss, rows = linear_loss(x.flatten(0, 1), self.lm_head.weight, labels.flatten(), scale, self.terms)
        return loss, rows.view(labels.shape)


def positions(model: Model, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position and turning dimension, float32[S, turning]."""
    half = torch.arange(0, model.turning, 2, device=device, dtype=torch.int64).float() / model.turning
    angles = torch.outer(torch.arange(length, device=device).float(), 1.0 / (model.theta**half))
    angles = torch.cat([angles, angles], 1) if model.rotary == 1 else angles.repeat_interleave(2, 1)
    return angles.cos(), angles.sin()


def turned(x: Tensor, cos: Tensor, sin: Tensor, model: Model) -> Tensor:
    """Rotary positions: dimension i turns with i + half as in Llama, or with its neighbour where but a part turns."""
    wide = x[..., : model.turning].float()
    if model.rotary == 1:
        first, second = wide.chunk(2, -1)
        other = torch.cat([-second, first], -1)
    else:
        other = torch.stack([-wide[..., 1::2], wide[..., ::2]], -1).flatten(-2)
    moved = (wide * cos + other * sin).to(x.dtype)
    return moved if model.rotary == 1 else torch.cat([moved, x[..., model.turning :]], -1)


def document_bounds(starts: list[Tensor], length: int, device: torch.device) -> Tensor:
    """Where documents begin, for attention within them: on CUDA their cumulative lengths, elsewhere a mask, bool[n,
    1, S, S]; starts: for each sequence the places of its documents, the first 0."""
    n = len(starts)
    if device.type == "cuda":
        return sent(cumulative(starts, length), device)
    number = torch.zeros(n, length, dtype=torch.int64)
    for i, part in enumerate(starts):
        number[i, part[part < length]] += 1
    number = number.cumsum(1)
    same = number.unsqueeze(2) == number.unsqueeze(1)
    return same.tril().unsqueeze(1).to(device)


def cumulative(starts: list[Tensor], length: int) -> Tensor:
    """The first token of each document in a batch laid end to end, then its end until the size, int32, is a power of
    two: a compiled block meets few shapes, and many empty documents would cost the kernel time and memory."""
    begins = torch.cat([part[part < length] + i * length for i, part in enumerate(starts)])
    bounds = torch.full((max(16, 1 << len(begins).bit_length()),), len(starts) * length, dtype=torch.int32)
    bounds[: len(begins)] = begins
    return bounds


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device; to CUDA by way of pinned memory, from where they go without the host waiting."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
