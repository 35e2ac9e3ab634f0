"""KID against torch-fidelity in float64, and its unbiasedness."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from gancli.metrics.kid import kid, mmd2

SETTINGS = {
    "kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1,
    "rng_seed": 2020, "verbose": False,
}  # fmt: skip


def normal(n: int, dim: int, seed: int, shift: float = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) + shift


def test_equals_torch_fidelity_in_float64() -> None:
    x, y = normal(600, 32, 0, 0.2), normal(500, 32, 1)
    theirs = kid_features_to_metric(x.double(), y.double(), kid_subsets=20, kid_subset_size=100, **SETTINGS)
    ours = np.array(list(kid(x, y, subsets=20, size=100)))
    assert ours.mean() == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-10)
    assert ours.std() == pytest.approx(theirs["kernel_inception_distance_std"], abs=1e-10)


def test_sets_of_one_distribution_are_at_zero_within_their_spread() -> None:
    scores = np.array(list(kid(normal(2000, 16, 0), normal(2000, 16, 1), subsets=50, size=500)))
    assert abs(scores.mean()) < 3 * scores.std() and scores.min() < 0 < scores.max()


def test_few_images_give_subsets_of_half_of_them() -> None:
    x, y = normal(40, 8, 0), normal(30, 8, 1)
    ours = list(kid(x, y, subsets=3))
    theirs = kid_features_to_metric(x.double(), y.double(), kid_subsets=3, kid_subset_size=15, **SETTINGS)
    assert np.mean(ours) == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-10) and len(set(ours)) == 3


def test_the_estimate_by_enumeration() -> None:
    x, y = normal(4, 3, 0).double(), normal(4, 3, 1).double()
    k = lambda a, b: ((a @ b).item() / 3 + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(4) for j in range(4)]
    within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs if i != j) / 12
    assert mmd2(x, y) == pytest.approx(within - 2 * sum(k(x[i], y[j]) for i, j in pairs) / 16, rel=1e-12)
