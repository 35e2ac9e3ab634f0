"""StyleGAN's layers and networks against their formulas: moments, styles, noise, blur, and the order of them all."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, leaky_relu, pad

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.progan import ProGAN
from gancli.models.stylegan import StyleGAN
from gancli.nn.adain import Blur, Epilogue, instance_norm, stylise


def test_each_channel_of_each_image_has_mean_0_and_variance_1_before_the_style():
    torch.manual_seed(0)
    y = instance_norm(torch.randn(3, 5, 6, 7, dtype=torch.float64) * 4 + 2)
    assert y.mean((2, 3)).abs().max() < 1e-12
    assert (y.var((2, 3), correction=0) - 1).abs().max() < 1e-6


def test_a_style_of_zero_changes_nothing_and_others_scale_and_shift():
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(stylise(x, torch.zeros(2, 6)), x)
    style = torch.tensor([[1.0, 0, 0, 0, 0, 5], [0, 0, 0, 0, 0, 0]])
    y = stylise(x, style)
    assert torch.equal(y[0, 0], 2 * x[0, 0]) and torch.equal(y[0, 1], x[0, 1]) and torch.equal(y[0, 2], x[0, 2] + 5)
    assert torch.equal(y[1], x[1])


def test_after_a_convolution_come_noise_bias_activation_norm_and_style_in_this_order():
    torch.manual_seed(0)
    layer = Epilogue(3, 4, (5, 5)).eval()
    x, w = torch.randn(2, 3, 5, 5), torch.randn(2, 4)
    torch.nn.init.normal_(layer.strength), torch.nn.init.normal_(layer.bias)
    slow = torch.empty_like(x)
    for n in range(2):
        style = layer.affine.weight @ w[n] / 2  # 1 / sqrt(4 inputs)
        for c in range(3):
            y = x[n, c] + layer.strength[c] * layer.noise + layer.bias[c]
            y = torch.where(y > 0, y, 0.2 * y)
            slow[n, c] = (style[c] + 1) * (y - y.mean()) / y.std(correction=0) + style[3 + c]
    assert (layer(x, w) - slow).abs().max() < 1e-5


@pytest.mark.parametrize("training", [True, False])
def test_statistics_are_float32_under_autocast(training):
    """Around 50, bfloat16 has steps of a quarter: a mean of that precision would be off by a tenth of the deviation."""
    torch.manual_seed(0)
    layer, x = Epilogue(3, 4, (5, 5)).train(training), (torch.randn(2, 3, 5, 5) + 50).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, torch.zeros(2, 4))
    assert (y - instance_norm(x.double())).abs().max() < 1e-3


def test_noise_is_drawn_anew_in_training_alone_and_begins_without_weight():
    layer, x, w = Epilogue(3, 4, (5, 5)), torch.randn(2, 3, 5, 5), torch.randn(2, 4)
    assert torch.equal(layer(x, w), layer(x, w))
    torch.nn.init.ones_(layer.strength)
    assert not torch.equal(layer(x, w), layer(x, w))
    layer.eval()
    assert torch.equal(layer(x, w), layer(x, w))


def test_the_blur_has_the_taps_1_2_1_in_both_directions():
    point = torch.zeros(1, 2, 5, 5)
    point[0, 1, 2, 2] = 16
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert torch.equal(Blur()(point)[0, 1, 1:4, 1:4], expected) and Blur()(point).sum() == 16


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_progan_has_the_size_of_the_release_for_cifar_10():
    """Dense 128 -> 128x4x4 and seven 3x3 convolutions in G; as many in D, then dense; 1x1 at each level."""
    model = ProGAN(ImageSpec(3, 32, 32))
    conv = 128 * 128 * 9 + 128
    assert parameters(model.generator) == 128 * 2048 + 128 + 7 * conv + 4 * (128 * 3 + 3)
    last = 129 * 128 * 9 + 128  # with the map of the minibatch's deviation
    assert parameters(model.discriminator) == 6 * conv + last + 2048 * 128 + 128 + 129 + 4 * (3 * 128 + 128)
    assert round(parameters(model.generator) / 1e6, 1) == round(parameters(model.discriminator) / 1e6, 1) == 1.3


def test_progans_first_features_have_the_gain_of_the_release():
    torch.manual_seed(0)
    model = ProGAN(ImageSpec(1, 8, 8))
    norm, dense = model.generator.seed[:2]
    z = norm(model.latent(512))
    assert torch.allclose(z.square().mean(1), torch.ones(512), atol=1e-4)
    assert dense(z).std().item() == pytest.approx(2**0.5 / 4, rel=0.01)


def rule(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The 3x3 convolution of a layer, of gain sqrt 2, whose bias, if it has one, is added later."""
    return conv2d(x, layer.weight * (2 / layer.weight[0].numel()) ** 0.5, padding=1)


def blurred(x: torch.Tensor) -> torch.Tensor:
    """The filter [1, 2, 1] / 4 in both directions with zeros around, as sums of shifted images."""
    for dim, border in ((2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))):
        padded, side = pad(x, border), x.shape[dim]
        x = sum(k * padded.narrow(dim, i, side) for i, k in enumerate((0.25, 0.5, 0.25)))
    return x


def random_stylegan() -> StyleGAN:
    torch.manual_seed(0)
    net = StyleGAN(ImageSpec(1, 16, 16), latent_dim=6, width=4, max_width=8, mapping=2, grown=0, minibatch_std=0)
    for p in net.parameters():
        if not p.any():
            torch.nn.init.normal_(p)  # biases and strengths of noise
    return net.double().eval()


def test_the_synthesis_network_equals_its_composition_from_the_release():
    """Constant, conv; x2, conv, blur, conv at each further level; after each: noise, bias, LReLU, norm, style; 1x1."""
    net, ws = random_stylegan(), torch.randn(3, 6, 6, dtype=torch.float64)
    synthesis, style = net.generator.synthesis, iter(ws.unbind(1))

    def epilogue(x, layer):
        x = leaky_relu(x + layer.strength * layer.noise + layer.bias, 0.2)
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-8).sqrt()
        scale, shift = (next(style) @ layer.affine.weight.T / 6**0.5 + layer.affine.bias).chunk(2, 1)
        return x * (scale + 1)[:, :, None, None] + shift[:, :, None, None]

    x = synthesis.constant.expand(3, -1, -1, -1)
    for i, level in enumerate(synthesis.blocks):
        if i:
            x = blurred(rule(level.up[0], x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
        x = epilogue(x, level.first)
        x = epilogue(rule(level.conv, x), level.second)
    head = synthesis.to_image["2"]
    expected = torch.einsum("oi,nihw->nohw", head.weight[:, :, 0, 0] / x.shape[1] ** 0.5, x) + head.bias[:, None, None]
    assert (synthesis(ws) - expected).abs().max() < 1e-9


def test_the_discriminators_halve_where_their_releases_do():
    """StyleGAN: conv, blur, conv, mean of 2x2, bias, LReLU. Progressive GAN: conv, conv, bias, LReLU, mean of 2x2."""
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    block = random_stylegan().discriminator.blocks[1]
    first, last = block[0][0], block[2][0]
    y = leaky_relu(rule(first, x) + first.bias[:, None, None], 0.2)
    expected = leaky_relu(avg_pool2d(rule(last, blurred(y)), 2) + last.bias[:, None, None], 0.2)
    assert (block(x) - expected).abs().max() < 1e-12
    block = ProGAN(ImageSpec(1, 16, 16), latent_dim=6, width=4, max_width=8, grown=0).discriminator.double().blocks[1]
    y = leaky_relu(rule(block[0][0], x), 0.2)
    expected = avg_pool2d(leaky_relu(rule(block[1][0], y), 0.2), 2)
    assert (block(x) - expected).abs().max() < 1e-12


def test_stylegan_begins_at_8_pixels_and_mixes_the_styles_of_levels_in_use():
    model = StyleGAN(ImageSpec(1, 32, 32), latent_dim=8, width=4, max_width=8, mapping=2, grown=0.4, start=8)
    begins = model.stage(0.0)
    assert begins.level == 1 and sorted(model.grower.to_image) == ["1", "2", "3"] and model.styles == 8
    model.enter(begins)
    assert model.styles == 4 and model.style(model.latent(2)).shape == (2, 4, 8)
    assert [each.shape[-1] for each in model.images_by_level(model.latent(2))] == [8]
    for more, first in (({"start": 7}, 0), ({}, 1)):  # 7, 14 and 28 pixels
        at_28 = StyleGAN(ImageSpec(1, 28, 28), latent_dim=8, width=4, max_width=8, mapping=2, grown=0.4, **more)
        assert at_28.stage(0.0).level == first
    assert sorted(StyleGAN(ImageSpec(1, 28, 28), latent_dim=8, width=4, mapping=2, grown=0.0).grower.to_image) == ["2"]
    with pytest.raises(UsageError, match="start=64: .* 28 pixels; use start=7"):
        StyleGAN(ImageSpec(1, 28, 28), latent_dim=8, width=4, mapping=2, start=64)


@pytest.mark.parametrize(("constant", "alike"), [("ones", 0.0), ("normal", 0.99)])
def test_one_update_replaces_the_features_of_a_constant_of_ones_and_keeps_those_of_noise(constant, alike):
    """Instance norm divides by the deviation over the pixels: of equal ones, any update becomes all there is."""
    torch.manual_seed(0)
    net = StyleGAN(ImageSpec(1, 28, 28), latent_dim=8, width=4, max_width=8, mapping=2, constant=constant)
    value = net.generator.synthesis.constant
    before = instance_norm(value[None]).detach()
    assert bool((value == 1).all()) == (constant == "ones")
    optimizer = torch.optim.Adam([value], lr=8e-3, betas=(0.0, 0.99))
    value.grad = torch.randn_like(value)
    optimizer.step()
    after = instance_norm(value[None]).detach()
    assert after.square().mean().item() == pytest.approx(1, abs=0.01)
    assert (before * after).mean().item() == pytest.approx(alike, abs=0.01)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_fresh_styles_vary_a_few_patterns_and_the_brightness_and_fresh_latents_of_progan_the_whole_picture(seed):
    """Why short runs of StyleGAN lack variety: effective dimensions of the images over z, and the share of brightness.

    A style scales and shifts whole channels, while Progressive GAN's latents set every pixel of the seed.
    """
    found = {}
    for kind, more in ((StyleGAN, {"mapping": 4, "constant": "normal"}), (ProGAN, {})):
        torch.manual_seed(seed)
        net = kind(ImageSpec(1, 28, 28), latent_dim=64, width=16, max_width=64, grown=0, **more).eval()
        x = net.generate(net.latent(400)).flatten(1).double()
        x -= x.mean(0)
        spectrum = torch.linalg.svdvals(x).square()
        dimensions = spectrum.sum() ** 2 / spectrum.square().sum()
        found[kind] = dimensions.item(), (x.mean(1).var() / x.var(0).mean()).item()
    assert found[StyleGAN][0] < 25 and found[StyleGAN][1] > 0.08
    assert found[ProGAN][0] > 50 and found[ProGAN][1] < 0.04
