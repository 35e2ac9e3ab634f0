"""Initialisations that look at data: means and covariances after them, and what is left as it is."""

import torch
from torch import nn

from gancli.nn.init import whiten_


def moments(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows = outputs.movedim(1, -1).flatten(0, -2).double()
    return rows.mean(0), torch.cov(rows.T, correction=0)


def test_whitened_outputs_have_unit_covariance_and_mean_zero():
    layer, data = nn.Conv2d(5, 3, 1), torch.randn(40, 5, 6, 7).exp()
    before = layer(data).detach()
    whiten_(layer, before)
    mean, covariance = moments(layer(data).detach())
    assert torch.allclose(mean, torch.zeros(3).double(), atol=1e-5)
    assert torch.allclose(covariance, torch.eye(3).double(), atol=1e-4)


def test_the_symmetric_matrix_is_taken():
    """That is the inverse root of the covariance: what is white already stays as it is, with its signs and order."""
    scales, data = torch.tensor([3.0, 0.1, 1.0, 7.0]), torch.randn(30, 4, 5, 5)
    layer = nn.Conv2d(4, 4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(scales)[:, :, None, None])
    before = layer(data).detach()
    whiten_(layer, before)
    mean, covariance = moments(before)
    root = torch.linalg.inv(layer.weight.detach().double().flatten(1) @ torch.diag(1 / scales.double()))
    assert torch.allclose(root, root.T, atol=1e-3) and torch.allclose(root @ root, covariance, rtol=1e-3, atol=1e-3)
    after = layer(data).detach()
    whiten_(layer, after)
    assert torch.allclose(layer(data), after, atol=1e-4)


def test_directions_without_variance_stay():
    layer, data = nn.Conv2d(2, 3, 1), torch.randn(40, 2, 6, 6)  # three channels of two numbers
    whiten_(layer, layer(data).detach())
    covariance = moments(layer(data).detach())[1]
    assert torch.allclose(torch.linalg.eigvalsh(covariance), torch.tensor([0.0, 1.0, 1.0]).double(), atol=1e-4)
    still = nn.Conv2d(2, 3, 1)
    kept = still.weight.clone()
    whiten_(still, still(torch.ones(5, 2, 3, 3)).detach())
    assert torch.allclose(still.weight, kept) and still(torch.ones(1, 2, 1, 1)).abs().max() < 1e-6
