"""Densities of pixels: those of torch.distributions, their integrals over [0, 1], and what sampling draws."""

import math

import pytest
import torch

from gancli.nn.densities import Gaussian, LogitLaplace

GRID = ((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 * 2 - 1).view(-1, 1, 1, 1)


def params(location: float, scale: float) -> torch.Tensor:
    return torch.tensor([location, math.log(scale)], dtype=torch.float64).view(1, 2, 1, 1)


def integral(likelihood, given: torch.Tensor) -> float:
    """The density integrated over [0, 1] by midpoints."""
    return torch.exp(-likelihood.nll(given.expand(len(GRID), -1, -1, -1), GRID)).mean().item()


def test_the_gaussian_is_that_of_torch_on_the_unit_interval():
    given, image = torch.randn(5, 6, 2, 3, dtype=torch.float64), torch.rand(5, 3, 2, 3, dtype=torch.float64) * 2 - 1
    mean, log_std = given.chunk(2, 1)
    unit = torch.distributions.Normal((mean + 1) / 2, log_std.exp() / 2)
    expected = -unit.log_prob((image + 1) / 2).sum((1, 2, 3))
    assert torch.allclose(Gaussian(256).nll(given, image), expected, atol=1e-12) and Gaussian(256).channels(3) == 6
    assert integral(Gaussian(256), params(0.2, 0.1)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("mu, b", [(0.0, 1.0), (0.7, 0.5), (-2.0, 0.3)])
def test_the_mass_that_logit_laplace_leaves_outside_is_its_closed_form(mu, b):
    edge = math.log(9)  # logit of 1 - eps
    inside = (1 - math.exp(-(edge - mu) / b) / 2 - math.exp(-(edge + mu) / b) / 2) if abs(mu) < edge else None
    assert integral(LogitLaplace(256), params(mu, b)) == pytest.approx(inside, abs=1e-6) and inside < 1


def test_logit_laplace_is_its_definition():
    eps, mu, b, x = 0.2, 0.4, 0.7, 0.3
    y = (1 - 2 * eps) * x + eps
    density = (1 - 2 * eps) * math.exp(-abs(math.log(y / (1 - y)) - mu) / b) / (2 * b * y * (1 - y))
    image = torch.full((1, 1, 1, 1), 2 * x - 1, dtype=torch.float64)
    assert LogitLaplace(256, eps).nll(params(mu, b), image).item() == pytest.approx(-math.log(density), abs=1e-12)
    with pytest.raises(ValueError, match="below 0.5"):
        LogitLaplace(256, 0.5)


@pytest.mark.parametrize("likelihood", [Gaussian(256), LogitLaplace(256)])
def test_samples_follow_the_density_and_start_has_the_mean(likelihood):
    """Shares of the samples below some thresholds, against the integral of the density."""
    given = params(0.1, 0.3)
    noise = torch.rand(100_000, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = likelihood.sample(given, noise)
    density = torch.exp(-likelihood.nll(given.expand(len(GRID), -1, -1, -1), GRID)) / len(GRID)
    inside = (drawn > -1) & (drawn < 1)
    assert (drawn.flatten()[noise.flatten().argsort()].diff() >= 0).all()  # larger noise, brighter pixel
    for threshold in (-0.3, 0.0, 0.2):
        expected = density[GRID.flatten() < threshold].sum().item() + (drawn == -1).double().mean().item()
        assert (drawn < threshold).double().mean().item() == pytest.approx(expected, abs=0.006)
    assert inside.double().mean() > 0.9
    mean = torch.tensor([-0.5, 0.9], dtype=torch.float64).view(2, 1, 1)
    start = likelihood.start(mean, torch.full_like(mean, 0.3))
    assert torch.allclose(likelihood.mean(start[None], 2)[0], mean, atol=1e-12)
    ends = likelihood.sample(given, torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1))
    assert ends.isfinite().all() and ends.abs().max() <= 1


def test_temperature_narrows_as_a_power_of_the_density():
    x = torch.tensor([-0.4, 0.6], dtype=torch.float64).view(2, 1, 1, 1)
    gaussian, laplace = Gaussian(256), LogitLaplace(256)
    given = params(0.1, 0.5).expand(2, -1, -1, -1)

    def difference(likelihood, p, weight=lambda x: 0.0):
        nll = likelihood.nll(p, x) + weight(x)
        return (nll[0] - nll[1]).item()

    cold = difference(gaussian, gaussian.tempered(given, 0.5))
    assert cold == pytest.approx(2 * difference(gaussian, given), abs=1e-12)

    def slope(x):  # log of dy/d logit: of the logit itself the density is Laplace
        y = laplace._inside(x).flatten()
        return -(y * (1 - y)).log()

    cold = difference(laplace, laplace.tempered(given, 0.5), slope)
    assert cold == pytest.approx(2 * difference(laplace, given, slope), abs=1e-12)
