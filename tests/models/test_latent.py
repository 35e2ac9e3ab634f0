"""Bounds against likelihoods that are known: probabilistic PCA, and sums over all images of nine binary pixels."""

import math
from itertools import pairwise

import pytest
import torch
from latent_models import NINE, LinearGaussian, all_nine, exact_log_prob, tiny

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models import bounds
from gancli.models.latent import active
from gancli.models.vae import VAE
from gancli.models.vae_conv import VAEConv
from gancli.nn import gaussian
from gancli.nn.densities import Gaussian
from gancli.nn.likelihoods import Bernoulli, DiscretizedLogisticMixture


def codes(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_with_the_exact_posterior_every_bound_is_the_likelihood():
    """log p(x, z) - log q(z|x) is log p(x) then, whatever z."""
    model = LinearGaussian(correlated=False)
    image = model.images(50)
    weights = model.log_weights(image, None, 7, codes())
    assert weights.shape == (7, 50) and (weights - model.log_prob(image)).abs().max() < 1e-12
    assert (model.bound(image, k=7) - model.log_prob(image)).abs().max() < 1e-12
    assert abs(model.gap()) < 1e-12


@torch.no_grad()
def test_the_gap_of_a_diagonal_posterior_is_its_closed_form():
    model = LinearGaussian(correlated=True)
    image = model.images(20)
    weights = model.log_weights(image, None, 20_000, codes())
    below = model.log_prob(image).mean() - weights.mean()
    error = float(weights.std() / math.sqrt(weights.numel()))
    assert model.gap() > 10 * error and abs(float(below) - model.gap()) < 4 * error
    analytic = torch.stack([model.bound(image, generator=codes(i)) for i in range(2000)])  # the ELBO with the exact KL
    error = float(analytic.std() / math.sqrt(analytic.numel()))
    assert abs(float(model.log_prob(image).mean() - analytic.mean()) - model.gap()) < 4 * error


@torch.no_grad()
def test_the_importance_weighted_bound_grows_with_k_to_the_likelihood(monkeypatch):
    model = LinearGaussian(correlated=True)
    image = model.images(400)
    gaps = []
    for k in (1, 10, 100, 1000, 5000):
        values = model.bound(image, k=k, generator=codes())
        gaps.append(float((model.log_prob(image) - values).mean()))
    assert all(low < 0.4 * high for high, low in pairwise(gaps)) and abs(gaps[-1]) < 0.001
    whole = model.bound(image, k=10, generator=codes())
    monkeypatch.setattr(bounds, "ROWS", 800)  # two codes at a time: other draws of the same bound
    assert abs(float((model.bound(image, k=10, generator=codes()) - whole).mean())) < 0.02


@torch.no_grad()
def test_bounds_of_all_binary_images_sum_to_less_than_one():
    """512 images of nine pixels; log p is known from a quadrature over the two latents."""
    model, image = tiny(), all_nine()
    exact = exact_log_prob(model, image)
    assert float(exact.exp().sum()) == pytest.approx(1, abs=1e-9)
    elbo = torch.stack([model.bound(image, generator=codes(i)) for i in range(500)])
    error = elbo.std(0) / math.sqrt(len(elbo))
    assert (elbo.mean(0) <= exact + 5 * error).all() and (exact - elbo.mean(0)).mean() > 0.1
    assert float(elbo.mean(0).exp().sum()) < 0.95
    sums = [float(model.bound(image, k=k, generator=codes()).exp().sum()) for k in (5, 50, 2000)]
    assert sums[0] < sums[1] < sums[2] + 0.02 and sums[2] == pytest.approx(1, abs=0.02)
    assert (model.bound(image, k=2000, generator=codes()) - exact).abs().mean() < 0.05


@torch.no_grad()
def test_a_decoder_that_ignores_the_code_has_no_gap_and_no_active_unit():
    model, image = tiny(), all_nine()
    for network in (model.encoder, model.decoder):
        next(network.children()).weight.zero_()
    model.encoder[-1].weight.zero_(), model.encoder[-1].bias.zero_()  # q is the prior
    exact = exact_log_prob(model, image)
    for k in (1, 3, 40):
        assert (model.bound(image, k=k) - exact).abs().max() < 1e-12
    assert not active(model.encode(image).stats["mean"]).any()


def test_the_kl_is_that_of_torch_and_its_gradient_vanishes_at_the_prior():
    mean, log_var = torch.randn(2, 9, 4, dtype=torch.float64).unbind()
    q = torch.distributions.Normal(mean, (log_var / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    assert torch.allclose(gaussian.kl(mean, log_var), torch.distributions.kl_divergence(q, prior), atol=1e-14)
    z = torch.randn(3, 9, 4, dtype=torch.float64)
    expected = q.log_prob(z) - prior.log_prob(z)
    assert torch.allclose(gaussian.log_ratio(z, mean, log_var), expected, atol=1e-13)
    at = torch.zeros(2, requires_grad=True)
    gaussian.kl(at[0], at[1]).backward()
    assert gaussian.kl(at[0], at[1]).item() == 0 and at.grad.tolist() == [0, 0]


def test_the_gradient_through_the_codes_is_that_of_the_expectation():
    """The ELBO is quadratic in the offset of q's mean from the exact one: its gradient there is -M times the offset."""
    model = LinearGaussian(correlated=True)
    model.off.data.copy_(torch.tensor([0.6, -0.5]))
    image = model.images(30)
    found = []
    for i in range(3000):
        (slope,) = torch.autograd.grad(model.bound(image, generator=codes(i)).mean(), model.off)
        found.append(slope)
    slopes = torch.stack(found)
    error = slopes.std(0) / math.sqrt(len(slopes))
    expected = -model.precision @ model.off.detach()
    assert ((slopes.mean(0) - expected).abs() < 4 * error).all() and (expected.abs() > 10 * error).all()


def test_active_units_are_those_whose_means_vary():
    means = torch.stack([torch.zeros(100), 0.05 * torch.randn(100), torch.linspace(-1, 1, 100)], 1)
    assert active(means).tolist() == [False, False, True]


def test_samples_are_means_unless_draws_are_asked_for():
    model = tiny().float()
    means = model.sample(20, generator=codes())
    assert 0 < means.abs().max() < 1
    assert torch.equal(means, model.picture(model.prior(20, codes())))
    model.set_sampling(draw="sample")
    drawn = model.sample(20, generator=codes())
    assert set(drawn.unique().tolist()) == {-1.0, 1.0} and torch.equal(drawn, model.sample(20, generator=codes()))


@torch.no_grad()
def test_held_out_nats_are_a_bound_whose_noise_comes_from_a_seed():
    model, image = tiny(), all_nine()[:40]
    model.set_sampling(k=300)
    first, second = model.held_out(), model.held_out()
    assert (first.kind, first.levels, first.spread, first.k) == ("bound", 2, 0, 300) and "iwae: k=300" in first.how
    assert torch.equal(first.nats(image, None), second.nats(image, None))
    assert not torch.equal(first.nats(image, None), second.nats(image[:20], None).repeat(2))
    parts = second.ask("elbo", image, None)
    assert torch.equal(parts.sum(1), model.held_out().nats(image, None))  # the same codes, whoever was asked before
    assert torch.equal(first.ask("iwae", image, None), model.bound(image, k=300, generator=codes()))
    assert torch.equal(first.ask("latents", image, None), model.code(image))


@torch.no_grad()
def test_a_density_is_bounded_with_noise_within_the_levels():
    spec = ImageSpec(1, 4, 4, levels=4, dequantised=True)
    model = VAE(spec, Gaussian, hidden=[8])
    held = model.held_out()
    assert (held.kind, held.levels, held.spread) == ("bound", 4, 4)
    image = model.likelihood.value(torch.randint(0, 4, (8, 1, 4, 4)).float())
    first, again = (held.ask("latents", image, None) for _ in range(2))  # a function of the image that is seen
    assert not torch.equal(first, again) and not torch.equal(first, model.code(image))
    assert torch.equal(first, model.held_out().ask("latents", image, None))


@pytest.mark.parametrize("kind", [VAE, VAEConv])
@pytest.mark.parametrize("likelihood, dequantised", [(DiscretizedLogisticMixture, False), (Gaussian, True)])
def test_colours_and_classes(kind, likelihood, dequantised):
    spec = ImageSpec(3, 8, 12, num_classes=3, dequantised=dequantised)
    model = kind(spec, likelihood, latent_dim=4, conditional=True)
    model.fit_data(torch.randint(0, 256, (9, 3, 8, 12), dtype=torch.uint8))
    image, label = torch.rand(5, 3, 8, 12) * 2 - 1, torch.tensor([0, 1, 2, 0, 1])
    posterior = model.encode(image, label, k=2)
    assert posterior.z.shape == (10, 4) and posterior.cost.shape == (5,) and posterior.log_ratio.shape == (2, 5)
    assert torch.allclose(posterior.stats["groups"].sum(1), posterior.cost)
    bound = model.bound(image, label, k=3)
    assert bound.shape == (5,) and bound.isfinite().all()
    z = model.prior(1, codes()).expand(3, -1)
    pictures = model.picture(z, torch.arange(3))
    assert pictures.shape == (3, 3, 8, 12) and not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(model.code(image[:1], label[:1]), model.code(image[:1], label[1:2]))


def test_black_pixels_are_zero_to_the_perceptron():
    model = tiny()
    black = torch.full((1, 1, 3, 3), -1.0, dtype=torch.float64)
    assert torch.equal(model.features(black, None), model.encoder(torch.zeros(1, 9, dtype=torch.float64)))


def test_the_decoder_starts_at_the_mean_image():
    model = VAE(NINE, Bernoulli, latent_dim=2, hidden=[5])
    pixels = torch.zeros(100, 1, 3, 3, dtype=torch.uint8)
    pixels[:25, :, 0] = 255
    model.fit_data(pixels)
    assert torch.allclose(model.decoder[-2].bias[:3].sigmoid(), torch.tensor(0.25), atol=1e-6)
    assert torch.allclose(model.decoder[-2].bias[3:].sigmoid(), torch.tensor(0.001), atol=1e-6)  # clipped, not -inf


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: VAE(ImageSpec(1, 4, 4, levels=4), Bernoulli), "for binary images"),
        (lambda: VAE(ImageSpec(1, 4, 4), Gaussian), "add data.dequantise=uniform"),
        (lambda: VAE(ImageSpec(1, 4, 4, dequantised=True), DiscretizedLogisticMixture), "data.dequantise=null"),
        (lambda: VAE(NINE, Bernoulli, hidden=[]), "model.hidden=\\[] has no layer"),
        (lambda: VAE(NINE, Bernoulli, conditional=True), "no classes"),
        (lambda: VAEConv(ImageSpec(1, 10, 8, levels=2), Bernoulli), "8x10 does not divide by 4"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(make, says):
    with pytest.raises(UsageError, match=says) as error:
        make()
    assert "\n" not in str(error.value)
