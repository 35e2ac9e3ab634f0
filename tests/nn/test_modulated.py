"""Modulated convolutions against a kernel per image and by their variance; resampling against zero-insertion."""

import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from gancli.nn.fir import TAPS, DownConv2d, Filter
from gancli.nn.modulated import ModulatedConv2d, StyledLayer, Synthesis

D = torch.float64


def grouped(layer: ModulatedConv2d, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """The release's form: one kernel per image, s_i w_oik / sqrt(sum (s_i w_oik)^2), in a convolution with N groups."""
    n, c, h, w = x.shape
    kernel = layer.weight * layer.scale * style[:, None, :, None, None]
    if layer.demodulate:
        kernel = kernel * (kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    out = conv2d(x.reshape(1, n * c, h, w), kernel.flatten(0, 1), padding=layer.padding, groups=n)
    return out.unflatten(1, (n, -1))[0]


def zeros_between(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): each pixel followed by zeros."""
    out = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    out[..., ::2, ::2] = x
    return out


def blurred(x: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """Filter each channel by the outer product of the taps / 8, with zeros beyond the border."""
    taps = torch.tensor(TAPS, dtype=x.dtype) / 8
    x = torch.nn.functional.pad(x, (before, after, before, after))
    return conv2d(x.flatten(0, 1)[:, None], torch.outer(taps, taps)[None, None]).view(*x.shape[:2], x.shape[2] - 3, -1)


@pytest.mark.parametrize("demodulate, kernel", [(True, 3), (False, 1)])
def test_scaled_activations_equal_a_kernel_per_image(demodulate, kernel):
    torch.manual_seed(0)
    layer = ModulatedConv2d(5, 7, 4, kernel, demodulate=demodulate).to(D)
    x, style = torch.randn(3, 5, 6, 6, dtype=D), torch.randn(3, 5, dtype=D)
    torch.testing.assert_close(layer.modulated(x, style), grouped(layer, x, style), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.modulated(x, style, 3.0), 3 * grouped(layer, x, style), rtol=1e-12, atol=1e-12)


def test_demodulated_outputs_have_unit_variance_and_ignore_the_scale_of_the_style():
    torch.manual_seed(0)
    layer, x = ModulatedConv2d(32, 64, 8, 3), torch.randn(8, 32, 12, 12)
    style = torch.randn(8, 32) * 3 + 1
    out = layer.modulated(x, style)
    assert out[..., 1:-1, 1:-1].var().item() == pytest.approx(1, rel=0.05)
    torch.testing.assert_close(layer.modulated(x, 10 * style), out, rtol=1e-4, atol=1e-4)
    bare = ModulatedConv2d(32, 64, 8, 3, demodulate=False)
    assert bare.modulated(x, 10 * style).var() > 50 * bare.modulated(x, style).var()


def test_a_style_of_zero_changes_nothing_at_the_start():
    layer = ModulatedConv2d(5, 7, 4, 3)
    torch.testing.assert_close(layer.affine(torch.zeros(2, 4)), torch.ones(2, 5))


def test_up_and_down_filter_beside_the_convolution():
    torch.manual_seed(0)
    up, x = ModulatedConv2d(3, 4, 2, 3, up=True, demodulate=False).to(D), torch.randn(2, 3, 6, 6, dtype=D)
    flat = conv2d(zeros_between(x), up.weight.flip(2, 3) * up.scale, padding=1)
    found = up.modulated(x, torch.ones(2, 3, dtype=D))
    assert found.shape == (2, 4, 12, 12)
    torch.testing.assert_close(found[..., 2:-2, 2:-2], 4 * blurred(flat, 2, 1)[..., 2:-2, 2:-2])
    down = DownConv2d(3, 4, 3).to(D)
    slow = conv2d(blurred(x, 1, 2), down.weight * down.scale, padding=1)[..., ::2, ::2]
    assert down(x).shape == (2, 4, 3, 3)
    torch.testing.assert_close(down(x)[..., 1:, 1:], slow[..., 1:, 1:])


def test_enlarging_is_bilinear_away_from_the_border():
    x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=D)
    found = Filter().to(D).doubled(x)
    torch.testing.assert_close(found, 4 * blurred(zeros_between(x), 2, 1))
    bilinear = interpolate(x, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(found[..., 1:-1, 1:-1], bilinear[..., 1:-1, 1:-1])


def test_noise_is_drawn_in_training_and_constant_in_eval_and_absent_at_the_start():
    torch.manual_seed(0)
    layer, x, w = StyledLayer(3, 4, 2, (6, 6), up=False), torch.randn(2, 3, 6, 6), torch.randn(2, 2)
    assert torch.equal(layer(x, w), layer(x, w)) and torch.equal(layer(x, w), layer.eval()(x, w))  # strength 0
    torch.nn.init.constant_(layer.strength, 0.5)
    assert torch.equal(layer(x, w), layer(x, w))
    quiet = layer(x, w)
    assert not torch.equal(layer.train()(x, w), layer(x, w))
    torch.nn.init.zeros_(layer.noise)
    assert not torch.equal(layer.eval()(x, w), quiet)


def test_an_image_is_the_sum_of_what_all_levels_add():
    torch.manual_seed(0)
    net, ws = Synthesis([4, 4, 4], (2, 3), 2, 5).eval(), torch.randn(3, 6, 5)
    added = []
    for to_image in net.images:
        torch.nn.init.normal_(to_image.bias)
        to_image.register_forward_hook(lambda module, args, out: added.append(out))
    image = net(ws)
    assert image.shape == (3, 2, 8, 12) and [each.shape[2] for each in added] == [2, 4, 8]
    up = net.filter.doubled
    torch.testing.assert_close(image, up(up(added[0])) + up(added[1]) + added[2])


def test_the_last_style_reaches_the_last_image_alone_and_the_first_everything():
    net = Synthesis([4, 4], (4, 4), 1, 5).eval()
    seen = []
    net.levels[-1][-1].register_forward_hook(lambda module, args, out: seen.append(out))
    ws = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0))
    for changed in (None, 3, 0):
        other = ws.clone()
        if changed is not None:
            other[:, changed] += 1
        net(other)
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
