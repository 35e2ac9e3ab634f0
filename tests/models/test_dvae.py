"""The discrete VAE: the Gumbel-softmax at every temperature, its KL, and hard codes wherever a number is reported."""

import math
from functools import partial

import pytest
import torch
from helpers import NoHostSync
from torch import nn
from torch.distributions import Categorical, kl_divergence

from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError
from gancli.losses.dvae import DVAELoss, divergence
from gancli.models.dvae import DVAE, relaxed
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.nn.annealed import Annealed
from gancli.nn.likelihoods import Bernoulli

LOGITS = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
# Temperature -> E[y], E[max y] and E[H(y)] of LOGITS, measured with 200,000 draws in another program.
FIGURE = {
    0.1: ((0.233, 0.626, 0.141), 0.963, 0.089),
    0.5: ((0.248, 0.594, 0.158), 0.824, 0.427),
    1.0: ((0.271, 0.538, 0.192), 0.691, 0.712),
    10.0: ((0.327, 0.361, 0.311), 0.378, 1.091),
}


def draws(tau: float, n: int = 100_000) -> torch.Tensor:
    return relaxed(LOGITS.expand(n, 3), tau, torch.Generator().manual_seed(0))


def dvae() -> DVAE:
    torch.manual_seed(0)
    prior = partial(GatedPixelCNN, width=4, blocks=2, head=4, kernel=3)
    return DVAE(ImageSpec(1, 8, 8, levels=2), Bernoulli, prior, codes=5, width=4, blocks=1, residual=2)


@pytest.mark.parametrize("tau", FIGURE)
def test_the_largest_entry_is_a_draw_at_every_temperature(tau):
    y, p = draws(tau), LOGITS.softmax(0)
    seen = torch.bincount(y.argmax(1), minlength=3)
    chi_square = float(((seen - len(y) * p).square() / (len(y) * p)).sum())
    assert chi_square < 13.8  # exceeded once in a thousand with two degrees of freedom
    assert y.min() >= 0 and torch.allclose(y.sum(1), torch.ones(len(y), dtype=y.dtype))
    mean, largest, entropy = FIGURE[tau]
    assert torch.allclose(y.mean(0), torch.tensor(mean, dtype=y.dtype), atol=0.004)
    assert float(y.amax(1).mean()) == pytest.approx(largest, abs=0.004)
    assert float(torch.special.entr(y).sum(1).mean()) == pytest.approx(entropy, abs=0.006)


def test_the_limits_of_the_temperature_are_the_distribution_and_the_middle_of_the_simplex():
    assert (draws(0.1).mean(0) - LOGITS.softmax(0)).abs().max() < 0.01
    hot = draws(10.0)
    assert (hot.mean(0) - 1 / 3).abs().max() < 0.03
    assert float(torch.special.entr(hot).sum(1).mean()) == pytest.approx(math.log(3), abs=0.01)
    assert draws(0.001).isfinite().all()


def test_the_kl_is_that_of_torch():
    logits = torch.randn(4, 6, 2, 3, dtype=torch.float64)
    q = Categorical(logits=logits.movedim(1, 3))
    expected = kl_divergence(q, Categorical(logits=torch.zeros_like(q.logits))).sum((1, 2))
    assert torch.allclose(divergence(logits), expected, atol=1e-12)
    assert divergence(torch.zeros(1, 6, 2, 3)).abs() < 1e-6


def test_schedules_follow_the_share_of_the_run():
    model, image = dvae(), torch.rand(6, 1, 8, 8).round() * 2 - 1
    loss = DVAELoss(Annealed(1.0, 0.1, until=0.5), Annealed(0.0, 2.0, until=0.4))
    for share, tau, beta in ((0.0, 1.0, 0.0), (0.2, 0.64, 1.0), (0.9, 0.1, 2.0)):
        torch.manual_seed(3)
        with NoHostSync():
            found = loss.autoencoder(model, Batch(image, progress=torch.tensor(share)))
        torch.manual_seed(3)
        expected = model.reconstruction(relaxed(model.logits(image), tau), image).mean()
        assert found["reconstruction"].item() == pytest.approx(expected.item(), abs=1e-4)
        assert found["weighted_kl"].item() == pytest.approx(beta * found["kl"].item(), abs=1e-5)
        assert [key for key, each in found.items() if each.requires_grad] == ["reconstruction", "weighted_kl"]


@torch.no_grad()
def test_bounds_and_reconstructions_are_those_of_hard_codes():
    model, image = dvae(), torch.rand(6, 1, 8, 8).round() * 2 - 1
    index = model.tokens(image)
    assert torch.equal(index, model.encoder(image).argmax(1)) and model.embed(index).sum(1).eq(1).all()
    nats = model.likelihood.nll(model.decoder(model.embed(index)), image) + 4 * math.log(5)
    assert torch.allclose(-model.bound(image), nats, atol=1e-4)
    hard = DVAELoss().measurements(model, Batch(image))["hard_reconstruction"]()
    assert hard.item() == pytest.approx((nats - 4 * math.log(5)).mean().item(), abs=1e-4)


@torch.no_grad()
def test_relaxed_reconstructions_become_those_of_the_same_draws_as_the_temperature_falls():
    model, image = dvae(), torch.rand(6, 1, 8, 8).round() * 2 - 1
    nn.init.normal_(model.encoder[-1].weight, std=1)  # codes differ
    nn.init.normal_(model.decoder[0].weight, std=1)
    gaps = []
    for tau in (1.0, 1e-5):
        torch.manual_seed(3)
        soft = DVAELoss(tau).autoencoder(model, Batch(image, progress=torch.tensor(0.5)))["reconstruction"]
        torch.manual_seed(3)
        drawn = DVAELoss().measurements(model, Batch(image))["drawn_reconstruction"]()
        gaps.append((soft - drawn).abs().item())
    assert gaps[0] > 0.01 and gaps[1] < 1e-3


def test_a_temperature_of_zero_is_refused():
    for tau in (0.0, Annealed(1.0, 0.0)):
        with pytest.raises(UsageError, match="loss.tau must be above 0"):
            DVAELoss(tau)
