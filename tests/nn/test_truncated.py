"""Truncated normals against their moments and their distribution function."""

import math

import pytest
import torch
from helpers import NoHostSync
from scipy import stats

from gancli.nn.truncated import truncated_normal

CPU = torch.device("cpu")


def noise(threshold: float, *shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return truncated_normal(*shape, threshold=threshold, device=CPU, generator=generator)


@pytest.mark.parametrize("t, variance", [(2.0, 0.7738), (1.0, 0.2911), (0.5, 0.0806), (0.04, 0.00053)])
def test_variances_are_those_of_the_closed_form(t, variance):
    phi, inside = math.exp(-t * t / 2) / math.sqrt(2 * math.pi), math.erf(t / math.sqrt(2))
    exact = 1 - 2 * t * phi / inside
    assert exact == pytest.approx(variance, abs=6e-5)
    z = noise(t, 400_000).double()
    fourth = stats.truncnorm(-t, t).moment(4)
    assert z.var().item() == pytest.approx(exact, abs=5 * math.sqrt((fourth - exact**2) / len(z)))
    assert z.mean().item() == pytest.approx(0, abs=5 * math.sqrt(exact / len(z)))
    assert z.abs().max() <= t and z.dtype == torch.float64


@pytest.mark.parametrize("t", [0.5, 2.0, 6.0])
def test_the_distribution_is_that_of_a_truncated_normal(t):
    z = noise(t, 20_000).numpy()
    assert stats.kstest(z, stats.truncnorm(-t, t).cdf).pvalue > 0.01
    if t < 6:
        assert stats.kstest(z, stats.norm.cdf).pvalue < 1e-6  # which an untruncated one would not fail


def test_the_same_uniforms_make_rows_that_vary_smoothly():
    near, far = noise(0.9, 64, 8), noise(1.0, 64, 8)
    assert torch.equal(near.sign(), far.sign()) and (near.abs() <= far.abs()).all()
    assert (near - far).abs().max() <= 0.1 + 1e-6


def test_a_threshold_beyond_the_tail_leaves_finite_numbers():
    assert noise(40.0, 1000).isfinite().all()
    assert noise(40.0, 100_000).std().item() == pytest.approx(1, abs=0.01)


def test_nothing_waits_for_the_device():
    with NoHostSync():
        noise(0.7, 16, 8)
