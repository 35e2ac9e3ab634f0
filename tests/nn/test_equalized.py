"""Equalized layers keep the variance, whatever their fan-in and learning-rate factor; pixel norm the mean square."""

import pytest
import torch
from torch import nn

from gancli.nn.equalized import SQRT2, EqualizedConv2d, EqualizedLinear, PixelNorm


@pytest.mark.parametrize("lr_mult", [1.0, 0.01])
@pytest.mark.parametrize("inputs", [8, 512])
def test_linear_output_has_the_standard_deviation_of_the_gain(inputs, lr_mult):
    torch.manual_seed(0)
    layer = EqualizedLinear(inputs, 4096, gain=SQRT2, lr_mult=lr_mult)
    assert layer(torch.randn(64, inputs)).std().item() == pytest.approx(SQRT2, rel=0.05)


def test_conv_output_has_the_standard_deviation_of_the_gain():
    torch.manual_seed(0)
    image = torch.randn(16, 32, 9, 9)
    assert EqualizedConv2d(32, 256, 3, gain=0.5)(image)[:, :, 1:-1, 1:-1].std().item() == pytest.approx(0.5, rel=0.05)


def test_layers_are_torchs_with_scaled_weights():
    torch.manual_seed(0)
    ours, theirs = EqualizedConv2d(3, 5, 3, gain=2.0).double(), nn.Conv2d(3, 5, 3, padding=1).double()
    with torch.no_grad():
        ours.bias.normal_()
        theirs.weight.copy_(ours.weight * 2 / 27**0.5)
        theirs.bias.copy_(ours.bias)
    image = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(ours(image), theirs(image))


def test_an_adam_step_changes_the_weight_in_use_by_lr_mult():
    """Adam's first step is ``lr`` per weight: in use lr * lr_mult / sqrt(inputs), and lr * lr_mult per bias."""
    for lr_mult in (1.0, 0.01):
        layer = EqualizedLinear(4, 3, lr_mult=lr_mult, bias=1.0)
        before = layer(torch.eye(4)).detach(), layer(torch.zeros(1, 4)).detach()
        torch.testing.assert_close(before[1], torch.ones(1, 3))
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        layer(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        after = layer(torch.eye(4)).detach(), layer(torch.zeros(1, 4)).detach()
        torch.testing.assert_close(before[1] - after[1], torch.full((1, 3), 0.1 * lr_mult))
        torch.testing.assert_close(before[0] - after[0], torch.full((4, 3), 0.1 * lr_mult * (1 + 4**-0.5)))


def test_pixel_norm_gives_unit_mean_square_and_ignores_scale():
    x = torch.randn(2, 16, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = PixelNorm()(x)
    torch.testing.assert_close(out.square().mean(1), torch.ones(2, 3, 3, dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(PixelNorm()(7 * x), out, rtol=1e-4, atol=1e-6)
