"""Likelihoods are probabilities: they sum to one, stay finite at the extremes, and are what sampling draws from."""

import itertools
import math
from functools import partial

import pytest
import torch
from pixel_models import chi_square_is_plausible

from gancli.errors import UsageError
from gancli.nn.densities import Gaussian, LogitLaplace
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture
from gancli.nn.logistic import DiscretizedLogistic

BITS = range(2, 11)


def every_image(likelihood, c: int) -> torch.Tensor:
    """All levels^c images of one pixel, (levels^c, c, 1, 1)."""
    levels = torch.tensor(list(itertools.product(range(likelihood.levels), repeat=c)), dtype=torch.float64)
    return likelihood.value(levels)[:, :, None, None]


def random_params(likelihood, c: int, scale: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(1, likelihood.channels(c), 1, 1, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", [Categorical, DiscretizedLogistic, DiscretizedLogisticMixture])
def test_probabilities_of_all_levels_sum_to_one(kind, bits):
    likelihood = kind(2**bits)
    x = every_image(likelihood, 1)
    for scale in (0.1, 1.0, 5.0):
        params = random_params(likelihood, 1, scale).expand(len(x), -1, -1, -1)
        assert torch.exp(-likelihood.nll(params, x)).sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("log_scale", [-7.0, -3.0, 0.0, 5.0])
@pytest.mark.parametrize("mean", [-5.0, 0.3, 5.0])
def test_the_mixture_sums_to_one_in_float32(mean, log_scale):
    likelihood = DiscretizedLogisticMixture(256, components=1)
    x = every_image(likelihood, 1).float()
    params = torch.tensor([0.0, mean, log_scale]).view(1, 3, 1, 1).expand(256, -1, -1, -1)
    assert torch.exp(-likelihood.nll(params, x).double()).sum().item() == pytest.approx(1, abs=5e-6)


def test_rgb_mixture_at_three_bits_sums_to_one():
    likelihood = DiscretizedLogisticMixture(8, components=3)
    x = every_image(likelihood, 3)
    params = random_params(likelihood, 3, 1.5).expand(len(x), -1, -1, -1)
    assert likelihood.channels(3) == 30 and len(x) == 512
    assert torch.exp(-likelihood.nll(params, x)).sum().item() == pytest.approx(1, abs=1e-10)


def test_the_mixture_is_its_definition():
    """Equations 1 to 3 written down with sigmoids, in float64, inner and outer levels, three coupled channels."""
    likelihood, k = DiscretizedLogisticMixture(16, components=2), 2
    x = likelihood.value(torch.tensor([0.0, 7.0, 15.0], dtype=torch.float64))
    params = random_params(likelihood, 3, 0.7, seed=3)
    weights, m, s, a = (p.view(-1, k) for p in params.flatten().split([k, 3 * k, 3 * k, 3 * k]))
    a = a.tanh()
    total = 0.0
    for i in range(k):
        mu = (m[0, i], m[1, i] + a[0, i] * x[0], m[2, i] + a[1, i] * x[0] + a[2, i] * x[1])
        probability = weights.softmax(1)[0, i]
        for c in range(3):
            upper = 1.0 if c == 2 else torch.sigmoid((x[c] + 1 / 15 - mu[c]) / s[c, i].exp())
            lower = 0.0 if c == 0 else torch.sigmoid((x[c] - 1 / 15 - mu[c]) / s[c, i].exp())
            probability = probability * (upper - lower)
        total = total + probability
    found = likelihood.nll(params, x.view(1, 3, 1, 1)).item()
    assert found == pytest.approx(-math.log(total), abs=1e-12)


@pytest.mark.parametrize("levels", [2, 16, 256, 1024, 65536])
def test_the_outer_levels_take_the_tails(levels):
    """A mean far outside puts all mass on the outer level, at any bit depth; its neighbour has next to none."""
    likelihood = DiscretizedLogisticMixture(levels, components=1)
    for mean, edge, inner in ((3.0, levels - 1, levels - 2), (-3.0, 0, 1)):
        params = torch.tensor([0.0, mean, -2.0], dtype=torch.float64).view(1, 3, 1, 1).expand(2, -1, -1, -1)
        x = likelihood.value(torch.tensor([edge, inner], dtype=torch.float64)).view(2, 1, 1, 1)
        nats = likelihood.nll(params, x)
        assert nats[0] < 1e-3 and nats[1] > 5


@pytest.mark.parametrize("log_scale", [-30.0, -7.0, 5.0, 40.0])
@pytest.mark.parametrize("mean", [-6.0, 0.0, 6.0])
def test_values_and_gradients_are_finite_at_the_extremes(mean, log_scale):
    likelihood = DiscretizedLogisticMixture(256, components=1)
    x = every_image(likelihood, 1).float()
    params = torch.tensor([0.0, mean, log_scale]).view(1, 3, 1, 1).repeat(256, 1, 1, 1).requires_grad_()
    nats = likelihood.nll(params, x)
    nats.sum().backward()
    assert nats.isfinite().all() and params.grad.isfinite().all() and params.grad[:, 1].any()


@pytest.mark.parametrize(
    "likelihood", [Bernoulli(2), Categorical(256), Categorical(2), DiscretizedLogisticMixture(256)]
)
def test_extreme_parameters_have_finite_nats_and_gradients(likelihood):
    params = torch.full((2, likelihood.channels(1), 1, 1), 500.0)
    params[:, ::2] = -500.0
    params.requires_grad_()
    nats = likelihood.nll(params, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    nats.sum().backward()
    assert nats.isfinite().all() and params.grad.isfinite().all()


@pytest.mark.parametrize(
    "likelihood,c",
    [
        (Bernoulli(2), 2),
        (Categorical(5), 1),
        (DiscretizedLogisticMixture(8, 3), 1),
        (DiscretizedLogisticMixture(4, 2), 3),
        (DiscretizedLogistic(4), 3),
    ],
    ids=["bernoulli", "categorical", "mixture", "rgb mixture", "rgb logistics"],
)
def test_samples_have_the_probabilities(likelihood, c):
    """Chi-square of 200,000 draws against all levels^c probabilities. A sampler that does not round fails it."""
    n, x = 200_000, every_image(likelihood, c)
    params = random_params(likelihood, c, 0.8, seed=1)
    p = torch.exp(-likelihood.nll(params.expand(len(x), -1, -1, -1), x))
    noise = torch.rand(n, likelihood.noise_channels(c), 1, 1, generator=torch.Generator().manual_seed(0))
    drawn = likelihood.level(likelihood.sample(params.expand(n, -1, -1, -1), noise))[:, :, 0, 0].long()
    index = (drawn * likelihood.levels ** torch.arange(c - 1, -1, -1)).sum(1)
    counts = torch.bincount(index, minlength=len(x)).double()
    assert chi_square_is_plausible(counts, n * p)


def test_the_chi_square_can_fail():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    assert chi_square_is_plausible(torch.tensor([1000, 600, 400]).double(), 2000 * p)
    assert not chi_square_is_plausible(torch.tensor([900, 700, 400]).double(), 2000 * p)


def test_levels_and_values_are_those_of_the_loader():
    pixels = torch.arange(256, dtype=torch.uint8)
    image = pixels.float().div_(127.5).sub_(1.0)  # as Loader.next scales
    likelihood = Categorical(256)
    assert torch.equal(likelihood.level(image), pixels.float()) and torch.equal(likelihood.snap(image), image)


def test_temperature_raises_probabilities_to_its_inverse():
    likelihood, temperature = Categorical(5), 0.6
    x, params = every_image(likelihood, 1), random_params(likelihood, 1, 1.0)
    p, q = (
        torch.exp(-likelihood.nll(each.expand(5, -1, 1, 1), x))
        for each in (params, likelihood.tempered(params, temperature))
    )
    assert torch.allclose(q, p ** (1 / temperature) / (p ** (1 / temperature)).sum())


@pytest.mark.parametrize("c", [1, 3])
def test_temperature_of_a_mixture_is_that_of_its_choice_and_of_its_logistics(c):
    likelihood, temperature = DiscretizedLogisticMixture(256, components=4), 0.6
    params = random_params(likelihood, c, 1.0)
    cool = likelihood._split(likelihood.tempered(params, temperature), c)
    weights, means, log_scales, coefficients = likelihood._split(params, c)
    p = weights.softmax(1) ** (1 / temperature)
    assert torch.allclose(cool[0].softmax(1), p / p.sum(1, keepdim=True))
    assert torch.allclose(cool[2].exp(), temperature * log_scales.exp())
    assert torch.equal(cool[1], means) and torch.equal(cool[3], coefficients)


def test_bernoulli_refuses_grey_levels():
    with pytest.raises(UsageError, match="256 levels.*data.binarise=dynamic"):
        Bernoulli(256)


@pytest.mark.parametrize(
    "kind, levels, c",
    [(Bernoulli, 2, 2), (Categorical, 5, 2), (DiscretizedLogisticMixture, 6, 1), (DiscretizedLogistic, 4, 3)],
)
def test_the_mean_is_that_of_all_images(kind, levels, c):
    """By enumeration: sum over all images of one pixel of p(x) x."""
    likelihood = kind(levels)
    x = every_image(likelihood, c)
    for seed in range(5):
        params = random_params(likelihood, c, 2.0, seed)
        p = torch.exp(-likelihood.nll(params.expand(len(x), -1, -1, -1), x))
        expected = (p[:, None, None, None] * x).sum(0)
        assert torch.allclose(likelihood.mean(params, c)[0], expected, atol=1e-10)
        assert not (likelihood.density or likelihood.bound)


def test_the_mean_of_coloured_mixtures_is_near_that_of_samples():
    likelihood = DiscretizedLogisticMixture(256, components=3)
    params = random_params(likelihood, 3, 0.7)
    params = params.unflatten(1, (-1, 3)).clone()
    params[:, 4:7] -= 3  # narrow: little is clipped at the ends
    params = params.flatten(1, 2)
    noise = torch.rand(20000, 4, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = likelihood.sample(params.expand(20000, -1, -1, -1), noise)
    assert torch.allclose(likelihood.mean(params, 3)[0], drawn.mean(0), atol=0.02)


def test_the_scale_of_logistics_is_the_mean_over_an_images_pixels():
    """As a mixture of one component with that scale everywhere and no coupling of colours; a temperature widens it."""
    generator = torch.Generator().manual_seed(2)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    means, scales, likelihood = draw(2, 3, 4, 5), draw(2, 3, 4, 5) - 2, DiscretizedLogistic(256)
    image = likelihood.snap((means + 0.1 * draw(2, 3, 4, 5)).clamp(-1, 1))
    known, none = DiscretizedLogisticMixture(256, 1), torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    for temperature, wider in ((1.0, 0.0), (0.5, math.log(0.5))):
        one = (scales.mean((2, 3), keepdim=True) + wider).expand_as(scales)
        params = likelihood.tempered(torch.cat([means, scales], 1), temperature)
        expected = known.nll(torch.cat([none[:, :1], means, one, none], 1), image)
        assert torch.allclose(likelihood.nll(params, image), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli(2), DiscretizedLogistic(256), DiscretizedLogisticMixture(256, 1), DiscretizedLogisticMixture(256, 4),
     Gaussian(256), LogitLaplace(256)],
    ids=["bernoulli", "logistics", "mixture of one", "of four", "gaussian", "logit-laplace"],
)  # fmt: skip
def test_a_decoder_begins_at_the_mean_and_the_spread_of_the_pixels(likelihood):
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([100.0, 128, 160]).view(3, 1, 1) + 12 * torch.randn(500, 3, 4, 4, generator=generator)
    pixels = levels.round().to(torch.uint8)
    begun = likelihood.begun(pixels)
    params = begun[None, :, None].expand(1, -1, 40_000)
    noise = torch.rand(1, likelihood.noise_channels(3), 40_000, generator=generator, dtype=torch.float64)
    drawn, known = likelihood.sample(params, noise)[0], pixels.double().transpose(0, 1).flatten(1) / 127.5 - 1
    assert torch.allclose(drawn.mean(1), known.mean(1), atol=0.015)
    if not isinstance(likelihood, Bernoulli):
        assert torch.allclose(drawn.std(1), known.std(1), rtol=0.04)
    each = likelihood.begun(pixels, (0,))  # a mean of every place, and one spread
    assert each.shape == (likelihood.channels(3), 4, 4) and torch.allclose(each.mean((1, 2)), begun, atol=0.05)
