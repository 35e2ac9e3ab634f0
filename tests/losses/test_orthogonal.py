"""The orthogonal penalties of weights: eq. 2 in test_penalties.py, here the relaxed one of eq. 3."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gancli.config import from_yaml
from gancli.losses.orthogonal import Orthogonal, OrthogonalRelaxed
from gancli.losses.penalties import PenaltyInputs


def inputs(network: nn.Module) -> PenaltyInputs:
    return PenaltyInputs(network, lambda x: x, torch.zeros(0), lambda: torch.zeros(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(5, 7), nn.BatchNorm1d(7)).double()


def test_its_gradient_is_what_the_release_adds_which_is_half_of_the_squares():
    network, beta = net(), 0.3
    OrthogonalRelaxed(beta)(inputs(network)).backward()
    for layer in (network[0], network[2]):
        w = layer.weight.detach().flatten(1)
        expected = 2 * beta * ((w @ w.T) * (1 - torch.eye(len(w)))) @ w
        assert torch.allclose(layer.weight.grad.flatten(1), expected, atol=1e-12)
        own = w.clone().requires_grad_()
        (beta * ((own @ own.T) * (1 - torch.eye(len(own)))).square().sum()).backward()
        assert torch.allclose(own.grad, 2 * expected, atol=1e-12)
        assert layer.bias.grad is None


@pytest.mark.parametrize("kind", [Orthogonal, OrthogonalRelaxed])
def test_products_are_those_of_float32_also_under_autocast(kind):
    network = net().float()
    expected = kind(1.0)(inputs(network))
    with torch.autocast("cpu", torch.bfloat16):
        found = kind(1.0)(inputs(network))
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_rows_may_have_any_length_as_long_as_they_are_orthogonal():
    layer = nn.Linear(4, 3, bias=False).double()
    layer.weight.data = torch.diag(torch.tensor([3.0, 0.5, 7.0])).double() @ torch.eye(3, 4).double()
    assert OrthogonalRelaxed(1.0)(inputs(layer)).item() == 0
    assert Orthogonal(1.0)(inputs(layer)).item() > 1


def test_tables_of_embeddings_are_left_out_with_and_without_spectral_norm():
    table = nn.Embedding(3, 4)
    both = nn.Sequential(nn.Linear(4, 4), table, spectral_norm(nn.Embedding(3, 4)), spectral_norm(nn.Linear(4, 2)))
    kept = list(OrthogonalRelaxed().penalised(both))
    assert [tuple(p.shape) for p in kept] == [(4, 4), (2, 4)]
    assert len(list(Orthogonal().penalised(both))) == 4


def test_the_target_of_earlier_releases_is_where_it_moved_to():
    text = "loss: {penalties: {orthogonal: {_target_: gancli.losses.penalties.Orthogonal, weight: 0.1}}}"
    target = from_yaml(text).loss.penalties.orthogonal._target_
    assert target == f"{Orthogonal.__module__}.{Orthogonal.__name__}"
    with pytest.raises(AttributeError):
        _ = __import__("gancli.losses.penalties", fromlist=["x"]).Orthogonal
