"""The chunked loss and its gradients, against float64 and against the loss that holds all logits."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.loss import IGNORED, Terms, labels_of, linear_loss, of_logits

N, SIZE, IDS = 37, 48, 211


def inputs(dtype: torch.dtype, masked: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, output matrix, labels of which some do not count."""
    draw = torch.Generator().manual_seed(1)
    hidden = torch.randn(N, SIZE, generator=draw).to(dtype).requires_grad_()
    weight = (0.2 * torch.randn(IDS, SIZE, generator=draw)).to(dtype).requires_grad_()
    labels = torch.randint(0, IDS, (N,), generator=draw)
    labels[torch.randperm(N, generator=draw)[:masked]] = IGNORED
    return hidden, weight, labels


def plain(hidden: Tensor, weight: Tensor, labels: Tensor, scale: float, factor: float, z: float) -> Tensor:
    """The definition: sum over rows that count of (cross-entropy + z lse^2), times scale."""
    logits = (hidden @ weight.T) * factor
    logits = logits if logits.dtype == torch.float64 else logits.float()
    counted = labels != IGNORED
    return scale * (
        F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        + z * (logits.logsumexp(1).square() * counted).sum()
    )


def exact(hidden: Tensor, weight: Tensor, labels: Tensor, factor: float, z: float) -> list[Tensor]:
    """Loss and both gradients in float64."""
    wide = [part.detach().double().requires_grad_() for part in (hidden, weight)]
    loss = plain(wide[0], wide[1], labels, 1 / 28, factor, z)
    return [loss.detach(), *torch.autograd.grad(loss, wide)]


def distances(found: list[Tensor], wanted: list[Tensor]) -> list[float]:
    """Largest error of each tensor, of its largest value."""
    return [float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True)]


@pytest.mark.parametrize("chunk", [1, 7, 36, 37, 38, 1024])
@pytest.mark.parametrize("factor, z", [(1.0, 0.0), (0.13875, 0.0), (1.0, 1e-2), (2.0, 1e-4)])
def test_float32_is_float64_to_rounding(chunk: int, factor: float, z: float) -> None:
    hidden, weight, labels = inputs(torch.float32)
    loss, rows = linear_loss(hidden, weight, labels, torch.tensor(1 / 28), Terms(factor, z, chunk))
    found = [loss.detach(), *torch.autograd.grad(loss, (hidden, weight))]
    assert max(distances(found, exact(hidden, weight, labels, factor, z))) <= 1e-6
    each = F.cross_entropy(hidden @ weight.T * factor, labels, ignore_index=IGNORED, reduction="none")
    assert torch.allclose(rows, each, atol=1e-5)
    assert not rows.requires_grad
    assert bool((rows[labels == IGNORED] == 0).all())


@pytest.mark.parametrize("chunk", [5, 16, 1024])
def test_bfloat16_is_no_worse_than_the_loss_that_holds_all_logits(chunk: int) -> None:
    hidden, weight, labels = inputs(torch.bfloat16)
    wanted = exact(hidden, weight, labels, 1.0, 0.0)
    loss, _ = linear_loss(hidden, weight, labels, torch.tensor(1 / 28), Terms(chunk=chunk))
    ours = [loss.detach(), *torch.autograd.grad(loss, (hidden, weight))]
    usual = plain(hidden, weight, labels, 1 / 28, 1.0, 0.0)
    theirs = [usual.detach(), *torch.autograd.grad(usual, (hidden, weight))]
    assert [part.dtype for part in ours[1:]] == [torch.bfloat16, torch.bfloat16]

    def spread(found: list[Tensor]) -> list[float]:
        return [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True)]

    for mine, usual_error in zip(spread(ours), spread(theirs), strict=True):
        assert mine <= 1.1 * usual_error + 1e-7


def test_the_gradient_follows_what_the_loss_is_multiplied_by() -> None:
    hidden, weight, labels = inputs(torch.float32)
    once, thrice = (
        torch.autograd.grad(k * linear_loss(hidden, weight, labels, torch.tensor(0.1), Terms())[0], (hidden, weight))
        for k in (1, 3)
    )
    for a, b in zip(once, thrice, strict=True):
        assert torch.allclose(3 * a, b, rtol=1e-6)


def test_rows_that_are_all_masked_give_nothing() -> None:
    hidden, weight, labels = inputs(torch.float32, masked=N)
    loss, rows = linear_loss(hidden, weight, labels, torch.tensor(1.0), Terms(z=1e-3, chunk=8))
    gradients = torch.autograd.grad(loss, (hidden, weight))
    assert loss.item() == 0 and not rows.any() and not any(part.any() for part in gradients)


def test_without_gradients_the_numbers_are_the_same_and_no_gradient_is_made() -> None:
    hidden, weight, labels = inputs(torch.float32)
    asked: list[bool] = []

    def watched(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
        asked.append(given[-1])
        return of_logits(*given)

    terms = Terms(0.5, 1e-3, 8, watched)
    loss, rows = linear_loss(hidden, weight, labels, torch.tensor(0.1), terms)
    with torch.no_grad():
        only, alone = linear_loss(hidden, weight, labels, torch.tensor(0.1), terms)
    assert torch.equal(only, loss) and torch.equal(alone, rows)
    assert loss.requires_grad and not only.requires_grad
    assert asked == [True] * 5 + [False] * 5


@pytest.mark.parametrize(
    "eod, labels",
    [
        (None, [[7, 5, 8, 9], [5, 5, 6, 5]]),
        (5, [[7, 5, -100, 9], [5, -100, -100, 5]]),
        (4, [[7, 5, 8, 9], [5, 5, 6, 5]]),
    ],
)
def test_labels_are_the_inputs_moved_by_one(eod: int | None, labels: list[list[int]]) -> None:
    tokens = torch.tensor([[6, 7, 5, 8, 9], [6, 5, 5, 6, 5]])
    inputs, found = labels_of(tokens, eod)
    assert inputs.tolist() == [[6, 7, 5, 8], [6, 5, 5, 6]]
    assert found.tolist() == labels
    assert tokens.tolist() == [[6, 7, 5, 8, 9], [6, 5, 5, 6, 5]]
