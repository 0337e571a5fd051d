"""Cross-entropy without the logits of a whole batch: hidden states and the output matrix in, loss and gradients out.

Logits exist for one chunk of rows at a time. Both gradients are made in the forward pass, so it must run inside the
root module's forward, where the output matrix is whole and FSDP sees one gradient for it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

IGNORED = -100


class ChunkedLoss(Function):
    """Sum over rows of (cross-entropy + z (log-sum-exp)^2) times `scale`, and the cross-entropy of each row."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, factor: float, z: float, chunk: int
    ) -> tuple[Tensor, Tensor]:
        """hidden [n, d], weight [vocabulary, d], labels int64[n] with -100 for rows that do not count, scale [].

        factor: of the logits (muP). The gradient of the weight is summed over chunks in float32.
        """
        rows = torch.zeros(len(hidden), device=hidden.device)
        loss = torch.zeros((), device=hidden.device)
        learning = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden_grad = torch.empty_like(hidden) if learning else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if learning else None
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            counted = labels[part] != IGNORED
            target = labels[part].clamp(min=0).unsqueeze(1)
            logits = (hidden[part] @ weight.T).float()
            if factor != 1:
                logits *= factor
            sums = torch.logsumexp(logits, 1)
            rows[part] = (sums - logits.gather(1, target).squeeze(1)) * counted
            loss += rows[part].sum() + z * (sums.square() * counted).sum()
            if hidden_grad is None or weight_grad is None:
                continue
            # d loss / d logits = softmax (1 + 2 z lse) - one-hot, in the place of the logits
            grad = logits.sub_(sums.unsqueeze(1)).exp_()
            if z:
                grad *= (1 + 2 * z * sums).unsqueeze(1)
            grad.scatter_add_(1, target, grad.new_full(target.shape, -1.0))
            grad *= (counted * scale * factor).unsqueeze(1)
            grad = grad.to(hidden.dtype)
            hidden_grad[part] = grad @ weight
            add_product(weight_grad, grad.T, hidden[part])
        ctx.save_for_backward(hidden_grad, weight_grad)
        ctx.mark_non_differentiable(rows)
        return loss * scale, rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients that forward made, times that of the loss."""
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * grad.to(hidden_grad.dtype), weight_grad.mul_(grad), None, None, None, None, None


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
) -> tuple[Tensor, Tensor]:
    """Loss times `scale`, to be differentiated, and the cross-entropy of each row, float32[n], 0 where it is masked."""
    loss, rows = ChunkedLoss.apply(hidden, weight, labels, scale, factor, z, chunk)
    return loss, rows


def labels_of(tokens: Tensor, eod: int | None) -> tuple[Tensor, Tensor]:
    """Inputs and labels of sequences of S + 1 tokens, int64[n, S] each.

    With `eod`, what follows an end of document is not asked for: the document after it is not known before it begins.
    """
    inputs, labels = tokens[:, :-1], tokens[:, 1:].clone()
    if eod is not None:
        labels[inputs == eod] = IGNORED
    return inputs, labels
