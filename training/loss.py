"""Cross-entropy without the logits of a whole batch: hidden states and the output matrix in, loss and gradients out.

Logits exist for one chunk of rows at a time. Both gradients are made in the forward pass, so it must run inside the
root module's forward, where the output matrix is whole and FSDP sees one gradient for it. Under `no_grad` none is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

IGNORED = -100


def of_logits(
    logits: Tensor, labels: Tensor, scale: Tensor, factor: float, z: float, learning: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a chunk's logits [n, vocabulary], which are lost: cross-entropy of each row float32[n], the chunk's loss, and
    where it is for learning the gradient of the logits in their own type, times `scale`."""
    counted = labels != IGNORED
    target = labels.clamp(min=0).unsqueeze(1)
    wide = logits.float()
    if factor != 1:
        wide *= factor
    sums = torch.logsumexp(wide, 1)
    rows = (sums - wide.gather(1, target).squeeze(1)) * counted
    loss = rows.sum() + z * (sums.square() * counted).sum()
    if not learning:
        return rows, loss, logits
    # d loss / d logits = softmax (1 + 2 z lse) - one-hot, in the place of the logits
    grad = wide.sub_(sums.unsqueeze(1)).exp_()
    if z:
        grad *= (1 + 2 * z * sums).unsqueeze(1)
    grad.scatter_add_(1, target, grad.new_full(target.shape, -1.0))
    grad *= (counted * scale * factor).unsqueeze(1)
    return rows, loss, grad.to(logits.dtype)


@dataclass(frozen=True)
class Terms:
    """What the loss is made of, and in chunks of how many rows."""

    factor: float = 1.0  # of the logits (muP)
    z: float = 0.0  # of the squared log-sum-exp
    chunk: int = 1024
    of_logits: Callable[..., tuple[Tensor, Tensor, Tensor]] = of_logits  # or it compiled


class ChunkedLoss(Function):
    """Sum over rows of (cross-entropy + z (log-sum-exp)^2) times `scale`, and the cross-entropy of each row."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, terms: Terms, learning: bool
    ) -> tuple[Tensor, Tensor]:
        """As `linear_loss`; the gradient of the weight is summed over chunks in float32."""
        rows, loss = hidden.new_zeros(len(hidden), dtype=torch.float32), scale.new_zeros(())
        if learning:
            hidden_grad, weight_grad = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32)
            ctx.save_for_backward(hidden_grad, weight_grad)
        for start in range(0, len(hidden), terms.chunk):
            part = slice(start, start + terms.chunk)
            logits = hidden[part] @ weight.T
            rows[part], added, grad = terms.of_logits(logits, labels[part], scale, terms.factor, terms.z, learning)
            loss += added
            if learning:
                hidden_grad[part] = grad @ weight
                add_product(weight_grad, grad.T, hidden[part])
        ctx.mark_non_differentiable(rows)
        return loss * scale, rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients that forward made, times that of the loss."""
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * grad, weight_grad.mul_(grad), None, None, None, None


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, with the sum in float32; `torch.mm` gives float32 from bfloat16 on CUDA alone."""
    if left.is_cuda and left.dtype != total.dtype:
        total += torch.mm(left, right, out_dtype=total.dtype)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


def linear_loss(hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, terms: Terms) -> tuple[Tensor, Tensor]:
    """Loss times `scale` [], to be differentiated, and the cross-entropy of each row, float32[n], 0 where it is masked:
    of hidden [n, d], weight [vocabulary, d], labels int64[n] with -100 for rows that do not count."""
    return ChunkedLoss.apply(hidden, weight, labels, scale, terms, torch.is_grad_enabled())


def labels_of(tokens: Tensor, eod: int | None) -> tuple[Tensor, Tensor]:
    """Inputs and labels, int64[n, S], of sequences of S + 1 tokens; with `eod`, what follows an end of document is not
    asked for, since nothing tells which document comes next."""
    inputs, labels = tokens[:, :-1], tokens[:, 1:]
    return inputs, labels if eod is None else labels.masked_fill(inputs == eod, IGNORED)
