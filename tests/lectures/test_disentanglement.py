"""The measures of the lecture on disentanglement in closed form."""

import math

import pytest
import torch

from gancli.lectures.disentanglement import classifier, corner, energy_distance, measured, path_length, separability

D = torch.float64


def normal(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=D)


def test_the_paths_of_a_linear_map_have_its_mean_squared_distance_and_no_detour():
    matrix, space = torch.tensor([[1.0, 2.0], [0.5, -3.0]], dtype=D), normal(4000)
    found = measured(space, space @ matrix.T, lambda p: p @ matrix.T)
    ends = (space[1::2] - space[::2]) @ matrix.T
    assert found["path_length"] == pytest.approx(ends.square().sum(1).mean().item(), rel=1e-6)
    assert found["path_length"] == pytest.approx(2 * matrix.square().sum().item(), rel=0.05)
    assert found["detour"] == pytest.approx(1, rel=0.05)


def test_a_bent_map_has_a_detour():
    space = normal(4000)
    assert path_length(space, lambda p: p**3) / (2 * (space**3).var(0).sum().item()) > 1.2


def test_separability_is_1_for_half_planes_and_the_entropy_for_chance():
    space = normal(4000)
    apart = torch.stack([space[:, 0] > 0.3, space.sum(1) > 0], 1)
    assert separability(space, apart) == pytest.approx(1, abs=0.02)
    unrelated = normal(4000, seed=1)[:, :1] > 0
    assert separability(space, unrelated) == pytest.approx(math.exp(math.log(2)), rel=0.01)
    outside = space.norm(dim=1, keepdim=True) > 1  # of a circle: no line tells
    assert separability(space, outside) > 1.9 * math.exp(-0.05)


def test_the_classifier_is_at_the_minimum_of_the_logistic_loss():
    space, truth = normal(500), normal(500, seed=3)[:, 0] + normal(500)[:, 1] > 0
    weight = classifier(space, truth).requires_grad_()
    logits = space @ weight[:2] + weight[2]
    loss = torch.nn.functional.softplus(torch.where(truth, -logits, logits)).mean() + 1e-5 * weight.square().sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    assert gradient.abs().max() < 1e-5


def test_the_energy_distance_of_equal_distributions_is_0_and_of_shifted_points_known():
    x, y = corner(1500, torch.Generator().manual_seed(0)), corner(1500, torch.Generator().manual_seed(1))
    assert energy_distance(x, y).item() == pytest.approx(0, abs=0.01)
    far = torch.tensor([1000.0, 0.0], dtype=D)  # 2 (1000 + mean difference) - E|x-x'| - E|y-y'|
    within = torch.cdist(x, x).sum().item() / (1500 * 1499) + torch.cdist(y, y).sum().item() / (1500 * 1499)
    assert energy_distance(x, y + far).item() == pytest.approx(2000 - within, abs=1)


def test_the_data_have_no_positive_quadrant_and_fill_the_others_equally():
    x = corner(6000, torch.Generator().manual_seed(0))
    assert not (x > 0).all(1).any() and x.abs().max() <= 1
    assert [(x[:, i] > 0).double().mean().item() for i in range(2)] == pytest.approx([1 / 3, 1 / 3], abs=0.03)
