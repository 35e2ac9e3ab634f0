"""StyleGAN2: the sizes of the paper's configuration, shapes, labels, residual blocks, lazy R1."""

import pytest
import torch
from helpers import compose, overrides

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
    assert images.shape == (4, 3, 28, 28) and len(images.unique(dim=0)) == 1 + conditional
    score = net.score(images[:1].expand(4, -1, -1, -1), label)
    assert score.shape == (4,) and torch.equal(score[0], score[2])
    assert torch.equal(score[0], score[1]) != conditional


def test_a_residual_block_keeps_the_variance_and_passes_the_image_by():
    torch.manual_seed(0)
    block, x = Halving(16, 32, residual=True), torch.randn(4, 16, 16, 16)
    assert block(x).square().mean().item() < 1.5
    torch.nn.init.zeros_(block.down.weight)
    torch.testing.assert_close(block(x), block.skip(x) / 2**0.5)


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
