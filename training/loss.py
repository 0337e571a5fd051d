"""Cross-entropy without the logits of a whole batch: hidden states and the output matrix in, loss and gradients out.

Logits exist for one chunk of rows at a time. Both gradients are made in the forward pass, so it must run inside the
root module's forward, where the output matrix is whole and FSDP sees one gradient for it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

IGNORED = -100
Inner = Callable[[Tensor, Tensor, Tensor, float, float], tuple[Tensor, Tensor, Tensor]]  # `of_logits`, or it compiled


class ChunkedLoss(Function):
    """Sum over rows of (cross-entropy + z (log-sum-exp)^2) times `scale`, and the cross-entropy of each row."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        scale: Tensor,
        factor: float,
        z: float,
        chunk: int,
        inner: Inner,
    ) -> tuple[Tensor, Tensor]:
        """hidden [n, d], weight [vocabulary, d], labels int64[n] with -100 for rows that do not count, scale [].

        factor: of the logits (muP). The gradient of the weight is summed over chunks in float32.
        """
        rows = torch.zeros(len(hidden), device=hidden.device)
        loss = torch.zeros((), device=hidden.device)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = torch.zeros_like(weight, dtype=torch.float32)
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            rows[part], added, grad = inner(hidden[part] @ weight.T, labels[part], scale, factor, z)
            loss += added
            hidden_grad[part] = grad @ weight
            add_product(weight_grad, grad.T, hidden[part])
        ctx.save_for_backward(hidden_grad, weight_grad)
        ctx.mark_non_differentiable(rows)
        return loss * scale, rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients that forward made, times that of the loss."""
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * grad, weight_grad.mul_(grad), None, None, None, None, None, None


def of_logits(logits: Tensor, labels: Tensor, scale: Tensor, factor: float, z: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of a chunk's logits [n, vocabulary], which are lost: cross-entropy of each row float32[n], the chunk's loss, and
    the gradient of the logits in their own type, times `scale`."""
    counted = labels != IGNORED
    target = labels.clamp(min=0).unsqueeze(1)
    wide = logits.float()
    if factor != 1:
        wide *= factor
    sums = torch.logsumexp(wide, 1)
    rows = (sums - wide.gather(1, target).squeeze(1)) * counted
    loss = rows.sum() + z * (sums.square() * counted).sum()
    # d loss / d logits = softmax (1 + 2 z lse) - one-hot, in the place of the logits
    grad = wide.sub_(sums.unsqueeze(1)).exp_()
    if z:
        grad *= (1 + 2 * z * sums).unsqueeze(1)
    grad.scatter_add_(1, target, grad.new_full(target.shape, -1.0))
    grad *= (counted * scale * factor).unsqueeze(1)
    return rows, loss, grad.to(logits.dtype)


@cache
def compiled() -> Inner:
    """`of_logits` in a few passes over the logits in place of a dozen."""
    return torch.compile(of_logits, fullgraph=True, dynamic=False)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, with the sum in float32; `torch.mm` gives float32 from bfloat16 on CUDA alone."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif left.is_cuda:
        total += torch.mm(left, right, out_dtype=torch.float32)
    else:
        total.addmm_(left.float(), right.float())


def linear_loss(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    scale: Tensor,
    factor: float = 1.0,
    z: float = 0.0,
    chunk: int = 1024,
    inner: Inner = of_logits,
) -> tuple[Tensor, Tensor]:
    """Loss times `scale`, to be differentiated, and the cross-entropy of each row, float32[n], 0 where it is masked."""
    loss, rows = ChunkedLoss.apply(hidden, weight, labels, scale, factor, z, chunk, inner)
    return loss, rows


def labels_of(tokens: Tensor, eod: int | None) -> tuple[Tensor, Tensor]:
    """Inputs and labels of sequences of S + 1 tokens, int64[n, S] each.

    With `eod`, what follows an end of document is not asked for: the document after it is not known before it begins.
    """
    inputs, labels = tokens[:, :-1], tokens[:, 1:]
    return inputs, labels if eod is None else labels.masked_fill(inputs == eod, IGNORED)
