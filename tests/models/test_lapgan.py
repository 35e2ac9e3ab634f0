"""LAPGAN's networks: the chain, what the discriminators see, the planes of classes, sizes and refusals."""

import pytest
import torch

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.lapgan import LAPGAN
from gancli.nn import laplacian

SMALL = {"latent_dim": 5, "width": 3, "discriminator_width": 3, "kernel": 3, "hidden": 8, "discriminator_hidden": 8}


GREY = ImageSpec(1, 16, 16)


def lapgan(spec: ImageSpec = GREY, **kwargs) -> LAPGAN:
    torch.manual_seed(0)
    return LAPGAN(spec, **{**SMALL, "smallest": 4, **kwargs}).double().eval()


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zero(network: torch.nn.Module) -> None:
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)


def test_the_papers_networks_have_the_sizes_of_the_authors_code():
    """Counted by hand for CIFAR-10's 16 -> 32: convolutions of a 4-plane and a 3-plane input, 12x12 maps at the end."""
    model = LAPGAN(ImageSpec(3, 32, 32))
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    assert model.sizes == [(8, 8), (16, 16), (32, 32)] and model.names == ("8", "16", "32")
    g = (4 * 49 + 1) * 64 + (64 * 49 + 1) * 64 + (64 * 25 + 1) * 3
    d = (3 * 25 + 1) * 64 + (64 * 25 + 1) * 64 + 64 * 12 * 12 + 1
    assert count(model.generator["32"]) == g and count(model.discriminator["32"]) == d
    assert count(model.generator["8"]) == 101 * 1200 + 1201 * 1200 + 1201 * 192
    assert count(model.discriminator["8"]) == 193 * 600 + 601 * 600 + 601


def test_the_chain_adds_each_residual_to_the_upsampled_image_and_clamps_once():
    model = lapgan()
    for network in model.generator.values():
        torch.nn.init.constant_(network.net[-1 if "Conv" in str(network.net[-1]) else -3].bias, 1.5)
    z = model.latent(3, seeded()).double()
    parts = z.split(model.latents, 1)
    image = model.generator["4"](parts[0])
    for name, part in zip(("8", "16"), parts[1:], strict=True):
        coarse = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
        image = coarse + model.generator[name](part, coarse)
    assert image.abs().max() > 2  # levels are not clamped on the way
    assert torch.equal(model.chain(z)[-1], image) and torch.equal(model.generate(z), image.clamp(-1, 1))


def test_without_residuals_a_real_coarse_image_stays_the_blurred_image():
    model, real = lapgan(), torch.rand(2, 1, 16, 16).double()
    zero(model.generator)
    levels = model.pyramid(real)
    for level in (1, 2):
        found = model.level(level, model.noise(level, 2).double(), levels[level - 1])
        assert torch.equal(found, laplacian.up(laplacian.down(levels[level])))


def test_scores_do_not_depend_on_whether_the_coarse_image_or_the_residual_has_an_edge():
    model = lapgan()
    coarse, residual = torch.rand(2, 1, 16, 16).double(), torch.rand(2, 1, 16, 16).double() / 4
    edge = torch.zeros(1, 1, 16, 16).double()
    edge[..., 8:] = 0.25  # a power of two: sums are exact
    coarse, residual = (coarse * 64).round() / 64, (residual * 64).round() / 64
    one, other = (coarse + edge) + residual, coarse + (residual + edge)
    assert torch.equal(model.score_level(2, one), model.score_level(2, other))
    assert not torch.equal(model.score_level(2, one), model.score_level(2, coarse + residual))


def test_the_score_of_an_image_is_the_sum_of_its_levels():
    model, image = lapgan(), torch.rand(3, 1, 16, 16).double()
    blurred = laplacian.down(image)
    levels = (laplacian.down(blurred), blurred, image)
    expected = sum(model.discriminator[name](each) for name, each in zip(("4", "8", "16"), levels, strict=True))
    assert torch.allclose(model.score(image), expected, rtol=1e-12)


def test_latents_are_drawn_from_coarse_to_fine_by_one_generator():
    model, generator = lapgan(), seeded()
    expected = [torch.rand(4, size, generator=generator) * 2 - 1 for size in (5, 64, 256)]
    drawn = model.latent(4, seeded())
    assert torch.equal(drawn, torch.cat(expected, 1)) and drawn.shape == (4, 325)
    model = model.float()
    assert torch.equal(model.sample(4, generator=seeded()), model.sample(4, generator=seeded()))
    assert torch.equal(model.sample(4, generator=seeded()), model.generate(drawn))


def test_interpolation_moves_the_noise_of_all_levels():
    model = lapgan()
    a, b = model.latent(2, seeded())
    middle = model.interpolate(a, b, torch.tensor(0.5))
    assert torch.allclose(middle, (a + b) / 2)
    assert model.generate(middle[None].double()).shape == (1, 1, 16, 16)


def test_a_class_is_one_more_plane_in_every_network():
    model = lapgan(ImageSpec(1, 16, 16, num_classes=3), conditional=True)
    label = torch.tensor([0, 2])
    for networks in (model.generator, model.discriminator):
        for name, network in networks.items():
            linear, side = network.plane.linear, int(name)
            plane = network.plane(label)
            assert plane.shape == (2, 1, side, side) and plane.min() == 0
            expected = (linear.weight[:, [0, 2]].T + linear.bias).clamp(min=0)
            assert torch.allclose(plane.flatten(1), expected)
    assert model.generator["16"].net[0].in_channels == 3 and model.discriminator["16"].net[0].in_channels == 2
    assert model.generator["4"].net[0].in_features == 5 + 16 and model.discriminator["4"].net[0].in_features == 32
    z, image = model.latent(2, seeded()).double(), torch.rand(2, 1, 16, 16).double()
    assert not torch.equal(model.generate(z, label), model.generate(z, label.flip(0)))
    assert not torch.equal(model.score(image, label), model.score(image, label.flip(0)))


def test_batch_norm_is_in_the_coarsest_generator_alone():
    norms = lambda **kwargs: [  # noqa: E731
        name for name, layer in lapgan(**kwargs).named_modules() if isinstance(layer, torch.nn.BatchNorm1d)
    ]
    assert norms() == [] and norms(norm="batch") == ["generator.4.net.1", "generator.4.net.4"]
    first, second = (lapgan(norm="batch").generator["4"].net[i] for i in (1, 4))
    assert first is not second


def test_the_discriminators_of_a_dcgan_have_the_sizes_of_its_layers_counted_by_hand():
    """Maps of 7 pixels stay 7 and become 3 at the coarsest level; those of 28 become 14 and 7."""
    sizes = {"discriminators": "dcgan", "smallest": 7, "discriminator_width": 6, "discriminator_hidden": 10}
    model = lapgan(ImageSpec(1, 28, 28), **sizes)
    dense = lambda inputs: (inputs + 1) * 10 + 11 + 2 * (12 + 10)  # noqa: E731  # with both batch norms
    middle = (6 * 16 + 1) * 12
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in model.discriminator.items()}
    coarsest, fine = (9 + 1) * 6 + middle, (16 + 1) * 6 + middle
    assert counts == {
        "7": coarsest + dense(12 * 3 * 3), "14": fine + dense(12 * 3 * 3), "28": fine + dense(12 * 7 * 7)
    }  # fmt: skip
    plain = lapgan(ImageSpec(1, 28, 28), **sizes, discriminator_norm="none").train()
    image = torch.rand(4, 1, 28, 28).double()
    assert torch.allclose(plain.score(image)[:2], plain.score(image[:2]))  # no image depends on others
    assert not torch.allclose(model.train().score(image)[:2], model.score(image[:2]))
    assert image.shape[0] == len(model.score(image)) == 4


def test_classes_enter_the_discriminators_of_a_dcgan():
    model = lapgan(ImageSpec(3, 16, 16, num_classes=3), conditional=True, discriminators="dcgan")
    image, label = torch.rand(2, 3, 16, 16).double(), torch.tensor([0, 2])
    for level, each in enumerate(model.pyramid(image)):
        scores = [model.score_level(level, each, given) for given in (label, label.flip(0))]
        assert scores[0].shape == (2,) and not torch.equal(*scores)


@pytest.mark.parametrize("height, width", [(8, 8), (25, 25), (27, 28), (1, 1)])
def test_images_that_make_no_pyramid_are_refused(height, width):
    with pytest.raises(UsageError, match="data.size=32") as error:
        LAPGAN(ImageSpec(1, height, width))
    assert "\n" not in str(error.value)


def test_even_kernels_and_data_without_classes_are_refused():
    with pytest.raises(UsageError, match="model.kernel=4"):
        lapgan(kernel=4)
    with pytest.raises(UsageError, match="no classes"):
        lapgan(conditional=True)
