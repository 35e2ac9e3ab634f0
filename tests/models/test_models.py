"""The two GANs against their papers: sizes, initialisation, latents."""

import math

import pytest
import torch
from helpers import run
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.acgan import ACGAN
from gancli.models.dcgan import DCGAN, dense_units
from gancli.models.mlp_gan import MLPGAN
from gancli.models.wgan import WGAN
from gancli.training import checkpoint

MNIST = ImageSpec(1, 28, 28)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_mlp_gan_has_the_papers_sizes():
    model = MLPGAN(MNIST)
    assert parameters(model.generator) == 2_503_984
    assert parameters(model.discriminator) == 1_231_441


def test_mlp_gan_initialisation():
    torch.manual_seed(0)
    model = MLPGAN(MNIST)
    for net, irange in ((model.generator, 0.05), (model.discriminator, 0.005)):
        for layer in (m for m in net.modules() if isinstance(m, nn.Linear)):
            assert layer.weight.abs().max() <= irange
            assert layer.weight.std().item() == pytest.approx(irange / math.sqrt(3), rel=0.1)
            assert not layer.bias.any()


def test_mlp_gan_starts_at_the_mean_image():
    pixels = torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[..., 0, 0] = 0  # always black: no finite logit
    model = MLPGAN(MNIST)
    model.fit_data(pixels)
    with torch.no_grad():
        for layer in model.generator[:-1]:
            if isinstance(layer, nn.Linear):
                layer.weight.zero_()
        start = model.sample(1)[0]
    expected = pixels.float().mean(0) / 127.5 - 1
    assert torch.allclose(start[:, 1:], expected[:, 1:], atol=1e-5)
    assert start[0, 0, 0].item() == pytest.approx(-1, abs=0.01)


def test_mlp_gan_latents_are_uniform_with_unit_variance():
    z = MLPGAN(MNIST).latent(20_000, torch.Generator().manual_seed(0))
    assert z.shape == (20_000, 100)
    assert z.abs().max() <= math.sqrt(3)
    assert z.var().item() == pytest.approx(1, abs=0.01)
    assert (z.abs() > 1.7).float().mean().item() == pytest.approx(1 - 1.7 / math.sqrt(3), abs=0.002)  # flat to the edge


def test_mlp_gan_dropout_rates_and_pixel_range():
    model = MLPGAN(MNIST)
    assert [m.p for m in model.discriminator if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]
    seen = []
    model.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.score(torch.tensor([-1.0, 1.0]).repeat(392).view(1, 1, 28, 28))
    assert seen[0].min() == 0 and seen[0].max() == 1  # the paper's D sees [0, 1]


@pytest.mark.parametrize(
    "size, seed, count", [(8, 4, 1), (16, 4, 2), (28, 7, 2), (32, 4, 3), (48, 6, 3), (64, 4, 4), (128, 4, 5)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_fits_its_size(size, seed, count, channels):
    model = DCGAN(ImageSpec(channels, size, size), width=4)
    image = model.sample(2, generator=torch.Generator().manual_seed(0))
    assert image.shape == (2, channels, size, size) and image.abs().max() <= 1
    assert model.score(image).shape == (2,)
    convolutions = [m for m in model.generator if isinstance(m, nn.ConvTranspose2d)]
    assert convolutions[0].kernel_size == (seed, seed) and len(convolutions) == count + 1
    assert [c.in_channels for c in convolutions[1:]] == [4 << i for i in reversed(range(count))]


def test_dcgan_draws_any_shape_that_fits():
    assert DCGAN(ImageSpec(3, 32, 64), width=4).sample(1).shape == (1, 3, 32, 64)


@pytest.mark.parametrize("height, width", [(7, 7), (30, 30), (129, 129), (256, 256), (32, 33), (28, 200)])
def test_dcgan_refuses_sizes_without_a_seed(height, width):
    with pytest.raises(UsageError, match=f"{width}x{height}.*data.size"):
        DCGAN(ImageSpec(1, height, width))


def test_dcgan_is_the_papers_at_64_pixels():
    """Figure 1 and the rules of section 3, in the Torch release's 4x4 form, by its parameter counts at width 64."""
    model = DCGAN(ImageSpec(3, 64, 64))
    g = 100 * 512 * 16 + (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) * 16 + 3 + 2 * (512 + 256 + 128 + 64)
    d = (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) * 16 + 64 + 1 + 2 * (128 + 256 + 512)
    assert parameters(model.generator) == g and parameters(model.discriminator) == d
    norms = (
        [isinstance(m, nn.BatchNorm2d) for m in model.generator],
        [isinstance(m, nn.BatchNorm2d) for m in model.discriminator],
    )
    assert [sum(n) for n in norms] == [4, 3]  # none at the generator's output, none at the discriminator's input
    assert isinstance(model.generator[-1], nn.Tanh)
    assert {m.negative_slope for m in model.discriminator if isinstance(m, nn.LeakyReLU)} == {0.2}


def test_dcgan_initialisation():
    torch.manual_seed(0)
    model = DCGAN(ImageSpec(3, 64, 64))
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)) and m.weight.numel() > 10_000:
            assert m.weight.std().item() == pytest.approx(0.02, rel=0.02)
        if isinstance(m, nn.BatchNorm2d):
            assert m.weight.mean().item() == pytest.approx(1, abs=0.01) and not m.bias.any()


def test_dcgan_latents():
    z = DCGAN(MNIST, width=4).latent(1000, torch.Generator().manual_seed(0))
    assert z.shape == (1000, 100, 1, 1) and z.abs().max() <= 1
    assert z.var().item() == pytest.approx(1 / 3, abs=0.01)


def test_interpolation_starts_and_ends_at_its_latents():
    model = DCGAN(MNIST, width=4)
    start, end = model.latent(2)
    t = torch.tensor([0.0, 0.25, 1.0]).view(-1, 1, 1, 1)
    path = model.interpolate(start, end, t)
    assert torch.equal(path[0], start) and torch.allclose(path[2], end)
    assert torch.allclose(path[1], 0.75 * start + 0.25 * end)


@pytest.mark.parametrize("size, units", [(8, 64), (28, 64), (32, 0), (48, 0), (64, 0)])
def test_dcgan_has_a_dense_layer_up_to_two_stages_and_the_papers_rule_from_three_on(size, units):
    spec = ImageSpec(1, size, size)
    assert dense_units(None, spec, width=4) == units
    net = DCGAN(spec, width=4, hidden=None)
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == (
        [units, 8 * size * size // 16 if size == 28 else 64, units, 1] if units else []
    )
    assert parameters(net) == parameters(DCGAN(spec, width=4, hidden=units))


def test_dcgan_at_28_pixels_is_the_mnist_network_of_the_release():
    """Newmu/dcgan_code, mnist: 100 -> 1024 -> 128x7x7, and 128x7x7 -> 1024 -> 1, batch norm on every unit between."""
    model = DCGAN(MNIST, hidden=None)
    g = 100 * 1024 + 1024 * 6272 + 2 * (1024 + 6272) + 128 * 64 * 16 + 2 * 64 + 64 * 16 + 1
    d = 16 * 64 + 64 + 64 * 128 * 16 + 2 * 128 + 6272 * 1024 + 2 * 1024 + 1024 + 1
    assert parameters(model.generator) == g and parameters(model.discriminator) == d
    image = model.sample(3)
    assert image.shape == (3, 1, 28, 28) and model.score(image).shape == (3,)
    plain = DCGAN(MNIST, width=4, hidden=6, discriminator_norm="none").discriminator
    assert not any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in plain)
    assert [m.bias is not None for m in plain if isinstance(m, nn.Linear)] == [True, True]


def test_dcgans_dense_layers_start_like_the_rest():
    torch.manual_seed(0)
    model = DCGAN(MNIST, width=16, hidden=None)
    for m in model.modules():
        if isinstance(m, nn.Linear):
            assert m.weight.std().item() == pytest.approx(0.02, rel=0.1)
        if isinstance(m, nn.BatchNorm1d):
            assert m.weight.mean().item() == pytest.approx(1, abs=0.01) and not m.bias.any()


def test_a_unit_of_the_discriminator_sees_the_whole_digit_through_the_dense_layer():
    for hidden, seen in ((0, 10), (None, 28)):
        net = DCGAN(MNIST, width=4, hidden=hidden).discriminator.eval()
        image = torch.randn(1, 1, 28, 28, requires_grad=True)
        if hidden is None:
            unit = net[:-2](image)[0, 0]  # before the logit
        else:
            unit = net[:-2](image)[0, 0, 3, 3]
        (slope,) = torch.autograd.grad(unit, image)
        assert int((slope[0, 0] != 0).any(0).sum()) == seen


@pytest.mark.parametrize("kind", [DCGAN, WGAN, ACGAN])
def test_every_model_with_dcgans_networks_has_the_dense_layer_and_no_key_means_none(kind):
    spec = ImageSpec(1, 28, 28, num_classes=10)
    old, new = kind(spec, width=4), kind(spec, width=4, hidden=None)
    assert not any(isinstance(m, nn.Linear) for m in old.modules())
    assert [m.out_features for m in new.modules() if isinstance(m, nn.Linear)][:3] == [64, 392, 64]
    label = torch.tensor([0, 1, 2])
    assert new.score(new.sample(3, label=label), label).shape == (3,)
    with pytest.raises(ValueError, match="hidden=-1 must be 0 or more"):
        kind(spec, width=4, hidden=-1)


@pytest.mark.parametrize("model", ["dcgan", "wgan", "acgan"])
def test_a_checkpoint_whose_config_does_not_name_the_dense_layer_has_none(model, tmp_path):
    run(tmp_path, "images=16", "model.hidden=0", model=model)
    state = checkpoint.load(tmp_path).state
    state["config"] = state["config"].replace("  hidden: 0\n", "")
    assert "hidden" not in state["config"]
    checkpoint.save(tmp_path / "checkpoints" / checkpoint.name(16), state)
    net = checkpoint.rebuild(tmp_path)
    assert not any(isinstance(m, nn.Linear) for m in net.modules())
