"""Dropout by random words: its rate and mean, gradients, and what it leaves to torch."""

import pytest
import torch
from torch import nn

from gancli.nn.dropout import LEVELS, Dropout, mask


@pytest.mark.parametrize("p", [0.2, 0.5, 0.999999])
def test_a_mask_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    n, rounded = 399_999, min(round(p * LEVELS), LEVELS - 1) / LEVELS
    assert rounded == pytest.approx(p, abs=2 / LEVELS)
    found = mask(torch.empty(n, dtype=torch.float64), p)
    dropped = found == 0
    assert dropped.double().mean().item() == pytest.approx(rounded, abs=5 * (rounded * (1 - rounded) / n) ** 0.5)
    assert torch.allclose(found[~dropped], torch.tensor(1 / (1 - rounded), dtype=torch.float64))


def test_values_are_dropped_independently_of_their_neighbours():
    """Four of them come from one word."""
    torch.manual_seed(0)
    found = (mask(torch.empty(100_000, 4), 0.5) > 0).double().T
    assert (torch.corrcoef(found) - torch.eye(4)).abs().max() < 5 / 100_000**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_gradients_have_the_mask_of_the_values(dtype):
    torch.manual_seed(0)
    x = torch.randn(7, 9, dtype=dtype, requires_grad=True)
    y = Dropout(0.5)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.dtype == dtype and torch.equal(y, x * gradient) and set(gradient.flatten().tolist()) == {0.0, 2.0}


def test_it_is_off_in_eval_mode_and_at_zero():
    x = torch.randn(8)
    assert torch.equal(Dropout(0.5).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)
    assert isinstance(Dropout(0.5), nn.Dropout) and Dropout(0.5)(torch.empty(0, 3)).shape == (0, 3)
