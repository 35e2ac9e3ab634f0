"""Label tricks and instance noise: their equilibria to the digits, and what each player sees."""

import math

import pytest
import torch
from helpers import compose, overrides

from gancli.losses.adversarial import LSGAN, Hinge, NonSaturating
from gancli.losses.relativistic import Relativistic
from gancli.losses.stabilizers import FlipLabels, InstanceNoise, NoisyLabels, SmoothLabels
from gancli.training.build import build

ONE, ZERO = torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)


@pytest.mark.parametrize("target, total", [(1.0, 1.3863), (0.9, 1.3763), (0.75, 1.3231)])
def test_the_loss_where_the_distributions_are_equal(target, total):
    """The best D is then target / 2 everywhere (Salimans et al. 2016)."""
    score = torch.logit(ONE * target / 2).requires_grad_()
    labels = SmoothLabels(target).labels(ONE, ZERO)
    value = sum(NonSaturating().discriminator_loss(score, score, labels).values())
    assert value.item() == pytest.approx(total, abs=5e-5)
    (grad,) = torch.autograd.grad(value, score)
    assert grad.abs().max() < 1e-15  # the best there is
    assert torch.equal(labels[1], ZERO)  # one side only


def test_soft_labels_are_the_cross_entropy_and_the_square_with_that_label():
    real, fake = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = 0.7 + 0.5 * torch.rand(64, dtype=torch.float64), 0.3 * torch.rand(64, dtype=torch.float64)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    value = sum(NonSaturating().discriminator_loss(real, fake, labels).values())
    assert value.item() == pytest.approx((bce(real, labels[0]) + bce(fake, labels[1])).item(), rel=1e-12)
    a, b = real.clone().requires_grad_(), real.clone().requires_grad_()
    LSGAN().discriminator_loss(a, fake, labels)["real"].backward()
    ((b - labels[0]).square().mean() / 2).backward()
    assert torch.allclose(a.grad, b.grad, atol=1e-15)


@pytest.mark.parametrize("p, floor", [(0.05, 0.1985), (0.1, 0.3251)])
def test_flips_leave_the_discriminator_uncertain(p, floor):
    """Of separable images the best D says p and 1 - p, and each side costs the entropy of p."""
    n = 200_000
    torch.manual_seed(0)
    real, fake = FlipLabels(p).labels(torch.ones(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64))
    assert torch.equal(real + fake, torch.ones_like(real))  # pairs swap
    assert fake.mean().item() == pytest.approx(p, abs=3 * math.sqrt(p * (1 - p) / n))
    score = torch.full((n,), math.log((1 - p) / p), dtype=torch.float64)
    values = NonSaturating().discriminator_loss(score, -score, (real, fake))
    assert values["real"].item() == pytest.approx(floor, abs=0.004)
    assert values["fake"].item() == pytest.approx(floor, abs=0.004)


def test_noisy_labels_fill_their_ranges():
    torch.manual_seed(0)
    real, fake = NoisyLabels().labels(torch.ones(10_000), torch.zeros(10_000))
    assert (
        0.7 <= real.min() < 0.701 and 1.199 < real.max() <= 1.2 and real.mean().item() == pytest.approx(0.95, abs=0.01)
    )
    assert (
        0.0 <= fake.min() < 0.001 and 0.299 < fake.max() <= 0.3 and fake.mean().item() == pytest.approx(0.15, abs=0.01)
    )


def test_every_order_of_label_tricks_flips_what_it_is_given():
    torch.manual_seed(0)
    real, fake = FlipLabels(0.5).labels(*SmoothLabels(0.9).labels(torch.ones(100), torch.zeros(100)))
    assert sorted(set(real.tolist())) == pytest.approx([0, 0.9]) and torch.allclose(real + fake, torch.tensor(0.9))


@pytest.mark.parametrize("loss", [Hinge(), Relativistic("rsgan"), Relativistic("rahinge")])
def test_a_flipped_pair_is_a_pair_whose_images_are_exchanged(loss):
    """With all labels swapped the loss is that of the other kind's label, image by image."""
    real, fake = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(16, dtype=torch.float64), torch.ones(16, dtype=torch.float64)
    swapped = sum(loss.discriminator_loss(real, fake, labels).values())
    assert swapped.item() == pytest.approx(sum(loss.discriminator_loss(fake, real).values()).item(), rel=1e-12)


@pytest.mark.parametrize("end, progress, sigma", [(1.0, 0.0, 0.4), (1.0, 0.75, 0.1), (0.5, 0.25, 0.2), (0.5, 0.8, 0.0)])
def test_instance_noise_is_annealed_by_the_share_of_the_run(end, progress, sigma):
    torch.manual_seed(0)
    noise = InstanceNoise(0.4, end).image(torch.zeros(50, 1, 32, 32), torch.tensor(progress))
    assert noise.std().item() == pytest.approx(sigma, rel=0.02) and abs(noise.mean().item()) < 0.01


@pytest.mark.parametrize("loss", ["nonsaturating", "relativistic"])
def test_both_players_steps_see_noise_on_both_kinds_of_images_and_nothing_at_the_end(loss):
    on = [f"loss={loss}", "stabilizer=instance_noise", "loss.stabilizers.instance_noise.sigma=50", "penalty=[r1,r2]"]
    parts = build(compose("train", overrides("dcgan", *on)))
    seen = []
    parts.model.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().abs().max()))
    for progress, noisy in ((0.0, True), (1.0, False)):
        for step, forwards in zip(parts.steps, (4, 2 if loss == "relativistic" else 1)):
            seen.clear()
            step(parts.loader.next(progress))
            assert len(seen) == forwards and [bool(peak > 10) for peak in seen] == [noisy] * forwards


def test_smoothing_changes_what_the_discriminator_pays_and_not_what_the_generator_does():
    rows = []
    for on in ([], ["stabilizer=smooth_labels"]):
        parts = build(compose("train", overrides("dcgan", *on)))
        batch = parts.loader.next()
        torch.manual_seed(0)
        rows.append([sum(v for v in term(parts.model, batch).values() if v.requires_grad).item() for term in (
            parts.loss.discriminator_term, parts.loss.generator_term)])  # fmt: skip
    assert rows[0][0] != rows[1][0] and rows[0][1] == rows[1][1]
