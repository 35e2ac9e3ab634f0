"""StyleGAN2: the sizes of the paper's configuration, shapes, labels, residual blocks, lazy R1."""

from functools import partial

import pytest
import torch
from helpers import compose, overrides
from torch.nn.functional import conv2d, leaky_relu

from gancli.data.spec import ImageSpec
from gancli.losses.penalties import PenaltyInputs
from gancli.models.stylegan2 import Halving, StyleGAN2, levels
from gancli.training.build import build


def test_the_networks_for_cifar_have_as_many_weights_as_the_release():
    with torch.device("meta"):
        net = StyleGAN2(ImageSpec(3, 32, 32), mapping=2, residual=False, minibatch_std=32)
    counts = [sum(p.numel() for p in child.parameters()) / 1e6 for child in (net.generator, net.discriminator)]
    assert counts == [pytest.approx(19.95, abs=0.01), pytest.approx(20.72, abs=0.01)]
    assert net.styles == 8


@pytest.mark.parametrize("size, seed, count", [(8, (4, 4), 2), (28, (7, 7), 3), (32, (4, 4), 4), (128, (4, 4), 6)])
def test_levels_reach_from_the_seed_to_the_image(size, seed, count):
    widths, found = levels(ImageSpec(1, size, size), 16)
    assert found == seed and widths == [8 if size == 128 else 16] + [16] * (count - 1)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_images_and_scores_have_their_shapes_and_follow_the_label(residual, conditional):
    torch.manual_seed(0)
    spec = ImageSpec(3, 28, 28, 5)
    net = StyleGAN2(spec, 6, 4, 2, residual=residual, conditional=conditional).eval()
    z, label = net.latent(1).expand(4, -1), torch.tensor([0, 1, 0, 1])
    images = net.generate(z, label)
    alike = partial(torch.allclose, rtol=1e-4, atol=1e-5)  # on some chips kernels round each image in their own way
    assert images.shape == (4, 3, 28, 28) and alike(images[0], images[2]) and alike(images[1], images[3])
    assert alike(images[0], images[1]) != conditional
    score = net.score(images[:1].expand(4, -1, -1, -1), label)
    assert score.shape == (4,) and alike(score[0], score[2])
    assert alike(score[0], score[1]) != conditional


def test_a_residual_block_keeps_the_variance_and_passes_the_image_by():
    torch.manual_seed(0)
    block, x = Halving(16, 32, residual=True), torch.randn(4, 16, 16, 16)
    assert block(x).square().mean().item() < 1.5
    torch.nn.init.zeros_(block.down.weight)
    torch.testing.assert_close(block(x), block.skip(x) / 2**0.5)


@pytest.mark.parametrize("residual", [False, True])
def test_the_discriminator_equals_its_composition_from_the_release(residual):
    """1x1; 3x3, filter and strided 3x3, beside a filtered 1x1, over sqrt 2; deviation; 3x3; dense; <logits, class>."""
    torch.manual_seed(0)
    net = StyleGAN2(ImageSpec(2, 16, 16, 3), 6, 4, 2, residual=residual, minibatch_std=2, conditional=True)
    net = net.discriminator
    for name, p in net.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(p)
    taps = torch.outer(*[torch.tensor([1.0, 3, 3, 1])] * 2) / 64

    def linear(layer, x, gain=1.0):
        return x @ layer.weight.T * gain / layer.weight.shape[1] ** 0.5 + layer.bias

    def conv(layer, x, gain=2**0.5, **how):
        return conv2d(x, layer.weight * gain / layer.weight[0].numel() ** 0.5, **how)

    def filtered(x, padding):
        return conv2d(x, taps.expand(x.shape[1], 1, 4, 4), padding=padding, groups=x.shape[1])

    def act(x, bias):
        return leaky_relu(x + bias.view(1, -1, 1, 1), 0.2)

    image, label = torch.randn(4, 2, 16, 16), torch.tensor([0, 1, 2, 1])
    x = act(conv(net.first, image), net.first.bias)
    for block in net.blocks[:2]:
        y = act(conv(block.conv, x, padding=1), block.conv.bias)
        y = act(conv(block.down, filtered(y, 2), stride=2), block.bias)
        x = (y + conv(block.skip, filtered(x, 1), 1.0, stride=2)) / 2**0.5 if residual else y
    pairs = x.unflatten(0, (2, 2))  # images i and i + 2
    spread = ((pairs[0] - pairs[1]).square() / 4 + 1e-8).sqrt().mean((1, 2, 3)).repeat(2)
    x = torch.cat([x, spread.view(4, 1, 1, 1).expand(-1, 1, 4, 4)], 1)
    x = act(conv(net.conv, x, padding=1), net.conv.bias).flatten(1)
    x = linear(net.last, leaky_relu(linear(net.dense, x, 2**0.5), 0.2))
    expected = (x * net.labels(None, label)).sum(1) / 4**0.5
    torch.testing.assert_close(net(image, label), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["stylegan2", "stylegan2_paper"])
def test_r1_is_taken_before_augmentation_as_in_the_release(name):
    """Under x -> score(2 x), slopes at x are 2 w; at the images as the discriminator sees them they are w."""
    loss = build(compose("train", overrides(name, "stabilizer=[ada]"))).loss
    (r1,) = loss.penalties.values()
    assert r1.through and r1.interval == 16
    image, weight = torch.randn(4, 1, 8, 8), torch.randn(64)
    game = PenaltyInputs(torch.nn.Identity(), lambda x: x.flatten(1) @ weight, 2 * image, lambda: image)
    before = game._replace(score=lambda x: game.score(2 * x), real=image)
    expected = r1.gamma / 2 * 4 * weight.square().sum().item()
    assert r1(game._replace(before=before)).item() == pytest.approx(expected, rel=1e-5)


def test_the_papers_generator_has_the_rates_that_the_release_gives_it_for_a_regularizer_every_4_updates():
    step = build(compose("train", overrides("stylegan2_paper"))).steps[1]
    group = step.settings()["generator"]
    assert (group["lr"], *group["betas"]) == pytest.approx((0.0025 * 4 / 5, 0, 0.99 ** (4 / 5)), rel=1e-6)


def test_r1_is_due_every_16_updates_and_counts_16_times():
    parts = build(compose("train", overrides("stylegan2", "loss.penalties.r1.gamma=5", "optimizer.lr=0.0")))
    step, batch = parts.steps[0], parts.loader.next()
    scalars = [step(batch) for _ in range(33)]
    assert [i for i, each in enumerate(scalars) if "discriminator/r1" in each] == [0, 16, 32]
    first = scalars[0]
    loss = first["discriminator/real"] + first["discriminator/fake"]
    assert (first["loss/discriminator"] - loss).item() == pytest.approx(16 * first["discriminator/r1"].item(), rel=1e-4)
