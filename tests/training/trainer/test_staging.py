import pytest
import torch
from torchao.optim.subclass_8bit import OptimState8bit

from training.staging import requantise


@pytest.mark.parametrize("signed", [True, False])
def test_moments_in_8_bits_get_their_codes_again(signed: bool) -> None:
    """Blocks whose largest magnitude is negative among them, and one of zeros."""
    torch.manual_seed(5)
    values = torch.randn(64, 64) * torch.logspace(-9, 0, 64)[:, None]
    values = (values if signed else values.square()).index_fill(0, torch.arange(4), 0.0)
    moments, again = (OptimState8bit.zeros((64, 64), signed, 256) for _ in range(2))
    moments.copy_(values)
    requantise(again, moments.dequantize())
    assert torch.equal(again.codes, moments.codes)
    assert torch.allclose(again.scale, moments.scale, rtol=2e-7, atol=0)
    # torchao's own way back moves blocks whose largest magnitude is negative.
    moments.copy_(moments.dequantize())
    assert torch.allclose(again.scale, moments.scale, rtol=1e-3) is not signed


def test_what_was_never_in_8_bits_is_as_near_as_torchao_comes() -> None:
    torch.manual_seed(6)
    values = torch.randn(32, 128)
    ours, theirs = (OptimState8bit.zeros((32, 128), True, 256) for _ in range(2))
    requantise(ours, values)
    theirs.copy_(values)
    assert (ours.dequantize() - values).norm() <= 1.02 * (theirs.dequantize() - values).norm()
