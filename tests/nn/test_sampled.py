"""Images at other places: values and gradients are grid_sample()'s, and gradients of gradients are those of a map."""

import torch
from torch.nn.functional import grid_sample

from gancli.nn.sampled import sampled


def given() -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    return image, torch.rand(2, 6, 7, 2, dtype=torch.float64) * 3 - 1.5  # some places are mirrored


def test_values_and_gradients_are_those_of_grid_sample() -> None:
    image, grid = given()
    told = grid_sample(image, grid, padding_mode="reflection", align_corners=True)
    found, weight = sampled(image, grid), torch.randn_like(told)
    assert torch.equal(found, told)
    (expected,) = torch.autograd.grad(told, image, weight)
    (gradient,) = torch.autograd.grad(found, image, weight)
    assert torch.equal(gradient, expected)


def test_its_gradient_has_a_gradient_which_has_one() -> None:
    image, grid = given()
    assert torch.autograd.gradgradcheck(lambda image: sampled(image, grid) ** 3, image)
    (first,) = torch.autograd.grad((sampled(image, grid) ** 3).sum(), image, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), image, create_graph=True)
    assert second.requires_grad and torch.autograd.grad(second.sum(), image)[0].abs().sum() > 0
