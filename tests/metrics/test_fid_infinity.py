"""The extrapolated FID: nearer to the truth than FID, and the very line of its definition."""

import numpy as np
import pytest
import torch

from gancli.metrics.fid import fid
from gancli.metrics.fid_infinity import extrapolated, smallest
from gancli.metrics.moments import Gaussian, Moments

DIM = 16
TRUTH = Gaussian(2**31 - 1, np.zeros(DIM), np.eye(DIM))


def test_the_bias_of_a_finite_sample_is_gone() -> None:
    for shift, distance in ((0.0, 0.0), (0.5, DIM / 4)):
        direct, limit = [], []
        for seed in range(5):
            x = torch.randn(2000, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
            moments = Moments(DIM)
            moments.update(x)
            direct.append(fid(moments.gaussian(), TRUTH) - distance)
            limit.append(extrapolated(x, TRUTH) - distance)
        if not shift:
            assert min(direct) > 0.03  # biased upwards, all of them
        assert abs(np.mean(limit)) < 0.5 * max(abs(np.mean(direct)), 0.1)


def test_the_line_of_least_squares() -> None:
    x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    real = Gaussian(1000, np.zeros(4), np.eye(4))
    random, sizes = np.random.RandomState(0), np.linspace(40, 400, 15).astype(int)
    scores = []
    for size in sizes:
        rows = x.numpy()[random.choice(400, size, replace=False)]
        scores.append(fid(Gaussian(int(size), rows.mean(0), np.cov(rows.T)), real))
    u = 1 / sizes
    slope = ((u - u.mean()) * scores).sum() / ((u - u.mean()) ** 2).sum()
    assert extrapolated(x, real) == pytest.approx(np.mean(scores) - slope * u.mean(), rel=1e-6, abs=1e-9)


def test_the_smallest_subset() -> None:
    assert [smallest(n) for n in (1000, 50_000, 200_000)] == [100, 5000, 5000]
